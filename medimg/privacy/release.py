"""What may be computed of a private Run's own patients once it is trained: nothing that would be shown."""

from collections.abc import Mapping

from medimg.errors import InputError
from medimg.privacy.ledger import is_private


def require_unprotected(options: Mapping, split: str) -> None:
    """Refuse to show patients that a Run protects, or numbers of them, which carry no noise.

    Args:
        options: of the Run's config.yaml.
        split: of its own data: train, val, test or all.

    Raises:
        InputError: the Run is private and the part holds its training patients.
    """
    if split in ("train", "all") and is_private(options):
        raise InputError(
            f"--split {split}: the Run protects the patients of split 'train', and what is computed of them now has "
            "no noise; use --split test or val"
        )


def reference_split(options: Mapping) -> str:
    """The part whose rows stand for the population in explanations: train, of a private Run val."""
    return "val" if is_private(options) else "train"
