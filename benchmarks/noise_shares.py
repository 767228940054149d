"""Noise in shares against all noise at each site: four heart hospitals, a logistic regression, at several epsilons.

Both as `medimg federate` does them, in NumPy without masks, which change nothing: DP-SGD at each site and the mean of
the sites; one step a round of all patients, whose sum has the noise of shares (three of four are counted on). Rounds,
batch, optimizer, rate and clip are chosen by the validation rows' AUROC, mean over splits of the rows and draws of the
noise; the test rows' AUROC is of that choice alone. `MEDIMG_TEST_DATA=FOLDER python -m benchmarks.noise_shares`
"""

import math
import tempfile
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from benchmarks.heart import DATA
from benchmarks.material import table
from federated.clients.examples import inputs
from federated.config import FederateConfig
from federated.job import Job
from federated.private.noise_shares import NoiseShares
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.preparation.prepare import prepare
from medimg.privacy.budget import Budget
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.sampling import steps_per_pass
from medimg.style.words import interval

SPLITS, DRAWS, DELTA, EPSILONS = 8, 4, 1e-5, (1.0, 3.0, 8.0)
OPTIONS = FederateConfig(model="logistic", dp="patient", dp_epsilon=1.0, secure="masking", secure_threshold=4)
# A divisor alone; with the rate it makes one number.
DIVISOR = 80


class Choice(NamedTuple):
    """Options of a training; without a batch every patient is in every step."""

    rounds: int
    optimizer: str
    rate: float
    clip: float
    batch: int = 0


LOCAL = [
    Choice(rounds, optimizer, rate, clip, batch)
    for rounds, batch, clip in product((5, 10, 20, 40), (32, 128), (0.5, 1.0))
    for optimizer, rates in (("adam", (0.01, 0.03, 0.1)), ("sgd", (0.1, 0.3, 1.0)), ("momentum", (0.05, 0.2)))
    for rate in rates
]
# Of much epsilon the best of the above lay at its edge.
LOCAL += [
    Choice(rounds, optimizer, rate, clip, 128)
    for rounds, clip in product((40, 80, 160), (1.0, 2.0))
    for optimizer, rates in (("adam", (0.03, 0.1, 0.3)), ("sgd", (1.0, 3.0)))
    for rate in rates
]
# As fedavg has it.
SHARED = [
    Choice(rounds, "sgd", rate, clip)
    for rounds, clip, rate in product((3, 5, 10, 20, 40, 80), (0.5, 1.0, 2.0), (0.1, 0.3, 1.0, 3.0, 10.0))
]


def material(folder: Path, seed: int) -> tuple[list, dict]:
    """Each site's training rows, and the pooled rows of val and test: (columns, 0 or 1)."""
    prepare("heart", DATA / "heart_disease", folder / "data", PrepareConfig(seed=seed))
    job = Job.of(Dataset.load(folder / "data"), OPTIONS)
    plan = job.plan(job.describe(job.totals()))

    def rows(client, split: str):
        chosen = client.dataset.rows(split, labelled=True)
        columns = inputs(client.dataset, chosen, plan, folder).astype(np.float64)
        return np.c_[columns, np.ones(len(columns))], client.dataset.targets(chosen)

    held_out = {
        split: tuple(np.concatenate(parts) for parts in zip(*(rows(c, split) for c in job.clients), strict=True))
        for split in ("val", "test")
    }
    return [rows(client, "train") for client in job.clients], held_out


@cache
def local_noise(epsilon: float, probability: float, steps: int) -> float:
    """Noise multiplier of a site's own steps."""
    return Budget(epsilon, DELTA).plan(Mechanism.poisson(probability), steps).mechanism.noise_multiplier


@cache
def shared_noise(epsilon: float, rounds: int, sites: int, size: int) -> float:
    """Standard deviation of the opened sum over the clip: all sites' shares."""
    shares = NoiseShares(sites, sites, 1.0, size, 1024.0)
    mechanism = Budget(epsilon, DELTA).plan(shares.mechanism(), rounds).mechanism
    return mechanism.noise_multiplier * math.sqrt(sites / shares.shares)


def clipped(weights: np.ndarray, x: np.ndarray, y: np.ndarray, drawn: np.ndarray, clip: float) -> np.ndarray:
    """Sums of clipped gradients (draws, columns, 2) of the rows that are drawn (draws, rows)."""
    logits = np.einsum("nf,dfc->dnc", x, weights)
    chance = np.exp(logits - logits.max(-1, keepdims=True))
    error = chance / chance.sum(-1, keepdims=True) - np.eye(2)[y]
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(error, axis=-1)
    factor = drawn * np.minimum(1.0, clip / np.maximum(norms, 1e-12))
    return np.einsum("nf,dnc->dfc", x, error * factor[..., None])


