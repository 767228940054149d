"""Heart disease, four hospitals, five folds: our models beside plain scikit-learn and plain Keras on the same folds."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.material import table
from medimg.config import PrepareConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.folds import in_fold
from medimg.preparation.prepare import prepare
from medimg.training.cross_validation import cross_validate

DATA = Path(os.environ.get("MEDIMG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
FOLDS = 5
DROPOUT = 0.5


def matrices(part: Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    """(columns, labels) of train, val and test by scikit-learn's own transformers, fitted on train."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    nominal = [f.name for f in part.inputs if f.type == "categorical"]
    numbers = [f.name for f in part.inputs if f.type != "categorical"]

    def raw(rows: pd.DataFrame) -> pd.DataFrame:
        columns = {name: pd.to_numeric(rows[name]) for name in numbers}
        return pd.DataFrame(columns | {name: rows[name].replace("", np.nan) for name in nominal})

    transform = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            (
                "categories",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                nominal,
            ),
        ],
        sparse_threshold=0.0,
    )
    parts = [part.rows(name) for name in ("train", "val", "test")]
    transform.fit(raw(parts[0]))
    return [(transform.transform(raw(rows)), part.targets(rows)) for rows in parts]


def scikit_learn(train, val, test, seed: int, penalty: float = 1.0) -> np.ndarray:
    """Chance of disease by LogisticRegression on train and val together: it needs no rows to stop by."""
    from sklearn.linear_model import LogisticRegression

    x, y = (np.concatenate(parts) for parts in zip(train, val, strict=True))
    return LogisticRegression(C=penalty, max_iter=5000).fit(x, y).predict_proba(test[0])[:, 1]


def stronger(train, val, test, seed: int) -> np.ndarray:
    """The same with the penalty that early stopping amounts to on these data."""
    return scikit_learn(train, val, test, seed, penalty=0.1)


def keras(train, val, test, seed: int) -> np.ndarray:
    """Chance of disease by a plain Keras network of the mlp's form, best epoch by validation loss."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    penalty = tf.keras.regularizers.L2(1e-3)
    model = tf.keras.Sequential()
    for _ in range(2):
        model.add(layers.Dense(64, "relu", kernel_regularizer=penalty))
        model.add(layers.Dropout(DROPOUT))
    model.add(layers.Dense(1, "sigmoid", kernel_regularizer=penalty))
    model.compile(tf.keras.optimizers.Adam(1e-3), "binary_crossentropy")
    stop = tf.keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True)
    model.fit(*train, validation_data=val, epochs=200, verbose=0, callbacks=[stop])
    return model.predict(test[0], verbose=0)[:, 0]


def reference(dataset: Dataset, fit, seed: int) -> float:
    """Pooled AUROC of a plain model over the folds."""
    chances, labels = [], []
    for fold in range(1, FOLDS + 1):
        train, val, test = matrices(in_fold(dataset, FOLDS, fold, seed))
        chances.append(fit(train, val, test, seed))
        labels.append(test[1])
    return roc_auc_score(np.concatenate(labels), np.concatenate(chances))


if __name__ == "__main__":
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        dataset = prepare("heart", DATA / "heart_disease", root / "data", PrepareConfig())
        plain_models = (
            ("logistic", "scikit-learn, C = 1", scikit_learn),
            ("logistic", "scikit-learn, C = 0.1", stronger),
            ("mlp", "Keras", keras),
        )
        for model, what, fit in plain_models:
            for seed in (0, 1, 2):
                config = TrainConfig(model=model, folds=FOLDS, seed=seed)
                out = root / f"{model}{seed}"
                result = cross_validate(dataset.root, out, config, resume=out.exists())
                ours = result["metrics"]["auroc"]
                plain = reference(dataset, fit, seed)
                sites = ", ".join(f"{site} {values['auroc']['value']:.3f}" for site, values in result["sites"].items())
                text = f"{ours['value']:.4f} [{ours['low']:.3f}, {ours['high']:.3f}]"
                difference = f"{ours['value'] - plain:+.4f}"
                rows.append([model, seed, text, what, f"{plain:.4f}", difference, sites])
    table(
        ["model", "seed", "pooled AUROC (>= 0.87)", "plain", "its AUROC", "difference (within 0.01)", "per site"], rows
    )
