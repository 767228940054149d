"""What the synthetic rows give away of the training patients, beside what they give away of held-out ones."""

import numpy as np
import pandas as pd

from medimg.tables import raw
from synthetic.judge import attribute, closest, membership
from synthetic.judge.config import JudgeConfig
from synthetic.judge.neighbours import nearest
from synthetic.judge.rows import Subject
from synthetic.judge.vectors import Vectors


def measure(subject: Subject, vectors: Vectors, found_copies: dict, config: JudgeConfig) -> dict:
    """Every measure of privacy.

    Args:
        subject: the rows.
        vectors: their points; the label is added, since it is part of a record.
        found_copies: of `synthetic.judge.copies`.
        config: `bootstrap`, `seed`.

    Returns:
        `held_out_patients`, `copies`, `closer_to_train`, `distance_ratio` {"synthetic", "held_out"}, `closest_distance`
        likewise (medians), `membership` by attack and, of a table, `attribute` by column.
    """
    points = vectors.with_labels(subject)
    patients = subject.pool["patient"].to_numpy()
    common = (points.made, points.pool, subject.member, patients, config.bootstrap, config.seed)
    result = {
        "held_out_patients": int(subject.test["patient"].nunique()),
        "copies": found_copies,
        "closer_to_train": closest.closer_to_train(*common),
        "distance_ratio": {
            "synthetic": closest.distance_ratio(points.made, points.train),
            "held_out": closest.distance_ratio(points.test, points.train),
        },
        "closest_distance": {
            "synthetic": float(np.median(nearest(points.made, points.train)[0])),
            "held_out": float(np.median(nearest(points.test, points.train)[0])),
        },
        "membership": membership.infer(*common),
    }
    if subject.real.is_table:
        result["attribute"] = _attributes(subject, points)
    return result


def _attributes(subject: Subject, points: Vectors) -> dict:
    """The label is a secret like any other: a diagnosis is what an insurer would want to know."""
    parts = (subject.made, subject.train, subject.test)
    inputs = tuple(raw.input_of(pd.concat(parts), feature) for feature in subject.real.inputs)
    labels = [subject.real.targets(rows).astype(np.float64) for rows in parts]
    values = tuple(
        np.column_stack([label, raw.read(rows, inputs)])
        for rows, label in zip(parts, labels, strict=True)
        if label.ndim == 1
    )
    return attribute.infer(
        ("label", *(column.name for column in inputs)),
        (points.made, points.train, points.test),
        points.sources,
        values,
        (False, *(column.is_number for column in inputs)),
        (subject.train["patient"], subject.test["patient"]),
    )
