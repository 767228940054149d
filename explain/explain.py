"""explain(): maps of a Run's images, drawn, kept as numbers, and judged where the findings are known.

What explains a table is in `explain.table`.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path

import numpy as np

from explain.config import ExplainConfig
from explain.figures.overlay import Panel, draw
from explain.methods import saliency
from explain.methods.shapley import shap_maps
from explain.scores import findings, pointing_game
from explain.selection import classes_in_turn, positive_entry, predicted, split_rows
from medimg import atomic, lock
from medimg.data.dataset import Dataset
from medimg.data.positive import positive_class
from medimg.errors import InputError
from medimg.evaluation.operating_point import decision_words, thresholds
from medimg.evaluation.places import beside, place_of
from medimg.evaluation.prediction import probabilities
from medimg.lock import writes
from medimg.models.ensemble import members_of
from medimg.pipeline.pixels import load_image
from medimg.privacy.release import require_unprotected
from medimg.run import Run

METHODS = (*saliency.METHODS, "shap")
DEFAULT = ("gradcam",)
# Of a folder of explanations: what was asked.
_ASKED = "options.json"
_BATCH = 16
# For the names of an image's regions alone.
_ANY_SIZE = 8


@writes("run")
def explain(run: Run, config: ExplainConfig, progress: Callable[[int, int], None] | None = None) -> dict:
    """Write `RUN/explanations/<method>/`: a PNG and an npz per image and a contact sheet.

    Of a binary model the maps show evidence for the positive class, otherwise for the class that is predicted.
    Of other images or options than are there already: in a folder of `RUN/explanations/` (`medimg.evaluation.places`).
    Files given by `--image` are explained as they are; otherwise images of the split, and where its Dataset has boxes
    or masks the pointing game is played (`localisation.json`). A Run of a table: see `explain.table`.

    Returns:
        `folder`: where it is; `images`: per method the explained images; `localisation`: per method the pointing game's
        numbers. Of a table `rows`: per method the explained rows.

    Raises:
        InputError: an unknown method, an image that can't be read, an empty split.
    """
    for method in config.method:
        if method not in METHODS:
            raise InputError(f"--method {method}: choose one of {', '.join(METHODS)}")
    run = run.with_data_at(config.data)
    if "preprocessing" in run.description():
        from explain.table import explain_table

        folder = _folder(run, config)
        result = explain_table(run, config, folder, progress)
        atomic.write_json(folder / _ASKED, _asked(config))
        _update(folder / "explanations.json", result["rows"])
        return {**result, "folder": folder}
    return _explain_images(run, dataclasses.replace(config, method=config.method or DEFAULT), progress)


def _explain_images(run: Run, config: ExplainConfig, progress) -> dict:
    explainer = Explainer(run, config)
    if not config.image:
        require_unprotected(run.config["options"], config.split)
    dataset = None if config.image else run.dataset()
    subjects = _files(config) if dataset is None else _rows(dataset, config)
    located, left_out = _located(dataset, config, explainer.classes)
    root = _folder(run, config)
    total, done = len(config.method) * (len(subjects) + len(located)), 0
    result: dict = {"images": {}, "localisation": {}}
    for method in config.method:
        for ending, one in (("", explainer), *explainer.each_member()):
            folder = root / (method.replace("+", "p") + ending)
            result["images"][method + ending] = one.draw_all(method, subjects, dataset, folder)
        done += len(subjects)
        if progress:
            progress(done, total)
        if located:
            result["localisation"][method] = {**explainer.locate(method, located, dataset), "left_out": left_out}
            done += len(located)
        if progress:
            progress(done, total)
    atomic.write_json(root / _ASKED, _asked(config))
    if result["localisation"]:
        _update(root / "localisation.json", result["localisation"])
    _update(root / "explanations.json", result["images"])
    return {**result, "folder": root}


def _folder(run: Run, config: ExplainConfig) -> Path:
    """Where explanations are written, each method in a folder of its own; those of other options stay."""
    top = run.root / "explanations"
    asked = _asked(config)
    if config.image or config.split != "test":
        return beside(top, f"image-{Path(config.image[0]).stem}" if config.image else config.split, asked, _held)
    files = [item.name for item in lock.content(top) if not (item / _ASKED).is_file() and item.name != _ASKED]
    return place_of(top, top, config.split, asked, _held, [*files, _ASKED])


def _asked(config: ExplainConfig) -> dict:
    """What decides a folder's content; each method has a folder in it."""
    neutral = ("image", "split", "method", "data", "max_megapixels")
    options = {key: value for key, value in config.given().items() if key not in neutral}
    return {"images": list(config.image), "split": config.split, "options": options}


