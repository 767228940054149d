"""Files of a stranger's folder: only what lies inside it, by the names in its tables and by the names that it has.

A Dataset, a CSV or a Run that someone else made could else name, or link to, any file of this machine, whose content
would go into a model, a report or a dossier that is passed on, or which would be written over.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PureWindowsPath

from medimg.errors import InputError
from medimg.untrusted.printable import printable

# Bytes that a file may have without anybody having written them.
_MOST_HOLES = 64 << 20
# Of a Run: pixels that a killed training had not decoded yet; nobody's, and never read again.
_UNFINISHED = "cache/"


class Folder:
    """A folder that names are looked up in.

    Args:
        root: the folder; it may be a link itself.

    Example:
        Folder(Path("data")).outside("../x.png")
    """

    def __init__(self, root: Path):
        self.root = Path(root)
        self._real = os.path.realpath(self.root)
        # Folders that have been looked at: whether they lie inside.
        self._known: dict[str, bool] = {}

    def outside(self, name: str) -> str:
        """Why a name leads out of the folder; '' where it does not.

        Args:
            name: relative path of a file, which need not exist.
        """
        if "\0" in name:
            return f"'{printable(name)}' is no name of a file"
        # Written on Windows or not: both ways of writing an absolute path.
        windows = PureWindowsPath(name)
        if name.startswith("/") or windows.drive or windows.root:
            return f"'{printable(name)}' is an absolute path, which leads out of {self.root}"
        if ".." in re.split(r"[\\/]", name):
            return f"'{printable(name)}' has '..', which leads out of {self.root}"
        place = self.root / name
        mode = _mode(place, os.lstat)
        if not self._holds(str(place.parent)) or (stat.S_ISLNK(mode) and not self._contains(str(place))):
            return f"'{printable(name)}' is a link that leads out of {self.root}"
        mode = _mode(place, os.stat) if stat.S_ISLNK(mode) else mode
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            # A pipe is never read to its end.
            return f"'{printable(name)}' is no file but a pipe or a device in {self.root}"
        return ""

    def _holds(self, folder: str) -> bool:
        if folder not in self._known:
            self._known[folder] = self._contains(folder)
        return self._known[folder]

    def _contains(self, path: str) -> bool:
        return self.has(os.path.realpath(path))

    def has(self, real: str) -> bool:
        """Whether a path without links is that of the folder or lies in it."""
        return real == self._real or real.startswith(self._real.rstrip("/") + "/")


def lies_in(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a file lies in one of the folders, links followed."""
    real = os.path.realpath(path)
    return any(Folder(folder).has(real) for folder in folders)


def require_own_files(root: Path, names: Iterable[str] | None = None) -> None:
    """Refuse a folder with links that lead out of it, pipes, devices, or files that are all but empty and yet huge.

    Args:
        root: the folder; it may be a link itself.
        names: of the files in it that matter; None: all, however deep.

    Raises:
        InputError: names the first.
    """
    folder = Folder(root)
    for name in sorted(_strange(folder.root)) if names is None else names:
        place = folder.root / printable(name)
        if why := folder.outside(name):
            raise InputError(f"{place}: {why}; put the file itself there, or remove it")
        if empty := 0 if name.startswith(_UNFINISHED) else holes(folder.root / name):
            raise InputError(
                f"{place}: {empty:,} of its bytes were never written; put the file itself there, or remove it"
            )


def holes(path: Path) -> int:
    """Bytes of a file that take no room on the disk, and would in memory; 0 where they are few.

    A stranger's archive of a kilobyte unpacks to such a file of any size.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size - 512 * found.st_blocks < _MOST_HOLES:
            return 0
        # Blocks are fewer too where the file system compresses, and none on some; only of holes it is certain.
        with path.open("rb") as file:
            unwritten = sum(end - start for start, end in _gaps(file.fileno(), found.st_size))
        return unwritten if unwritten >= _MOST_HOLES else 0
    except OSError:
        return 0


def _gaps(file: int, size: int) -> Iterator[tuple[int, int]]:
    place = 0
    while place < size:
        try:
            start = os.lseek(file, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            start = size
        yield place, start
        place = size if start >= size else os.lseek(file, start, os.SEEK_HOLE)


def _strange(root: Path) -> Iterator[str]:
    """Names below a folder that are neither of a file nor of a folder, or of a file of holes; no link is followed."""
    waiting = [""]
    while waiting:
        place = waiting.pop()
        # What is being written there may go at any moment.
        with suppress(OSError), os.scandir(root / place) as entries:
            for entry in entries:
                name = f"{place}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif not entry.is_file(follow_symlinks=False) or holes(root / name):
                    yield name


def _mode(path: Path, look: Callable) -> int:
    """Kind of what is there; 0: nothing."""
    try:
        return look(path).st_mode
    except (OSError, ValueError):
        return 0
