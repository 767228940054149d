"""What a folder that is to be shared holds beside the rows that were judged: nothing is known of it, or it is a leak.

The measures take labelled rows of split train and the columns that the real Dataset's models learn from. Whoever gets
the folder gets all of it: rows of other splits, other columns, masks, and files that no manifest names.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.manifest import FILE_COLUMNS
from medimg.style.words import listed
from synthetic.judge.findings import Finding
from synthetic.judge.report_folder import earlier
from synthetic.judge.rows import Subject

# What `medimg synthesize` leaves beside the rows, made of options, versions, losses and made images.
_OWN = {"dataset.yaml", "manifest.csv", "config.yaml", "environment.json", "privacy.json"}
_OWN |= {"audit.jsonl", "audit.head.json"}
_OWN_FOLDERS = ("training", "checkpoints")
_COLUMNS = {"image", "row", "label", "patient", "site", "split"}


def measure(subject: Subject) -> dict:
    """Look through the synthetic folder.

    Returns:
        `outside_train`, `unlabelled`: rows of the manifest that were not judged; `columns`: names of those that were
        not; `named`: rows that bear a real patient's name; `real_files`: files beside the rows' own whose bytes are
        those of a file of the real Dataset; `other_files`: files that neither the manifest names as images nor
        `medimg synthesize` makes, masks among them.
    """
    synthetic, real = subject.synthetic, subject.real
    rows = synthetic.manifest
    in_train = rows["split"] == "train"
    # The rows' images are held against all of the real ones, pixel by pixel, elsewhere.
    images = set() if synthetic.is_table else set(rows["image"].map(os.path.normpath))
    files = sorted(_files(synthetic.root) - earlier(synthetic.root) - images)
    copied = _of_real(synthetic.root, files, real)
    not_made = [name for name in files if not _is_own(name)]
    return {
        "outside_train": int((~in_train).sum()),
        "unlabelled": int((in_train & (rows["label"] == "")).sum()),
        "columns": _columns(rows, real),
        "named": _named(rows, real.manifest),
        "real_files": copied,
        "other_files": [name for name in not_made if name not in copied],
    }


def findings(measures: dict) -> Iterator[Finding]:
    """What was not judged can't pass."""
    for name, words in (("outside_train", "lie outside split train"), ("unlabelled", "have no label")):
        if measures[name]:
            yield Finding(
                "privacy",
                "fail",
                f"{measures[name]} rows of the manifest {words} and were not judged, though they would be shared: take "
                "them out, or put them into train with a label.",
            )
    for name, grade, words in (
        ("real_files", "fail", "are files of the real Dataset, byte for byte"),
        ("other_files", "care", "are no part of the synthetic rows and were not judged: take them out"),
        ("columns", "care", "are columns that the real Dataset has not as inputs, and were not judged"),
    ):
        if measures[name]:
            yield Finding("privacy", grade, f"{listed(measures[name])} {words}.")
    if measures["named"]:
        yield Finding("privacy", "care", f"{measures['named']} rows bear the name of a real patient.")


def _files(root: Path) -> set[str]:
    """Names of all files below a folder, with `/`; links to folders are not followed but are a file's name."""
    names = set()
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*files, *links):
            names.add(Path(folder, name).relative_to(root).as_posix())
    return names


def _is_own(name: str) -> bool:
    return name in _OWN or name.split("/", maxsplit=1)[0] in _OWN_FOLDERS


def _of_real(root: Path, files: list[str], real: Dataset) -> list[str]:
    """Of these files, those that have the bytes of one of the real Dataset's that tells of patients."""
    columns = [name for name in FILE_COLUMNS if name in real.manifest]
    stored = {name for column in columns for name in real.manifest[column].astype(str) if name}
    real_paths = [real.root / name for name in (*sorted(stored), "manifest.csv")]
    sizes: dict[int, list[Path]] = {}
    for path in real_paths:
        if path.is_file():
            sizes.setdefault(path.stat().st_size, []).append(path)
    # Only files of equal size are read.
    alike = [name for name in files if _size(root / name) in sizes]
    shared_sizes = {_size(root / name) for name in alike}
    hashes = {_digest(path) for size in shared_sizes for path in sizes[size]}
    return [name for name in alike if _digest(root / name) in hashes]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns(rows: pd.DataFrame, real: Dataset) -> list[str]:
    """Those that say something: more than one value."""
    expected = _COLUMNS | {feature.name for feature in real.inputs}
    return [name for name in rows if name not in expected and rows[name].nunique(dropna=False) > 1]


def _named(rows: pd.DataFrame, real: pd.DataFrame) -> int:
    # A plain number names nobody: both may be counted from 1.
    names = {name for name in real["patient"].astype(str) if not name.isdigit()}
    return int(rows["patient"].astype(str).isin(names).sum())
