"""The report fits the window, and shows the options that its training read; a matrix says which way it lies."""

import re
from pathlib import Path

import numpy as np
import pytest

from federated.config import FederateConfig
from medimg.config import TrainConfig
from medimg.evaluation.confusion import confusion_figure
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.report import applying

TOP = Path(__file__).parents[3]
PAGES = [path for room in ("medimg", "federated", "synthetic") for path in sorted((TOP / room).rglob("*.html"))]


@pytest.mark.parametrize(("unit", "word"), [("image", "Images"), ("row", "Rows")])
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_a_matrix_says_what_is_counted_and_which_way(task, unit, word):
    p = np.array([[0.8, 0.2], [0.1, 0.9]])
    targets = np.array([0, 1]) if task == "binary" else np.eye(2, dtype=np.float32)
    threshold = 0.5 if task == "binary" else np.full(2, 0.5)
    figure = confusion_figure(Predictions(task, ("no", "yes"), targets, p, threshold), unit)
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    assert sum("rows: true class, columns: predicted class" in title for title in titles) == 1
    assert any(title.startswith(word) for title in titles)
    assert not any({"Images": "Rows", "Rows": "Images"}[word] in title for title in titles)
    axes = figure.axes[0]
    labels = {axes.get_ylabel(), figure.get_supylabel()}, {axes.get_xlabel(), figure.get_supxlabel()}
    assert [max(both) for both in labels] == ["true class", "predicted class"]


def test_options_are_shown_where_they_apply():
    images, table = (applying(TrainConfig().resolved(unit).to_dict(), unit == "row") for unit in ("image", "row"))
    assert {"image_size", "freeze", "weights"} <= images.keys()
    assert not {"scale", "impute", "bound"} & images.keys()
    assert {"scale", "impute", "learning_rate"} <= table.keys()
    assert not {"image_size", "channels", "freeze", "augment", "views"} & table.keys()
    for shown in (images, table):
        assert not any(name.startswith("dp") for name in shown)
        assert not {"fold", "fine_tune_blocks", "extra", "weights_patients"} & shown.keys()
    tuned = TrainConfig(
        freeze="backbone", fine_tune_epochs=2, augment="light", views=3, dp_epsilon=3.0, folds=4, fold=2
    )
    expected = {"fine_tune_blocks", "views", "cache_features", "dp_epsilon", "dp_clip", "fold"}
    assert expected <= applying(tuned.to_dict(), False).keys()
    federated = FederateConfig(model="logistic")
    assert not {"dp", "secure_bits", "straggler_pace"} & applying(federated.to_dict(), True).keys()
    assert "secure_bits" in applying(FederateConfig(secure="masking").to_dict(), True)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_page_is_wider_than_a_telephone(path):
    """Tables scroll by themselves, grids have no column that is wider than the window, and words break."""
    text = path.read_text()
    tables = [match.start() for match in re.finditer("<table", text)]
    assert all(text[:start].rstrip().endswith('<div class="scroll">') for start in tables)
    assert all("min(" in width for width in re.findall(r"minmax\(([^;]*)", text))
    style = (TOP / "medimg" / "style" / "style.css").read_text()
    assert ".scroll { overflow-x: auto; }" in style
    assert "p, li, figcaption { overflow-wrap: anywhere; }" in style
    assert "figure img { max-width: 100%" in style
