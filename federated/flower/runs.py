"""Runs that a site has taken part in, and those that a person there has approved, on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.lock import in_turn
from medimg.untrusted.json_file import parse_json, text_of

_RUNS = "runs.json"


def approve(run: str, folder: Path) -> None:
    """Allow a run by name.

    Args:
        run: as the site's refusal names it.
        folder: of the site.

    Raises:
        InputError: it is no folder, or can't be written.
    """
    if not Path(folder).is_dir():
        raise InputError(f"--folder {folder}: no such folder; give that of 'medimg federate site'")
    with alone(Path(folder)):
        known = read(Path(folder))
        atomic.sweep_beside(Path(folder) / _RUNS)
        atomic.write_json(Path(folder) / _RUNS, {**known, "approved": sorted({*known["approved"], run})})


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else reads and writes down runs: an approval and a site that runs would lose what the other puts down.

    It is waited for, and ends with the process however that ends.
    """
    try:
        with in_turn(folder):
            yield
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error


def take(run: str, folder: Path) -> None:
    """Put down that a run is taken part in, `alone`."""
    known = read(folder)
    atomic.write_json(folder / _RUNS, {**known, "taken": [*known["taken"], run]})


def read(folder: Path) -> dict[str, list[str]]:
    """Runs by name: `taken` part in, and `approved`.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / _RUNS
    try:
        known = parse_json(text_of(path)) if path.is_file() else {"taken": [], "approved": []}
        return {name: [str(run) for run in known[name]] for name in ("taken", "approved")}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged, and with it which runs were taken part in; restore it") from error
