"""Utility: what classifiers learn from synthetic rows instead of real ones, tested on real patients held out.

Source: Esteban et al., Real-valued (medical) time series generation with recurrent conditional GANs, 2017 (train on
synthetic, test on real).
"""

from collections.abc import Callable, Sequence

import numpy as np

from medimg.evaluation.exact import bounded
from medimg.evaluation.exact_differences import bounded_difference, counted_for_difference
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.predictions import Predictions
from synthetic.judge.config import JudgeConfig
from synthetic.judge.rows import Subject

SHOWN = ("auroc", "accuracy")
TRAININGS = ("real", "synthetic", "both")
_COLUMNS = [METRICS.index(name) for name in SHOWN]

# From the training set's name and a classifier's to scores of the test rows, float64 (M, classes).
Scorer = Callable[[str, str], np.ndarray]


def measure(subject: Subject, classifiers: tuple[str, ...], score: Scorer, config: JudgeConfig, progress) -> dict:
    """Metrics of every classifier on every training set, and the gaps.

    All are measured on the same resamples of test patients, so a gap's interval is that of paired differences.

    Args:
        subject: whose test rows are scored.
        classifiers: names.
        score: trains one and scores the test rows.
        config: `classifier` (whose gap is the headline), `bootstrap`, `seed`.
        progress: called with what, how far, of how many.

    Returns:
        `real`, `synthetic`, `both`: classifier -> {"auroc", "accuracy"}, each {"value", "low", "high"}; `gaps`:
        classifier -> real minus synthetic, likewise; `gains`: both minus real; `gap`: the headline, of AUROC, with
        "classifier"; `rows` of each training set.
    """
    values, draws, metrics = {}, {}, {}
    total = len(TRAININGS) * len(classifiers)
    for number, classifier in enumerate(classifiers):
        for turn, training in enumerate(TRAININGS):
            progress("classifiers", number * len(TRAININGS) + turn, total)
            predictions = _predictions(subject, score(training, classifier))
            values[training, classifier], draws[training, classifier] = _metrics(predictions, subject, config)
            metrics[training, classifier] = _table(
                values[training, classifier], draws[training, classifier], predictions, subject.test["patient"]
            )
    progress("classifiers", total, total)
    result = {training: {name: metrics[training, name] for name in classifiers} for training in TRAININGS}

    def difference(first: str, second: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        return (values[first, name] - values[second, name], draws[first, name] - draws[second, name])

    gaps = {name: difference("real", "synthetic", name) for name in classifiers}
    # How many test patients tell a difference is the same of all classifiers.
    counted = [counted_for_difference(predictions, subject.test["patient"], metric) for metric in SHOWN]
    result["gaps"] = {name: _differences(*gap, counted) for name, gap in gaps.items()}
    result["gains"] = {name: _differences(*difference("both", "real", name), counted) for name in classifiers}
    result["gap"] = _headline(gaps, config.classifier, counted)
    made, train = len(subject.made), len(subject.train)
    result["rows"] = {"real": train, "synthetic": made, "both": made + train, "test": len(subject.test)}
    return result


def _headline(gaps: dict, classifier: str, counted: Sequence[int]) -> dict:
    """The mean gap over classifiers, resample by resample, or that of the one that was named."""
    names = list(gaps) if classifier == "mean" else [classifier]
    value = np.mean([gaps[name][0] for name in names], axis=0)
    draws = np.mean([gaps[name][1] for name in names], axis=0)
    return {**_differences(value, draws, counted)["auroc"], "metric": "auroc", "classifier": classifier}


def _predictions(subject: Subject, scores: np.ndarray) -> Predictions:
    dataset = subject.real
    threshold = {"binary": 0.5, "multiclass": None, "multilabel": np.full(scores.shape[1], 0.5)}
    return Predictions(dataset.task, dataset.classes, dataset.targets(subject.test), scores, threshold[dataset.task])


def _metrics(predictions: Predictions, subject: Subject, config: JudgeConfig):
    """Values (metrics,) and bootstrap replicates (resamples, metrics)."""

    def headline(weights: np.ndarray) -> np.ndarray:
        return predictions.measure(weights)[:, 0, _COLUMNS]

    patients = subject.test["patient"].to_numpy()
    draws = cluster_bootstrap(headline, patients, config.bootstrap, config.seed)
    return headline(np.ones((1, len(predictions))))[0], draws


def _table(value: np.ndarray, draws: np.ndarray, *of) -> dict:
    """Metrics of predictions and their patients with intervals, an exact one where the bootstrap's has no width."""
    intervals = [percentile_interval(draws[:, i]) for i in range(len(SHOWN))]
    return {name: bounded(intervals[i], value[i], *of, name) for i, name in enumerate(SHOWN)}


def _differences(value: np.ndarray, draws: np.ndarray, counted: Sequence[int]) -> dict:
    """Differences of metrics with intervals."""
    intervals = [bounded_difference(draws[:, i], value[i], counted[i]) for i in range(len(SHOWN))]
    return {name: intervals[i].around(value[i]) for i, name in enumerate(SHOWN)}
