"""A Run that a stranger made names any image of this machine: a report, which is passed on, shows none of them."""

import json

import numpy as np
import pytest

from medimg.data.imaging import write_png
from medimg.report.explained import examples, maps_of, mistake_pictures
from medimg.run import Run
from tests.datasets import write_dataset


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "mine" / "film.png"
    write_png(path, np.full((8, 8), 77, np.uint8))
    return path


def explained(root, **entry) -> Run:
    """A Run with an explanation of one image."""
    folder = root / "explanations" / "test"
    (folder / "gradcam").mkdir(parents=True)
    np.savez(folder / "gradcam" / "0.npz", heatmap=np.ones((8, 8), np.float32))
    write_png(folder / "gradcam" / "0.png", np.zeros((8, 16, 3), np.uint8))
    entry = {"heatmap": "gradcam/0.npz", "overlay": "gradcam/0.png", "positive_class": "a", **entry}
    (folder / "explanations.json").write_text(json.dumps({"gradcam": [entry]}))
    return Run(root, {})


def test_an_image_of_neither_run_nor_dataset_is_not_read(film, tmp_path):
    run = explained(tmp_path / "run", file=str(film))
    before = examples(run, (None, write_dataset(tmp_path / "data", n=8)))
    write_png(film, np.full((8, 8), 200, np.uint8))
    assert examples(run, ()) == before
    # What was drawn as it was explained lies in the Run.
    (one,) = before
    assert one["picture"].startswith("data:image/png")
    assert one["overlay"] is None


def test_images_of_the_dataset_are_shown_with_their_maps(tmp_path):
    dataset = write_dataset(tmp_path / "data", n=8)
    run = explained(tmp_path / "run", file=str(dataset.paths(dataset.manifest)[0]))
    (shown,) = examples(run, (None, dataset))
    assert shown["picture"]
    assert shown["overlay"]
    assert shown["picture"] != shown["overlay"]


@pytest.mark.parametrize("name", ["{film}", "../mine/film.png", "images/link.png"])
def test_mistakes_are_of_the_dataset(film, tmp_path, name):
    dataset = write_dataset(tmp_path / "data", n=8)
    (dataset.root / "images" / "link.png").symlink_to(film)
    worst = [{"name": name.format(film=film)}, {"name": dataset.manifest["image"][0]}]
    (left_out, shown) = mistake_pictures({"worst": worst}, dataset, {})
    assert left_out == {"picture": None, "overlay": None}
    assert shown["picture"]


@pytest.mark.parametrize("heatmap", ["../../../mine/map.npz", "{root}/mine/map.npz"])
def test_a_map_of_another_folder_is_none(film, tmp_path, heatmap):
    np.savez(tmp_path / "mine" / "map.npz", heatmap=np.ones((8, 8), np.float32))
    run = explained(tmp_path / "run", file=str(film), heatmap=heatmap.format(root=tmp_path))
    assert maps_of(run) == {}
    assert examples(run, ()) == []
