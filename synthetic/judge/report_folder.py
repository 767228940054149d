"""Where a judgement lies: beside the synthetic Dataset, never in it, since it shows real patients."""

import os
import shutil
from pathlib import Path

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.lock import content
from medimg.untrusted.inside import lies_in
from medimg.untrusted.json_file import parse_json, text_of

REPORT, JUDGEMENT, FIGURES = "report.html", "judgement.json", "figures"
# What earlier versions left in the synthetic Dataset itself.
_EARLIER = (REPORT, JUDGEMENT, "judgement")


def beside(synthetic: Path) -> Path:
    """NAME-judgement, next to the folder NAME."""
    # Not resolve(): where the Dataset is a link, next to the link.
    folder = Path(os.path.abspath(synthetic))  # noqa: PTH100
    return folder.with_name(f"{folder.name}-judgement")


def checked(synthetic: Path, real: Path, option: Path | None) -> Path:
    """The report's folder: `option`, or that beside the synthetic Dataset.

    Args:
        synthetic: the Dataset that is judged.
        real: the Dataset that it was made from.
        option: of `--report`.

    Raises:
        InputError: it lies in the synthetic Dataset, or holds something other than a judgement.
    """
    folder = Path(option) if option is not None else beside(synthetic)
    place, shared = folder.resolve(), Path(synthetic).resolve()
    if place == shared or shared in place.parents:
        raise InputError(
            f"--report {folder}: lies in {synthetic}, which is to be shared, and the report shows real patients; "
            "give a folder outside of it"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--report {folder}: is a file, not a folder")
    other_files = _others(folder)
    if other_files or place == Path(real).resolve():
        reason = f"holds other files ({other_files[0]})" if other_files else "is the real Dataset"
        raise InputError(f"--report {folder}: {reason}; give a new folder, or that of a judgement")
    return folder


def require_apart(dataset: Dataset) -> None:
    """Refuse a synthetic Dataset whose images lie where `clear_earlier` would remove them.

    Raises:
        InputError: they do.
    """
    folder = dataset.root / _EARLIER[-1]
    if dataset.is_table or not folder.is_dir() or not _is_judgement(dataset.root / JUDGEMENT):
        return
    if any(lies_in(path, [folder]) for path in dataset.paths(dataset.manifest)):
        raise InputError(
            f"{folder}: holds images of manifest.csv, and {JUDGEMENT} beside it says that it is an earlier judgement, "
            f"which is removed when there is a new one; remove {JUDGEMENT}, or put the images elsewhere"
        )


def clear_earlier(synthetic: Path) -> None:
    """Take away the judgement that an earlier version wrote into the synthetic Dataset: this one replaces it.

    Raises:
        InputError: it can't be removed.
    """
    if not _is_judgement(synthetic / JUDGEMENT):
        return
    try:
        for name in _EARLIER:
            path = synthetic / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: could not be removed ({error.strerror}); an earlier judgement shows real patients: remove it "
            "yourself before you share the Dataset"
        ) from error


def earlier(synthetic: Path) -> set[str]:
    """Names of the files that `clear_earlier` will take away."""
    if not _is_judgement(synthetic / JUDGEMENT):
        return set()
    places = [synthetic / name for name in _EARLIER]
    files = [path for place in places for path in (place, *place.rglob("*"))]
    return {path.relative_to(synthetic).as_posix() for path in files if path.is_file()}


def _others(folder: Path) -> list[str]:
    names = {REPORT, JUDGEMENT, FIGURES}
    # Hidden ones are what a killed judgement was writing.
    return [path.name for path in content(folder) if path.name not in names and not path.name.startswith(".")]


def _is_judgement(path: Path) -> bool:
    try:
        judgement = parse_json(text_of(path))
        return isinstance(judgement, dict) and "verdict" in judgement
    except (OSError, ValueError, TypeError):
        return False
