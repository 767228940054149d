"""Any CSV or Parquet file with a column of labels; the types of its other columns are inferred, or given by options."""

from pathlib import Path

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups.sources import ColumnOptions, ColumnTypeOptions
from medimg.sources.base import Source, TableScan


def scan(path: Path | None, config: PrepareConfig) -> TableScan:
    """Find out what a table holds; see `medimg.sources.table_scan`.

    Raises:
        InputError: there is no such file, or it, a column or an option can't be used.
    """
    what = "source 'table' needs a CSV or Parquet file"
    if path is None:
        raise InputError(f"PATH is missing: {what}")
    path = Path(path)
    if not path.is_file():
        why = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path}: {why}; {what}")
    from medimg.sources.table_scan import scan_table

    return scan_table(path, config)


SOURCE = Source(
    name="table",
    task="binary or multiclass",
    modality="table",
    licence="of your table",
    citation="",
    layout="CSV, TSV or ';' (also .gz) or Parquet: a row a case, a column of labels; patient, site, split optional",
    how_to_get="your own table; --label-column and the like name its columns, --column-type NAME=TYPE corrects a type",
    scan=scan,
    options=(
        ColumnOptions,
        ColumnTypeOptions,
    ),
)
