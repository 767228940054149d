"""Is it trained? What a logistic regression learns from the made rows, and how far their columns have drifted.

An undertrained generator is common on small tables and invisible in its losses: its rows look like rows, but their
label has nothing to do with them.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.tables.sklearn_models import fit_baseline

# Of AUROC below what real rows teach, and of a column's mean distance, from where on it is said.
GAP = 0.10
DRIFT = 0.25
PRIVATE_FLOOR = 0.6
FOLDS = 5
MOST_ROWS = 20_000


@dataclass(frozen=True)
class Usefulness:
    """What the check found; None where it could not be measured.

    Attributes:
        auroc: of a logistic regression trained on made rows, on real ones.
        real_auroc: of one trained on real rows, cross-validated.
        drift: mean over columns of the distance between made and real: total variation of categories,
            Kolmogorov-Smirnov of numbers, 0 to 1.
        drift_worst: the column that drifted most.
    """

    auroc: float | None
    real_auroc: float | None = None
    drift: float | None = None
    drift_worst: str = ""

    @property
    def undertrained(self) -> str:
        """Why the generator counts as undertrained, in words; empty: it does not."""
        if self.real_auroc is None and self.auroc is not None and self.auroc < PRIVATE_FLOOR:
            return (
                f"a logistic regression trained on the synthetic rows has AUROC {self.auroc:.2f} on real rows of "
                "split val (0.5: chance)"
            )
        if None not in (self.auroc, self.real_auroc) and self.real_auroc - self.auroc > GAP:
            return (
                f"a logistic regression trained on the synthetic rows has AUROC {self.auroc:.2f} on real rows, one "
                f"trained on real rows {self.real_auroc:.2f}"
            )
        if self.drift is not None and self.drift > DRIFT:
            return f"columns are {self.drift:.2f} from the real ones on average (most: '{self.drift_worst}')"
        return ""

    def to_dict(self) -> dict:
        """Plain values for YAML."""
        return {**asdict(self), "undertrained": bool(self.undertrained)}


def usefulness(dataset: Dataset, made: pd.DataFrame, rows: pd.DataFrame, seed: int) -> Usefulness:
    """Check made rows against the real rows of train and val; split test is not looked at.

    Args:
        dataset: the real one.
        made: `label` and the columns.
        rows: labelled training rows, which the generator saw.
        seed: of folds and samples.
    """
    real = pd.concat([rows, dataset.rows("val", labelled=True)])
    real = real.sample(min(len(real), MOST_ROWS), random_state=seed)
    made = made.sample(min(len(made), MOST_ROWS), random_state=seed)
    return Usefulness(*taught(dataset, made, real, seed), *drift(dataset, rows, made))


def taught(dataset: Dataset, made: pd.DataFrame, real: pd.DataFrame, seed: int) -> tuple[float | None, float | None]:
    """AUROC on real rows of a logistic regression trained on made ones, and of one cross-validated on the real ones."""
    return auroc(dataset, made, real), _cross_validated(dataset, real, seed)


def drift(dataset: Dataset, real: pd.DataFrame, made: pd.DataFrame) -> tuple[float, str]:
    """Mean distance of the columns, and the column of the largest."""
    distances = {f.name: distance(real[f.name], made[f.name], f) for f in dataset.inputs}
    return float(np.mean(list(distances.values()))), max(distances, key=distances.get)


def private_usefulness(dataset: Dataset, made: pd.DataFrame) -> Usefulness:
    """The same by the rows of val alone: what training rows tell would cost privacy."""
    return Usefulness(auroc(dataset, made, dataset.rows("val", labelled=True)))


def auroc(
    dataset: Dataset, made: pd.DataFrame, real: pd.DataFrame, classifier: str = "logistic-regression"
) -> float | None:
    """AUROC on real rows of a classifier that learnt from made ones, macro over the classes that can be measured.

    Args:
        dataset: classes and features.
        made: labelled rows to learn from.
        real: labelled rows to test on.
        classifier: one that needs no preprocessing: logistic-regression or gradient-boosting.

    Returns:
        None where either has one class only, or the task is multilabel.
    """
    if dataset.task == "multilabel" or min(made["label"].nunique(), real["label"].nunique()) < 2:
        return None
    learning = replace(dataset, manifest=made)
    try:
        probabilities = fit_baseline(classifier, learning, made, None)(real)
    except ValueError:
        # No column of the made rows is known: nothing can be learnt from them.
        return 0.5
    return _macro_auroc(dataset.targets(real), probabilities)


def distance(real: pd.Series, made: pd.Series, feature: Feature) -> float:
    """Between two samples of a column, 0 (alike) to 1: of numbers Kolmogorov-Smirnov, missing ones lowest; else total
    variation.
    """
    if feature.is_number:
        values = [np.sort(np.nan_to_num(s.to_numpy(float), nan=-np.inf)) for s in (real, made)]
        at = np.concatenate(values)
        below = [np.searchsorted(v, at, side="right") / len(v) for v in values]
        return float(np.abs(below[0] - below[1]).max())
    if feature.type == "date":
        # ISO dates are ordered as texts; missing ones come first.
        codes, _ = pd.factorize(pd.concat([real, made]), sort=True)
        plain = Feature(feature.name, "integer")
        parts = pd.Series(codes[: len(real)]), pd.Series(codes[len(real) :])
        return distance(*parts, plain)
    shares = pd.concat([s.value_counts(normalize=True) for s in (real, made)], axis=1).fillna(0.0)
    return float(shares.diff(axis=1).iloc[:, 1].abs().sum() / 2)


def _cross_validated(dataset: Dataset, real: pd.DataFrame, seed: int) -> float | None:
    patients = real.groupby("label")["patient"].nunique()
    folds = min(FOLDS, patients.min())
    if folds < 2 or dataset.task == "multilabel":
        return None
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    scores = []
    for learnt, tested in splitter.split(real, real["label"], real["patient"]):
        score = auroc(dataset, real.iloc[learnt], real.iloc[tested])
        if score is not None:
            scores.append(score)
    return float(np.mean(scores)) if scores else None


def _macro_auroc(targets: np.ndarray, probabilities: np.ndarray) -> float | None:
    scores = [
        roc_auc_score(targets == k, probabilities[:, k])
        for k in np.unique(targets)
        if 0 < (targets == k).sum() < len(targets)
    ]
    return float(np.mean(scores)) if scores else None
