"""A step of the pilot of the study interpretability: how long the maps of each method take, by those of few images."""

import time
from pathlib import Path

from explain.config import ExplainConfig
from explain.explainer import Explainer
from explain.scored import maps_to_score
from explain.selection import classes_in_turn, split_rows
from medimg.errors import InputError
from medimg.run import Run
from medimg.studies.steps import Inputs

# Images whose maps are timed: what integrated gradients take differs from one to the other.
_TIMED = 4


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Time the maps of the cell's Run.

    Args:
        inputs: the cell's.
        folder: left empty.
        options: `cells`: name -> options of its explanation, of one method; `seed`.

    Returns:
        `seconds`: name -> those of all maps that its explanation asks for; one that can't explain the model has none.
    """
    trained, seconds = Run.load(inputs.folders["train"]), {}
    for name, its in options["cells"].items():
        try:
            seconds[name] = _seconds(trained, ExplainConfig.from_dict({**its, "seed": options["seed"]}))
        except InputError:
            # That it can't is said of the cell itself.
            continue
    return {"seconds": seconds}


def _seconds(trained: Run, config: ExplainConfig) -> float:
    explainer, dataset = Explainer(trained, config), trained.dataset()
    inputs = explainer.rows(dataset, classes_in_turn(split_rows(dataset, config.split), _TIMED, config.seed))
    targets = explainer.targets(inputs)[0]
    # What is compiled at first is compiled once.
    for _ in range(2):
        started = time.monotonic()
        explainer.maps(config.method[0], inputs, targets)
    return (time.monotonic() - started) / len(targets) * (maps_to_score(dataset, config) + config.count)
