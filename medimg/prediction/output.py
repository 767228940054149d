"""Where `medimg predict` writes: what is there is replaced when it is asked for, and is a result of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.lock import locked_file
from medimg.prediction.dicom_out import PATTERN


def require_free(out: Path, folder: Path | None, reported: Path | None, overwrite: bool) -> None:
    """See that a CSV, its folder of maps and a folder of DICOM results can be written.

    Raises:
        InputError: something is there that is not to be replaced.
    """
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; give a file")
    for path in (out, folder):
        if path and path.exists() and not overwrite:
            raise InputError(f"--out {out}: {path} is there already; give another file or --overwrite")
    if out.exists() and not _is_result(out):
        raise InputError(f"--out {out}: is no result of predict, so --overwrite leaves it alone; give another file")
    # Whatever else lies in a folder of that name is not ours to remove.
    if folder and folder.exists() and not (folder.is_dir() and all(map(_is_map, folder.iterdir()))):
        raise InputError(f"--out {out}: {folder} holds other things than maps; give another file")
    if reported and (reported.exists() or reported.is_symlink()):
        is_ours = reported.is_dir() and not reported.is_symlink()
        if not (is_ours and all(re.fullmatch(PATTERN, file.name) for file in reported.iterdir())):
            raise InputError(f"--dicom-out {reported}: holds other things than DICOM results; give another folder")
        if not overwrite and any(reported.iterdir()):
            raise InputError(f"--dicom-out {reported}: is there already; give another folder or --overwrite")


def _is_result(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().rstrip().endswith(b"decision,threshold,positive_class,warnings")


def _is_map(path: Path) -> bool:
    return path.is_file() and re.match(r"\d{3,}-.*\.(png|npz)$", path.name) is not None


@contextmanager
def alone(out: Path, folder: Path | None, reported: Path | None, overwrite: bool) -> Iterator[None]:
    """Nobody else writes there, and what a predict that was killed has left, patients' images, is gone.

    Raises:
        InputError: another process writes there, or has since written what is not to be replaced.
    """
    with locked_file(out), locked_file(reported) if reported else nullcontext():
        require_free(out, folder, reported, overwrite)
        for path in (out, folder, reported):
            if path:
                atomic.sweep_beside(path)
        yield


@contextmanager
def replacing(folder: Path | None) -> Iterator[Path | None]:
    """A temporary folder that takes the place of `folder`, if there is one, when all has gone well."""
    if folder is None:
        yield None
        return
    with atomic.replacing_folder(folder) as temporary:
        yield temporary
