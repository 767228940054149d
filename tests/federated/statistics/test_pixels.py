"""Colour whitening from the clients' sums: that of their pooled pixels, and no pixel on the way."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

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

    def ask(request: dict) -> dict[str, dict]:
        sent = json.dumps(request, allow_nan=False)
        answers = {n: json.dumps(answer(own, json.loads(sent))) for n, own in clients.items()}
        if log is not None:
            log.append(answers)
        return {name: json.loads(text) for name, text in answers.items()}

    return ask


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_that_of_the_pooled_training_images(dataset, channels):
    log = []
    found = pixel_whitening(asking(dataset, log), 16, channels)
    paths = dataset.paths(dataset.rows("train", labelled=True))
    # 8-bit sums are whole numbers, so they agree to the last bit.
    assert found == whitening(image_sums(paths, 16, channels))
    assert len(log) == 1
    assert all(len(text) < 400 for text in log[0].values())


def test_a_client_without_training_images_adds_nothing(dataset):
    manifest = dataset.manifest.copy()
    manifest.loc[manifest["site"] == "s1", "split"] = "val"
    fewer = dataclasses.replace(dataset, manifest=manifest)
    paths = fewer.paths(fewer.rows("train", labelled=True))
    assert pixel_whitening(asking(fewer), 16, 3) == whitening(image_sums(paths, 16, 3))
    none = dataclasses.replace(dataset, manifest=manifest.assign(split="val"))
    with pytest.raises(InputError, match="there are no training images"):
        pixel_whitening(asking(none), 16, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"sums": [1e12, 0, 0]},
        {"products": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]},
        {"count": -5},
        {"sums": [float("nan")] * 3},
    ],
)
def test_an_unusable_answer_is_refused_by_name(dataset, change):
    honest = asking(dataset)

    def ask(request):
        answers = honest(request)
        answers["s2"].update(change)
        return answers

    with pytest.raises(InputError, match="client 's2': its answer to 'pixels' can't be used"):
        pixel_whitening(ask, 16, 3)


def test_an_unknown_request_is_refused(dataset):
    with pytest.raises(InputError, match="statistics 'rows' are not known here"):
        answer(dataset, {"kind": "rows"})


def test_the_report_says_what_was_told():
    assert "10 numbers" in " ".join(pixels_disclosed())
