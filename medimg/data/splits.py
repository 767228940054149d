"""Parts train, val and test: whole patients, every class in every part, sites spread evenly, seeded.

The stratification is the iterative one of Sechidis et al. (2011), "On the Stratification of Multi-Label Data",
with groups (patients) in the place of examples.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.data.dataset import SEPARATOR, SPLITS
from medimg.errors import InputError

# Scarce patients go to train first, then to test, then to val.
_IN_NEED = (0, 2, 1)


DEFAULT = "70/15/15"
# How a Dataset's parts came about: its `preparation["split"]`.
OFFICIAL, DRAWN, ANEW = "official", "drawn", "drawn anew"
NOT_OFFICIAL = "not the official test part"


def parse_split(text: str) -> tuple[float, float, float] | None:
    """`70/15/15` as fractions of train, val and test; `official` as None.

    Raises:
        InputError: not three percentages that make 100, or no training part.
    """
    if text == "official":
        return None
    try:
        train, val, test = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise InputError(f"--split {text}: give train/val/test in percent, as 70/15/15, or 'official'") from error
    if min(train, val, test) < 0 or train == 0 or not abs(train + val + test - 100) < 1e-6:
        raise InputError(f"--split {text}: three percentages that make 100 are needed, train above 0")
    return train / 100, val / 100, test / 100


def parts_note(preparation: dict, folds: bool = False) -> list[str]:
    """What a reader of a test part's figures must know of how it came about; nothing where it is the official one.

    Args:
        preparation: of the Dataset.
        folds: the figures are of all parts, pooled.
    """
    how = preparation.get("split")
    if how != ANEW and not (folds and how == OFFICIAL):
        return []
    return [
        f"{NOT_OFFICIAL}: the source publishes parts of its own, and here others were drawn from all of them; "
        "published figures are of other patients, and can't be compared with these"
    ]


def split_groups(
    labels: Sequence[str], groups: Sequence, fractions: Sequence[float], seed: int, sites: Sequence[str] | None = None
) -> np.ndarray:
    """Assign whole groups to parts so that every class, and every site, has its share of images in every part.

    Args:
        labels: (N,) label of each image; several joined by `|`; '' counts as a class of its own.
        groups: (N,) hashable; images of one group stay together.
        fractions: of train, val and test; a part of 0 gets nothing.
        seed: decides between groups of equal size.
        sites: (N,) site of each image; None: they don't count.

    Returns:
        (N,) of `train`, `val`, `test`. A class of at least as many groups as there are parts is in every part.
    """
    return np.asarray(SPLITS, object)[assign_groups(labels, groups, fractions, _IN_NEED, seed, sites)]


def assign_groups(
    labels: Sequence[str],
    groups: Sequence,
    fractions: Sequence[float],
    in_need: Sequence[int],
    seed: int,
    sites: Sequence[str] | None = None,
) -> np.ndarray:
    """`split_groups` for any number of parts.

    Args:
        labels: as there.
        groups: as there.
        fractions: of the parts.
        in_need: the parts in the order in which scarce groups go to them.
        seed: as there.
        sites: as there.

    Returns:
        int (N,), the part of each image.
    """
    codes, names = pd.factorize(np.asarray(groups, object))
    counts, classes, spread = _columns(labels, sites, codes, len(names))
    shares = np.asarray(fractions, float)
    open_parts = [part for part in in_need if shares[part] > 0]
    wanted = np.outer(shares, counts.sum(axis=0))
    part_of = np.full(len(names), -1)
    order = _large_first(counts.sum(axis=1), seed)

    def assign(group: int, part: int) -> None:
        part_of[group] = part
        wanted[part] -= counts[group]

    holders = (counts > 0).sum(axis=0)

    def rarest_first(kind: range) -> list[int]:
        return sorted(kind, key=lambda column: holders[column])

    # A site of a few patients would take a small part's room for the others.
    sites_to_spread = [column for column in rarest_first(spread) if holders[column] * shares[open_parts].min() >= 1]
    for column in [*rarest_first(classes), *sites_to_spread]:
        _one_for_each_part(column, counts, wanted, part_of, open_parts, order, assign)
    # What a group counts in, each as a share of all there is.
    weights = counts / np.maximum(counts.sum(axis=0), 1)
    for column in rarest_first(classes):
        for group in order:
            if part_of[group] < 0 and (spread or counts[group, column]):
                # The most wanted by class, with sites by all that it counts in; between equals, by images in all.
                need = wanted @ weights[group] if spread else wanted[:, column]
                assign(group, max(open_parts, key=lambda p: (round(need[p], 9), wanted[p].sum())))
    return part_of[codes]


def _columns(
    labels: Sequence[str], sites: Sequence[str] | None, codes: np.ndarray, groups: int
) -> tuple[np.ndarray, range, range]:
    """Images of each group (rows) in what has its share in each part, and which columns are classes and which sites.

    Where there are several sites, the columns after them are the classes within each.
    """
    counts = _class_counts(labels, codes, groups)
    classes = range(counts.shape[1])
    if sites is None or len(set(sites)) < 2:
        return counts, classes, range(0)
    numbers = [str(number) for number in pd.factorize(np.asarray(sites, object))[0]]
    both = [_within(number, label) for number, label in zip(numbers, labels, strict=True)]
    per_site, per_both = (_class_counts(column, codes, groups) for column in (numbers, both))
    spread = range(len(classes), len(classes) + per_site.shape[1])
    return np.hstack([counts, per_site, per_both]), classes, spread


def _within(site: str, label: str) -> str:
    """A label's classes as classes of a site."""
    return SEPARATOR.join(f"{site} {name}" for name in label.split(SEPARATOR))


