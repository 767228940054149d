"""The parts of a Run: those of its Dataset, but for its fold, its audit's patients and the labels that it puts away."""

from collections.abc import Mapping

from medimg.data.dataset import Dataset
from medimg.data.folds import in_fold
from medimg.data.hidden_labels import hide
from medimg.data.holdout import hold_out
from medimg.privacy.ledger import is_private


def parts_of(dataset: Dataset, options: Mapping) -> Dataset:
    """The parts of the Run that `train` makes with these options.

    Args:
        dataset: as it is on disk.
        options: `folds`, `fold`, `audit_holdout`, `labelled_fraction`, `seed` and those of privacy, as in config.yaml;
            those of older Runs may be missing.

    Raises:
        InputError: the folds, or the share that is held out or keeps its labels, can't be.
    """
    folds, fold = options.get("folds") or 0, options.get("fold") or 0
    seed = options.get("seed") or 0
    dataset = in_fold(dataset, folds, fold, seed, by_lot=is_private(options))
    # A cross-validation as a whole has no training part.
    if folds and not fold:
        return dataset
    if share := options.get("audit_holdout"):
        dataset = hold_out(dataset, share, seed)
    return hide(dataset, options.get("labelled_fraction") or 1.0, seed)
