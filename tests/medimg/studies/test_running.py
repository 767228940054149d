"""What a cell's folder depends on."""

import dataclasses

import pytest

from medimg.errors import InputError
from medimg.studies.declared import Cell
from medimg.studies.running import Runner
from medimg.studies.steps import Shared
from tests.datasets import write_dataset


def test_what_is_kept_is_of_the_same_masks_and_public_knowledge(tmp_path, small_table):
    """Explanations are scored by masks; private trainings scale by what is publicly known of a column."""
    images = write_dataset(tmp_path / "images", 24)
    mask = images.root / "masks" / "0000.png"
    mask.parent.mkdir()
    mask.write_bytes(b"one")
    rows = images.manifest.assign(mask=["masks/0000.png", *[""] * (len(images.manifest) - 1)])
    dataclasses.replace(images, manifest=rows).save()
    table = dataclasses.replace(small_table, root=tmp_path / "table")
    table.root.mkdir()
    table.save()

    def folders():
        cell = Cell("", "a", (("thin", {"fraction": 0.5}),))
        with Shared() as shared:
            places = [Runner([root], tmp_path / "out", 20, shared)._places(cell, 0, ()) for root in roots]
        return [its[0].folder for its in places]

    roots = (images.root, table.root)
    before = folders()
    assert folders() == before
    mask.write_bytes(b"another")
    features = [dataclasses.replace(f, bound=(0.0, 500.0)) if f.name == "age" else f for f in table.features]
    dataclasses.replace(table, features=tuple(features)).save()
    assert not set(folders()) & set(before)
    mask.unlink()
    with pytest.raises(InputError, match=r"0000\.png"):
        folders()
