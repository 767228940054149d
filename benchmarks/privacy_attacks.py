"""An attack on each private path: can its release tell two neighbouring Datasets apart better than epsilon allows?

Each path trains many times, at secret seeds, on two Datasets that differ in one crafted patient
(`benchmarks.neighbours`). An attacker who knows both Datasets projects what is released on the direction in which the
patient pulls it, learnt from trainings with hardly any noise, and calls it "with" above a threshold, chosen on a third
of the trainings. The hits and false alarms on the rest give a lower bound of epsilon (95%, exact intervals), which must
not be above what the training's own ledger claims. The control is the same attack on trainings with hardly any noise:
its bound shows that the attack sees what there is to see. `most` is the bound if no call were wrong.

`python -m benchmarks.privacy_attacks [PATH ...]`; `TRAININGS=N` with and as many without the patient (default 50),
`CONTROLS=N` likewise of the control (default 30); at most 24 of paths whose trainings take seconds.
"""

import math
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.material import table
from benchmarks.neighbours import PATHS, PrivatePath, claimed
from medimg.audit.bound import CONFIDENCE, choose, count

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
TRAININGS = int(os.environ.get("TRAININGS", "50"))
CONTROLS = int(os.environ.get("CONTROLS", "30"))
# Of each kind, of a slow path: perfect calls then show 1.35, which is still above the claim.
SLOW = 24
CLAIM = {"dp_epsilon": 1.0, "dp_delta": 1e-3}
# Noise over the clip: next to none, and still the same code.
NO_NOISE = {"dp_noise_multiplier": 1e-4, "dp_delta": 1e-3}
# Of the trainings, to choose a threshold on; of the controls also to learn the direction on.
CHOOSING = 1 / 3


@dataclass(frozen=True)
class Releases:
    """What trainings released.

    Attributes:
        values: float (T, D).
        present: bool (T,), the patient was there.
        epsilon: largest that one of them claims.
    """

    values: np.ndarray
    present: np.ndarray
    epsilon: float

    @property
    def choosing(self) -> np.ndarray:
        """Bool (T,): the first of each kind."""
        place = np.where(self.present, np.cumsum(self.present), np.cumsum(~self.present)) - 1
        return place < math.ceil(CHOOSING * self.present.sum())


def released(path: PrivatePath, trainings: int, privacy: dict, folder: Path) -> Releases:
    """Train with and without the patient in turn, each time at a new secret seed.

    Args:
        path: under attack.
        trainings: of each of the two Datasets.
        privacy: `CLAIM` or `NO_NOISE`.
        folder: for all files.
    """
    privacy = {**privacy, **path.options, "dp_clip": path.clip}
    data = {present: folder / f"data-{present}" for present in (True, False)}
    for present, root in data.items():
        path.data(root, present)
    initial = {root: set(root.iterdir()) for root in data.values()}
    values, claims = [], []
    for number in range(2 * trainings):
        root, out = data[number % 2 == 0], folder / "run"
        values.append(path.release(root, out, privacy))
        claims.append(claimed(out))
        shutil.rmtree(out)
        # Its ledger of all trainings, which would only slow the next one down.
        for file in set(root.iterdir()) - initial[root]:
            file.unlink()
        _forget_graphs()
    present = np.arange(2 * trainings) % 2 == 0
    return Releases(np.stack(values), present, max(claims))


def pull(releases: Releases) -> np.ndarray:
    """Where the patient pulls a release: float (D,), the difference of means, on those to choose on.

    Numbers whose difference is within two standard errors are left out, unless all are: they would add only noise.
    """
    values = releases.values[releases.choosing]
    present = releases.present[releases.choosing]
    parts = values[present], values[~present]
    difference = parts[0].mean(axis=0) - parts[1].mean(axis=0)
    error = np.sqrt(sum(part.var(axis=0, ddof=1) / len(part) for part in parts))
    clear = np.abs(difference) > 2 * error
    return np.where(clear, difference, 0.0) if clear.any() else difference


def matched(direction: np.ndarray, releases: Releases) -> np.ndarray:
    """The direction over the variance of the releases to choose on: the matched filter of independent noise.

    A variance counts as at least a thousandth of the mean one.
    """
    kinds = releases.present, ~releases.present
    variance = sum(releases.values[releases.choosing & kind].var(axis=0) for kind in kinds)
    least = variance.mean() / 1000
    return direction / (variance + least) if least else direction


def bound(releases: Releases, direction: np.ndarray, delta: float) -> float:
    """Lower bound of epsilon by the projection on a direction that owes nothing to the trainings that are counted."""
    choosing, alpha = releases.choosing, 1 - CONFIDENCE
    scores = releases.values @ matched(direction, releases)
    rule = choose(scores[choosing], releases.present[choosing], delta, alpha)
    return count(rule, scores[~choosing], releases.present[~choosing], delta, alpha)["value"]


def most(trainings: int, delta: float) -> float:
    """The bound if every call were right: what so many trainings can show."""
    present = np.arange(2 * trainings) % 2 == 0
    perfect = Releases(present[:, None].astype(float), present, math.inf)
    return bound(perfect, np.ones(1), delta)


def attacked(path: PrivatePath, trainings: int, controls: int, folder: Path) -> dict:
    """Attack a path and its control.

    Returns:
        `claim`, `bound`, `most`, `control` and `control_most`: epsilons.
    """
    quiet = released(path, controls, NO_NOISE, folder / "control")
    noisy = released(path, trainings, CLAIM, folder / "private")
    direction, delta = pull(quiet), CLAIM["dp_delta"]
    return {
        "claim": noisy.epsilon,
        "bound": bound(noisy, direction, delta),
        "most": most(trainings, delta),
        "control": bound(quiet, direction, delta),
        "control_most": most(controls, delta),
    }


def _forget_graphs() -> None:
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].keras.backend.clear_session()


def main(names: list[str]) -> None:
    unknown = set(names) - set(PATHS)
    if unknown:
        sys.exit(f"unknown path: {', '.join(sorted(unknown))}; there are {', '.join(PATHS)}")
    rows = []
    for name in names or PATHS:
        started = time.monotonic()
        counts = [min(SLOW, n) if PATHS[name].slow else n for n in (TRAININGS, CONTROLS)]
        with tempfile.TemporaryDirectory() as folder:
            bounds = attacked(PATHS[name], *counts, Path(folder))
        seconds = f"{time.monotonic() - started:.0f}"
        print(name, bounds, seconds, file=sys.stderr)
        texts = [f"{bounds[key]:.2f}" for key in bounds]
        rows.append([name, PATHS[name].unit, *texts, 2 * sum(counts), seconds])
    table(
        [
            "path",
            "unit",
            "claimed epsilon",
            "lower bound (<= claimed)",
            "most",
            "control (> claimed)",
            "most",
            "trainings",
            "seconds",
        ],
        rows,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
