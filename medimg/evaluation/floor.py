"""The no-pixel floor: what gradient boosting makes of the metadata alone, beside the AUROC of a model of images.

A model that looks at pixels and does not beat age, sex, view and site has perhaps learnt no more than these. Defaults
of scikit-learn; fitted on the training part, of a private Run on validation, whose patients it does not protect.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from medimg.config import PIXELS_ALONE
from medimg.data.dataset import Dataset
from medimg.evaluation.exact import bounded
from medimg.evaluation.exact_differences import bounded_difference, counted_for_difference
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.evaluation.pixel_floors import SEEN, pixel_floors
from medimg.evaluation.predictions import Predictions, as_written
from medimg.run import Run
from medimg.style.words import interval, listed
from medimg.tables.metadata import as_table, names_of, of_class
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.sklearn_models import fit_baseline

_METHOD = "gradient-boosting"

# By name in metrics.json, what is told of it and its probabilities, float64 (N, classes), of the model's rows.
Alone = dict[str, tuple[dict, np.ndarray]]


def alone(
    run: Run,
    training: Dataset | None,
    part: str | None,
    subject: Dataset,
    rows: pd.DataFrame,
    seed: int,
    batch_size: int,
) -> Alone:
    """What metadata (`floor`), thumbnails and borders alone say of rows; of a Run of `--metadata` also pixels alone.

    Args:
        run: of images or a table, which has no floor.
        training: its Dataset, None where it is not here.
        part: of it, that the floor is fitted on; None: no floor.
        subject: the Dataset that is evaluated.
        rows: of its manifest.
        seed: of the fit.
        batch_size: of the model of pixels.
    """
    from medimg.evaluation.answers import Answers

    baselines, description = {}, run.description()
    if part and training is not None and not training.is_table:
        names = [column["name"] for column in description.get("metadata", {}).get("raw", ())]
        below = floor(training, part, subject, rows, description["classes"], seed, names)
        baselines = {"floor": below} if below else {}
        baselines |= pixel_floors(training, part, subject, rows, description["classes"], seed)
    if (run.root / PIXELS_ALONE / "model.keras").is_file():
        twin = Run.load(run.root / PIXELS_ALONE)
        answers = Answers(twin.model(), twin.description(), batch_size)
        baselines["pixels_alone"] = {}, as_written(answers(subject, rows))
    return baselines


def compared(model: Predictions, others: Alone, patients: Sequence, resamples: int, seed: int) -> dict:
    """`floor` and others of metrics.json: their AUROC, and how far the model is ahead, with 95% intervals."""
    return {
        name: {**description, **ahead(model, replace(model, probabilities=chances), patients, resamples, seed)}
        for name, (description, chances) in others.items()
    }


def pooled(folds: Sequence[Alone]) -> Alone:
    """Of all folds' rows, one fold after the other; what one of them lacks is left out."""
    names = [name for name in folds[0] if all(name in fold for fold in folds)]
    result = {}
    for name in names:
        description = dict(folds[0][name][0])
        if "columns" in description:
            description["columns"] = list(
                dict.fromkeys(column for fold in folds for column in fold[name][0]["columns"])
            )
        result[name] = description, np.concatenate([fold[name][1] for fold in folds])
    return result


def floor(
    training: Dataset,
    part: str,
    subject: Dataset,
    rows: pd.DataFrame,
    classes: Sequence[str],
    seed: int = 0,
    names: Sequence[str] = (),
) -> tuple[dict, np.ndarray] | None:
    """What the metadata alone say of rows.

    Args:
        training: the Run's own Dataset, of images.
        part: of it, that the floor is fitted on.
        subject: the Dataset that is evaluated.
        rows: of its manifest.
        classes: in the model's order.
        seed: of the fit.
        names: columns (default: all that both Datasets have).

    Returns:
        `columns`, `method` and `fitted_on`, and probabilities; None where there is nothing to fit.
    """
    fitted = training.rows(part, labelled=True)
    columns = [name for name in names or names_of(fitted) if name in rows]
    if not columns:
        return None
    table = as_table(training, columns)
    evaluated = as_table(replace(subject, manifest=rows), columns).manifest
    chances = _probabilities(table, part, evaluated, classes, seed)
    return None if chances is None else ({"columns": columns, "method": _METHOD, "fitted_on": part}, chances)


