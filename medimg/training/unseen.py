"""Whether the patients that a Run's audit holds out have been learnt from in another way."""

from pathlib import Path

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.holdout import HELD_OUT
from medimg.errors import InputError
from medimg.models.weights import is_run
from medimg.run import Run

LEARNT_FROM = ("train", "val")


def check(dataset: Dataset, config: TrainConfig) -> None:
    """Refuse a start from what may have seen the patients that are held out.

    Args:
        dataset: with its part HELD_OUT.
        config: options.

    Raises:
        InputError: names the option.
    """
    if config.extra:
        raise InputError(
            "--audit-holdout: not with --extra, whose synthetic rows were made from the whole training part, held-out "
            "patients as well"
        )
    held = set(dataset.rows(HELD_OUT)["patient"])
    weights, named = config.weights, [config.weights]
    while is_run(weights):
        run = Run.load(Path(weights))
        try:
            seen = run.dataset().manifest
        except InputError as error:
            raise InputError(
                f"--weights {config.weights}: whether {run.root} has learnt from patients that --audit-holdout holds "
                f"out can't be told ({error}); put its data back, or start from other weights"
            ) from error
        both = sorted(held & set(seen.loc[seen["split"].isin(LEARNT_FROM), "patient"]))
        if both:
            raise InputError(
                f"--weights {config.weights}: {' from '.join(named)} learnt from {len(both)} of the {len(held)} "
                f"patients that --audit-holdout holds out, e.g. '{both[0]}'; train that Run with the same "
                "--audit-holdout and --seed, or start from other weights"
            )
        weights = str(run.config["options"].get("weights") or "none")
        named.insert(0, weights)
