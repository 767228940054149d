"""Identical images or rows under different labels, patients or parts: found, and settled as `--on-duplicates` says."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from medimg.data.dataset import SEPARATOR, SPLITS
from medimg.data.units import units

CONFLICT, PARTS, PATIENTS = "conflicting labels", "several parts", "several patients"
_FILE_COLUMNS = ["source_file", "label", "patient", "split"]


@dataclass(frozen=True, eq=False)
class Settled:
    """What is left after duplicates or patients were settled.

    Attributes:
        table: the rows that stay.
        rejected: (file, reason) of those that go.
        notes: sentences about it.
    """

    table: pd.DataFrame
    rejected: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def different_labels(labels) -> bool:
    """Whether labels contradict each other; the order of several joined by `|` means nothing, '' is no label."""
    return len({frozenset(text.split(SEPARATOR)) for text in labels if text}) > 1


def find_duplicates(table: pd.DataFrame, official: bool) -> pd.DataFrame:
    """Groups of identical images (of a table, copied rows) that a split by patient can't keep honest.

    Args:
        table: with `pixels` ('' equals nothing), `source_file`, `label`, `patient`, `split`.
        official: the parts in `split` will be used: then crossing them is the fault, else crossing patients is.

    Returns:
        One row a file: `group` (number), `problem`, then its columns, with the index of `table`.
    """
    same = table[table["pixels"].duplicated(keep=False) & (table["pixels"] != "")]
    if same.empty:
        return pd.DataFrame(columns=["group", "problem", *_FILE_COLUMNS])
    # By whole columns: a table may have a hundred thousand groups.
    sets = {text: SEPARATOR.join(sorted(set(text.split(SEPARATOR)))) for text in set(same["label"])}
    normalised = same.assign(label=same["label"].map(sets).replace("", None))
    groups = normalised.groupby("pixels", sort=False)
    crossing = (PARTS, "split") if official else (PATIENTS, "patient")
    problem = pd.Series("", same.index)
    for what, column in ((CONFLICT, "label"), crossing):
        differs = groups[column].transform("nunique") > 1
        problem += np.where(differs, np.where(problem == "", what, f" and {what}"), "")
    rows = same[_FILE_COLUMNS]
    rows.insert(0, "problem", problem)
    rows.insert(0, "group", groups.ngroup())
    rows = rows[problem != ""].sort_values("group", kind="stable")
    return rows.assign(group=pd.factorize(rows["group"])[0] + 1)


def describe_duplicates(duplicates: pd.DataFrame, unit: str = "image") -> str:
    """`159 groups of identical images (12 with conflicting labels, ...), e.g. a.jpg (nevus) = b.jpg (melanoma)`."""
    groups = duplicates.groupby("group")
    kinds = Counter(word for problem in groups["problem"].first() for word in problem.split(" and "))
    first = groups.get_group(duplicates["group"].iloc[0])
    example = " = ".join(
        f"{file} ({label or 'unlabelled'})" for file, label in first[["source_file", "label"]].values[:3]
    )
    counts = ", ".join(f"{count} with {kind}" for kind, count in kinds.items())
    many = "s" if len(groups) > 1 else ""
    return f"{len(groups)} group{many} of identical {unit}s ({counts}), e.g. {example}"


def drop_duplicates(table: pd.DataFrame, duplicates: pd.DataFrame, unit: str = "image") -> Settled:
    """Keep one image (or row) of each group, that of the part that matters most; none where labels conflict."""
    rank = duplicates["split"].map({part: -i for i, part in enumerate(SPLITS)}).fillna(0)
    first_of_group = rank.groupby(duplicates["group"]).transform("idxmin")
    names = duplicates["source_file"].loc[first_of_group]
    reasons = {
        i: f"identical to {name}"
        for i, stays, name in zip(duplicates.index, first_of_group, names, strict=True)
        if i != stays
    }
    reasons |= _all_conflicting(duplicates)
    # In the order of the list, whatever the reason.
    reasons = {i: reasons[i] for i in duplicates.index if i in reasons}
    return _without(table, reasons, f"identical {unit}s left out")


def join_duplicates(table: pd.DataFrame, duplicates: pd.DataFrame, unit: str = "image") -> Settled:
    """Make one patient of all patients who share an image (or row); leave out those whose labels conflict.

    The joined patient takes the first one's name; `patient` as given stays in the column `patient_given`.
    """
    settled = _without(table, _all_conflicting(duplicates), f"identical {unit}s with conflicting labels left out")
    table = settled.table.copy()
    shared = table["pixels"].where(table.index.isin(duplicates.index), "")
    number = units(table.assign(pixels=shared), ["patient", "pixels"])
    first = table["patient"].groupby(number).transform("first")
    joined = int(table["patient"].nunique() - first.nunique())
    if joined:
        table["patient_given"] = table["patient"]
        table["patient"] = first
        settled.notes.append(f"{joined} patients joined with others who have the same {unit}")
    return Settled(table, settled.rejected, settled.notes)


def settle_patients(table: pd.DataFrame, group_by: list[str]) -> Settled:
    """Let no patient be in two official parts: test keeps him before val, val before train; the other rows go.

    Args:
        table: with `split` given for every row.
        group_by: columns whose values may not cross parts.
    """
    rank = table["split"].map(SPLITS.index)
    unit = units(table, group_by)
    highest = rank.groupby(unit).transform("max")
    out = rank < highest
    reasons = {i: f"patient {table['patient'][i]} is in {SPLITS[highest[i]]} too" for i in table.index[out]}
    settled = _without(table, reasons, "")
    if reasons:
        people = table.loc[out, "patient"].nunique()
        settled.notes.append(
            f"{people} patients are in two official parts: their {len(reasons)} images in the earlier are left out, "
            "so that test stays whole and no patient is in two"
        )
    return settled


def _all_conflicting(duplicates: pd.DataFrame) -> dict:
    reasons = {}
    conflicting = duplicates[duplicates["problem"].str.contains(CONFLICT, regex=False)]
    for _, group in conflicting.groupby("group"):
        reasons.update(_conflicting(group))
    return reasons


def _conflicting(group: pd.DataFrame) -> dict:
    labels = " and ".join(sorted(set(group["label"]) - {""}))
    files = group["source_file"]
    return {
        i: f"identical to {next(file for j, file in files.items() if j != i)}, but labelled both {labels}"
        for i in group.index
    }


def _without(table: pd.DataFrame, reasons: dict, what: str) -> Settled:
    rejected = [(table["source_file"][i], reason) for i, reason in reasons.items()]
    notes = [f"{len(rejected)} {what}, listed in rejected.csv"] if rejected and what else []
    return Settled(table.drop(index=list(reasons)), rejected, notes)
