"""Names of files in a stranger's table: only what lies inside the table's own folder.

A Dataset or a CSV that someone else made could else name any file of this machine, whose content would go into a model,
a report or a synthetic set that is passed on.
"""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from medimg.untrusted.printable import printable


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
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip("/") + "/")


def _mode(path: Path, look: Callable) -> int:
    """Kind of what is there; 0: nothing."""
    try:
        return look(path).st_mode
    except (OSError, ValueError):
        return 0
