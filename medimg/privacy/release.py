"""What may be computed of a private Run's own patients once it is trained: nothing that would be shown."""

from pathlib import Path

from medimg.errors import InputError
from medimg.privacy.ledger import FILE


def is_private(run: Path) -> bool:
    """Whether a Run's folder has a privacy ledger."""
    return (Path(run) / FILE).is_file()


def require_unprotected(run: Path, split: str) -> None:
    """Refuse to show patients that the Run protects, or numbers of them, which carry no noise.

    Args:
        run: the Run's folder.
        split: of its own data: train, val, test or all.

    Raises:
        InputError: the Run is private and the part holds its training patients.
    """
    if split in ("train", "all") and is_private(run):
        raise InputError(
            f"--split {split}: the Run at {run} protects the patients of split 'train', and what is computed of them "
            "now carries no noise; use --split test or val"
        )


def reference_split(run: Path) -> str:
    """The part whose rows stand for the population in explanations: train, of a private Run val."""
    return "val" if is_private(run) else "train"
