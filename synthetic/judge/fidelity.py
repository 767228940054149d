"""Fidelity: do the synthetic rows lie where real ones do? Every measure stands beside that of as many real rows.

Everything is compared with the held-out rows: the synthetic ones, and a draw of the training rows of the same size,
which shows what a perfect generator would score.
"""

import numpy as np

from synthetic.judge import novelty, structure
from synthetic.judge.frechet import frechet_distance
from synthetic.judge.prdc import prdc
from synthetic.judge.quality import quality
from synthetic.judge.rows import Subject
from synthetic.judge.vectors import Vectors


def equal_draws(subject: Subject, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of as many synthetic as training rows: int (n,) twice, in order."""
    n = min(len(subject.made), len(subject.train))
    generator = np.random.default_rng([seed, 3])
    return tuple(np.sort(generator.choice(len(rows), n, replace=False)) for rows in (subject.made, subject.train))


def of_table(subject: Subject, vectors: Vectors, seed: int) -> dict:
    """Column shapes and pair trends (SDMetrics), structure kept, novel values, precision to coverage."""
    drawn, baseline = equal_draws(subject, seed)
    made, train = subject.made.iloc[drawn], subject.train.iloc[baseline]
    inputs = subject.real.inputs
    scored = {"synthetic": quality(subject.test, made, inputs)}
    scored["real"] = quality(subject.test, train, inputs)
    return {
        "rows": len(drawn),
        "column_shapes": {name: report["column_shapes"] for name, report in scored.items()},
        "pair_trends": {name: report["pair_trends"] for name, report in scored.items()},
        "columns": {
            name: {kind: report["columns"].get(name) for kind, report in scored.items()}
            for name in scored["synthetic"]["columns"]
        },
        "structure": structure.compare(subject.test, train, made, inputs, seed),
        "novelty": novelty.measure(subject),
        "manifold": _manifold(vectors, drawn, baseline),
        "features": vectors.name,
    }


def of_images(subject: Subject, vectors: Vectors, seed: int) -> dict:
    """Precision to coverage and the Fréchet distance, in features that are named."""
    drawn, baseline = equal_draws(subject, seed)
    return {
        "rows": len(drawn),
        "features": vectors.name,
        "manifold": _manifold(vectors, drawn, baseline),
        "frechet_distance": {
            "synthetic": frechet_distance(vectors.test, vectors.made[drawn]),
            "real": frechet_distance(vectors.test, vectors.train[baseline]),
        },
    }


def _manifold(vectors: Vectors, drawn: np.ndarray, baseline: np.ndarray) -> dict:
    return {"synthetic": prdc(vectors.test, vectors.made[drawn]), "real": prdc(vectors.test, vectors.train[baseline])}
