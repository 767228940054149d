"""Explainer: a Run's model with what is needed to explain images by it, to draw the maps and to judge them."""

import re
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from explain.config import ExplainConfig
from explain.figures.overlay import Panel, draw
from explain.methods import saliency
from explain.methods.score import class_score
from explain.methods.shapley import shap_maps
from explain.scores import findings, pointing_game
from explain.selection import positive_entry, predicted
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.positive import positive_class
from medimg.evaluation.evaluate import training_data
from medimg.evaluation.operating_point import decision_words, thresholds
from medimg.evaluation.prediction import probabilities
from medimg.models.columns import AtColumns
from medimg.models.ensemble import members_of
from medimg.prediction.images import protected_images, reader_of
from medimg.prediction.inputs import Image
from medimg.run import Run

METHODS = (*saliency.METHODS, "shap")
DEFAULT = ("gradcam",)
_BATCH = 16


class Explainer:
    """A Run's model with what is needed to explain it."""

    def __init__(self, run: Run, config: ExplainConfig):
        import tensorflow as tf

        tf.keras.utils.set_random_seed(config.seed)
        # Score-CAM calls predict, which would draw its own bar on standard output.
        tf.keras.utils.disable_interactive_logging()
        self.model, self.description, self.config = run.model(), run.description(), config
        self.members = members_of(self.model)
        self.classes, self.task = self.description["classes"], self.description["task"]
        self.size = self.description["image_size"]
        protected = protected_images(run) if config.image else frozenset()
        self.reader = reader_of(self.description, training_data(run), config.max_megapixels, protected)
        self.columns = self.reader.columns
        self.at_columns = AtColumns(self.model) if self.columns else None
        self.thresholds = thresholds(run, self.description)
        self.calibrator = self.description.get("calibrator")
        self.positive = positive_class(self.task, self.classes)
        self.explained = f"evidence for {self.positive}" if self.positive else "class predicted"

    def inputs(self, images: Sequence[Image], rows: Sequence[pd.Series | None]) -> list[np.ndarray]:
        """Pixels of some images as `medimg predict` reads them, and what the model takes beside them of their rows.

        Args:
            images: of a Dataset, or any other files.
            rows: of the Dataset's manifest, or None of any other file.
        """
        read = []
        for image, row in zip(images, rows, strict=True):
            beside = None if self.columns is None else pd.DataFrame([row])
            read.append(self.reader.read(replace(image, columns=beside))[0])
        return [np.stack(each) for each in zip(*read, strict=True)]

    def maps(self, method: str, inputs: list[np.ndarray], chosen: np.ndarray) -> np.ndarray:
        """float32 (B, S, S)."""
        pixels = inputs[0]
        if self.at_columns is None:
            return self._maps(self.model, method, pixels, chosen)
        each = zip(pixels, chosen, inputs[1], strict=True)
        return np.concatenate([self._maps(self.at_columns.at(c), method, p[None], k[None]) for p, k, c in each])

    def of_columns(self, inputs: list[np.ndarray], rows: Sequence[pd.Series], chosen: np.ndarray) -> list[dict]:
        """What each column's value adds to the class's score over not being known, for each row's entry."""
        if self.columns is None:
            return [{} for _ in chosen]

        def score(columns: np.ndarray) -> np.ndarray:
            return class_score(self.model([inputs[0], columns], training=False), chosen, self.task).numpy()

        known, frame, added = score(inputs[1]), pd.DataFrame(list(rows)), {}
        for column in self.columns.raw:
            unknown = frame.assign(**{column.name: np.nan if column.is_number else ""})
            added[column.name] = known - score(self.columns.transform(unknown))
        return [{"columns": {name: float(values[i]) for name, values in added.items()}} for i in range(len(chosen))]

    def _maps(self, model, method: str, pixels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        if method == "shap":
            return shap_maps(model, pixels, chosen, self.task, self.config.samples)[0]
        if not self.members:
            return saliency.heat_maps(model, pixels, chosen, method, self.task)
        maps = [saliency.heat_maps(member, pixels, chosen, method, self.task) for member in self.members]
        return np.average(maps, axis=0, weights=[m["weight"] for m in self.description["members"]]).astype(np.float32)

    def each_member(self) -> Iterator[tuple[str, "Explainer"]]:
        """Of an ensemble an explainer of each member, with what its folders' names end in."""
        for number, member in enumerate(self.members, 1):
            other = copy(self)
            other.model, other.members = member, []
            other.calibrator = self.description["members"][number - 1]["calibrator"]
            yield f"-member-{number}", other

    def predicted(self, chances: np.ndarray) -> np.ndarray:
        """int (B,)."""
        return predicted(chances, self.thresholds, self.task)

    def draw_all(self, method: str, subjects: list[dict], dataset: Dataset | None, folder: Path) -> list[dict]:
        """Explain the positive class of each subject, or without one the predicted; write files and a contact sheet."""
        panels, listed = [], []
        for start in range(0, len(subjects), _BATCH):
            batch = subjects[start : start + _BATCH]
            rows = [s["row"] for s in batch]
            inputs = self.inputs([s["read"] for s in batch], rows)
            pixels = inputs[0]
            chances = probabilities(self.model(inputs, training=False).numpy(), self.task, self.calibrator)
            called = self.predicted(chances)
            chosen = np.ones_like(called) if self.positive else called
            heat, beside = self.maps(method, inputs, chosen), self.of_columns(inputs, rows, chosen)
            for i, subject in enumerate(batch):
                panel = self._panel(subject, pixels[i], heat[i], called[i], chances[i], dataset, method)
                classes = called[i], chosen[i]
                entry = self._write(panel, folder, len(listed), classes, chances[i], subject, method)
                panels.append(panel)
                listed.append({**entry, **beside[i]})
        _remove_others(folder, listed)
        draw(panels, folder / "contact_sheet.png", f"{method}: {self.explained} by {self.description['name']}")
        return listed

    def _panel(self, subject, pixels, heat, called, chances, dataset, method) -> Panel:
        region = None
        if dataset is not None and subject["row"] is not None:
            found = findings.regions(dataset, subject["row"], self.size)
            region = np.any(list(found.values()), axis=0) if found else None
        return Panel(
            name=Path(subject["path"]).name,
            pixels=pixels,
            heat_map=heat,
            prediction=decision_words(self.task, self.classes, called, chances, self.thresholds),
            truth=subject["label"],
            region=region,
            signed=method == "shap",
        )

    def _write(
        self, panel: Panel, folder: Path, number: int, classes: tuple[int, int], chances, subject, method
    ) -> dict:
        called, chosen = classes
        stem = f"{number:03d}-" + re.sub(r"[^\w.-]", "_", Path(panel.name).stem)[:60]
        draw([panel], folder / f"{stem}.png", f"{method}: {self.explained}")
        with atomic.replacing(folder / f"{stem}.npz") as temporary:
            np.savez_compressed(
                temporary,
                heatmap=panel.heat_map.astype(np.float32),
                class_name=self.classes[chosen],
                probability=np.float32(chances[chosen]),
                image=str(subject["path"]),
            )
        return {
            "file": str(subject["path"]),
            "overlay": f"{folder.name}/{stem}.png",
            "heatmap": f"{folder.name}/{stem}.npz",
            "predicted": self.classes[called],
            "probability": float(chances[called]),
            "label": subject["label"],
            **positive_entry(self.task, self.classes, chances, self.thresholds),
        }

    def locate(self, method: str, located: list[tuple], dataset: Dataset) -> dict:
        """Play the pointing game for the findings' own classes."""
        heat, found, patients = [], [], []
        for start in range(0, len(located), _BATCH):
            batch = located[start : start + _BATCH]
            rows = [row for row, _, _ in batch]
            images = [Image(row["image"], dataset.root / row["image"], True) for row in rows]
            inputs = self.inputs(images, rows)
            heat.append(self.maps(method, inputs, np.array([index for _, index, _ in batch])))
            found += [findings.regions(dataset, row, self.size)[name] for row, _, name in batch]
            patients += [row["patient"] for row, _, _ in batch]
        judged = pointing_game.judge(np.concatenate(heat), np.stack(found), np.array(patients))
        return {**judged, "split": self.config.split, "classes": sorted({self.classes[i] for _, i, _ in located})}


def heat_of(explainer: Explainer, inputs, called, method: str = DEFAULT[0]) -> tuple[np.ndarray, np.ndarray]:
    """Maps (B, S, S) of the positive class, without one of those called, and the classes (B,) that they are of."""
    of = np.ones_like(called) if explainer.positive else called
    return explainer.maps(method, inputs, of), of


def heat_maps(run: Run) -> tuple[str, Callable]:
    """The method of a Run's maps, and what makes them of inputs and the classes called; see `heat_of`."""
    return DEFAULT[0], partial(heat_of, Explainer(run, ExplainConfig()))


def map_saver(run: Run, folder: Path, method: str = DEFAULT[0]) -> Callable:
    """A function that saves a PNG and an npz of each of some images, as `explain` does.

    Of (numbers, names, inputs of the model with pixels float32 (B, S, S, C) first, probabilities (B, classes), classes
    called (B,)): the numbers begin the files' names.
    """
    explainer = Explainer(run, ExplainConfig())

    def save(numbers, names, inputs, chances, called) -> None:
        (heat, of), pixels = heat_of(explainer, inputs, called, method), inputs[0]
        for i, (number, name) in enumerate(zip(numbers, names, strict=True)):
            subject = {"path": name, "label": "", "row": None}
            panel = explainer._panel(subject, pixels[i], heat[i], called[i], chances[i], None, method)
            explainer._write(panel, folder, number, (called[i], of[i]), chances[i], subject, method)

    return save


def _remove_others(folder: Path, listed: list[dict]) -> None:
    """Pictures of an earlier, longer list would look like part of this one."""
    kept = {Path(entry[key]).name for entry in listed for key in ("overlay", "heatmap")}
    for file in folder.iterdir():
        if re.match(r"\d{3}-.*\.(png|npz)$", file.name) and file.name not in kept:
            file.unlink()
