"""rounds.csv: a row for every client that was asked in a round."""

import csv
import io
from pathlib import Path

import pandas as pd

from federated.engine.updates import Aggregate
from federated.rounds.participation import Attendance
from medimg import atomic
from medimg.untrusted.csv_cells import quote, read_csv

COLUMNS = (
    "round",
    "client",
    "status",
    "examples",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "val_auroc",
    "bytes_up",
    "bytes_down",
    "seconds",
)


def written(rows: list[dict]) -> list[list[str]]:
    """The cells of rows as they are written."""
    text = io.StringIO(newline="")
    _writer(text).writerows(_quoted(rows))
    return list(csv.reader(io.StringIO(text.getvalue(), newline="")))


def _writer(file) -> csv.DictWriter:
    return csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")


def status(name: str, attending: Attendance, lost: dict, aggregate: Aggregate) -> str:
    """What became of a client that was asked; `federated.report.attendance` reads it."""
    if name in attending.dropped:
        return "dropped"
    if name in lost:
        return f"lost: {lost[name]}"
    if name in aggregate.rejected:
        return f"rejected: {aggregate.rejected[name]}"
    if aggregate.failure:
        return f"unused: {aggregate.failure}"
    if name not in aggregate.included:
        return "lost: amid the secure sum"
    return "straggler" if attending.work[name] < 1 else "ok"


class RoundsTable:
    """`rounds.csv`, appended to: rewriting it every round would cost the square of its length.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.path = Path(path)

    def cut(self, rounds: int) -> None:
        """Keep the rows of the first rounds; what a kill left behind them, whole or torn, goes."""
        if rounds and self.path.is_file():
            text = self.path.read_text(encoding="utf-8")
            complete = text[: text.rfind("\n") + 1]
            table = read_csv(io.StringIO(complete), dtype=str, keep_default_na=False)
            table = table[pd.to_numeric(table["round"], errors="coerce") <= rounds]
            atomic.write_csv(self.path, table)
            return
        atomic.write_text(self.path, ",".join(COLUMNS) + "\n")

    def add(self, rows: list[dict]) -> None:
        """Append a round's rows.

        Raises:
            InputError: the file can't be written.
        """
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                _writer(file).writerows(_quoted(rows))
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error


def _quoted(rows: list[dict]) -> list[dict]:
    """A client's name may look like a formula."""
    return [{name: quote(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows]
