"""Files that are either whole or absent: written beside their place, then renamed."""

import csv
import fcntl
import glob
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from medimg.errors import InputError
from medimg.untrusted.csv_cells import quoted

# What a temporary folder's name begins with: nobody's own is taken for one.
_BEGUN = ".writing-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on failure it goes.

    Raises:
        InputError: the folder can't be written or the disk is full.
    """
    path = Path(path)
    with _beside(path) as folder:
        temporary = folder / f"file{path.suffix}"
        temporary.touch()
        yield temporary
        temporary.replace(path)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of the folder `path`, on failure it goes.

    Raises:
        InputError: it can't be written or the disk is full.
    """
    path = Path(path)
    with _beside(path) as folder:
        temporary = folder / "folder"
        temporary.mkdir()
        yield temporary
        # Not removed first, which takes its time, and what was there would be gone if that were broken off.
        aside = folder / "before"
        with suppress(FileNotFoundError):
            path.rename(aside)
        try:
            temporary.rename(path)
        except OSError:
            if aside.exists():
                aside.rename(path)
            raise


def sweep(folder: Path) -> None:
    """Remove what writers that were killed have left, in a folder and below; of whoever writes now nothing."""
    for left in Path(folder).rglob(f"{_BEGUN}*"):
        _remove(left)


def sweep_beside(path: Path) -> None:
    """As `sweep`, of writers of this file or folder alone."""
    for left in Path(path).parent.glob(f"{glob.escape(_begun(Path(path)))}*"):
        _remove(left)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder that this user alone may read, held as long as it is written: who sweeps leaves it alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder, held = _taken(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield folder
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _taken(path: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=_begun(path)))
        # FileNotFoundError: swept before it was held.
        with suppress(FileNotFoundError), ExitStack() as stack:
            # The folder, as HDF5 has such a lock on the file that it writes.
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, held)
            # Some file systems know none; there nothing is swept.
            with suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX)
            folder.stat()
            stack.pop_all()
            return folder, held


def _remove(left: Path) -> None:
    # It has just gone, or its writer is at it.
    with suppress(OSError):
        held = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
        finally:
            os.close(held)


def _begun(path: Path) -> str:
    # Its own name may be as long as the file system allows.
    return f"{_BEGUN}{path.stem[:30]}-"


def copy(file: Path, path: Path) -> None:
    """Copy a file atomically."""
    with replacing(path) as temporary:
        shutil.copyfile(file, temporary)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically; NaN becomes null, since JSON has no NaN."""
    write_text(path, json.dumps(finite(content), indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, table) -> None:
    """Write a pandas DataFrame as CSV atomically, without its index; `medimg.untrusted.csv_cells.read_csv` reads it.

    Cells that a spreadsheet would run as formulas are quoted (`medimg.untrusted.csv_cells`). What is no Unicode, as
    bytes of a file's name may be, becomes `?`.
    """
    with replacing(path) as temporary:
        options = {"index": False, "chunksize": rows_at_once(table), "errors": "replace"}
        cells = quoted(table)
        cells.to_csv(temporary, **options)
        if _holds_return(temporary):
            # Python's csv quotes a line feed, but not a carriage return, which ends a line as well when it is read.
            cells.to_csv(temporary, quoting=csv.QUOTE_NONNUMERIC, **options)


def _holds_return(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b"\r" in block for block in iter(lambda: file.read(1 << 20), b""))


def rows_at_once(table) -> int:
    """Rows of a block of a million cells: pandas' own choice is a few rows of a wide table, and slow."""
    return max(1, 1_000_000 // max(1, table.shape[1]))


def cannot_write(path: Path, error: OSError) -> InputError:
    """The one-line error of a write that the system refused."""
    return InputError(f"{path}: can't be written ({error.strerror or error}); choose another --out or free space")


def finite(content: object) -> object:
    """The content with NumPy's numbers and arrays as Python's, and null for NaN and infinity, which JSON lacks."""
    if isinstance(content, dict):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if hasattr(content, "tolist"):
        return finite(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def umask() -> int:
    """What the user denies of files and folders that are made."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
