"""Canaries: made-up patients, each put into a second training by a coin; who was, shows in how the model takes to them.

A canary of images is a test image under a wrong label; of a table, a row whose columns come from different test rows,
with a label drawn anew. Every canary is a patient of its own, as the claim protects patients. The Run's own model has
seen none of them, so it tells how likely each canary's label is without having been trained on it.

Source: Steinke, Nasr and Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023.
"""

import dataclasses
import math

import numpy as np
import pandas as pd

from medimg.audit.claim import claim_of
from medimg.audit.members import AuditSubject
from medimg.audit.one_run import audit_guesses
from medimg.audit.retrain import trained
from medimg.audit.roc import auc_of
from medimg.audit.signals import signals
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.listener import Step

FEWEST = 20


def check(subject: AuditSubject, count: int) -> None:
    """Raises InputError when so many canaries can't be made or can show nothing."""
    if count < FEWEST:
        raise InputError(f"--canaries {count}: too few to show anything; use at least {FEWEST}")
    if subject.dataset.is_table:
        return
    most = len(_sources(subject.dataset))
    if count > most:
        raise InputError(
            f"--canaries {count}: split 'test' has {most} different images to make them of; use at most {most}"
        )


def canaries(dataset: Dataset, count: int, seed: int) -> pd.DataFrame:
    """Made-up rows, each of a patient of its own, in no part yet.

    Args:
        dataset: with a test part.
        count: of an image Dataset, at most its different test images.
        seed: of the draw.

    Returns:
        Rows with the manifest's columns, labelled.
    """
    generator = np.random.default_rng([seed, 6])
    sources = _sources(dataset)
    if dataset.is_table:
        drawn = generator.integers(0, len(sources), count)
        rows = sources.iloc[drawn].copy()
        for feature in dataset.features:
            column = sources[feature.name].to_numpy()
            rows[feature.name] = column[generator.integers(0, len(sources), count)]
        rows["row"] = [f"canary-{i}" for i in range(count)]
    else:
        rows = sources.iloc[generator.choice(len(sources), count, replace=False)].copy()
    rows["label"] = [_other_label(label, dataset, generator) for label in rows["label"]]
    patients = set(dataset.manifest["patient"])
    prefix = "canary"
    while any(name.startswith(prefix) for name in patients):
        prefix += "-"
    rows["patient"] = [f"{prefix}-{i}" for i in range(count)]
    return rows.reset_index(drop=True)


def run_canaries(subject: AuditSubject, count: int, seed: int, alpha: float, progress: Step) -> dict:
    """Train once more, with half of the canaries, and bound epsilon from who is recognised.

    Args:
        subject: the Run.
        count: canaries.
        seed: of canaries, coins and training.
        alpha: the bound is too high with probability at most this.
        progress: told of the training.

    Returns:
        `count`, `inserted`, `auc`, `epsilon_lower_bound` (what `audit_guesses` says) and `claimed_epsilon` of the
        training with canaries ("infinite" without noise, None when it is not private).
    """
    from medimg.evaluation.prediction import predict

    dataset, run = subject.dataset, subject.run
    rows = canaries(dataset, count, seed)
    inside = np.random.default_rng([seed, 7]).random(count) < 0.5
    training = [
        dataset.rows("train", labelled=True),
        rows[inside].assign(split="train"),
        dataset.rows("val", labelled=True),
    ]
    targets = dataset.targets(rows)
    before = signals(predict(run.model(), dataset, rows, run.description(calibrated=False)), targets)
    own_seed = int(np.random.SeedSequence([seed, 8]).generate_state(1)[0])

    def step(what: str, done: int, total: int) -> None:
        progress(f"canaries: {what}", done, total)

    with trained(subject, pd.concat(training, ignore_index=True), own_seed, step) as second:
        answers = predict(second.model(), dataset, rows, second.description(calibrated=False))
        claim = claim_of(second)
    scores = signals(answers, targets).confidence - before.confidence
    bound = audit_guesses(scores, inside, claim.delta if claim else 0.0, alpha)
    claimed = None
    if claim:
        claimed = "infinite" if math.isinf(claim.epsilon) else claim.epsilon
    return {
        "count": count,
        "inserted": int(inside.sum()),
        "auc": auc_of(scores, inside),
        "epsilon_lower_bound": bound,
        "claimed_epsilon": claimed,
    }


def _sources(dataset: Dataset) -> pd.DataFrame:
    """Labelled test rows; of images, one of each content: twins under two labels would be a conflict."""
    rows = dataset.rows("test", labelled=True).reset_index(drop=True)
    if dataset.is_table:
        return rows
    from medimg.data.leakage import content_hashes

    pixels, broken = content_hashes(dataclasses.replace(dataset, manifest=rows))
    if broken:
        raise InputError(f"{broken[0]}; prepare the data set again")
    return rows[~pixels.duplicated()].reset_index(drop=True)


def _other_label(label: str, dataset: Dataset, generator) -> str:
    others = [name for name in dataset.classes if name not in label.split("|")]
    if dataset.is_table:
        # Columns of different rows have no right label.
        others = list(dataset.classes)
    return str(generator.choice(others or list(dataset.classes)))