def stepper(optimizer: str, rate: float):
    """(weights, gradient) -> weights, of an optimizer that begins."""
    first, second, count = 0.0, 0.0, 0

    def step(weights, gradient):
        nonlocal first, second, count
        count += 1
        if optimizer != "adam":
            first = (0.9 if optimizer == "momentum" else 0.0) * first - rate * gradient
            return weights + first
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        size = rate * math.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        return weights - size * first / (np.sqrt(second) + 1e-7)

    return step


def at_each_site(sites: list, epsilon: float, how: Choice, generator) -> np.ndarray:
    """Weights of all draws (draws, columns, 2)."""
    weights = np.zeros((DRAWS, sites[0][0].shape[1], 2))
    for _ in range(how.rounds):
        of_sites = []
        for x, y in sites:
            steps = steps_per_pass(len(x), how.batch)
            noise = local_noise(epsilon, 1 / steps, how.rounds * steps) * how.clip
            mine, step = weights, stepper(how.optimizer, how.rate)
            for _ in range(steps):
                total = clipped(mine, x, y, generator.random((DRAWS, len(x))) < 1 / steps, how.clip)
                mine = step(mine, (total + noise * generator.standard_normal(mine.shape)) / how.batch)
            of_sites.append(mine)
        weights = np.mean(of_sites, axis=0)
    return weights


def in_shares(sites: list, epsilon: float, how: Choice, generator) -> np.ndarray:
    """Likewise."""
    weights, step = np.zeros((DRAWS, sites[0][0].shape[1], 2)), stepper(how.optimizer, how.rate)
    noise = shared_noise(epsilon, how.rounds, len(sites), weights[0].size) * how.clip
    for _ in range(how.rounds):
        total = sum(clipped(weights, x, y, np.ones((DRAWS, len(x))), how.clip) for x, y in sites)
        noisy = total + noise * generator.standard_normal(weights.shape)
        weights = step(weights, noisy / (len(sites) * DIVISOR))
    return weights


def auroc(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Mean over draws."""
    positive, negative = (y == 1).sum(), (y == 0).sum()
    ranks = [rankdata(x @ (w[:, 1] - w[:, 0]))[y == 1].sum() for w in weights]
    return float(np.mean([(r - positive * (positive + 1) / 2) / (positive * negative) for r in ranks]))


def chosen(train, choices: list[Choice], splits: list, epsilon: float) -> tuple[Choice, np.ndarray, np.ndarray]:
    """The choice with the best validation AUROC; its AUROC on val and test of each split."""
    found = []
    for how in choices:
        models = [train(s, epsilon, how, np.random.default_rng([n, 17])) for n, (s, _) in enumerate(splits)]
        pairs = zip(models, splits, strict=True)
        scores = np.array([[auroc(w, *held[part]) for part in ("val", "test")] for w, (_, held) in pairs])
        found.append((how, scores[:, 0], scores[:, 1]))
    return max(found, key=lambda one: one[1].mean())


def difference(one: np.ndarray, other: np.ndarray) -> str:
    """Mean over splits, with a 95% interval by resampling them."""
    gaps, generator = one - other, np.random.default_rng(0)
    means = gaps[generator.integers(0, len(gaps), (10_000, len(gaps)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return interval({"value": gaps.mean(), "low": low, "high": high})


def main() -> None:
    """A row an epsilon."""
    with tempfile.TemporaryDirectory() as folder:
        splits = [material(Path(folder) / str(seed), seed) for seed in range(SPLITS)]
    rows = []
    for epsilon in EPSILONS:
        local, of_local, local_test = chosen(at_each_site, LOCAL, splits, epsilon)
        shared, of_shared, shared_test = chosen(in_shares, SHARED, splits, epsilon)
        rows.append(
            [
                f"{epsilon:g}",
                f"{of_local.mean():.4f}",
                f"{local_test.mean():.4f}",
                f"{of_shared.mean():.4f}",
                f"{shared_test.mean():.4f}",
                difference(shared_test, local_test),
                f"{local.rounds} x {local.batch} {local.optimizer} {local.rate:g}, clip {local.clip:g}",
                f"{shared.rounds} {shared.optimizer} {shared.rate:g}, clip {shared.clip:g}",
            ]
        )
    columns = ["epsilon", "local, val", "local, test", "shares, val", "shares, test", "gain on test"]
    table([*columns, "local: rounds x batch", "shares: rounds"], rows)


if __name__ == "__main__":
    main()
