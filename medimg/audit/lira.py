"""The likelihood-ratio attack: the model's confidence in a row against that of models that have, or have not, seen it.

Shadow models come in pairs: of all patients of train and of the non-members' part a random half trains the first and
the other half the second, so each patient is in exactly half of the models. Validation patients stay what they are.

Source: Carlini, Chien, Nasr, Song, Terzis and Tramer, Membership Inference Attacks From First Principles, IEEE S&P
2022; the likelihood ratio is TF-Privacy's `compute_score_lira`.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.audit.members import AuditSubject
from medimg.audit.retrain import FOLDER, options, trained
from medimg.audit.signals import signals
from medimg.errors import InputError
from medimg.listener import Step
from medimg.untrusted.csv_cells import read_csv

FEWEST_MODELS = 8
# Below so many models a variance of each row's own is noisier than one for all rows.
OWN_VARIANCE = 64


@dataclass(frozen=True, eq=False)
class Shadows:
    """What the shadow models answer.

    Attributes:
        confidence: float64 (models, N), `Signals.confidence` of each row.
        inside: bool (models, N), whether the row was in the model's training part.
    """

    confidence: np.ndarray
    inside: np.ndarray

    def seen(self) -> list[np.ndarray]:
        """Of each row, confidences (m, 1) of the models that were trained on it."""
        return [c[i][:, None] for c, i in zip(self.confidence.T, self.inside.T, strict=True)]

    def unseen(self) -> list[np.ndarray]:
        """Of each row, confidences (m, 1) of the models that were not."""
        return [c[~i][:, None] for c, i in zip(self.confidence.T, self.inside.T, strict=True)]


def check(models: int) -> None:
    """Raises InputError when a number of shadow models can't be used."""
    if models < FEWEST_MODELS or models % 2:
        raise InputError(
            f"--shadow-models {models}: lira needs an even number, at least {FEWEST_MODELS} (64 and more for a strong "
            "attack)"
        )


def memberships(patients: np.ndarray, models: int, seed: int) -> np.ndarray:
    """Which rows each shadow model is trained on: bool (models, N); rows of a patient go together."""
    names, where = np.unique(patients, return_inverse=True)
    inside = np.empty((models, len(names)), bool)
    for pair in range(models // 2):
        order = np.random.default_rng([seed, 4, pair]).permutation(len(names))
        inside[2 * pair] = order < len(names) // 2
        inside[2 * pair + 1] = ~inside[2 * pair]
    return inside[:, where]


def shadows(subject: AuditSubject, models: int, seed: int, progress: Step, before: int = 0, total: int = 0) -> Shadows:
    """Train the shadow models, or read what an earlier audit with the same data, options and seed kept.

    Only confidences are kept, in `RUN/audit/`: an audit that was stopped goes on where it was.

    Args:
        subject: the Run, its rows and the pool that they are of.
        models: even, at least FEWEST_MODELS.
        seed: of their training parts and trainings.
        progress: told of models done.
        before: models done before these.
        total: models in all; 0: these.
    """
    inside = memberships(subject.pool["patient"].to_numpy(str), models, seed)
    key = _key(subject, seed)
    answers = []
    for number, part in enumerate(inside):
        path = subject.run.root / FOLDER / f"shadow-{key}-{number:04d}.csv"
        confidences = _read(path, len(subject.rows))
        if confidences is None:
            confidences = _train_one(subject, part, seed, number)
            atomic.write_csv(path, pd.DataFrame({"confidence": confidences}))
        answers.append(confidences)
        progress("shadow models", before + number + 1, total or models)
    return Shadows(np.array(answers), inside[:, subject.where])


def online_scores(confidence: np.ndarray, shadows: Shadows) -> np.ndarray:
    """log Pr(confidence | seen) - log Pr(confidence | not seen), both normal: (N,), higher = rather a member."""
    return -_library("both", confidence, shadows)


def offline_scores(confidence: np.ndarray, shadows: Shadows) -> np.ndarray:
    """How many standard deviations the confidence lies above that of models that have not seen the row: (N,)."""
    unseen = shadows.unseen()
    centre = np.array([np.median(values) for values in unseen])
    around = [values[:, 0] - middle for values, middle in zip(unseen, centre, strict=True)]
    if len(shadows.inside) < OWN_VARIANCE:
        spread = np.concatenate(around).std()
    else:
        spread = np.array([values.std() for values in around])
    return (confidence - centre) / (spread + 1e-30)


def difficulty(shadows: Shadows) -> np.ndarray:
    """Mean confidence of models that have not seen the row, (N,): if it tells members, the parts differ."""
    return np.array([values.mean() for values in shadows.unseen()])


def _library(option: str, confidence: np.ndarray, shadows: Shadows) -> np.ndarray:
    from tensorflow_privacy.privacy.privacy_tests.membership_inference_attack import advanced_mia

    return advanced_mia.compute_score_lira(
        confidence[:, None],
        shadows.seen(),
        shadows.unseen(),
        option=option,
        fix_variance=len(shadows.inside) < OWN_VARIANCE,
    )


def _train_one(subject: AuditSubject, inside: np.ndarray, seed: int, number: int) -> np.ndarray:
    from medimg.evaluation.prediction import predict

    training = subject.pool[inside].assign(split="train")
    rows = pd.concat([training, subject.dataset.rows("val", labelled=True)])
    own_seed = int(np.random.SeedSequence([seed, 5, number]).generate_state(1)[0])
    with trained(subject, rows, own_seed) as run:
        answers = predict(run.model(), subject.dataset, subject.rows, run.description(calibrated=False))
    return signals(answers, subject.targets).confidence


def _key(subject: AuditSubject, seed: int) -> str:
    # Always at their default here, or without a say in logits: confidences of audits before there were such options
    # stay of use.
    newer = ("audit_holdout", "calibrate", "member", "seeds", "vote", "metadata")
    trained_by = {key: value for key, value in options(subject.run).to_dict().items() if key not in newer}
    decides = [subject.dataset.fingerprint(), trained_by, seed]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]


def _read(path, rows: int) -> np.ndarray | None:
    if not path.is_file():
        return None
    table = read_csv(path)
    return table["confidence"].to_numpy(np.float64) if len(table) == rows else None
