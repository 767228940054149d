"""load_dataset(): a prepared folder, opened."""

from pathlib import Path

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.preparation.builtin import resolve


def load_dataset(folder: str | Path) -> Dataset:
    """Open a Dataset that `medimg data prepare` has made.

    Args:
        folder: of the Dataset; or the word `phantom`: radiographs that are drawn on first use.

    Raises:
        InputError: the folder is not a Dataset, or a row of its manifest can't be used.

    Example:
        >>> import medimg
        >>> data = medimg.load_dataset("data")
        >>> data.task, data.classes
        ('binary', ('healthy', 'disease'))
        >>> len(data.rows("test"))
        32
    """
    return Dataset.load(resolve(str(folder)))


def folder_of(data: Dataset | str | Path) -> Path:
    """Where the data are; a Dataset that says something else than its folder is refused, not silently read anew."""
    if not isinstance(data, Dataset):
        return resolve(str(data))
    fingerprint = data.fingerprint()
    if all(Dataset.load(data.root, joins).fingerprint() != fingerprint for joins in (True, False)):
        raise InputError(f"{data.root}: differs from the Dataset in memory; call its save(), in a folder of its own")
    return data.root
