"""Explainer: a Run's model with what is needed to explain images by it and to draw the maps."""

import re
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from explain.config import ExplainConfig
from explain.figures.overlay import Panel, draw
from explain.methods.catalogue import METHODS, Effort, heat_maps
from explain.methods.evidence import Evidence
from explain.scores import findings
from explain.selection import positive_entry, predicted
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.positive import positive_class
from medimg.errors import InputError
from medimg.evaluation.operating_point import decision_words, thresholds
from medimg.evaluation.prediction import probabilities
from medimg.models.ensemble import members_of
from medimg.prediction.images import protected_images, reader_of
from medimg.prediction.inputs import Image
from medimg.privacy.release import reference_split
from medimg.run import Run

DEFAULT = ("gradcam",)
_BATCH = 64
# Images of the population that SHAP's gradients start from.
_BACKGROUND = 8


class Explainer:
    """A Run's model with what is needed to explain it."""

    def __init__(self, run: Run, config: ExplainConfig):
        import tensorflow as tf

        tf.keras.utils.set_random_seed(config.seed)
        self.run, self.description, self.config = run, run.description(), config
        self.classes, self.task = self.description["classes"], self.description["task"]
        self.size = self.description["image_size"]
        self._take(run.model())
        protected = protected_images(run) if config.image else frozenset()
        self.reader = reader_of(self.description, run.dataset_here(), config.max_megapixels, protected)
        self.columns = self.reader.columns
        self.thresholds = thresholds(run, self.description)
        self.calibrator = self.description.get("calibrator")
        self.positive = positive_class(self.task, self.classes)
        self.explained = f"evidence for {self.positive}" if self.positive else "class predicted"
        self.step = lambda maps: None

    def _take(self, model) -> None:
        self.model, self.evidence = model, Evidence(model, self.task)
        self.members = [Evidence(member, self.task) for member in members_of(model)]

    def with_model(self, model) -> "Explainer":
        """The same of another model of the same form."""
        explainer = copy(self)
        explainer._take(model)
        return explainer

    @cached_property
    def effort(self) -> Effort:
        """What a method may spend."""
        needs = "shap-gradient" in self.config.method
        background = self._background() if needs else None
        return Effort(self.config.samples, self.config.seed, background, self.config.smooth)

    def _background(self) -> np.ndarray:
        dataset = self.run.dataset_here()
        if dataset is None:
            raise InputError(f"--method shap-gradient: needs images of {self.run.config['data']}; give --data")
        rows = dataset.rows(reference_split(self.run.config["options"]))
        rows = rows.sample(min(_BACKGROUND, len(rows)), random_state=self.config.seed)
        return self.rows(dataset, rows)[0]

    def cell(self, method: str) -> float:
        """Side in pixels of the smallest thing that the method's maps tell apart."""
        evidence = self.members[0] if self.members and METHODS[method].of_layer else self.evidence
        return max(METHODS[method].cells(evidence, self.effort), self.config.smooth) * self.size

    def rows(self, dataset: Dataset, rows: pd.DataFrame) -> list[np.ndarray]:
        """`inputs` of rows of a Dataset."""
        images = [Image(row["image"], dataset.root / row["image"], True) for _, row in rows.iterrows()]
        return self.inputs(images, [row for _, row in rows.iterrows()])

    def inputs(self, images: Sequence[Image], rows: Sequence[pd.Series | None]) -> list[np.ndarray]:
        """Pixels of some images as `medimg predict` reads them, and what the model takes beside them of their rows.

        Args:
            images: of a Dataset, or any other files.
            rows: of the Dataset's manifest, or None of any other file.
        """
        arrays = []
        for image, row in zip(images, rows, strict=True):
            columns = None if self.columns is None else pd.DataFrame([row])
            arrays.append(self.reader.read(replace(image, columns=columns))[0])
        return [np.stack(array) for array in zip(*arrays, strict=True)]

    def maps(self, method: str, inputs: list[np.ndarray], targets: np.ndarray) -> np.ndarray:
        """float32 (N, S, S); of an ensemble the mean of its members' where the method looks at the last maps."""
        parts = []
        for start in range(0, len(targets), _BATCH):
            some = slice(start, start + _BATCH)
            of = [array[some] for array in inputs], targets[some], method, self.effort
            if self.members and METHODS[method].of_layer:
                weights = [member["weight"] for member in self.description["members"]]
                parts.append(np.average([heat_maps(member, *of) for member in self.members], axis=0, weights=weights))
            else:
                parts.append(heat_maps(self.evidence, *of))
            self.step(len(targets[some]))
        return np.concatenate(parts).astype(np.float32)

    def targets(self, inputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The classes of N images that are explained and that are called, each int (N,); probabilities (N, classes).

        The positive class of each is explained, or without one the predicted.
        """
        logits = [
            self.model([array[i : i + _BATCH] for array in inputs], training=False).numpy()
            for i in range(0, len(inputs[0]), _BATCH)
        ]
        chances = probabilities(np.concatenate(logits), self.task, self.calibrator)
        called = predicted(chances, self.thresholds, self.task)
        return np.ones_like(called) if self.positive else called, called, chances

    def of_columns(self, inputs: list[np.ndarray], rows: Sequence[pd.Series], targets: np.ndarray) -> list[dict]:
        """What each column's value adds to the class's score over not being known, for each row's entry."""
        if self.columns is None:
            return [{} for _ in targets]

        def score(columns: np.ndarray) -> np.ndarray:
            return self.evidence.scores([inputs[0], columns], targets)

        full, frame, added = score(inputs[1]), pd.DataFrame(list(rows)), {}
        for column in self.columns.raw:
            hidden = frame.assign(**{column.name: np.nan if column.is_number else ""})
            added[column.name] = full - score(self.columns.transform(hidden))
        return [{"columns": {name: float(values[i]) for name, values in added.items()}} for i in range(len(targets))]

    def each_member(self) -> Iterator[tuple[str, "Explainer"]]:
        """Of an ensemble an explainer of each member, with what its folders' names end in."""
        for number, member in enumerate(self.members, 1):
            explainer = copy(self)
            explainer.model, explainer.evidence, explainer.members = member.model, member, []
            explainer.calibrator = self.description["members"][number - 1]["calibrator"]
            yield f"-member-{number}", explainer

    def draw_all(self, method: str, subjects: list[dict], dataset: Dataset | None, folder: Path) -> list[dict]:
        """Explain each subject; write files and a contact sheet."""
        panels, listed = [], []
        for start in range(0, len(subjects), _BATCH):
            batch = subjects[start : start + _BATCH]
            rows = [s["row"] for s in batch]
            inputs = self.inputs([s["read"] for s in batch], rows)
            targets, called, chances = self.targets(inputs)
            heat, columns = self.maps(method, inputs, targets), self.of_columns(inputs, rows, targets)
            for i, subject in enumerate(batch):
                panel = self._panel(subject, inputs[0][i], heat[i], called[i], chances[i], dataset, method)
                classes = called[i], targets[i]
                entry = self._write(panel, folder, len(listed), classes, chances[i], subject, method)
                panels.append(panel)
                listed.append({**entry, **columns[i]})
        _remove_others(folder, listed)
        draw(panels, folder / "contact_sheet.png", f"{method}: {self.explained} by {self.description['name']}")
        return listed

    def _panel(self, subject, pixels, heat, called, chances, dataset, method) -> Panel:
        region = None
        if dataset is not None and subject["row"] is not None:
            regions = findings.regions(dataset, subject["row"], self.size)
            region = np.any(list(regions.values()), axis=0) if regions else None
        return Panel(
            name=Path(subject["path"]).name,
            pixels=pixels,
            heat_map=heat,
            caption=f"predicted: {decision_words(self.task, self.classes, called, chances, self.thresholds)}",
            truth=subject["label"],
            region=region,
            signed=METHODS[method].signed,
        )

    def _write(
        self, panel: Panel, folder: Path, number: int, classes: tuple[int, int], chances, subject, method
    ) -> dict:
        called, target = classes
        stem = f"{number:03d}-" + re.sub(r"[^\w.-]", "_", Path(panel.name).stem)[:60]
        draw([panel], folder / f"{stem}.png", f"{method}: {self.explained}")
        with atomic.replacing(folder / f"{stem}.npz") as temporary:
            np.savez_compressed(
                temporary,
                heatmap=panel.heat_map.astype(np.float32),
                class_name=self.classes[target],
                probability=np.float32(chances[target]),
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


def heat_of(explainer: Explainer, inputs, called, method: str = DEFAULT[0]) -> tuple[np.ndarray, np.ndarray]:
    """Maps (B, S, S) of the positive class, without one of those called, and the classes (B,) that they are of."""
    of = np.ones_like(called) if explainer.positive else called
    return explainer.maps(method, inputs, of), of


def heat_of_run(run: Run) -> tuple[str, Callable]:
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
    current = {Path(entry[key]).name for entry in listed for key in ("overlay", "heatmap")}
    for file in folder.iterdir():
        if re.match(r"\d{3}-.*\.(png|npz)$", file.name) and file.name not in current:
            file.unlink()
