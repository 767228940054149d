"""What each column of a table holds, counted block by block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from medimg.data.dates import Recognition
from medimg.data.schema import as_text
from medimg.tables import cells
from medimg.tables.reading import TableFile

# Of text and of numbers: more levels than these are not kept.
COUNTED_LEVELS = 1000
COUNTED_NUMBERS = 32


@dataclass
class Numbers:
    """Cells of a column as numbers, with one decimal sign.

    Attributes:
        comma: the decimal sign is a comma.
        count: cells that are numbers, infinities among them.
        infinite: those of them.
        whole: every number is whole.
        counting: every cell is one more than the cell before: an index.
        odd: row (from 0) and text of the first known cell that is no number.
        padded: one is written with zeros in front, as 008: a code, no amount.
    """

    comma: bool
    count: int = 0
    infinite: int = 0
    whole: bool = True
    counting: bool = True
    odd: tuple[int, str] | None = None
    padded: bool = False
    _last: float | None = None

    def add(self, texts: pa.Array, which: np.ndarray, start: int) -> None:
        """Take the known cells of a block.

        Args:
            texts: the cells.
            which: bool (N,), the block's cells that are known.
            start: row of its first cell.
        """
        values = cells.parse(texts, self.comma)
        is_number = ~np.isnan(values)
        if self.odd is None and not is_number.all():
            place = int(np.flatnonzero(~is_number)[0])
            self.odd = start + int(np.flatnonzero(which)[place]), texts[place].as_py()
        values = values[is_number]
        finite = values[np.isfinite(values)]
        self.count += len(values)
        self.infinite += len(values) - len(finite)
        self.whole = self.whole and bool((finite == np.floor(finite)).all())
        self.padded = self.padded or (self.whole and cells.padded(texts))
        self.counting = self.counting and len(finite) == len(which) and self._counts(finite)

    def _counts(self, values: np.ndarray) -> bool:
        before = [] if self._last is None else [self._last]
        self._last = float(values[-1])
        return bool((np.diff(np.append(before, values)) == 1).all())


class ColumnSummary:
    """Counts of a column.

    Attributes:
        rows: cells.
        known: cells that are not missing.
        distinct: no known cell equals another; not looked at for measurements.
        dates: which form of date all known cells have.
    """

    def __init__(self, comma: bool):
        self.rows = self.known = 0
        # As in the file: the canonical text of 20,000 columns' categories is made for those that need it.
        self._cells: dict[str | float, int] | None = {}
        self.distinct = True
        self.dates = Recognition()
        self._signs = [Numbers(False), *([Numbers(True)] if comma else [])]
        self._kind: type = object  # of the cells: text, or float in a Parquet file
        self._seen: list[np.ndarray] = []

    @property
    def numbers(self) -> Numbers:
        """The column's numbers, by the decimal sign that makes more of its cells one."""
        return max(self._signs, key=lambda numbers: numbers.count)

    @property
    def all_numbers(self) -> bool:
        """Every known cell is a number."""
        return self.numbers.count == self.known

    @cached_property
    def levels(self) -> dict[str, int] | None:
        """Category -> cells, when all blocks are in; None when there are too many to keep."""
        if self._cells is None:
            return None
        levels = {}
        texts = as_text(pd.Series(list(self._cells), dtype=object).astype(self._kind))
        for text, count in zip(texts, self._cells.values(), strict=True):
            levels[text] = levels.get(text, 0) + count
        return levels

    @property
    def different_numbers(self) -> int | None:
        """How many different numbers a column of numbers has; None when there are too many to keep."""
        if self._cells is None:
            return None
        if self._kind is float:
            return len(self._cells)
        texts = pa.array(list(self._cells), pa.string())
        return len(np.unique(cells.parse(texts, self.numbers.comma)))

    def add(self, column: pa.Array) -> None:
        """Take a block of the column, text or float64."""
        known_cells, which = cells.known_cells(column)
        if len(known_cells):
            for numbers in self._signs:
                numbers.add(known_cells, which, self.rows)
        else:
            for numbers in self._signs:
                numbers.counting = False
        self.rows += len(column)
        self.known += len(known_cells)
        self._kind = object if cells.is_text(column) else float
        self.dates.add(known_cells if cells.is_text(column) else cells.as_days(known_cells), numeric=self.all_numbers)
        self._count_levels(known_cells)

    def _count_levels(self, known_cells: pa.Array) -> None:
        # A measurement names nobody, be it as different as it may.
        self.distinct = self.distinct and not (self.all_numbers and not self.numbers.whole)
        if self._cells is None and not self.distinct:
            return
        counts = pc.value_counts(known_cells)
        self.distinct = self.distinct and len(counts) == len(known_cells) and self._are_new(known_cells)
        most = COUNTED_NUMBERS if self.all_numbers and not self.numbers.padded else COUNTED_LEVELS
        if self._cells is None or len(counts) > most:
            self._cells = None
            return
        for value, count in zip(*(counts.field(i).to_pylist() for i in (0, 1)), strict=True):
            self._cells[value] = self._cells.get(value, 0) + count
        if len(self._cells) > most:
            self._cells = None

    def _are_new(self, known_cells: pa.Array) -> bool:
        values = known_cells.to_numpy(zero_copy_only=False)
        hashes = pd.util.hash_array(values, categorize=False)
        if any(np.isin(hashes, seen).any() for seen in self._seen):
            self._seen = []
            return False
        self._seen.append(hashes)
        return True


def summarise(file: TableFile, progress: Callable[[int], None] | None = None) -> Sequence[ColumnSummary]:
    """One pass over a table.

    Args:
        file: the table.
        progress: called with the rows read so far.

    Raises:
        InputError: as `TableFile.blocks`.
    """
    summaries = [ColumnSummary(file.comma) for _ in file.names]
    for block in file.blocks():
        for summary, column in zip(summaries, block, strict=True):
            summary.add(column)
        if progress:
            progress(summaries[0].rows)
    return summaries
