"""Brightness, texture and shape of a split's images: what of a Run's answers goes with them."""

import numpy as np
import pandas as pd

from explain.appearance.surrogate import attribute, log_odds
from explain.explainer import Explainer
from explain.selection import split_rows
from medimg.data.dataset import Dataset
from medimg.evaluation.intervals import Measured
from medimg.inspection.appearance import measure
from medimg.privacy.release import reference_split

_BATCH = 64
# Images below which nothing is fitted, or held against a fit.
FEWEST = 20


def appearance(explainer: Explainer, dataset: Dataset, split: str, count: int, seed: int) -> dict:
    """Content of appearance.json.

    Args:
        explainer: of the Run's model.
        dataset: its Dataset.
        split: part whose images are explained.
        count: most images that are explained, and twice as many that the surrogate is fitted on, of another part.
        seed: of the choice and the fit.

    Returns:
        `split`, `fitted_on`, `n` and `patients` explained, `n_fitted`, and `of`: class (of two the positive one) ->
        what `attribute` returns.
    """
    part = next(name for name in (reference_split(explainer.run.config["options"]), "val", "test") if name != split)
    fitted, explained = _some(dataset.rows(part), 2 * count, seed), _some(split_rows(dataset, split), count, seed)
    about = {
        "split": split, "fitted_on": part, "n": len(explained), "patients": int(explained["patient"].nunique()),
        "n_fitted": len(fitted),
    }  # fmt: skip
    indices = {explainer.classes[i]: i for i in ([1] if explainer.task == "binary" else range(len(explainer.classes)))}
    for name, rows in ((part, fitted), (split, explained)):
        if len(rows) < FEWEST:
            reason = f"{name} has {len(rows)} images of the {FEWEST} that it takes"
            none = {"r2": Measured()._asdict(), "not_available": reason}
            return {**about, "of": dict.fromkeys(indices, none)}
    (reference, reference_scores), (features, scores) = (
        _measured(explainer, dataset, rows) for rows in (fitted, explained)
    )
    patients = explained["patient"].to_numpy()
    of = {
        name: attribute(reference, reference_scores[:, i], features, scores[:, i], patients, seed)
        for name, i in indices.items()
    }
    return {**about, "of": of}


def _some(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    return rows.sample(min(count, len(rows)), random_state=seed)


def _measured(explainer: Explainer, dataset: Dataset, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Features float64 (N, F) and the log-odds of each class float64 (N, classes)."""
    features, scores = [], []
    for start in range(0, len(rows), _BATCH):
        inputs = explainer.rows(dataset, rows.iloc[start : start + _BATCH])
        features.append(measure(inputs[0]))
        scores.append(log_odds(explainer.model(inputs, training=False), explainer.task))
    return np.concatenate(features), np.concatenate(scores)
