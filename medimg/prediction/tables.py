"""Raw rows of a CSV, as source `table` reads them, or of a Dataset -> batches of what a table's model takes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.prediction.images import PROTECTED, Batch
from medimg.prediction.inputs import is_dataset
from medimg.privacy.ledger import is_private
from medimg.run import Run
from medimg.sources.table_scan import name_of
from medimg.style.words import listed
from medimg.tables import cells
from medimg.tables.columns import Column
from medimg.tables.inference import summarise
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import UNSEEN, read, require_columns
from medimg.tables.reading import TableFile, open_table

_ROWS = 4096


@dataclass(frozen=True, eq=False)
class TableRows:
    """A table to predict.

    Attributes:
        count: of its rows.
        file: a table on disk, with `columns`: how each raw column that the model takes is read, and its place.
        frame: else the rows themselves.
    """

    count: int
    file: TableFile | None = None
    columns: tuple[tuple[int, Column], ...] = ()
    frame: pd.DataFrame | None = None


def tables_of(paths: list[Path], preprocessing: Preprocessing) -> list[TableRows]:
    """One pass over each table, which finds what can't be read before anything is predicted.

    Raises:
        InputError: a folder, a broken file, or a column is missing.
    """
    return [_of_dataset(path, preprocessing) if path.is_dir() else _of_file(path, preprocessing) for path in paths]


def _of_dataset(path: Path, preprocessing: Preprocessing) -> TableRows:
    if not is_dataset(path):
        raise InputError(f"{path}: is a folder; this model needs a table: give a CSV, a Parquet file or a Dataset")
    dataset = Dataset.load(path)
    if not dataset.is_table:
        raise InputError(f"{path}: holds images; this model needs a table")
    require_columns(dataset.manifest, list(preprocessing.inputs))
    return TableRows(len(dataset.manifest), frame=dataset.manifest)


def _of_file(path: Path, preprocessing: Preprocessing) -> TableRows:
    file = open_table(path)
    summaries = summarise(file)
    columns, missing = [], []
    for column in preprocessing.raw:
        # A Dataset has a `site` and the like of its own, so that source `table` calls a feature of that name otherwise.
        name = column.name if column.name in file.names else column.name.removeprefix("source_")
        if name not in file.names:
            missing.append(column.name)
            continue
        place = file.names.index(name)
        summary = summaries[place]
        form = summary.dates.form if column.type == "date" else None
        if column.type == "date" and form is None and summary.known:
            raise InputError(
                f"{path}: column '{name}': its cells are not all dates of one form; write them as 2020-03-01"
            )
        columns.append((place, Column(Feature(column.name, column.type), summary.numbers.comma, form)))
    if missing:
        raise InputError(
            f"{path}: lacks {listed(missing)}, which the model learns from; add the column, empty where not known"
        )
    return TableRows(summaries[0].rows, file, tuple(columns))


def batches(tables: list[TableRows], preprocessing: Preprocessing, protected: frozenset[bytes]) -> Iterator[Batch]:
    """Some thousand rows at a time."""
    for table in tables:
        for names, frame, warnings in _of_frame(table.frame) if table.file is None else _blocks(table):
            raw = read(frame, preprocessing.raw)
            for i, column in enumerate(preprocessing.raw):
                for row in np.flatnonzero(raw[:, i] == UNSEEN) if column.categories else ():
                    value = cells.shown(str(frame[column.name].iloc[row]))
                    warnings[row].append(f"{column.name}: '{value}' is no category of training")
            inputs = preprocessing.encode(raw)
            hidden = np.array([bool(protected) and row.tobytes() in protected for row in inputs], bool)
            yield Batch(names, [inputs[~hidden]], [], [PROTECTED if h else "" for h in hidden], warnings)


def _of_frame(frame: pd.DataFrame) -> Iterator[tuple[list[str], pd.DataFrame, list[list[str]]]]:
    for start in range(0, len(frame), _ROWS):
        part = frame.iloc[start : start + _ROWS]
        yield part["row"].tolist(), part, [[] for _ in range(len(part))]


def _blocks(table: TableRows) -> Iterator[tuple[list[str], pd.DataFrame, list[list[str]]]]:
    stem, start = name_of(table.file.path), 1
    for whole in table.file.blocks():
        for first in range(0, len(whole[0]), _ROWS):
            block = [column.slice(first, _ROWS) for column in whole]
            warnings: list[list[str]] = [[] for _ in range(len(block[0]))]
            frame = {}
            for place, column in table.columns:
                name = column.feature.name
                values = pd.Series(np.asarray(column.convert(block[place])))
                frame[name] = values
                if not (column.feature.is_number or column.form):
                    continue
                unread = cells.known_cells(block[place])[1] & (values.isna() | (values == "")).to_numpy()
                for row in np.flatnonzero(unread):
                    value = cells.shown(str(block[place][int(row)].as_py()))
                    kind = "number" if column.feature.is_number else "date"
                    warnings[row].append(f"{name}: '{value}' is no {kind}, taken as missing")
            names = [f"{stem}-{start + i}" for i in range(len(warnings))]
            if "row" in table.file.names:
                names = cells.categories(block[table.file.names.index("row")]).to_pylist()
            start += len(warnings)
            yield names, pd.DataFrame(frame), warnings


def protected_rows(run: Run, preprocessing: Preprocessing) -> frozenset[bytes]:
    """What the model is given of patients whom a private Run protects; nothing where its data are not here."""
    if not is_private(run.config["options"]) or not Path(run.config["data"]).exists():
        return frozenset()
    return frozenset(row.tobytes() for row in preprocessing.transform(run.dataset().rows("train")))
