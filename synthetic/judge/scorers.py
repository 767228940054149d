"""Training sets of real rows, of synthetic rows and of both, for the classifiers of a table or of images."""

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.tables.fit import fit
from synthetic.judge import classifiers
from synthetic.judge.config import CLASSIFIERS, SMALL_CNN, JudgeConfig
from synthetic.judge.pictures import Pictures
from synthetic.judge.rows import Subject
from synthetic.judge.utility import Scorer
from synthetic.judge.vectors import ENCODING, Vectors


def names(dataset: Dataset, config: JudgeConfig) -> tuple[str, ...]:
    """The classifiers of `--train-with` that the Dataset can be judged with, each once.

    Raises:
        InputError: an unknown one, none is left, or `--classifier` is not among them.
    """
    requested = tuple(dict.fromkeys(config.train_with))
    for name in requested:
        if name not in (*CLASSIFIERS, SMALL_CNN):
            choices = ", ".join((*CLASSIFIERS, SMALL_CNN))
            raise InputError(f"--train-with {name}: choose one or more of {choices}")
    usable = tuple(name for name in requested if name != SMALL_CNN or not dataset.is_table)
    if not usable or (usable != requested and "train_with" in config.names_given()):
        raise InputError(f"--train-with {SMALL_CNN}: takes images only; name one of the others")
    if config.classifier not in ("mean", *usable):
        raise InputError(f"--classifier {config.classifier}: is not trained here; choose mean or {', '.join(usable)}")
    return usable


def of_table(subject: Subject, config: JudgeConfig) -> Scorer:
    """Each training set learns its own imputation, scales and categories, as whoever has only that would have to."""
    rows = {
        "real": subject.train,
        "synthetic": subject.made,
        "both": pd.concat([subject.train, subject.made], ignore_index=True),
    }
    encoded = {name: _encoded(subject, part) for name, part in rows.items()}

    def score(training: str, classifier: str) -> np.ndarray:
        features, targets, tested = encoded[training]
        classes = len(subject.real.classes)
        return classifiers.fit_predict(classifier, features, targets, tested, classes, config.seed)

    return score


def _encoded(subject: Subject, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    targets = subject.real.targets(rows)
    try:
        preprocessing = fit(subject.real, rows, ENCODING)
    except InputError:
        # Of synthetic rows that are all the same: there is one column, and it tells nothing.
        return np.zeros((len(rows), 1)), targets, np.zeros((len(subject.test), 1))
    return preprocessing.transform(rows), targets, preprocessing.transform(subject.test)


def of_images(subject: Subject, pictures: Pictures, vectors: Vectors, config: JudgeConfig) -> Scorer:
    """Classifiers on the features, and a small CNN on the pixels."""
    targets = {"real": subject.real.targets(subject.train), "synthetic": subject.real.targets(subject.made)}
    targets["both"] = np.concatenate([targets["real"], targets["synthetic"]])
    points = {"real": vectors.train, "synthetic": vectors.made}
    points["both"] = np.concatenate([vectors.train, vectors.made])
    classes = len(subject.real.classes)

    def score(training: str, classifier: str) -> np.ndarray:
        if classifier != SMALL_CNN:
            arrays = (points[training], targets[training], vectors.test)
            return classifiers.fit_predict(classifier, *arrays, classes, config.seed)
        from synthetic.judge import small_cnn

        pixels = {
            "real": lambda: pictures.train,
            "synthetic": lambda: pictures.made,
            "both": lambda: np.concatenate([pictures.train, pictures.made]),
        }
        steps = config.cnn_epochs * -(-len(pictures.train) // small_cnn.BATCH)
        return small_cnn.fit_predict(pixels[training](), targets[training], pictures.test, classes, steps, config.seed)

    return score
