"""Mistakes are the worst ones, and figures can be drawn of whatever occurs."""

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg.evaluation.gallery import write_figures
from medimg.evaluation.mistakes import worst_mistakes
from medimg.evaluation.predictions import Predictions, as_written
from medimg.evaluation.summary import summarise

pytestmark = pytest.mark.final_figures


def test_the_worst_mistakes_come_first_with_an_even_share_per_label():
    p1 = np.array([0.9, 0.95, 0.8, 0.85, 0.3, 0.1, 0.6])
    truth = np.array([0, 0, 0, 0, 1, 0, 1])
    binary = Predictions("binary", ("no", "yes"), truth, np.stack([1 - p1, p1], 1), 0.7)
    # Wrong: four false alarms (rows 0-3) and two missed (rows 4 and 6).
    assert [m.row for m in worst_mistakes(binary, 4)] == [1, 0, 4, 6]
    assert [m.row for m in worst_mistakes(binary, 5)] == [1, 0, 3, 4, 6]
    assert [m.row for m in worst_mistakes(binary)] == [1, 0, 3, 2, 4, 6]
    first, missed = worst_mistakes(binary)[0], worst_mistakes(binary)[4]
    assert (first.label, first.predicted, first.probability) == ("no", "yes", 0.95)
    assert (missed.label, missed.predicted) == ("yes", "no")
    assert (missed.probability, missed.truth_probability) == (pytest.approx(0.7), 0.3)


def test_a_multilabel_row_counts_once_with_its_worst_label():
    p = np.array([[0.9, 0.2], [0.6, 0.05], [0.2, 0.2]])
    truth = np.array([[0, 1], [1, 1], [0, 0]], np.float32)
    mistakes = worst_mistakes(Predictions("multilabel", ("a", "b"), truth, p, np.full(2, 0.5)))
    assert [(m.row, m.label, m.predicted) for m in mistakes] == [(1, "b", "no b"), (0, "no a", "a")]
    assert mistakes[0].probability == pytest.approx(0.95)


@pytest.mark.slow
@pytest.mark.parametrize("image", [np.zeros((9, 5), np.uint16), np.full((1, 1, 3), 7, np.uint8)])
def test_odd_images_and_names_are_drawn(tmp_path, image):
    name = "a_very$long^name" * 6
    path = tmp_path / f"{name}.png"
    cv2.imwrite(str(path), image)
    classes = ("$x_1$ & <b>", name, "c")
    p = np.full((6, 3), 1 / 3)
    predictions = Predictions("multiclass", classes, np.array([0, 1, 1, 0, 1, 1]), p)
    summary = summarise(predictions, list("abcdef"), 20)
    written = write_figures(tmp_path / "f", predictions, summary, pd.DataFrame(), [path] * 6)
    assert list(written) == ["roc", "precision_recall", "confusion_matrix", "reliability", "worst_mistakes"]
    for figure in written.values():
        drawn = cv2.imread(str(figure))
        assert min(drawn.shape[:2]) > 300
        # Nothing is cut off: the outermost pixels are background.
        edge = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
        assert (edge == 255).all()


def test_a_figure_that_cannot_be_drawn_any_more_is_removed(tmp_path):
    p = np.array([[0.8, 0.2], [0.1, 0.9]])
    right = Predictions("binary", ("no", "yes"), np.array([0, 1]), p, 0.5)
    (tmp_path / "worst_mistakes.png").write_bytes(b"of an earlier evaluation")
    arguments = summarise(right, ["a", "b"], 0), pd.DataFrame(), [None, None]
    assert "worst_mistakes" not in write_figures(tmp_path, right, *arguments)
    assert not (tmp_path / "worst_mistakes.png").exists()
    one_class = Predictions("binary", ("no", "yes"), np.array([0, 0]), p, 0.95)
    arguments = summarise(one_class, ["a", "b"], 0), pd.DataFrame(), [None, None]
    assert set(write_figures(tmp_path, one_class, *arguments)) == {"confusion_matrix", "reliability"}
    assert not (tmp_path / "roc.png").exists()


@pytest.mark.parametrize("step", ["epoch", "round"])
def test_training_of_one_step_and_of_a_federation_is_drawn(tmp_path, step):
    p = np.array([[0.8, 0.2], [0.1, 0.9]])
    predictions = Predictions("binary", ("no", "yes"), np.array([0, 1]), p, 0.5)
    history = pd.DataFrame({step: [1], "loss": [0.5], "val_loss": [np.nan]})
    summary = summarise(predictions, ["a", "b"], 0)
    assert "training_curves" in write_figures(tmp_path, predictions, summary, history, [None] * 2)


def test_as_written_survives_the_file(tmp_path):
    p = np.random.default_rng(0).random((500, 2)).astype(np.float32) ** 8
    written = as_written(p)
    pd.DataFrame(written).to_csv(tmp_path / "p.csv", index=False)
    read = pd.read_csv(tmp_path / "p.csv", float_precision="round_trip").to_numpy()
    assert (read == written).all()
    assert (written.astype(np.float32) == p).all()
