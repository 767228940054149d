"""A table that a person gives beside images: the same reader as the source `table`, as a DataFrame of text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medimg.errors import InputError
from medimg.style.words import listed

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path) -> pd.DataFrame:
    """A table with every cell as stripped text ('' = empty), without columns that have neither a name nor a cell.

    Args:
        path: as of `medimg.tables.reading.open_table`, which finds out delimiter and encoding.

    Returns:
        At least one row; `attrs["notes"]` has sentences about how it was read.

    Raises:
        InputError: the file is missing, no table, or has no rows.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    from medimg.tables import cells
    from medimg.tables.reading import open_table

    file = open_table(path)
    columns: list[list[pa.Array]] = [[] for _ in file.names]
    for block in file.blocks():
        for parts, cell in zip(columns, block, strict=True):
            parts.append(pc.utf8_trim_whitespace(cell) if cells.is_text(cell) else cells.categories(cell))
    if not columns[0]:
        raise InputError(f"{path}: has a header but no rows")
    table = pd.DataFrame(
        {n: pa.chunked_array(parts).to_pandas().astype(object) for n, parts in zip(file.names, columns, strict=True)}
    )
    nothing = [name for name in file.unnamed if (table[name] == "").all()]
    table = table.drop(columns=nothing)
    # What columns of nothing are called is of no interest.
    table.attrs["notes"] = [note for note in file.notes if not (nothing and "without a name" in note)]
    return table


def need_columns(path: Path, table: pd.DataFrame, columns: dict[str, str]) -> None:
    """Check that a table has the columns; `columns` maps each name to the option that names it ('' = none).

    Raises:
        InputError: names the missing column, those that exist, and the option.
    """
    for column, option in columns.items():
        if column not in table:
            remedy = f"; name the right one with {option}" if option else ""
            raise InputError(f"{path}: column '{column}' is missing; it has {listed(table.columns, 12)}{remedy}")
