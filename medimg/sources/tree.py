"""What lies below a folder: images by their extension, and what is left alone, and why."""

import os
from pathlib import Path

from medimg.errors import InputError

# Files that a folder is searched for; what they hold is found out when they are read.
EXTENSIONS = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jp2", ".pgm", ".ppm")
)
NOT_AN_IMAGE = "not an image file by its extension"
# What file servers and systems keep in folders that people share: thumbnails, bins, indices. Compared without case.
_SYSTEM = frozenset(
    (
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "lost+found", "$recycle.bin", "recycler",
        "system volume information", "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini",
    )
)  # fmt: skip
SYSTEM_FOLDER, SYSTEM_FILE = "a folder of the system's, or hidden: skipped", "a file of the system's, or hidden"
LOOP = "a link to a folder that it lies in: skipped"
MADE = "a prepared Dataset, none of the files that it was made of: skipped"


def need_folder(path: Path | None, source: str) -> Path:
    """The path, when it is a folder.

    Raises:
        InputError: no path was given, or it is not a folder.
    """
    if path is None:
        raise InputError(f"PATH is missing: source '{source}' needs the folder that holds the images")
    if not Path(path).is_dir():
        what = "is a file" if Path(path).exists() else "does not exist"
        raise InputError(f"{path}: {what}; source '{source}' needs the folder that holds the images")
    return Path(path)


def is_system(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or kept by a system or a file server for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM


def skipped(folder: Path) -> str:
    """Why a folder below a source is none of it, or ''."""
    return SYSTEM_FOLDER if is_system(folder.name) else MADE if (folder / "dataset.yaml").is_file() else ""


def files_below(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """All files below a folder, sorted: images by their extension, and (file or folder, reason) of the rest.

    Links are followed, but not to a folder that they lie in.
    """
    images: list[Path] = []
    others: list[tuple[Path, str]] = []

    def unreadable(error: OSError) -> None:
        others.append((Path(error.filename), f"can't be read ({error.strerror})"))

    above = {str(folder): {_identity(place) for place in (folder, *folder.resolve().parents)}}
    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        passed = above.pop(place)
        for name in sorted(folders):
            path = Path(place) / name
            number = _identity(path)
            if why := LOOP if number in passed else skipped(path):
                others.append((path, why))
                folders.remove(name)
            else:
                above[str(path)] = {*passed, number}
        folders.sort()
        for name in sorted(names):
            path = Path(place) / name
            if path.suffix.lower() in EXTENSIONS and not is_system(name):
                images.append(path)
            else:
                others.append((path, SYSTEM_FILE if is_system(name) else NOT_AN_IMAGE))
    return images, others


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
