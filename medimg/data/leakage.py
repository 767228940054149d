"""The leakage gate: no patient and no image in two parts, no image under two labels; judged on the files themselves.

Of a table, a row that chance can't have made twice is what an image is; other rows may well hold the same numbers.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medimg.data.copies import GIVEN, find_copies, given_patients
from medimg.data.dataset import Dataset
from medimg.data.duplicates import different_labels
from medimg.data.imaging import byte_hash, file_content, pixel_hash, read_image, without_idle_colour
from medimg.errors import InputError
from medimg.style.words import listed

_CHUNK = 256


@dataclass(frozen=True)
class Leak:
    """Rows that should not be together in a Dataset.

    Attributes:
        name: the patient, or the images' pixel hash.
        files: images, or names of a table's rows.
        splits: part of each of them.
        labels: label of each of them.
    """

    name: str
    files: tuple[str, ...]
    splits: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Leakage:
    """What must not be in a Dataset.

    Attributes:
        patients: patients in more than one part.
        images: identical images (of a table, copied rows) in more than one part.
        conflicts: identical images or rows with different labels, in one part or several.
        unit: `image` or `row`.
    """

    patients: list[Leak]
    images: list[Leak]
    conflicts: list[Leak]
    unit: str = "image"

    def __bool__(self) -> bool:
        return bool(self.patients or self.images or self.conflicts)

    def problems(self) -> list[str]:
        """One sentence for each kind, with the count and up to three examples."""
        return [
            *_sentence(
                self.patients, "patients are in more than one part", lambda leak: f"{leak.name} ({_where(leak)})"
            ),
            *_sentence(self.images, f"identical {self.unit}s are in more than one part", _where),
            *_sentence(self.conflicts, f"identical {self.unit}s have different labels", _labelled),
        ]


def find_leakage(dataset: Dataset) -> Leakage:
    """Compare patients and the content of all image files.

    Args:
        dataset: with its files; a table has none.

    Raises:
        InputError: a file is missing or broken; names it with its row.
    """
    pixels, broken = content_hashes(dataset)
    if broken:
        more = f" (and {len(broken) - 1} more files)" if len(broken) > 1 else ""
        raise InputError(f"{broken[0]}{more}; prepare the data set again")
    return leakage_between(dataset.manifest, pixels)


def require_no_leakage(dataset: Dataset) -> None:
    """The gate before training.

    Raises:
        InputError: names patients or images in two parts, images under two labels, or a broken file.
    """
    problems = find_leakage(dataset).problems()
    if problems:
        raise InputError(
            f"{dataset.root}: {'; '.join(problems)}; 'medimg data inspect' lists all; prepare the data set again"
            + f" (--on-duplicates drop or group settles identical {dataset.unit}s)"
        )


def leakage_between(manifest: pd.DataFrame, pixels: pd.Series) -> Leakage:
    """Leakage of rows whose images' content is known.

    Args:
        manifest: `image` (of a table `row`), `label`, `patient`, `split`.
        pixels: hash of each row's pixels, '' = not known.
    """
    images, conflicts = [], []
    same = manifest[pixels.duplicated(keep=False) & (pixels != "")]
    if len(same):
        # Groups of one part and label are set aside by whole columns too.
        groups = same.groupby(pixels, sort=False)
        same = same[(groups[["split", "label"]].transform("nunique") > 1).any(axis=1)]
    for name, group in same.groupby(pixels, sort=False):
        if group["split"].nunique() > 1:
            images.append(_leak(str(name), group))
        if different_labels(group["label"]):
            conflicts.append(_leak(str(name), group))
    patients = _crossing_patients(manifest, {row for leak in images for row in leak.files})
    return Leakage(patients, images, conflicts, "image" if "image" in manifest else "row")


def _crossing_patients(manifest: pd.DataFrame, copied: set[str]) -> list[Leak]:
    """Patients in two parts; one whom only copied rows join is told with these rows already."""
    # Patients in one part only are set aside by whole columns: a table may have a million.
    crossing = manifest[_crosses(manifest, "patient")]
    leaks = [_leak(str(name), group) for name, group in crossing.groupby("patient", sort=True)]
    if not copied or GIVEN not in manifest:
        return leaks
    before = manifest.assign(patient=given_patients(manifest))
    themselves = set(manifest.loc[_crosses(before, "patient"), "patient"])
    return [leak for leak in leaks if leak.name in themselves or copied.isdisjoint(leak.files)]


def _crosses(manifest: pd.DataFrame, column: str) -> pd.Series:
    parts = manifest.drop_duplicates([column, "split"])[column]
    return manifest[column].isin(parts[parts.duplicated()])


def content_hashes(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> tuple[pd.Series, list[str]]:
    """What the files hold now.

    Every file is read. Where its content is what prepare wrote (the manifest's `bytes`), the manifest's `pixels` is
    its pixels' hash; any other file is decoded.

    Returns:
        Hash of the pixels of each row ('' = missing or broken), and a sentence for each missing or broken file; of a
        table, what rows share that are copies of one patient ('' = no copy).
    """
    manifest = dataset.manifest
    if dataset.is_table:
        group = find_copies(manifest, [feature.name for feature in dataset.inputs]).group
        return group.astype(str).where(group > 0, ""), []
    empty = pd.Series("", index=manifest.index)
    recorded = manifest.get("pixels", empty).fillna("").astype(str)
    expected = manifest.get("bytes", empty).fillna("").astype(str)
    jobs = list(zip(dataset.paths(manifest), recorded, expected, strict=True))
    hashes, broken = [], []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(jobs), _CHUNK):
            for result in pool.map(_content_hash, jobs[start : start + _CHUNK]):
                if isinstance(result, InputError):
                    broken.append(f"{dataset.root / 'manifest.csv'} row {len(hashes) + 2}: {result}")
                hashes.append("" if isinstance(result, InputError) else result)
            if progress:
                progress(len(hashes), len(jobs))
    return pd.Series(hashes, index=manifest.index, dtype=object), broken


def _content_hash(job: tuple[Path, str, str]) -> str | InputError:
    path, pixels, expected = job
    try:
        if pixels and byte_hash(file_content(path)) == expected:
            return pixels
        return pixel_hash(without_idle_colour(read_image(path)))
    except InputError as error:
        return error


def _leak(name: str, group: pd.DataFrame) -> Leak:
    unit = "image" if "image" in group else "row"
    return Leak(name, *(tuple(map(str, group[column])) for column in (unit, "split", "label")))


def _sentence(leaks: list[Leak], what: str, words: Callable[[Leak], str]) -> list[str]:
    if not leaks:
        return []
    kind = f"{len(leaks)} groups of {what}" if what.startswith("identical") else f"{len(leaks)} {what}"
    return [f"{kind}: {listed(map(words, leaks))}"]


def _where(leak: Leak) -> str:
    """One file of each part."""
    first = dict(zip(reversed(leak.splits), reversed(leak.files), strict=True))
    return " = ".join(f"{file} in {split}" for split, file in sorted(first.items()))


def _labelled(leak: Leak) -> str:
    first = dict(zip(reversed(leak.labels), reversed(leak.files), strict=True))
    return " = ".join(f"{file} as {label or 'unlabelled'}" for label, file in sorted(first.items()))
