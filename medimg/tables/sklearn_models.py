"""What plain scikit-learn reaches on the same training rows of a table: a yardstick for the models here.

Defaults of scikit-learn throughout, nothing is tuned: a model that does not beat them has yet to earn its keep.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.tables import raw
from medimg.tables.preprocessing import Preprocessing

NONE = "none"
# What gradient boosting's bins hold; rarer categories count as missing.
MOST_CATEGORIES = 255
TREES = 300
# Rows that each tree of the forest is grown on at most: fully grown trees of a million rows would fill the memory.
MOST_ROWS_OF_A_TREE = 20_000

# Below this, threads wait for each other longer than they work: on a busy machine 100 times as long.
ROWS_WORTH_THREADS = 100_000

Probabilities = Callable[[pd.DataFrame], np.ndarray]


def wanted(names: tuple[str, ...]) -> tuple[str, ...]:
    """The baselines that `--baseline` names, each once; `none` is none of them.

    Raises:
        InputError: an unknown name, or `none` beside another.
    """
    names = tuple(dict.fromkeys(names))
    if names == (NONE,):
        return ()
    for name in names:
        if name not in BASELINES:
            offers = ", ".join((*BASELINES, NONE))
            beside = " alone" if name == NONE else ""
            raise InputError(f"--baseline {name}{beside}: choose one or more of {offers}")
    return names


def fit_baseline(
    name: str, dataset: Dataset, rows: pd.DataFrame, preprocessing: Preprocessing, seed: int = 0
) -> Probabilities:
    """Fit a baseline on training rows.

    Args:
        name: one of BASELINES.
        dataset: a table, binary or multiclass.
        rows: its labelled training rows; nothing else is looked at.
        preprocessing: fitted on the same rows; the random forest takes what it gives, the others the raw columns.
        seed: of what is random in the fit.

    Returns:
        A function from rows to float64 (N, classes), a class that the rows lack with probability 0.

    Raises:
        InputError: the task is multilabel, or the rows hold one class only.
    """
    if dataset.task == "multilabel":
        raise InputError(f"--baseline {name}: takes binary and multiclass tables only; give --baseline none")
    targets = dataset.targets(rows)
    if len(np.unique(targets)) < 2:
        raise InputError(
            f"{dataset.root}: the training rows have one class only, so --baseline {name} can't be fitted; "
            "give --baseline none"
        )
    encode, model = BASELINES[name](dataset, rows, preprocessing, seed)
    with _threads(len(rows)):
        model.fit(encode(rows), targets)
    # Threads add the trees' votes in any order, and so in any last digit.
    if hasattr(model, "n_jobs"):
        model.n_jobs = 1
    classes = len(dataset.classes)

    def probabilities(frame: pd.DataFrame) -> np.ndarray:
        result = np.zeros((len(frame), classes))
        if len(frame):
            with _threads(len(frame)):
                result[:, model.classes_] = model.predict_proba(encode(frame))
        return result

    return probabilities


def _threads(rows: int):
    from threadpoolctl import threadpool_limits

    return threadpool_limits(None if rows >= ROWS_WORTH_THREADS else 1, "openmp")


def _gradient_boosting(dataset, rows, preprocessing, seed):
    """Numbers and orders as they are, categories as categories, missing values as missing."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    inputs = tuple(_commonest(column, rows) for column in _known_inputs(dataset, rows))
    nominal = [column.type == "categorical" for column in inputs]
    model = HistGradientBoostingClassifier(categorical_features=nominal, random_state=seed)
    return lambda frame: _raw(frame, inputs), model


def _random_forest(dataset, rows, preprocessing, seed):
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(TREES, max_samples=min(len(rows), MOST_ROWS_OF_A_TREE), n_jobs=-1, random_state=seed)
    return preprocessing.transform, model


def _logistic_regression(dataset, rows, preprocessing, seed):
    """Its own preprocessing, by scikit-learn alone: an independent check of the model `logistic`."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    inputs = _known_inputs(dataset, rows)
    nominal = np.array([column.type == "categorical" for column in inputs])
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = make_column_transformer(
        (numbers, np.flatnonzero(~nominal)),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), np.flatnonzero(nominal)),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000, random_state=seed))
    return lambda frame: _raw(frame, inputs), model


# How each one is made: (dataset, training rows, preprocessing, seed) -> rows to its matrix, and the unfitted model.
BASELINES = {
    "gradient-boosting": _gradient_boosting,
    "random-forest": _random_forest,
    "logistic-regression": _logistic_regression,
}


def _known_inputs(dataset: Dataset, rows: pd.DataFrame) -> tuple[raw.Input, ...]:
    """The columns that a training row knows; one that none knows has nothing to teach."""
    inputs = tuple(raw.input_of(rows, feature) for feature in dataset.inputs)
    has_values = ~np.isnan(raw.read(rows, inputs)).all(axis=0)
    return tuple(column for column, has in zip(inputs, has_values, strict=True) if has)


def _commonest(column: raw.Input, rows: pd.DataFrame) -> raw.Input:
    """A nominal column with its commonest categories, as many as there may be."""
    if column.type != "categorical" or len(column.categories) <= MOST_CATEGORIES:
        return column
    codes = raw.read(rows, (column,))[:, 0]
    count = Counter(codes[~np.isnan(codes)].astype(int).tolist())
    commonest = sorted(code for code, _ in count.most_common(MOST_CATEGORIES))
    return replace(column, categories=tuple(column.categories[code] for code in commonest))


def _raw(frame: pd.DataFrame, inputs: tuple[raw.Input, ...]) -> np.ndarray:
    """float64 (N, n), NaN for missing and for categories that training has not seen."""
    values = raw.read(frame, inputs)
    for i, column in enumerate(inputs):
        if column.categories:
            values[values[:, i] == raw.UNSEEN, i] = np.nan
    return values
