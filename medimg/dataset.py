"""Dataset: the one form that every source becomes and that everything after reads.

A prepared data set is a folder: `dataset.yaml` (what it is), `manifest.csv` (one row an image) and `images/`.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from medimg import atomic
from medimg.errors import InputError

TASKS = ("binary", "multiclass", "multilabel")
SPLITS = ("train", "val", "test")
SEPARATOR = "|"
# Read as text, whatever they look like: patient 007 is not patient 7, and boxes are lists.
TEXT_COLUMNS = (
    "image",
    "label",
    "patient",
    "site",
    "split",
    "mask",
    "finding",
    "x",
    "y",
    "width",
    "height",
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set.

    Attributes:
        root: the folder.
        name: short name, e.g. `kermany`.
        task: `binary` (classes[1] is the positive class), `multiclass` or `multilabel`.
        classes: class names in the order of the model's outputs.
        manifest: one row an image. `image` (path relative to root), `label` (class name; several joined by `|`;
            empty = unlabelled), `patient`, `site`, `split` (train|val|test), optionally `x`, `y`, `width`, `height`
            (pixels of the prepared image) or `mask` (path of an 8-bit image, 0 = background), with several findings of
            an image joined by `|` and `finding` naming their classes, then any metadata.
        negative: in a multilabel set, the label that says "none of the classes" (`No Finding`).
        preparation: the options that the folder was prepared with.
    """

    root: Path
    name: str
    task: str
    classes: tuple[str, ...]
    manifest: pd.DataFrame
    modality: str = ""
    licence: str = ""
    citation: str = ""
    source: str = ""
    negative: str = ""
    preparation: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.task not in TASKS:
            raise InputError(
                f"{self.root}/dataset.yaml: task '{self.task}' is not one of {', '.join(TASKS)}"
            )
        if len(set(self.classes)) != len(self.classes):
            raise InputError(
                f"{self.root}/dataset.yaml: a class is named twice in {list(self.classes)}"
            )
        if self.task == "binary" and len(self.classes) != 2:
            raise InputError(
                f"{self.root}/dataset.yaml: a binary task has 2 classes, not {len(self.classes)}"
            )

    @classmethod
    def load(cls, root: Path) -> "Dataset":
        """Read `dataset.yaml` and `manifest.csv`.

        Raises:
            InputError: the folder is not a Dataset, or a row of its manifest can't be used (names the row).
        """
        root = Path(root)
        description = _read_description(root / "dataset.yaml")
        manifest = _read_manifest(root / "manifest.csv")
        dataset = cls(root=root, manifest=manifest, **description)
        dataset._check_labels()
        return dataset

    def save(self) -> None:
        """Write `dataset.yaml` and `manifest.csv` atomically, the description last: it marks the folder as whole."""
        description = {
            key: getattr(self, key)
            for key in (
                "name",
                "task",
                "modality",
                "licence",
                "citation",
                "source",
                "negative",
                "preparation",
            )
        }
        description["classes"] = list(self.classes)
        atomic.write_csv(self.root / "manifest.csv", self.manifest)
        atomic.write_text(
            self.root / "dataset.yaml",
            yaml.safe_dump(description, sort_keys=False, allow_unicode=True),
        )

    def rows(self, split: str | None = None, labelled: bool = False) -> pd.DataFrame:
        """Rows of one split (all when None), in the manifest's order; `labelled` leaves out unlabelled rows."""
        rows = self.manifest
        if split is not None:
            rows = rows[rows["split"] == split]
        if labelled:
            rows = rows[rows["label"] != ""]
        return rows

    def targets(self, rows: pd.DataFrame) -> np.ndarray:
        """Labels as numbers.

        Returns:
            binary and multiclass: int64 (N,), the class index, -1 = unlabelled;
            multilabel: float32 (N, classes) of 0 and 1, NaN rows = unlabelled.
        """
        position = {name: i for i, name in enumerate(self.classes)}
        if self.task != "multilabel":
            return np.array([position.get(label, -1) for label in rows["label"]], np.int64)
        targets = np.zeros((len(rows), len(self.classes)), np.float32)
        for row, label in zip(targets, rows["label"], strict=True):
            if label == "":
                row[:] = np.nan
            elif label != self.negative:
                row[[position[name] for name in label.split(SEPARATOR)]] = 1.0
        return targets

    def paths(self, rows: pd.DataFrame) -> list[Path]:
        """Absolute paths of the rows' images."""
        return [self.root / image for image in rows["image"]]

    def fingerprint(self) -> str:
        """SHA-256 of the manifest and the classes: changes when any row, label or split changes."""
        digest = hashlib.sha256(SEPARATOR.join((self.task, *self.classes)).encode())
        digest.update(self.manifest.to_csv(index=False).encode())
        return digest.hexdigest()

    def _check_labels(self) -> None:
        known = set(self.classes) | {""}
        for number, label in enumerate(self.manifest["label"], start=2):
            if label in known or (self.negative and label == self.negative):
                continue
            parts = label.split(SEPARATOR) if self.task == "multilabel" else [label]
            unknown = [part for part in parts if part not in self.classes]
            if unknown:
                raise InputError(
                    f"{self.root}/manifest.csv row {number}: label '{unknown[0]}' is not a class of dataset.yaml "
                    f"({', '.join(self.classes)}); mend the label or add the class"
                )


def _read_description(path: Path) -> dict:
    if not path.is_file():
        raise InputError(
            f"{path.parent}: not a prepared Dataset (no dataset.yaml); make one with 'medimg data prepare'"
        )
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not readable as YAML ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(description, dict):
        raise InputError(f"{path}: not a mapping of names to values")
    for key in ("name", "task", "classes"):
        if key not in description:
            raise InputError(f"{path}: '{key}' is missing")
    if not isinstance(description["classes"], list) or not description["classes"]:
        raise InputError(f"{path}: 'classes' must be a list of class names")
    description["classes"] = tuple(str(name) for name in description["classes"])
    known = {f for f in Dataset.__dataclass_fields__ if f not in ("root", "manifest")}
    return {key: value for key, value in description.items() if key in known}


def _read_manifest(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: missing; prepare the data set again")
    try:
        manifest = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as CSV ({' '.join(str(error).split())})") from error
    for column in ("image", "label", "patient", "split"):
        if column not in manifest:
            raise InputError(f"{path}: column '{column}' is missing")
    for column in TEXT_COLUMNS:
        if column in manifest:
            manifest[column] = manifest[column].fillna("").str.strip()
    _refuse_rows(path, manifest, manifest["image"] == "", "image is empty")
    _refuse_rows(
        path, manifest, manifest["patient"] == "", "patient is empty; give every image a patient"
    )
    _refuse_rows(
        path, manifest, ~manifest["split"].isin(SPLITS), f"split is not one of {', '.join(SPLITS)}"
    )
    _refuse_rows(path, manifest, manifest["image"].duplicated(), "the same image is listed twice")
    if "site" not in manifest:
        manifest["site"] = ""
    return manifest


def _refuse_rows(path: Path, manifest: pd.DataFrame, bad: pd.Series, why: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        more = int(bad.sum()) - 1
        raise InputError(
            f"{path} row {row + 2}: {why}" + (f" (and {more} more rows)" if more else "")
        )
