"""The files that a table of images means, however it writes their names."""

import os
import unicodedata
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from medimg.errors import InputError
from medimg.sources.tree import files_below
from medimg.style.words import listed
from medimg.untrusted.inside import Folder


class ImageFiles:
    """Where the images of a table lie.

    A name is a path below one of the folders. Where there is no such file, backslashes, case, the form of Unicode (a
    Mac writes `u` and two dots) and an extension that is missing don't count.

    Args:
        base: folder that keys are relative to, real.
        folders: where names are looked up.
        extension: of names that have none; None: found.
    """

    def __init__(self, base: Path, folders: list[Path], extension: str | None = None):
        self.base = base
        self._folders = [(folder, Folder(folder)) for folder in folders]
        self._extension = "" if extension is None else f".{extension.removeprefix('.')}"
        # Key -> the name that it was found by, where they are spelt differently.
        self.respelt: dict[str, str] = {}

    def find(self, name: str, where: str) -> tuple[str, str]:
        """The key of a name's file, and '' or why there is none.

        Args:
            name: in the table.
            where: table and row, for messages.

        Raises:
            InputError: several files may be meant.
        """
        slashed = name.replace("\\", "/")
        for _, folder in self._folders:
            if outside := folder.outside(name) or folder.outside(slashed):
                return name, outside
        tried = dict.fromkeys((name + self._extension, name))
        files = [place / each for each in tried for place, _ in self._folders if (place / each).is_file()]
        if not files:
            plain = _plain(slashed)
            files = self._index.get(plain + self._extension) or self._index.get(plain, [])
            if not files and not self._extension:
                files = self._by_stem.get(plain, [])
        if len(files) > 1:
            raise InputError(
                f"{where}: '{name}' may be {listed(map(str, files))}; say which by --image-dir or --extension"
            )
        if not files:
            return name, "the file does not exist"
        key = self.key(files[0])
        if files[0].name != slashed.rpartition("/")[2] or slashed != name:
            self.respelt[key] = name
        return key, ""

    def key(self, file: Path) -> str:
        """A file's path from the base."""
        return Path(os.path.relpath(os.path.realpath(file.parent), self.base), file.name).as_posix()

    @cached_property
    def all(self) -> list[tuple[Path, Path]]:
        """Each image below the folders: (folder, file)."""
        return [(folder, file) for folder, _ in self._folders for file in files_below(folder)[0]]

    @cached_property
    def _index(self) -> dict[str, list[Path]]:
        index = defaultdict(list)
        for folder, file in self.all:
            index[_plain(file.relative_to(folder).as_posix())].append(file)
        return index

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        index = defaultdict(list)
        for folder, file in self.all:
            index[_plain(file.relative_to(folder).with_suffix("").as_posix())].append(file)
        return index


def image_folders(base: Path, names: tuple[str, ...]) -> list[Path]:
    """Folders of images that an option names, as they are or below a table's folder.

    Args:
        base: the table's folder, which it is without the option.
        names: of the option.

    Raises:
        InputError: one does not exist.
    """
    folders = []
    for name in names:
        place = next((place for place in (Path(name), base / name) if place.is_dir()), None)
        if place is None:
            raise InputError(f"--image-dir {name}: no such folder, nor in {base}")
        folders.append(place)
    return folders or [base]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
