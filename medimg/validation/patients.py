"""DATA2 of `medimg validate`: a Dataset or a folder of images, its classes in the model's words, without known rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.positive import plain
from medimg.errors import InputError
from medimg.evaluation.classes import check_kind, match_classes, targets_in_order
from medimg.evaluation.overlap import SEEN, require_others, seen_rows
from medimg.lock import scratch
from medimg.preparation.prepare import prepare
from medimg.sources import folder
from medimg.validation.config import ValidateConfig


@dataclass(frozen=True)
class Patients:
    """Rows that a model is validated on.

    Attributes:
        dataset: where they are.
        rows: labelled or not, with a fresh index.
        labelled: bool (N,).
        targets: of the labelled rows, as `Predictions` takes them.
        notes: what a reader must know of them.
        own: how many are of the Run's own test part.
    """

    dataset: Dataset
    rows: pd.DataFrame
    labelled: np.ndarray
    targets: np.ndarray
    notes: list[str]
    own: int = 0


@contextmanager
def opened(data: Path, description: dict, config: ValidateConfig, progress=None) -> Iterator[Dataset]:
    """A prepared Dataset; a folder of images is prepared for as long as this is open, and nothing of it is kept.

    Args:
        data: a Dataset, or class folders, one of them alone, or images without folders, which are unlabelled.
        description: the Run's.
        config: `patient_pattern` and `map_class` are used.
        progress: called with images done and images in all.

    Raises:
        InputError: it is neither, or a class folder is no class of the model.
    """
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; give a prepared Dataset or a folder of class folders")
    if (data / "dataset.yaml").is_file():
        if config.patient_pattern is not None:
            raise InputError("--patient-pattern: a prepared Dataset names its patients; leave it out")
        yield Dataset.load(data)
        return
    if "preprocessing" in description or description["task"] == "multilabel":
        what = "rows of a table" if "preprocessing" in description else "several labels an image"
        raise InputError(f"{data}: not a prepared Dataset; of {what} one is needed: 'medimg data prepare' makes it")

    def scan(path: Path, options: PrepareConfig):
        scanned = folder.scan(path, options, any_classes=True)
        # Refused before anything is decoded.
        _names(data, scanned.records["label"], description, config)
        return replace(scanned, classes=tuple(description["classes"]), task=description["task"], any_classes=True)

    with scratch("validate") as kept:
        options = PrepareConfig(
            split="100/0/0",
            on_duplicates="group",
            # As `predict` reads a file.
            image_size=description.get("prepared_size"),
            intensity="max" if description.get("white") == 0 else "auto",
            patient_pattern=config.patient_pattern,
            positive=description["classes"][1] if description["task"] == "binary" else None,
        )
        place = kept / "data"
        try:
            yield prepare("folder", data, place, options, progress=progress, scan=scan)
        except InputError as error:
            # What is wrong with the copy is wrong with the folder, and that one stays.
            raise InputError(str(error).replace(str(place), str(data))) from error


def patients_of(
    dataset: Dataset, description: dict, config: ValidateConfig, training: Dataset | None, private: bool
) -> Patients:
    """Rows that the model has not seen, with their labels as the model counts them.

    Args:
        dataset: DATA2.
        description: the Run's.
        config: `split` and `map_class` are used.
        training: the Run's own Dataset, None where it is absent.
        private: the Run's training patients are protected.

    Raises:
        InputError: a class is none of the model's, rows of protected patients are among them, or none is left.
    """
    check_kind(dataset, description)
    rows = dataset.rows(None if config.split == "all" else config.split).reset_index(drop=True)
    if rows.empty:
        raise InputError(f"--split {config.split}: {dataset.root} has no {dataset.unit} in it; choose another")
    preparation_notes = dataset.preparation.get("notes", []) if dataset.source == "folder" else []
    notes = [str(note) for note in preparation_notes if not str(note).startswith("class '")]
    internal_rows = 0
    if training is None:
        notes.append("the Run's own data are not here: whether it has seen these patients is not checked")
    else:
        if private:
            require_others(dataset, rows, training, f"DATA2 {dataset.root}")
        rows, internal_rows, of_unseen = _unseen(dataset, rows, training)
        notes += of_unseen
    labelled = (rows["label"] != "").to_numpy()
    labelled_rows = rows[labelled]
    if description["task"] == "multilabel":
        order = match_classes(dataset, "multilabel", tuple(description["classes"]))
        return Patients(dataset, rows, labelled, targets_in_order(dataset, labelled_rows, order), notes, internal_rows)
    if dataset.task == "multilabel":
        raise InputError(f"{dataset.root}: several labels an image for a {description['task']} model; give it one each")
    names = _names(dataset.root, labelled_rows["label"], description, config)
    position = {name: i for i, name in enumerate(description["classes"])}
    targets = labelled_rows["label"].map(names).map(position).to_numpy(np.int64)
    return Patients(dataset, rows, labelled, targets, notes, internal_rows)


def _names(place: Path, labels: pd.Series, description: dict, config: ValidateConfig) -> dict[str, str]:
    """Their class -> the model's: by --map-class, else the same but for case, spaces, underscores and hyphens."""
    ours = {plain(name): name for name in description["classes"]}
    wanted = {plain(theirs): str(name) for theirs, name in config.map_class.items()}
    names = {"": ""}
    for theirs in sorted(set(labels) - {""}):
        name = ours.get(plain(wanted.get(plain(theirs), theirs)))
        if name is None:
            raise InputError(
                f"{place}: class '{theirs}' is none of the model's ({', '.join(description['classes'])}); say which it "
                f"is, as --map-class '{theirs}={description['classes'][-1]}', or leave it out"
            )
        names[theirs] = name
    unused = [theirs for theirs in config.map_class if plain(theirs) not in {plain(name) for name in names}]
    if unused:
        classes = ", ".join(sorted(set(names) - {""})) or "none"
        raise InputError(f"--map-class {unused[0]}={config.map_class[unused[0]]}: {place} has the classes {classes}")
    return names


def _unseen(dataset: Dataset, rows: pd.DataFrame, training: Dataset) -> tuple[pd.DataFrame, int, list[str]]:
    """Without the rows that the model was trained or tuned on; how many of the rest are of its own test part."""
    by_patient, by_content = seen_rows(dataset, rows, training, SEEN)
    notes = []
    # Another hospital counts its patients from 1 too: the same name is the same person only where rows are the same.
    if not by_content.any() and by_patient.any():
        notes.append(
            f"{rows.loc[by_patient, 'patient'].nunique()} patients have the identifiers of patients that the model was "
            f"trained on, but no {dataset.unit} is the same: they are taken for other people"
        )
        by_patient = by_content
    seen = by_patient | by_content
    if seen.all():
        raise InputError(f"{dataset.root}: the model was trained or tuned on every {dataset.unit} of it; give others")
    if seen.any():
        notes.append(f"{int(seen.sum())} {dataset.unit}s that the model was trained or tuned on are left out")
    rows = rows[~seen].reset_index(drop=True)
    internal_rows = int(seen_rows(dataset, rows, training, ("test",))[1].sum())
    if internal_rows:
        notes.append(
            f"{internal_rows} of {len(rows)} {dataset.unit}s are of the Run's own test part: no other hospital's"
        )
    return rows, internal_rows, notes
