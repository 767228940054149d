"""A matrix says which way it lies."""

import numpy as np
import pytest

from medimg.evaluation.confusion import confusion_figure
from medimg.evaluation.predictions import Predictions

pytestmark = pytest.mark.final_figures


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
