"""`medimg judge`: measure synthetic rows against real ones, say whether to share them, and write it down."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medimg.listener import Step
from medimg.lock import locked
from medimg.options import of_data
from synthetic.judge import (
    copies,
    discoveries,
    diversity,
    fidelity,
    privacy,
    report_folder,
    scorers,
    tail,
    tail_parts,
    thumbnails,
    unjudged,
    utility,
)
from synthetic.judge.config import JudgeConfig
from synthetic.judge.rows import Subject, load
from synthetic.judge.vectors import Vectors, of_table
from synthetic.judge.verdict import formal_guarantee, guaranteed
from synthetic.judge.verdict import judge as verdict_on

# Classifiers learn from more rows than distances are measured between.
MOST_TRAINING_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Judged:
    """What the report draws, beside the measures.

    Attributes:
        subject: the rows, at most `most_rows` of each part.
        vectors: their points.
        pairs: `made`, `train`, `test` -> class -> differences of random pairs.
        pictures: `synthetic.judge.pictures.Pictures`; None of a table.
    """

    subject: Subject
    vectors: Vectors
    pairs: dict
    pictures: object = None


def judge(
    synthetic: Path, real: Path, config: JudgeConfig, progress: Step | None = None, report: Path | None = None
) -> dict:
    """Judge a synthetic Dataset; write judgement.json, report.html and figures/*.png beside it, nothing into it.

    Args:
        synthetic: the Dataset to be judged.
        real: the Dataset whose train part it was learnt from, and whose test part was held out.
        config: options of the command.
        progress: called with what is done, how far, and of how many.
        report: folder of the judgement; None: `report_folder.beside` the synthetic Dataset.

    Returns:
        The content of judgement.json, which names no real row, image or patient.

    Raises:
        InputError: an option or a Dataset can't be used, or the report can't lie where it should.
    """
    everything = load(synthetic, real)
    config.require_effect(of_data(everything.real.is_table))
    folder = report_folder.checked(synthetic, real, report)
    report_folder.require_apart(everything.synthetic)
    with locked(folder):
        return _judged(everything, config, progress, folder)


def _judged(everything: Subject, config: JudgeConfig, progress: Step | None, folder: Path) -> dict:
    """Measure, and write what was found."""
    # Lazily: drawing needs matplotlib.
    from synthetic.judge.report import write

    result, judged = measures(everything, config, progress)
    content = {
        "synthetic": str(everything.synthetic.root.resolve()),
        "real": str(everything.real.root.resolve()),
        "dataset": everything.real.name,
        "positive_class": everything.real.positive,
        "unit": everything.real.unit,
        "origin": everything.origin,
        "real_fingerprint": everything.real.fingerprint(),
        "rows": {"train": len(everything.train), "test": len(everything.test), "synthetic": len(everything.made)},
        **result,
        **verdict_on(result, formal_guarantee(everything)),
        "notes": judged.subject.notes,
        "options": config.to_dict(),
    }
    shareable = write(content, judged, folder)
    report_folder.clear_earlier(everything.synthetic.root)
    return shareable


def measures(everything: Subject, config: JudgeConfig, progress: Step | None = None) -> tuple[dict, Judged]:
    """`utility`, `fidelity`, `diversity` and `privacy` of judgement.json, and what a report draws; nothing is written.

    Raises:
        InputError: an option can't be used.
    """
    progress = progress or (lambda stage, done, total: None)
    names = scorers.names(everything.real, config)
    kind = _table if everything.real.is_table else _images
    result, judged = kind(everything, names, config, progress)
    result["privacy"]["unjudged"] = unjudged.measure(everything)
    return result, judged


def _table(everything: Subject, names: tuple[str, ...], config: JudgeConfig, progress: Step) -> tuple[dict, Judged]:
    features = everything.real.inputs
    limited = everything.limited(config.most_rows, config.seed)
    vectors = of_table(limited)
    learning = everything.limited(MOST_TRAINING_ROWS, config.seed)
    score = scorers.of_table(learning, config)
    result = {"utility": utility.measure(learning, names, score, config, progress)}
    result["utility"]["discoveries"] = discoveries.measure(limited, guaranteed(everything), config.seed)
    progress("measures", 0, 3)
    result["fidelity"] = fidelity.of_table(limited, vectors, config.seed)
    progress("measures", 1, 3)
    drawn, baseline = fidelity.equal_draws(limited, config.seed)
    points = {"made": vectors.made, "train": vectors.train, "test": vectors.test}
    differences = {name: diversity.of_points(part) for name, part in points.items()}
    result["diversity"], pairs = _diversity(limited, differences, config)
    result["diversity"] |= {
        "measure": "distance of standardised columns",
        "duplicates": {
            "synthetic": diversity.duplicate_rows(limited.made.iloc[drawn], features),
            "real": diversity.duplicate_rows(limited.train.iloc[baseline], features),
        },
        "categories": diversity.categories(everything),
    }
    progress("measures", 2, 3)
    closest = tail.measure(tail_parts.of_table(everything, config.seed))
    measured = privacy.measure(limited, vectors, copies.of_table(everything), config)
    result["privacy"] = measured | {"tail": closest}
    progress("measures", 3, 3)
    notes = list(dict.fromkeys([*limited.notes, *learning.notes, *_drawn_note(closest)]))
    return result, Judged(replace(limited, notes=notes), vectors, pairs)


def _images(everything: Subject, names: tuple[str, ...], config: JudgeConfig, progress: Step) -> tuple[dict, Judged]:
    # Lazily: these need OpenCV, and backbones TensorFlow.
    from synthetic.judge import appearance, pictures

    limited = everything.limited(config.most_rows, config.seed)
    loaded = pictures.load(limited, progress)
    vectors = pictures.features(loaded, config, progress)
    score = scorers.of_images(limited, loaded, vectors, config)
    result = {"utility": utility.measure(limited, names, score, config, progress)}
    progress("measures", 0, 3)
    result["fidelity"] = fidelity.of_images(limited, vectors, config.seed)
    result["fidelity"]["appearance"] = appearance.of_images(limited, loaded, config.seed)
    progress("measures", 1, 3)
    chosen, baseline = fidelity.equal_draws(limited, config.seed)
    parts = {"made": loaded.made, "train": loaded.train, "test": loaded.test}
    differences = {n: diversity.of_pixels(pictures.grey(part)) for n, part in parts.items()}
    result["diversity"], pairs = _diversity(limited, differences, config)
    result["diversity"] |= {
        "measure": "1 - MS-SSIM",
        "duplicates": {
            "synthetic": _repeated(loaded.made, vectors.made, chosen),
            "real": _repeated(loaded.train, vectors.train, baseline),
        },
    }
    progress("measures", 2, 3)
    chosen = tail_parts.some(len(everything.train), config.seed)
    small = thumbnails.load(everything, loaded.size, loaded.channels, chosen, progress)
    copied = copies.of_images(everything, small)
    closest = tail.measure(tail_parts.of_images(everything, small, config.seed))
    result["privacy"] = privacy.measure(limited, vectors, copied, config) | {"tail": closest}
    progress("measures", 3, 3)
    notes = [*limited.notes, *_drawn_note(closest)]
    return result, Judged(replace(limited, notes=notes), vectors, pairs, loaded)


def _drawn_note(closest: dict) -> list[str]:
    if closest["measured"] == closest["rows"]:
        return []
    return [
        f"near copies were sought among {closest['measured']:,} of {closest['rows']:,} distinct synthetic rows, drawn "
        "at random; equal ones in all"
    ]


def _repeated(images: np.ndarray, points: np.ndarray, drawn: np.ndarray) -> float:
    return diversity.duplicate_images(images[drawn], points[drawn])


def _diversity(limited: Subject, differences: dict, config: JudgeConfig) -> tuple[dict, dict]:
    rows = {"made": limited.made, "train": limited.train, "test": limited.test}
    pairs = {name: diversity.within_classes(part, differences[name], config.seed) for name, part in rows.items()}
    return {"spread": diversity.spread(limited, pairs), "classes": diversity.classes(limited)}, pairs