def ahead(model: Predictions, other: Predictions, patients: Sequence, resamples: int, seed: int) -> dict:
    """`auroc` of other predictions of the same rows and the model's `gain` over them, on the same resamples."""

    def both(weights: np.ndarray) -> np.ndarray:
        return np.stack([_auroc(one, weights) for one in (other, model)], axis=1)

    value = both(np.ones((1, len(model))))[0]
    draws = cluster_bootstrap(both, patients, resamples, seed) if resamples else np.empty((0, 2))
    gain = value[1] - value[0]
    return {
        "auroc": bounded(percentile_interval(draws[:, 0]), value[0], other, patients, "auroc"),
        "gain": bounded_difference(
            draws[:, 1] - draws[:, 0], gain, counted_for_difference(other, patients, "auroc")
        ).around(gain),
    }


def _auroc(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Of the positive class, else the mean over classes that have both kinds of rows: (samples,)."""
    each = predictions.one_vs_rest[1:] if predictions.task == "binary" else predictions.one_vs_rest
    defined = [one for one in each if one.truth.any() and not one.truth.all()]
    if not defined:
        return np.full(len(weights), np.nan)
    return np.mean([one.ranked(weights)[0] for one in defined], axis=0)


def _probabilities(table: Dataset, part: str, evaluated: pd.DataFrame, classes, seed: int) -> np.ndarray | None:
    """float64 (N, classes); None where the part has one class alone."""
    nothing = Preprocessing((), ())
    if table.task != "multilabel":
        rows = table.rows(part, labelled=True)
        if rows["label"].nunique() < 2:
            return None
        fitted = fit_baseline(_METHOD, table, rows, nothing, seed)(evaluated)
        return fitted[:, [table.classes.index(name) for name in classes]]
    chances = np.zeros((len(evaluated), len(classes)))
    for place, name in enumerate(classes):
        binary = of_class(table, name)
        rows = binary.rows(part, labelled=True)
        # Of a class that none or all of them have, the metadata say nothing.
        if rows["label"].nunique() > 1:
            chances[:, place] = fit_baseline(_METHOD, binary, rows, nothing, seed)(evaluated)[:, 1]
    return chances


def words(metrics: dict) -> list[str]:
    """Sentences for the report and the terminal, on what metrics.json has of it."""
    sentences = []
    if "floor" in metrics:
        measured = metrics["floor"]
        sentences.append(
            f"no-pixel floor: gradient boosting on {listed(measured['columns'], 6)} alone reaches AUROC "
            f"{interval(measured['auroc'])} on these rows; pixels add {interval(measured['gain'])}"
        )
    if "pixels_alone" in metrics:
        measured = metrics["pixels_alone"]
        sentences.append(
            f"pixels alone, trained alike, reach AUROC {interval(measured['auroc'])}; metadata add "
            f"{interval(measured['gain'])}"
        )
    auroc = metrics["metrics"]["auroc"] if "metrics" in metrics else {"low": None}
    for name, source in {**SEEN, "floor": "metadata"}.items():
        value = metrics[name]["auroc"]["value"] if name in metrics else None
        if None not in (value, auroc["low"]) and value >= auroc["low"]:
            beside = "above" if value > auroc["high"] else "within"
            sentences.append(
                f"{source} alone reach AUROC {interval(metrics[name]['auroc'])}, {beside} the interval of the model's "
                f"own {interval(auroc)}: it does not show that the model has learnt more than that"
            )
    return sentences
