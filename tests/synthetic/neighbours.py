"""Two synthetic Datasets of neighbouring data, compared file by file: what may differ is named here, nowhere else."""

import json
import re
from pathlib import Path

import pandas as pd
import yaml

from medimg.data.imaging import read_image

# Chance, and the folder: nothing of a patient.
RUN = {"run", "source", "data", "root", "at"}
# What noise or made rows decide; `usefulness` is of made rows and patients of val.
PRIVATE = {"usefulness", "hash", "previous", "updates"}
CSV_NUMBERS = {"generator_loss", "fake_loss", "seconds"}


def differences(first: Path, second: Path) -> list[str]:
    """What two folders differ in beyond the numbers that noise decides, a sentence each."""
    names = [sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) for root in (first, second)]
    if names[0] != names[1]:
        return [f"files: {sorted(set(names[0]) ^ set(names[1]))}"]
    return [f"{name}: {what}" for name in names[0] for what in _compared(first / name, second / name)]


def _compared(first: Path, second: Path) -> list[str]:
    kinds = {".csv": _csv, ".json": _json, ".yaml": _yaml, ".jsonl": _lines, ".png": _png}
    if first.suffix in kinds:
        return kinds[first.suffix](first, second)
    return [] if first.read_bytes() == second.read_bytes() else ["other bytes"]


def _csv(first: Path, second: Path) -> list[str]:
    tables = [pd.read_csv(path) for path in (first, second)]
    if tables[0].columns.tolist() != tables[1].columns.tolist() or len(tables[0]) != len(tables[1]):
        return ["other columns or rows"]
    free = CSV_NUMBERS if first.name != "manifest.csv" else _made_columns(tables[0])
    fixed = [name for name in tables[0] if name not in free]
    return [f"column {name}" for name in fixed if not tables[0][name].equals(tables[1][name])]


def _made_columns(table: pd.DataFrame) -> set[str]:
    """A made row's values and label; names, places and parts of rows are fixed."""
    return set(table) - {"row", "image", "patient", "split"}


def _json(first: Path, second: Path) -> list[str]:
    return _told(*(json.loads(path.read_text()) for path in (first, second)))


def _yaml(first: Path, second: Path) -> list[str]:
    return _told(*(yaml.safe_load(path.read_text()) for path in (first, second)))


def _lines(first: Path, second: Path) -> list[str]:
    lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in (first, second)]
    return _told(*lines)


def _png(first: Path, second: Path) -> list[str]:
    images = [read_image(path) for path in (first, second)]
    same = images[0].shape == images[1].shape and images[0].dtype == images[1].dtype
    return [] if same or first.name == "losses.png" else ["another form"]


def _told(first, second, where: str = "") -> list[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        if list(first) != list(second):
            return [f"{where}: keys {sorted(set(first) ^ set(second))}"]
        names = [n for n in first if n not in RUN | PRIVATE]
        if where.endswith("/record"):
            # The audit log's digests, of the noisy networks and of the files that are compared themselves.
            names = [n for n in names if n not in ("model", "files")]
        return [d for n in names for d in _told(first[n], second[n], f"{where}/{n}")]
    if isinstance(first, list) and isinstance(second, list):
        first, second = ([v for v in values if not _of_made_rows(v)] for values in (first, second))
        if len(first) != len(second):
            return [f"{where}: {len(first)} and {len(second)}"]
        pairs = zip(first, second, strict=True)
        return [d for i, pair in enumerate(pairs) for d in _told(*pair, f"{where}/{i}")]
    return [] if first == second else [f"{where}: {first} and {second}"]


def _of_made_rows(note) -> bool:
    """Notes that follow from made rows and from the patients of val."""
    return isinstance(note, str) and re.match(r"undertrained: |no image of ", note) is not None
