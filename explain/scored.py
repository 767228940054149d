"""Scores and shortcuts of a Run's maps on a split: what is asked of which rows, and what is written of it."""

from pathlib import Path

import numpy as np
import pandas as pd

from explain.config import ExplainConfig
from explain.explainer import Explainer
from explain.figures.overlay import Panel, draw
from explain.scores import findings, regions, shortcuts
from explain.scores.intervals import mean
from explain.scores.randomisation import STAGES
from explain.scores.scoring import DRAWS, FEW, Scoring, Subjects
from explain.scores.similarity import rank_correlation
from explain.selection import classes_in_turn, split_rows
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.errors import InputError

# Of the correlation with the map of a model with random weights, by the lower end: the map shows something else.
_UNMOVED = 0.7
# Findings of the validation part that a map's cut is chosen on.
_TUNING = 40


def score(explainer: Explainer, dataset: Dataset, config: ExplainConfig, folder: Path) -> dict:
    """Score every method of `config` and say where the first one's maps lie.

    Draws `class_means.png`.

    Returns:
        `scores`, per method, and `shortcuts`, as scores.json and shortcuts.json hold them.

    Raises:
        InputError: a box or a mask can't be read.
    """
    rows = classes_in_turn(split_rows(dataset, config.split), config.score_count, config.seed)
    inputs = explainer.rows(dataset, rows)
    everyone = Subjects(inputs, explainer.targets(inputs)[0], rows["patient"].to_numpy())
    # Where a class is the positive one, its evidence is looked for where it should be.
    sick = (rows["label"] == explainer.positive).to_numpy()
    scored_subjects = everyone.some(sick) if sick.any() else everyone
    located, left_out = _located(explainer, dataset, config.split, config)
    tuning, _ = _located(explainer, dataset, "val", config) if located and config.split != "val" else (None, {})
    scoring = Scoring(explainer, scored_subjects, located, tuning, config.seed, config.smooth * explainer.size)
    scores, maps = {}, {}
    for method in config.method:
        scores[method], maps[method] = scoring.of(
            lambda explaining, inputs, targets, method=method: explaining.maps(method, inputs, targets),
            explainer.cell(method),
        )
        scores[method] |= {"split": config.split, "left_out": left_out, "class": _explained(explainer)}
        scores[method]["warnings"] = _warnings(scores[method], method)
    for method, its in scores.items():
        its["agreement"] = _agreement(method, maps, scored_subjects.patients)
    lying = _shortcuts(explainer, dataset, rows, everyone, config, folder)
    return {"scores": scores, "shortcuts": lying}


def _agreement(method: str, maps: dict[str, np.ndarray], patients: np.ndarray) -> dict:
    """Rank correlation with the other methods' maps: its mean, and `with` each of them."""
    correlations = {other: rank_correlation(maps[method], maps[other]) for other in maps if other != method}
    means = np.mean(list(correlations.values()), axis=0) if correlations else np.full(len(patients), np.nan)
    return {**mean(means, patients), "with": {other: mean(values, patients) for other, values in correlations.items()}}


def maps_to_score(dataset: Dataset, config: ExplainConfig) -> int:
    """How many maps `score` asks for, for a bar of progress."""
    located = findings.has_findings(dataset) & (dataset.manifest["split"] == config.split)
    few = min(FEW, config.score_count) * (1 + DRAWS + STAGES)
    per_method = config.score_count + min(int(located.sum()), config.localisation_count) + few
    if located.any() and config.split != "val":
        tuning = findings.has_findings(dataset) & (dataset.manifest["split"] == "val")
        per_method += min(int(tuning.sum()), config.localisation_count, _TUNING)
    return len(config.method) * per_method + config.score_count


def _explained(explainer: Explainer) -> str:
    return explainer.positive or "the class predicted; of a finding its own"


def _located(
    explainer: Explainer, dataset: Dataset, split: str, config: ExplainConfig
) -> tuple[Subjects | None, dict[str, int]]:
    """Findings of a part, and those that are left out because the model has no such class, by name."""
    most = config.localisation_count if split == config.split else min(config.localisation_count, _TUNING)
    localised, left_out = findings.localised(dataset, split, explainer.classes, most, config.seed)
    if not localised:
        return None, left_out
    rows = pd.DataFrame([row for row, _, _ in localised])
    masks = np.stack([findings.regions(dataset, row, explainer.size)[name] for row, _, name in localised])
    targets = np.array([index for _, index, _ in localised])
    return Subjects(explainer.rows(dataset, rows), targets, rows["patient"].to_numpy(), masks), left_out


def _warnings(scores: dict, method: str) -> list[str]:
    warnings = []
    unmoved = scores["randomisation"]["low"]
    if unmoved is not None and unmoved > _UNMOVED:
        warnings.append(
            f"{method}: the maps of a model with random weights are nearly the same (rank correlation "
            f"{scores['randomisation']['value']:.2f}): they show the image rather than what the model has learnt"
        )
    chance = scores["controls"]["random"]
    if scores["insertion"]["low"] is not None and scores["insertion"]["value"] <= chance["insertion"]["value"]:
        warnings.append(f"{method}: by insertion the maps are no better than random ones")
    too_small = scores["n"]["findings_smaller_than_a_cell"]
    if too_small:
        warnings.append(f"{method}: {too_small} findings are smaller than what its maps can tell apart, and left out")
    return warnings


def _shortcuts(
    explainer: Explainer, dataset: Dataset, rows: pd.DataFrame, everyone: Subjects, config: ExplainConfig, folder: Path
) -> dict:
    method = config.method[0]
    maps = explainer.maps(method, everyone.inputs, everyone.targets)
    size, cell = explainer.size, explainer.cell(method)
    where = {name: [region] * len(rows) for name, region in regions.at_sides(size).items()}
    where |= {"text": [], "outside_body": []}
    for image in map(read_image, dataset.paths(rows)):
        where["text"].append(regions.spread(regions.at_size(regions.text(image), size), cell / 2))
        # What touches the body is of the body.
        where["outside_body"].append(~regions.at_size(~regions.outside_body(image), size))
    if config.masks:
        where["outside_mask"] = [~_mask(Path(config.masks), name, size) for name in rows["image"]]
    labels = rows["label"].to_numpy()
    stacked = {name: np.stack(masks) for name, masks in where.items()}
    of = f"evidence for {explainer.positive}" if explainer.positive else "evidence for the predicted class"
    measures = shortcuts.measure(shortcuts.Lying(maps, stacked, labels, everyone.patients), of, explainer.positive)
    means = shortcuts.class_means(everyone.inputs[0], maps, labels)
    panels = [
        Panel(f"mean of {(labels == label).sum()} images", pixels, heat, f"mean map, {method}", label)
        for label, (pixels, heat) in means.items()
    ]
    draw(panels, folder / "class_means.png", f"{method}: {explainer.explained}, mean over images of a class")
    return {"method": method, "split": config.split, "class": _explained(explainer), **measures}


def _mask(folder: Path, image: str, size: int) -> np.ndarray:
    """bool (size, size), of the file with the image's name, whatever its kind."""
    name = Path(image).stem
    files = sorted(folder.rglob(f"{name}.*"))
    if len(files) != 1:
        raise InputError(f"--masks {folder}: has {len(files)} files named {name}; one of each image is needed")
    mask = read_image(files[0])
    return regions.at_size((mask if mask.ndim == 2 else mask.max(axis=2)) > 0, size)
