"""Whatever the labels, patients, names and cells: parts are of whole patients, and what is written is read back."""

import string
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from medimg import atomic
from medimg.data.dataset import SPLITS, Dataset
from medimg.data.manifest import name_text
from medimg.data.schema import Feature
from medimg.data.splits import lots, missing_classes, split_groups
from medimg.untrusted.csv_cells import read_csv

CLASSES = ("a", "b", "c")
# (patient, label, site) of each image.
IMAGES = st.lists(
    st.tuples(st.integers(0, 15), st.sampled_from([*CLASSES, "a|b", ""]), st.sampled_from("xyz")),
    min_size=1,
    max_size=60,
)
FRACTIONS = st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.0, 0.2), (1.0, 0.0, 0.0)])
# As names are prepared: composed, without blanks around them. Surrogates are no text that a file can hold.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
NAMES = NAMES.map(name_text).filter(bool)
NUMBERS = st.floats(allow_nan=True, allow_infinity=False) | st.just(float("nan"))


@settings(max_examples=50, deadline=None)
@given(IMAGES, FRACTIONS, st.integers(0, 3), st.booleans())
def test_parts_are_of_whole_patients(images, fractions, seed, has_sites):
    patients, labels, sites = map(list, zip(*images, strict=True))
    sites = sites if has_sites else None
    parts = split_groups(labels, patients, fractions, seed, sites)
    table = pd.DataFrame({"patient": patients, "label": labels, "part": parts})
    assert set(parts) <= {part for part, share in zip(SPLITS, fractions, strict=True) if share}
    assert table.groupby("patient")["part"].nunique().max() == 1
    assert list(split_groups(labels, patients, fractions, seed, sites)) == list(parts)
    # A class of as many patients as parts that belongs to no other class's patients is in every part.
    rarest = table.groupby("label")["patient"].nunique().sort_values()
    wanted = sum(share > 0 for share in fractions)
    if len(rarest) == 1 and rarest.iloc[0] >= wanted:
        assert not missing_classes(labels, parts)


@settings(max_examples=50, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=20), NAMES, FRACTIONS, st.integers(0, 3))
def test_a_lot_depends_on_nobody_else(names, newcomer, fractions, seed):
    before = lots(names, fractions, seed)
    after = lots([newcomer, *names[::-1]], fractions, seed)
    assert list(after[:0:-1]) == list(before)
    assert all(fractions[part] for part in before)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))), max_size=6))
def test_cells_are_read_back_and_none_is_a_formula(rows):
    table = pd.DataFrame(rows, columns=["cell"], dtype=object)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.csv"
        atomic.write_csv(path, table)
        cells = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)["cell"]
        assert not [cell for cell in cells if cell.strip()[:1] in tuple("=+-@") and not _is_number(cell)]
        assert list(read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)["cell"]) == list(
            table["cell"]
        )


def _is_number(cell: str) -> bool:
    return set(cell) <= set(string.digits + "+-.eE") or cell.lstrip("+-") in ("inf", "Infinity")


@st.composite
def tables(draw) -> tuple[tuple[str, ...], pd.DataFrame, tuple[Feature, ...]]:
    """Classes, manifest and features of a table of any names and numbers."""
    classes = draw(st.lists(NAMES.filter(lambda name: "|" not in name), min_size=2, max_size=3, unique=True))
    count = draw(st.integers(1, 8))

    def column(of):
        return draw(st.lists(of, min_size=count, max_size=count))

    manifest = pd.DataFrame(
        {
            "row": draw(st.lists(NAMES, min_size=count, max_size=count, unique=True)),
            "label": column(st.sampled_from([*classes, ""])),
            "patient": column(NAMES),
            "site": column(NAMES | st.just("")),
            "split": column(st.sampled_from(SPLITS)),
            "age": np.array(column(NUMBERS), np.float64),
            # Also beyond 64 bits, and halves, as a stranger's column of that type may have them.
            "visits": np.array(column(st.integers(-(2**53), 2**53) | NUMBERS), np.float64),
            "pain": column(NAMES | st.just("")),
        }
    )
    features = (Feature("age", "continuous"), Feature("visits", "integer"), Feature("pain", "categorical"))
    return tuple(classes), manifest, features


@settings(max_examples=30, deadline=None)
@given(tables())
def test_a_dataset_is_read_back(made):
    classes, manifest, features = made
    with tempfile.TemporaryDirectory() as folder:
        written = Dataset(Path(folder), "any", "multiclass", classes, manifest, features=features)
        written.save()
        read = Dataset.load(Path(folder), joins_copies=False)
    assert (read.classes, read.features) == (classes, features)
    pd.testing.assert_frame_equal(read.manifest[list(manifest)], manifest, check_dtype=False)
    assert np.array_equal(read.targets(read.rows()), written.targets(written.rows()))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(SPLITS)), min_size=1, max_size=8, unique_by=lambda row: row[0]))
def test_a_manifest_of_images_is_read_back(rows):
    manifest = pd.DataFrame(
        [(f"images/{i}.png", "a|b", patient, site, part) for i, (patient, site, part) in enumerate(rows)],
        columns=["image", "label", "patient", "site", "split"],
    )
    with tempfile.TemporaryDirectory() as folder:
        written = Dataset(Path(folder), "any", "multilabel", ("a", "b"), manifest)
        written.save()
        read = Dataset.load(Path(folder))
    pd.testing.assert_frame_equal(read.manifest, manifest, check_dtype=False)
    assert read.fingerprint() == written.fingerprint()
