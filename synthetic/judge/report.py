"""What a judgement leaves in its folder: figures/*.png, report.html, judgement.json."""

from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.style.figures import save
from medimg.style.pages import inlined, template
from medimg.style.words import interval
from synthetic.judge.figures import distance_figure, diversity_figure, utility_figure
from synthetic.judge.neighbours import nearest
from synthetic.judge.report_folder import FIGURES, JUDGEMENT, REPORT
from synthetic.judge.utility import TRAININGS

CAPTIONS = {
    "samples": "Synthetic images (red), each with its nearest training image (blue) and the distance on its right. Two "
    "that are one picture are a leak.",
    "columns": "Columns of real training rows and of synthetic rows",
    "brightness": "Brightness of real training images and of synthetic ones",
    "association": "Association of columns: Spearman's rho, correlation ratio or Cramer's V, the last two without sign",
    "utility": "What classifiers reach on held-out real patients, by what they were trained on",
    "diversity": "How different two random rows of a class are; a collapsed generator's are alike",
    "distances": "Distance to the closest training row: of synthetic rows it should look like that of held-out rows",
}
WORDS = {"share": "Share", "share-with-care": "Share with care", "do-not-share": "Do not share"}
SAMPLE_ROWS = 8


def write(content: dict, judged, root: Path) -> dict:
    """Write all files, judgement.json last: where it is, all the rest is.

    Args:
        content: of judgement.json, and names of the real rows that were copied, which only the page shows.
        judged: `synthetic.judge.judge.Judged`.
        root: the folder, made if it isn't there.

    Returns:
        What judgement.json holds.

    Raises:
        InputError: the folder can't be written.
    """
    folder = root / FIGURES
    drawings = _drawn(content, judged)
    for name in CAPTIONS:
        # A figure of an earlier judgement would look like part of this one.
        (folder / f"{name}.png").unlink(missing_ok=True)
    files = {name: save(drawings[name], folder / f"{name}.png") for name in CAPTIONS if name in drawings}
    samples = None if judged.pictures is not None else sample_rows(judged, content["options"]["seed"])
    atomic.write_text(root / REPORT, page(content, files, samples))
    shareable = without_real_names(content)
    atomic.write_json(root / JUDGEMENT, shareable)
    return shareable


def without_real_names(content: dict) -> dict:
    """judgement.json travels further than the page: which patients were copied is not in it."""
    copies = content["privacy"]["copies"]
    pairs = [{"synthetic": pair["synthetic"]} for pair in copies["pairs"]]
    privacy = {**content["privacy"], "copies": {**copies, "pairs": pairs}}
    return {**content, "privacy": privacy}


def page(content: dict, figures: dict[str, Path], samples: dict | None) -> str:
    """The judgement as HTML without any outside address.

    Args:
        content: of judgement.json.
        figures: name -> PNG file.
        samples: of a table, what `sample_rows` gives.
    """
    return template("judge", "judgement.html", "synthetic").render(
        result=content,
        captions=CAPTIONS,
        images={name: inlined(path) for name, path in figures.items()},
        samples=samples,
        text=interval,
        trainings=TRAININGS,
        words=WORDS,
    )


def sample_rows(judged, seed: int) -> dict:
    """Random synthetic rows, each with its nearest training row.

    Returns:
        `columns` and `pairs`, each of two lists of text (synthetic, real) and the distance.
    """
    subject, points = judged.subject, judged.vectors.with_labels(judged.subject)
    columns = ["label", *(feature.name for feature in subject.real.inputs)][:16]
    count = min(SAMPLE_ROWS, len(subject.made))
    drawn = np.random.default_rng([seed, 4]).choice(len(subject.made), count, replace=False)
    distances, closest = nearest(points.made[drawn], points.train)
    pairs = [
        {
            "synthetic": _cells(subject.made.iloc[i], columns),
            "real": _cells(subject.train.iloc[j], columns),
            "distance": float(distance),
        }
        for i, j, distance in zip(drawn, closest[:, 0], distances[:, 0], strict=True)
    ]
    return {"columns": columns, "pairs": pairs}


def _cells(row, columns: list[str]) -> list[str]:
    return [
        f"{row[name]:.4g}".replace("nan", "") if isinstance(row[name], float) else str(row[name]) for name in columns
    ]


def _drawn(content: dict, judged) -> dict:
    subject, vectors = judged.subject, judged.vectors
    points = vectors.with_labels(subject)
    distances = {
        "synthetic": nearest(points.made, points.train)[0][:, 0],
        "held out": nearest(points.test, points.train)[0][:, 0],
    }
    drawings = {
        "utility": utility_figure(content["utility"]),
        "diversity": diversity_figure(judged.pairs, content["diversity"]["measure"]),
        "distances": distance_figure(distances, vectors.name),
    }
    if judged.pictures is None:
        from synthetic.judge.table_figures import association_figure, columns_figure

        return drawings | {"columns": columns_figure(subject), "association": association_figure(subject)}
    from synthetic.judge.image_figures import brightness_figure, samples_figure

    seed = content["options"]["seed"]
    return drawings | {
        "brightness": brightness_figure(judged.pictures),
        "samples": samples_figure(subject, judged.pictures, vectors, seed),
    }
