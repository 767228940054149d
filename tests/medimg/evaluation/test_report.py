"""The report fits the window, and shows the options that its training read; a matrix says which way it lies."""

import re
from pathlib import Path

import numpy as np
import pytest
from medimg.evaluation.report import applying

from federated.config import FederateConfig
from medimg.config import TrainConfig
from medimg.evaluation.confusion import confusion_figure
from medimg.evaluation.predictions import Predictions

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


def shown(config, is_table, **more) -> dict:
    return applying({"options": config.to_dict(), **more}, is_table)


def test_options_are_shown_where_they_apply():
    images, table = (shown(TrainConfig().resolved(unit), unit == "row") for unit in ("image", "row"))
    assert {"image_size", "freeze", "weights"} <= images.keys()
    assert not {"scale", "impute", "bound"} & images.keys()
    assert {"scale", "impute", "learning_rate"} <= table.keys()
    assert not {"image_size", "channels", "freeze", "augment", "views"} & table.keys()
    for options in (images, table):
        assert not any(name.startswith("dp") for name in options)
        assert not {"fold", "fine_tune_blocks", "extra", "weights_patients"} & options.keys()
        assert not {"confidence", "adapt_method", "vote", "missing_limit"} & options.keys()
    tuned = TrainConfig(freeze="backbone", fine_tune_epochs=2, dp_epsilon=3.0, folds=4, fold=2)
    assert {"fine_tune_blocks", "cache_features", "dp_epsilon", "dp_clip", "fold"} <= shown(tuned, False).keys()
    assert "views" in shown(TrainConfig(augment="light", views=3), False)


def test_of_a_federated_run_the_options_that_acted_are_shown():
    """What its command wrote down; of a Run of before, what `train` has too is judged as there."""

    def acted(**options):
        config = FederateConfig(model="logistic", **options)
        return shown(config, True, acting=config.acting("tables")).keys()

    idle = {"alpha", "shards", "clients", "min_size", "proximal", "trim", "byzantine", "when_lost", "worker_patience"}
    assert not (idle | {"dp", "dp_clip", "secure_bits", "straggler_pace", "image_size"}) & acted()
    assert {"partition", "strategy", "rounds", "local_epochs"} <= acted()
    assert {"alpha", "clients", "min_size"} <= acted(partition="dirichlet")
    assert {"secure_bits", "secure_threshold"} <= acted(secure="masking")
    assert {"dp", "dp_clip", "dp_epsilon"} <= acted(dp="patient", dp_epsilon=3.0)
    before = shown(FederateConfig(model="logistic"), True).keys()
    assert "image_size" not in before
    assert "rounds" in before


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
