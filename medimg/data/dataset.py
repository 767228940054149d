"""Dataset: the one form that every source becomes and that everything after reads.

A prepared data set is a folder: `dataset.yaml` (what it is), `manifest.csv` (one row an image) and `images/`. A table
is the same with feature columns in the place of `image`.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from medimg import atomic
from medimg.data import schema
from medimg.data.copies import join_copies
from medimg.data.manifest import SPLITS, read_images, read_rows
from medimg.data.positive import positive_class
from medimg.errors import InputError
from medimg.untrusted.inside import require_own_files
from medimg.untrusted.yaml_file import read_yaml

__all__ = ["SEPARATOR", "SPLITS", "TASKS", "Dataset"]

TASKS = ("binary", "multiclass", "multilabel")
# Beside the images, which the manifest names.
_FILES = ("dataset.yaml", "manifest.csv", "rejected.csv")
SEPARATOR = "|"  # between several labels or findings of an image


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set.

    Attributes:
        root: the folder.
        name: short name, e.g. `kermany`.
        task: `binary`, `multiclass` or `multilabel`.
        classes: class names in the order of the model's outputs; of a binary task the second is the positive class,
            in whatever order dataset.yaml lists them.
        manifest: one row an image. `image` (path relative to root), `label` (class name; several joined by `|`;
            empty = unlabelled), `patient`, `site`, `split` (train|val|test), optionally `x`, `y`, `width`, `height`
            (pixels of the prepared image) or `mask` (path of an 8-bit image, 0 = background), with several findings of
            an image joined by `|` and `finding` naming their classes, then any metadata.
        negative: in a multilabel set, the label that says "none of the classes" (`No Finding`).
        preparation: the options that the folder was prepared with.
        features: of a table, what its columns are; the manifest then has `row` (the row's name) and these columns
            instead of `image`: numbers as float64 with NaN for missing, all else as text with '' for missing.
        synthetic: nobody in it exists: a generator made the rows.
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
    features: tuple[schema.Feature, ...] = ()
    synthetic: bool = False

    def __post_init__(self):
        if self.task not in TASKS:
            raise InputError(f"{self.root}/dataset.yaml: task '{self.task}' is not one of {', '.join(TASKS)}")
        if len(set(self.classes)) != len(self.classes):
            raise InputError(f"{self.root}/dataset.yaml: a class is named twice in {list(self.classes)}")
        if self.task == "binary" and len(self.classes) != 2:
            raise InputError(f"{self.root}/dataset.yaml: a binary task has 2 classes, not {len(self.classes)}")

    @classmethod
    def load(cls, root: Path, joins_copies: bool = True) -> "Dataset":
        """Read `dataset.yaml` and `manifest.csv`.

        Args:
            root: the folder.
            joins_copies: rows of a table that are copies of one patient get one `patient`, however the folder was
                made. Not for private training: whom a row is joined with depends on the others' rows.

        Raises:
            InputError: the folder is not a Dataset, or a row of its manifest can't be used (names the row).
        """
        root = Path(root)
        require_own_files(root, _FILES)
        description = _read_description(root / "dataset.yaml")
        features = description.get("features", ())
        path = root / "manifest.csv"
        manifest = read_rows(path, features) if features else read_images(path)
        if joins_copies and features and not description["synthetic"]:
            manifest = join_copies(manifest, [f.name for f in features if f.is_input])
        dataset = cls(root=root, manifest=manifest, **description)
        dataset._check_labels()
        return dataset

    def save(self, listed: tuple[str, ...] = ()) -> None:
        """Write `dataset.yaml` and `manifest.csv` atomically, the description last: it marks the folder as whole.

        Args:
            listed: the classes in the order in which dataset.yaml has them, when that is another.
        """
        # At the top, where a reader of the file can't miss it; of real data nothing needs to be said.
        description: dict = {"synthetic": True} if self.synthetic else {}
        description |= {
            key: getattr(self, key)
            for key in ("name", "task", "modality", "licence", "citation", "source", "negative", "preparation")
        }
        description["classes"] = list(listed or self.classes)
        if self.task == "binary":
            description["positive"] = self.positive
        if self.features:
            description["features"] = schema.describe(self.features)
        # Notes and paths name files, whose names may be no Unicode.
        description = json.loads(json.dumps(description, ensure_ascii=False).encode("utf-8", "replace"))
        whole = {f.name: "Int64" for f in self.features if f.type == "integer" and _are_int64(self.manifest[f.name])}
        manifest = self.manifest.astype(whole) if whole else self.manifest
        atomic.write_csv(self.root / "manifest.csv", manifest)
        atomic.write_text(
            self.root / "dataset.yaml",
            # The C writer: a table may have thousands of columns.
            yaml.dump(
                description, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False, allow_unicode=True
            ),
        )

    @property
    def positive(self) -> str:
        """The positive class of a binary task, else ''."""
        return positive_class(self.task, self.classes)

    @property
    def is_table(self) -> bool:
        """Feature columns in the place of images."""
        return bool(self.features)

    @property
    def unit(self) -> str:
        """What a row of the manifest is: `image` or `row`; also the column that names it."""
        return "row" if self.is_table else "image"

    @property
    def inputs(self) -> tuple[schema.Feature, ...]:
        """A table's columns that a model may learn from."""
        return tuple(feature for feature in self.features if feature.is_input)

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
        if self.features:
            digest.update(schema.identity(self.features).encode())
        # In blocks: the text of a large table would be several times the table.
        block = atomic.rows_at_once(self.manifest)
        for start in range(0, max(len(self.manifest), 1), block):
            part = self.manifest.iloc[start : start + block]
            text = part.to_csv(index=False, header=start == 0, chunksize=block)
            digest.update(text.encode())
        return digest.hexdigest()

    def content(self, split: str) -> str:
        """SHA-256 of the fingerprint and of a part's image files: changes when a pixel does."""
        digest = hashlib.sha256(self.fingerprint().encode())
        if not self.is_table:
            for path in self.paths(self.rows(split)):
                try:
                    digest.update(hashlib.sha256(path.read_bytes()).digest())
                except OSError as error:
                    raise InputError(
                        f"{path}: can't be read ({error.strerror or error}); prepare the data set again"
                    ) from error
        return digest.hexdigest()

    def _check_labels(self) -> None:
        labels = set(self.classes) | {""}
        for number, label in enumerate(self.manifest["label"], start=2):
            if label in labels or (self.negative and label == self.negative):
                continue
            parts = label.split(SEPARATOR) if self.task == "multilabel" else [label]
            unknown = [part for part in parts if part not in self.classes]
            if unknown:
                raise InputError(
                    f"{self.root}/manifest.csv row {number}: label '{unknown[0]}' is not a class of dataset.yaml "
                    f"({', '.join(self.classes)}); mend the label or add the class"
                )


