"""Has the model seen these images or these patients: evaluation rows against training rows."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medimg.data.copies import find_copies, given_patients
from medimg.data.dataset import Dataset
from medimg.data.imaging import byte_hash, file_content
from medimg.data.schema import as_text
from medimg.errors import InputError

# What the model learned from, and what its stopping, learning rate and threshold were chosen on.
SEEN = ("train", "val")
# Share of different rows from which equal rows are more than chance.
_DISTINCT = 0.95


@dataclass(frozen=True)
class Overlap:
    """What evaluation rows share with the rows that shaped the model.

    Attributes:
        rows: evaluation rows whose patient or image has been seen.
        patients: patients seen, by identifier.
        images: evaluation images, or rows of a table, seen, by content.
        unit: `image` or `row`.
    """

    rows: int
    patients: int
    images: int
    unit: str = "image"

    def note(self, n: int) -> str:
        """One sentence for the report, empty when nothing is shared.

        Args:
            n: evaluation rows in all.
        """
        if not self.rows:
            return ""
        return (
            f"{self.rows} of {n} {self.unit}s overlap with the data that the model was trained or "
            f"tuned on ({self.patients} patients of the same identifier, {self.images} identical "
            f"{self.unit}s): results on them are too good"
        )


def find_overlap(dataset: Dataset, rows: pd.DataFrame, training: Dataset, parts: tuple[str, ...] = SEEN) -> Overlap:
    """Compare rows with parts of the model's own Dataset.

    Content is compared by the manifests' `pixels` hashes where both sets have them, else by the
    bytes of the files.

    Args:
        dataset: what is evaluated.
        rows: the evaluated rows of its manifest.
        training: the Dataset of the Run.
        parts: of it.

    Raises:
        InputError: an image file can't be read.
    """
    by_patient, by_image = seen_rows(dataset, rows, training, parts)
    return Overlap(
        rows=int((by_patient | by_image).sum()),
        patients=int(rows.loc[by_patient, "patient"].nunique()),
        images=int(by_image.sum()),
        unit=dataset.unit,
    )


def require_others(dataset: Dataset, rows: pd.DataFrame, training: Dataset, name: str) -> None:
    """Refuse images or rows that a private Run was trained on, wherever they lie: numbers of them carry no noise.

    Args:
        dataset: where the rows are.
        rows: of its manifest.
        training: the Run's own Dataset.
        name: of the data, as the message begins.

    Raises:
        InputError: some of the rows are of the training part.
    """
    if find_overlap(dataset, rows, training, ("train",)).images:
        raise InputError(
            f"{name}: holds {dataset.unit}s of patients whom the Run protects, and what "
            "is computed of them now has no noise; evaluate other patients, as --split test"
        )


def seen_rows(
    dataset: Dataset, rows: pd.DataFrame, training: Dataset, parts: tuple[str, ...]
) -> tuple[pd.Series, pd.Series]:
    """Bool of each row: its patient's name is in those parts of the Run's Dataset; its content is."""
    seen = training.manifest[training.manifest["split"].isin(parts)]
    by_patient = rows["patient"].isin(set(seen["patient"]))
    if dataset.is_table and training.is_table:
        by_image = _same_rows(dataset, rows, training, seen)
    elif "pixels" in rows and "pixels" in seen:
        by_image = rows["pixels"].isin(set(seen["pixels"].dropna()))
    else:
        hashes = set(_hashes(training.paths(seen)))
        by_image = pd.Series([h in hashes for h in _hashes(dataset.paths(rows))], rows.index, bool)
    return by_patient, by_image


def _same_rows(dataset: Dataset, rows: pd.DataFrame, training: Dataset, seen: pd.DataFrame) -> pd.Series:
    """Rows that are copies of a seen one; where few rows agree by chance, all whose label and inputs equal one."""
    names = [f.name for f in dataset.inputs]
    if {f.name for f in training.inputs} != set(names) or seen.empty:
        return pd.Series(False, rows.index)
    copied = _copied(rows, seen, names)
    columns = ["label", *names]
    hashes = pd.util.hash_pandas_object(seen[columns], index=False)
    if hashes.nunique() < _DISTINCT * len(hashes):
        return copied
    return copied | pd.util.hash_pandas_object(rows[columns], index=False).isin(set(hashes))


def _copied(rows: pd.DataFrame, seen: pd.DataFrame, names: list[str]) -> pd.Series:
    # One table of both: copies within either show what chance can't do, and none is the other's patient by its name.
    both = pd.concat(
        [
            part[names].assign(patient=f"{kind} " + given_patients(part), known=kind == "seen")
            for kind, part in (("seen", seen), ("evaluated", rows))
        ],
        ignore_index=True,
    )
    # A code may be a number in one of them and a category in the other.
    for name in names:
        if rows[name].dtype != seen[name].dtype:
            both[name] = [*as_text(seen[name]), *as_text(rows[name])]
    group = find_copies(both, names).group
    seen_groups = set(group[both["known"]]) - {0}
    return pd.Series(group[~both["known"]].isin(seen_groups).to_numpy(), rows.index)


def _hashes(paths: list[Path]) -> list[str]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_hash, paths))


def _hash(path: Path) -> str:
    try:
        return byte_hash(file_content(path))
    except InputError as error:
        raise InputError(f"{error}; prepare the data set again") from error
