"""Values with intervals: Predictions to the numbers of `metrics.json`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.evaluation.calibration import BINS
from medimg.evaluation.exact import NOTE, WIDER, bounded
from medimg.evaluation.intervals import LEVEL, Interval, cluster_bootstrap, numbered, percentile_interval
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.prevalence import at_prevalence

# Rows of a class below which a site's numbers are more chance than finding.
FEW = 10


def summarise(
    predictions: Predictions,
    patients: Sequence,
    resamples: int = 1000,
    seed: int = 0,
    prevalence: float | None = None,
) -> dict:
    """Every metric with its 95% interval, and what a reader must know of them.

    Args:
        predictions: of N rows, N > 0.
        patients: length N, the patient of each row; patients are resampled.
        resamples: bootstrap resamples; 0 gives values without intervals.
        seed: of the bootstrap.
        prevalence: of a binary task: adds `at_prevalence`, PPV and NPV there.

    Returns:
        `metrics`, `per_class`, `confusion_matrix`, `majority_accuracy`, `support` (rows per class),
        `bootstrap` and `notes`; a metric is {"value", "low", "high"}, None where undefined, and has
        "left_out_resamples" when it is undefined in some resamples, and
        "interval": "exact", "widened" or "none" when the bootstrap's is not to be trusted (`medimg.evaluation.exact`).
    """
    values = predictions.measure(np.ones((1, len(predictions))))[0]
    # Numbers in the names' order, by which the same resamples are drawn.
    patients = numbered(patients)
    n_patients = len(set(patients))
    # One patient can't be resampled: every resample is the sample, and the interval a false point.
    if n_patients < 2:
        resamples = 0
    replicates = np.empty((0, *values.shape))
    if resamples:
        replicates = cluster_bootstrap(predictions.measure, patients, resamples, seed)
    tables = _tables(values, replicates, predictions, patients)
    there = {}
    if prevalence is not None:
        one = predictions.one_vs_rest[1]
        there["at_prevalence"] = at_prevalence(prevalence, values[0], replicates[:, 0], one, patients)
    return {
        **there,
        "metrics": tables[0],
        "per_class": dict(zip(predictions.classes, tables[1:], strict=True)),
        "confusion_matrix": predictions.confusion_matrix().tolist(),
        "majority_accuracy": predictions.majority_accuracy(),
        "support": {
            name: int(count) for name, count in zip(predictions.classes, predictions.truth.sum(axis=0), strict=True)
        },
        "bootstrap": {
            "resamples": resamples,
            "unit": "patient",
            "units": n_patients,
            "level": LEVEL,
            "method": "percentile",
            "seed": seed,
        },
        "notes": _notes(predictions, tables, resamples, n_patients),
    }


def _tables(values: np.ndarray, replicates: np.ndarray, predictions: Predictions, patients: Sequence) -> list[dict]:
    """Metric -> value with interval: of the headline, then of each class."""
    return [
        {
            name: _with_interval(values[i, j], percentile_interval(replicates[:, i, j]), predictions, patients, name, i)
            for j, name in enumerate(METRICS)
        }
        for i in range(len(values))
    ]


def _with_interval(value: float, interval: Interval, *of) -> dict:
    left_out = {"left_out_resamples": interval.left_out} if interval.left_out and not np.isnan(value) else {}
    return bounded(interval, value, *of) | left_out


def _notes(predictions: Predictions, tables: list[dict], resamples: int, n_patients: int) -> list[str]:
    notes = [_meaning(predictions.task)]
    notes.extend(_undefined(predictions))
    left_out = {name: m["left_out_resamples"] for name, m in tables[0].items() if "left_out_resamples" in m}
    if left_out:
        counts = ", ".join(f"{name} {count}" for name, count in left_out.items())
        notes.append(f"resamples of {resamples} left out because a metric is undefined: {counts}")
    notes.extend(not_the_bootstraps(tables[0]))
    none = [name for name, m in tables[0].items() if m.get("interval") == "none"]
    if "ece" in none:
        notes.append(
            "no interval (ece): chance gaps make it larger, and resamples' larger still; calibration says what it is "
            "by chance"
        )
    flat = [name for name in none if name != "ece"]
    if flat:
        notes.append(
            f"no interval ({', '.join(flat)}): every resample agrees, as happens with few patients, which says nothing "
            "of others"
        )
    outside = [
        name for name, m in tables[0].items() if m["low"] is not None and not m["low"] <= m["value"] <= m["high"]
    ]
    if outside:
        notes.append(
            f"interval beside its value ({', '.join(outside)}): resampling adds chance gaps of its own to the measure"
        )
    if n_patients < 2:
        notes.append("no intervals: all rows are of one patient")
    elif not resamples:
        notes.append("no intervals: --bootstrap 0")
    elif n_patients < 30:
        notes.append(f"only {n_patients} patients: the intervals are rough")
    if resamples and n_patients == len(predictions):
        notes.append(
            "no patient is here twice; where that is because patients are not known, the intervals are too narrow"
        )
    return notes


def not_the_bootstraps(*tables: dict) -> list[str]:
    """What a reader must know of exact and of widened intervals of metrics.

    Args:
        tables: metric -> {"value", "low", "high"}, each.
    """
    notes = []
    for kind, note in (("exact", NOTE), ("widened", WIDER)):
        of_kind = {name for table in tables for name, m in table.items() if m.get("interval") == kind}
        if of_kind:
            notes.append(note.format(", ".join(name for name in METRICS if name in of_kind)))
    return notes


def _meaning(task: str) -> str:
    bins = f"ece: {BINS} bins of equal width over the probability of the class"
    if task == "binary":
        return f"metrics are those of the positive class; {bins}"
    mean = "metrics are means over classes, each against the rest"
    if task == "multilabel":
        return f"{mean} (accuracy is the share of right answers over all labels); {bins}"
    return f"{mean}, but accuracy is the share of right rows; {bins}"


def _undefined(predictions: Predictions) -> list[str]:
    """One note for each reason that a class has no value, naming classes and metrics."""
    share = predictions.truth.mean(axis=0)
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, there, defined in zip(predictions.classes, share, predictions.defined, strict=True):
        missing = [metric for metric, fine in zip(METRICS, defined, strict=True) if not fine]
        if not missing:
            continue
        if there in (0, 1):
            why = "no row has the class" if there == 0 else "every row has the class"
        else:
            why = "no row is called the class"
        reasons.setdefault((", ".join(missing), why), []).append(name)
    end = "" if predictions.task == "binary" else "; left out of the mean"
    return [f"{metrics} undefined for {', '.join(names)}: {why}{end}" for (metrics, why), names in reasons.items()]


def summarise_sites(predictions: Predictions, rows: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> dict:
    """Every metric with its interval on each site's rows alone.

    Args:
        predictions: of N rows.
        rows: length N, with `site` and `patient`.
        resamples: bootstrap resamples of the site's patients.
        seed: of the bootstrap.

    Returns:
        site -> {"n", "patients", "support" (rows per class), metric: {"value", "low", "high"}}; empty with fewer than
        two sites. A site with a single row of a class has no intervals: resamples would all hold that same row.
    """
    return summarise_groups(predictions, rows["site"], rows["patient"], resamples, seed)


def summarise_groups(
    predictions: Predictions, groups: pd.Series, patients: pd.Series, resamples: int = 1000, seed: int = 0
) -> dict:
    """`summarise_sites` of any groups of rows; '' is in none.

    Args:
        predictions: of N rows.
        groups: length N, the group of each row.
        patients: length N, the patient of each row.
        resamples: bootstrap resamples of the group's patients.
        seed: of the bootstrap.
    """
    sites = groups.to_numpy()
    names = sorted(set(sites) - {""})
    if len(names) < 2:
        return {}
    summaries = {}
    for name in names:
        here = sites == name
        of_group = patients.to_numpy()[here]
        part = predictions.take(here)
        support = part.truth.sum(axis=0)
        single = predictions.task != "multilabel" and (support == 1).any()
        measured = summarise(part, of_group, 0 if single else resamples, seed)["metrics"]
        summaries[name] = {
            "n": int(here.sum()),
            "patients": len(set(of_group)),
            "support": {c: int(k) for c, k in zip(predictions.classes, support, strict=True)},
            **measured,
        }
    return summaries


def site_notes(sites: dict) -> list[str]:
    """A sentence for the sites that have too few rows of a class for their numbers to mean much."""
    few = [
        f"{site} ({count} {name})"
        for site, values in sites.items()
        for name, count in values["support"].items()
        if count < FEW
    ]
    if not few:
        return []
    return [f"per site, fewer than {FEW} rows of a class make the numbers rough: {', '.join(few)}"]
