"""A cell's chain of steps, each in a folder named by all that it depends on: what is done is taken as it is."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from medimg import __version__, atomic
from medimg.data.dataset import SPLITS, Dataset
from medimg.data.schema import describe
from medimg.errors import InputError
from medimg.models.known_weights import identify
from medimg.studies.declared import CUT, Cell
from medimg.studies.steps import Inputs, Shared, module_of
from medimg.untrusted.json_file import read_json

RESULT = "result.json"
_DONE = "done"
# Steps that leave the Dataset that the cell is about from then on.
MAKES_DATA = ("thin", "divide", "genes", "extend")


@dataclass(frozen=True)
class Scale:
    """What is left of a study.

    Attributes:
        length: share of the epochs and rounds.
        rows: share of the training patients.
        least: epochs or rounds of which no share is taken.
    """

    length: float = 1.0
    rows: float = 1.0
    least: int = 1

    def applied(self, cell: Cell) -> Cell:
        """The cell, shorter and on fewer rows."""
        steps = [(step, {key: self._shorter(key, value) for key, value in its.items()}) for step, its in cell.steps]
        return replace(cell, steps=((("thin", {"fraction": self.rows}),) if self.rows < 1 else ()) + tuple(steps))

    def _shorter(self, key: str, value):
        return min(value, max(self.least, round(value * self.length))) if key in CUT else value


@dataclass(frozen=True)
class Done:
    """A finished cell of one seed.

    Attributes:
        results: step -> its result.
        folders: step -> its folder.
        took: step -> its seconds, when it was run.
        key: what it depended on.
    """

    results: dict
    folders: dict[str, Path]
    took: dict[str, float]
    key: str

    @property
    def seconds(self) -> float:
        """Of all its steps."""
        return sum(self.took.values())


class _Place(NamedTuple):
    """A step of a cell, its options, what it depends on, and its folder."""

    step: str
    options: dict
    key: str
    folder: Path


class Runner:
    """Runs cells in a folder.

    Args:
        data: folders of the study's Datasets.
        out: gets `work/STEP-KEY/`: `done` (a Run, a Dataset, ...) and result.json.
        bootstrap: resamples for intervals.
        shared: by all cells.
    """

    def __init__(self, data: Sequence[Path], out: Path, bootstrap: int, shared: Shared):
        self.shared, self.data, self.out, self.bootstrap = shared, tuple(data), out, bootstrap
        datasets = [Dataset.load(path, joins_copies=False) for path in self.data]
        # Data and code: of others nothing that was kept is taken.
        self._keys = [__version__, *(one.content(part) for one in datasets for part in SPLITS)]
        self._keys += [_beside_rows(one) for one in datasets]
        self._weights: dict[str, str] = {}

    def run(self, cell: Cell, seed: int, members: Sequence[Done] = ()) -> Done:
        """Do what is left of a cell.

        Args:
            cell: of the study.
            seed: of every step of it.
            members: whose Runs it is a vote of.
        """
        votes = tuple(one.folders["train"] for one in members)
        data, folders, results, took, places = self.data[cell.data], {}, {}, {}, self._places(cell, seed, members)
        for step, options, _, folder in places:
            inputs = Inputs(data, self.data, dict(folders), votes, self.bootstrap, self.shared)
            record = self._kept(folder) or self._run(step, inputs, folder, options)
            folders[step], results[step] = folder / _DONE, record["result"]
            # A study cut to fewer rows may thin them twice.
            took[step] = took.get(step, 0.0) + record["seconds"]
            if step in MAKES_DATA:
                data = folders[step]
        return Done(results, folders, took, places[-1].key)

    def kept(self, cell: Cell, seed: int, members: Sequence[Done] = ()) -> dict[Path, float]:
        """Folders of a cell's steps that are done already, for another cell or by a run before -> their seconds."""
        records = {place.folder / _DONE: self._kept(place.folder) for place in self._places(cell, seed, members)}
        return {folder: record["seconds"] for folder, record in records.items() if record}

    def _places(self, cell: Cell, seed: int, members: Sequence[Done]) -> list["_Place"]:
        places = []
        key = _hashed(self._keys, cell.data, self.bootstrap, [one.key for one in members])
        for step, its in cell.steps:
            options = {**its, "seed": seed}
            key = _hashed(key, step, options, self._content_of(its.get("weights", "")))
            places.append(_Place(step, options, key, self.out / "work" / f"{step}-{key[:12]}"))
        return places

    def _content_of(self, weights: str) -> str:
        """SHA-256 of a file of weights, or of a Run's, which others of its name may replace."""
        if weights not in self._weights:
            files = [file for file in (Path(weights), Path(weights, "model.keras")) if weights and file.is_file()]
            self._weights[weights] = identify(files[0])["sha256"] if files else ""
        return self._weights[weights]

    def _kept(self, folder: Path) -> dict | None:
        path = folder / RESULT
        return read_json(path, "remove it, and the cell runs again", ("result", "seconds")) if path.is_file() else None

    def _run(self, step: str, inputs: Inputs, folder: Path, options: dict) -> dict:
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        result = module_of(step).run(inputs, folder / _DONE, dict(options))
        record = {"step": step, "options": options, "seconds": time.monotonic() - started, "result": result}
        return self._keep(folder, record)

    def _keep(self, folder: Path, record: dict) -> dict:
        atomic.write_json(folder / RESULT, record)
        # As JSON has it, whether it was just run or is kept.
        return read_json(folder / RESULT)


def _beside_rows(dataset: Dataset) -> list:
    """What a step may read of a Dataset beside its rows and their pixels: masks, and what dataset.yaml says."""
    masks = [name for name in dict.fromkeys(dataset.manifest.get("mask", ())) if name]
    try:
        hashes = [hashlib.sha256((dataset.root / name).read_bytes()).hexdigest() for name in masks]
    except OSError as error:
        name = error.filename
        raise InputError(f"{name}: can't be read ({error.strerror or error}); prepare the data set again") from error
    said = (dataset.modality, dataset.negative, dataset.synthetic, dataset.preparation, describe(dataset.features))
    return [*hashes, *said]


def _hashed(*content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
