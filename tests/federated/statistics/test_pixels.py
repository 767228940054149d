"""Colour whitening from the clients' sums: that of their pooled pixels, and no pixel on the way."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from federated.config import FederateConfig
from federated.secure.keys import identities
from federated.secure.whole import whole_sum
from federated.statistics import answer, pixel_whitening, pixels_disclosed
from medimg.data.dataset import Dataset
from medimg.data.imaging import write_png
from medimg.errors import InputError
from medimg.pipeline.whitening import image_sums, whitening


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """30 colour images of three sites; the test images are white, the unlabelled ones black."""
    root = tmp_path_factory.mktemp("colours")
    draw = np.random.default_rng(0)
    (root / "images").mkdir()
    rows = []
    for i in range(30):
        split, label = ("test" if i % 5 == 0 else "train"), ("" if i % 7 == 3 else "ab"[i % 2])
        base = draw.normal((150, 100, 80), 30, (24, 20, 3)) + draw.normal(0, 20, (24, 20, 1))
        image = base.clip(0, 255).astype(np.uint8)
        if split == "test":
            image[:] = 255
        elif not label:
            image[:] = 0
        write_png(root / "images" / f"{i}.png", image)
        rows.append((f"images/{i}.png", label, f"p{i}", f"s{i % 3}", split))
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    return Dataset(root, "colours", "binary", ("a", "b"), manifest)


def asking(dataset: Dataset, log: list | None = None):
    clients = {name: dataclasses.replace(dataset, manifest=rows) for name, rows in dataset.manifest.groupby("site")}

    def total(request: dict, size: int) -> np.ndarray:
        sent = json.dumps(request, allow_nan=False)
        answers = [answer(own, json.loads(sent)) for own in clients.values()]
        if log is not None:
            log.append(answers)
        return np.sum(answers, axis=0)

    return total


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_that_of_the_pooled_training_images(dataset, channels):
    log = []
    found = pixel_whitening(asking(dataset, log), 16, channels)
    paths = dataset.paths(dataset.rows("train", labelled=True))
    # 8-bit sums are whole numbers, so they agree to the last bit.
    assert found == whitening(image_sums(paths, 16, channels))
    assert len(log) == 1
    assert all(len(own) == 1 + channels + channels**2 for own in log[0])


def test_a_client_without_training_images_adds_nothing(dataset):
    manifest = dataset.manifest.copy()
    manifest.loc[manifest["site"] == "s1", "split"] = "val"
    fewer = dataclasses.replace(dataset, manifest=manifest)
    paths = fewer.paths(fewer.rows("train", labelled=True))
    assert pixel_whitening(asking(fewer), 16, 3) == whitening(image_sums(paths, 16, 3))
    none = dataclasses.replace(dataset, manifest=manifest.assign(split="val"))
    with pytest.raises(InputError, match="there are no training images"):
        pixel_whitening(asking(none), 16, 3)


def test_under_masks_it_is_the_same(dataset):
    clients = {name: dataclasses.replace(dataset, manifest=rows) for name, rows in dataset.manifest.groupby("site")}

    def total(request, size):
        return whole_sum({name: answer(own, request) for name, own in clients.items()}, identities(clients), 1)

    assert pixel_whitening(total, 16, 3) == pixel_whitening(asking(dataset), 16, 3)


@pytest.mark.parametrize("change", [{1: 1e12}, {5: 3.0}, {0: -5.0}, {2: float("nan")}, {0: 0.5}])
def test_an_unusable_sum_is_refused(dataset, change):
    honest = asking(dataset)

    def total(request, size):
        found = honest(request, size)
        found[list(change)] = list(change.values())
        return found

    with pytest.raises(InputError, match="statistics 'pixels': the sum of the clients' answers can't be used"):
        pixel_whitening(total, 16, 3)


def test_an_unknown_request_is_refused(dataset):
    with pytest.raises(InputError, match="statistics 'rows' are not known here"):
        answer(dataset, {"kind": "rows"})


def test_the_report_says_what_was_told():
    assert "13 numbers" in " ".join(pixels_disclosed(FederateConfig(engine="flower")))
    assert "masked sum" in " ".join(pixels_disclosed(FederateConfig(secure="masking")))