def lots(names: Sequence[str], fractions: Sequence[float], seed: int, purpose: str = "split") -> np.ndarray:
    """Assign each to a part by a number of its own, whoever else is there: as private training needs.

    A balanced assignment looks at everybody, so that one patient more may send others to other parts.

    Args:
        names: (N,), equal ones stay together.
        fractions: of the parts; sum 1.
        seed: of the draw.
        purpose: other purposes draw apart.

    Returns:
        int (N,), the part of each.
    """
    ends = np.cumsum(fractions)[:-1]
    return np.searchsorted(ends, own_numbers(names, seed, purpose), side="right")


def own_numbers(names: Sequence[str], seed: int, purpose: str) -> np.ndarray:
    """A number in [0, 1) for each name, that depends on name, seed and purpose alone: float64 (N,)."""
    texts, where = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    digests = (hashlib.sha256(f"{purpose} {seed} {text}".encode()).digest() for text in texts)
    drawn = np.array([int.from_bytes(digest[:8], "big") >> 11 for digest in digests], np.float64)
    return (drawn / 2.0**53)[where]


def missing_classes(labels: Sequence[str], splits: Sequence[str]) -> list[tuple[str, str, int]]:
    """(class, part, images of the class in all) for every class that a part with images lacks."""
    table = pd.DataFrame({"label": list(labels), "split": list(splits)})
    # Counted before labels are taken apart: there are few different ones, however many rows.
    counts = table.groupby(["label", "split"]).size().unstack(fill_value=0)
    counts = counts.assign(name=counts.index.str.split(SEPARATOR)).explode("name").groupby("name").sum()
    return [
        (name, part, int(counts.loc[name].sum()))
        for part in SPLITS
        if part in counts
        for name in counts.index[counts[part] == 0]
        if name
    ]


def _class_counts(labels: Sequence[str], codes: np.ndarray, groups: int) -> np.ndarray:
    """Images of each group (rows) in each class (columns)."""
    label_codes, texts = pd.factorize(np.asarray(labels, object))
    parts = [text.split(SEPARATOR) for text in texts]
    classes = {name: i for i, name in enumerate(sorted({name for part in parts for name in part}))}
    counts = np.zeros((groups, len(classes)))
    for code, part in enumerate(parts):
        rows = codes[label_codes == code]
        for name in set(part):
            np.add.at(counts[:, classes[name]], rows, 1)
    return counts


def _large_first(sizes: np.ndarray, seed: int) -> np.ndarray:
    """Large groups while there is room for them, small ones to level out; equals in random order."""
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    return shuffled[np.argsort(-sizes[shuffled], kind="stable")]


def _one_for_each_part(column, counts, wanted, part_of, open_parts, order, assign) -> None:
    for part in open_parts:
        if np.any((part_of == part) & (counts[:, column] > 0)):
            continue
        free = [group for group in order if part_of[group] < 0 and counts[group, column]]
        if not free:
            return
        # The largest that fits, else the smallest: a patient of many images would overfill a small part.
        fitting = [group for group in free if counts[group, column] <= max(wanted[part, column], 1)]
        assign(fitting[0] if fitting else free[-1], part)
