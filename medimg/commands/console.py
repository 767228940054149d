"""What the command line draws: progress bars and tables."""

import contextlib
import math
import sys

from medimg.untrusted.printable import printable


@contextlib.contextmanager
def progress_bars():
    """A function (what, done, total) that draws bars on a terminal and is silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total, visible=done < total)

        yield step


def tell_progress(what: str, row: dict, more: str = "") -> None:
    """A line on standard error for an epoch or a round, where there is no terminal for progress bars.

    Args:
        what: `head epoch 3`.
        row: of history.csv; of private training nothing is told that carries no noise: NaN or None.
        more: behind the metrics.
    """
    import click

    if sys.stderr.isatty():
        return
    seconds = row["seconds"]
    loss = "" if math.isnan(row["loss"]) else f"loss {row['loss']:.4f} "
    took = "" if seconds is None or math.isnan(seconds) else f" {seconds:.1f} s"
    click.echo(
        f"{what}: {loss}val_loss {row['val_loss']:.4f} val_auroc {row['val_auroc']:.4f}{more}{took}",
        err=True,
    )


def say(line: str, err: bool = False) -> None:
    """Print a line that may quote a stranger's text: it stays one line, without control characters."""
    import click

    click.echo(printable(line, None), err=err)


def table(title: str, columns: list[str], rows: list[list]) -> None:
    """Print a table to standard output."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=escape(printable(title, None)), title_justify="left")
    for i, column in enumerate(columns):
        drawn.add_column(escape(printable(column, None)), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else escape(printable(cell, None)) for cell in row))
    # A pipe has no width; a log wants whole rows.
    width = None if sys.stdout.isatty() else 120
    Console(width=width).print(drawn)
