"""What is compared: a model as one Run, as several Runs that differ in seed only, or as a baseline."""

import json
from dataclasses import dataclass

import numpy as np

from medimg.comparison.reading import Evaluated
from medimg.evaluation.majority import majority
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.predictions import Predictions

MAJORITY = "majority class"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model that is compared with others.

    Attributes:
        name: unique among the candidates.
        kind: `run`, `baseline` or `majority`.
        members: its predictions of the same rows, one for each seed.
        places: folders of its Runs, in the order of the members.
        seeds: of its Runs.
    """

    name: str
    kind: str
    members: tuple[Predictions, ...]
    places: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    def measure(self, weights: np.ndarray) -> np.ndarray:
        """Headline metrics, the mean over members.

        Args:
            weights: float64 (samples, N), whole numbers.

        Returns:
            float64 (samples, len(METRICS)), NaN where undefined.
        """
        return np.mean([member.measure(weights)[:, 0] for member in self.members], axis=0)

    def member_values(self, metric: str) -> np.ndarray:
        """float64 (members,): the metric of each."""
        column = METRICS.index(metric)
        everything = np.ones((1, len(self.members[0])))
        return np.array([member.measure(everything)[0, 0, column] for member in self.members])


def candidates(evaluated: list[Evaluated]) -> list[Candidate]:
    """One candidate a Run, but Runs that differ in seed only are replicates of one."""
    groups: dict[str, list[Evaluated]] = {}
    for one in evaluated:
        groups.setdefault(_identity(one), []).append(one)
    for key in list(groups):
        members = groups[key]
        # The same seed twice is no replicate: the same options and seed give the same model.
        if len({_seed(one) for one in members}) < len(members):
            del groups[key]
            groups |= {f"{key} {one.place}": [one] for one in members}
    ordered = sorted(groups.values(), key=lambda members: evaluated.index(members[0]))
    return [
        Candidate(
            name=name,
            kind="run",
            members=tuple(one.predictions for one in members),
            places=tuple(one.place for one in members),
            seeds=tuple(_seed(one) for one in members),
        )
        for name, members in zip(_names(ordered), ordered, strict=True)
    ]


def constant(predictions: Predictions) -> Candidate:
    """Always the commonest answer of these rows."""
    answer = majority(predictions.task, predictions.classes, predictions.targets, predictions.targets)
    return Candidate(MAJORITY, "majority", (answer,))


def _identity(one: Evaluated) -> str:
    """What Runs of one model share: command, data and all options but the seed."""
    config = one.run.config
    options = {key: value for key, value in config["options"].items() if key != "seed"}
    return json.dumps([config.get("command"), config["data"], options], sort_keys=True, default=str)


def _seed(one: Evaluated) -> int:
    return int(one.run.config["options"].get("seed") or 0)


def _names(groups: list[list[Evaluated]]) -> list[str]:
    """Folder names for single Runs, the model's name for replicates; longer where they clash."""
    depth = 1
    while True:
        names = [_name(members, depth) for members in groups]
        longest = max(len(members[0].run.root.resolve().parts) for members in groups)
        if len(set(names)) == len(names) or depth >= longest:
            return names
        depth += 1


def _name(members: list[Evaluated], depth: int) -> str:
    folder = "/".join(members[0].run.root.resolve().parts[-depth:])
    if len(members) == 1:
        return folder
    model = members[0].metrics.get("model") or folder
    seeds = f"({len(members)} seeds)"
    return f"{model} {seeds}" if depth == 1 else f"{folder} {seeds}"