def _held(folder: Path) -> dict | None:
    if (folder / _ASKED).is_file():
        return json.loads((folder / _ASKED).read_text(encoding="utf-8"))
    return {} if (folder / "explanations.json").is_file() else None


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
        self.thresholds = thresholds(run, self.description)
        self.calibrator = self.description.get("calibrator")
        self.positive = positive_class(self.task, self.classes)
        self.explained = f"evidence for {self.positive}" if self.positive else "class predicted"

    def load(self, path: Path) -> np.ndarray:
        """float32 (S, S, C)."""
        limit = self.config.max_megapixels
        return load_image(path, self.size, self.description["channels"], limit)

    def maps(self, method: str, pixels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """float32 (B, S, S)."""
        if method == "shap":
            return shap_maps(self.model, pixels, chosen, self.task, self.config.samples)[0]
        if not self.members:
            return saliency.heat_maps(self.model, pixels, chosen, method, self.task)
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
            pixels = np.stack([self.load(s["path"]) for s in batch])
            chances = probabilities(self.model(pixels, training=False).numpy(), self.task, self.calibrator)
            called = self.predicted(chances)
            chosen = np.ones_like(called) if self.positive else called
            heat = self.maps(method, pixels, chosen)
            for i, subject in enumerate(batch):
                panel = self._panel(subject, pixels[i], heat[i], called[i], chances[i], dataset, method)
                classes = called[i], chosen[i]
                entry = self._write(panel, folder, len(listed), classes, chances[i], subject, method)
                panels.append(panel)
                listed.append(entry)
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
            pixels = np.stack([self.load(dataset.root / row["image"]) for row, _, _ in batch])
            heat.append(self.maps(method, pixels, np.array([index for _, index, _ in batch])))
            found += [findings.regions(dataset, row, self.size)[name] for row, _, name in batch]
            patients += [row["patient"] for row, _, _ in batch]
        judged = pointing_game.judge(np.concatenate(heat), np.stack(found), np.array(patients))
        return {**judged, "split": self.config.split, "classes": sorted({self.classes[i] for _, i, _ in located})}


def map_saver(run: Run, folder: Path, method: str = DEFAULT[0]) -> Callable:
    """A function that saves a PNG and an npz of each of some images, as `explain` does.

    Of (numbers, names, pixels float32 (B, S, S, C), probabilities (B, classes), classes called (B,)): the numbers begin
    the files' names.
    """
    explainer = Explainer(run, ExplainConfig())

    def save(numbers, names, pixels, chances, called) -> None:
        of = np.ones_like(called) if explainer.positive else called
        heat = explainer.maps(method, pixels, of)
        for i, (number, name) in enumerate(zip(numbers, names, strict=True)):
            subject = {"path": name, "label": "", "row": None}
            panel = explainer._panel(subject, pixels[i], heat[i], called[i], chances[i], None, method)
            explainer._write(panel, folder, number, (called[i], of[i]), chances[i], subject, method)

    return save


def _files(config: ExplainConfig) -> list[dict]:
    return [{"path": Path(file), "label": "", "row": None} for file in config.image]


def _rows(dataset: Dataset, config: ExplainConfig) -> list[dict]:
    chosen = classes_in_turn(split_rows(dataset, config.split), config.count, config.seed)
    return [{"path": dataset.root / row["image"], "label": row["label"], "row": row} for _, row in chosen.iterrows()]


def _located(dataset: Dataset | None, config: ExplainConfig, classes: list[str]) -> tuple[list[tuple], dict[str, int]]:
    """Findings of the split to play on, and those that are left out because the model has no such class.

    Returns:
        (row, class index, region's name) of every finding of a seeded sample of images; name -> number left out.
    """
    if dataset is None or not config.localisation_count:
        return [], {}
    rows = dataset.manifest[findings.has_findings(dataset) & (dataset.manifest["split"] == config.split)]
    rows = rows.sample(min(len(rows), config.localisation_count), random_state=config.seed)
    found: list[tuple] = []
    left_out: dict[str, int] = {}
    for _, row in rows.iterrows():
        for name in sorted(findings.regions(dataset, row, _ANY_SIZE)):
            if dataset.task == "binary":
                # A finding speaks for the positive class, also under a name of its own (`nodule` of `abnormal`).
                found.append((row, 1, name))
            elif name in classes:
                found.append((row, classes.index(name), name))
            else:
                left_out[name] = left_out.get(name, 0) + 1
    return found, left_out


def _remove_others(folder: Path, listed: list[dict]) -> None:
    """Pictures of an earlier, longer list would look like part of this one."""
    kept = {Path(entry[key]).name for entry in listed for key in ("overlay", "heatmap")}
    for file in folder.iterdir():
        if re.match(r"\d{3}-.*\.(png|npz)$", file.name) and file.name not in kept:
            file.unlink()


def _update(path: Path, content: dict) -> None:
    """Replace the methods in `content`, keep the others'."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    atomic.write_json(path, {**known, **content})