def _are_int64(numbers: pd.Series) -> bool:
    """Whether they can be written without a point: a stranger's column may hold 1e308, or halves."""
    known = numbers.dropna().to_numpy(np.float64)
    return bool(((known == np.floor(known)) & (np.abs(known) < 2.0**63)).all())


def _read_description(path: Path) -> dict:
    if not path.is_file():
        raise InputError(
            f"{path.parent}: not a prepared Dataset (no dataset.yaml); make one with 'medimg data prepare'"
        )
    description = read_yaml(path)
    if not isinstance(description, dict):
        raise InputError(f"{path}: not a mapping of names to values")
    for key in ("name", "task", "classes"):
        if key not in description:
            raise InputError(f"{path}: '{key}' is missing")
    if not isinstance(description["classes"], list) or not description["classes"]:
        raise InputError(f"{path}: 'classes' must be a list of class names")
    # `no` is a class, not False, and 010 not 8: names are read as they are written.
    words = read_yaml(path, as_text=True)
    description["classes"] = tuple(str(name).strip() for name in words["classes"])
    description |= {key: words[key] for key in ("name", "negative") if description.get(key) is not None}
    if "positive" in description:
        # Without it, as before there was such a field, the second class is positive.
        positive = str(words["positive"]).strip()
        if description["task"] != "binary" or positive not in description["classes"]:
            raise InputError(f"{path}: positive '{positive}' is not one of two classes")
        description["classes"] = tuple(sorted(description["classes"], key=lambda name: name == positive))
    if not isinstance(description.get("preparation") or {}, dict):
        raise InputError(f"{path}: 'preparation' must map names to values")
    features = words.get("features") if description.get("features") else {}
    if not isinstance(features, dict):
        raise InputError(f"{path}: 'features' must map column names to types")
    description["features"] = schema.parse(features, str(path)) if features else ()
    description["synthetic"] = _is_synthetic(description)
    fields = {f for f in Dataset.__dataclass_fields__ if f not in ("root", "manifest")}
    return {key: value for key, value in description.items() if key in fields}


def _is_synthetic(description: dict) -> bool:
    """Older files say so in their preparation alone."""
    preparation = description.get("preparation")
    in_preparation = preparation.get("synthetic") if isinstance(preparation, dict) else False
    return bool(description.get("synthetic") or in_preparation)
