"""The reliability diagram: predicted probability against observed frequency."""

import numpy as np
from matplotlib.figure import Figure

from medimg.evaluation.calibration import BINS, reliability
from medimg.evaluation.predictions import Predictions
from medimg.style.figures import BLUE, GREY, VERMILION, styled
from medimg.style.words import shortened


def reliability_figure(predictions: Predictions, before: Predictions | None = None) -> Figure:
    """Observed frequency by bin with Wilson intervals, over a histogram of the probabilities.

    `before` are the same rows with probabilities that are not calibrated yet, drawn as a line beside.

    Binary: of the positive class. Multiclass: of the predicted class (Guo et al., ICML 2017).
    Multilabel: all labels pooled.
    """
    truth, probability, title, label = _outcomes(predictions)
    table = reliability(truth, probability)
    with styled():
        figure = Figure(figsize=(5.6, 6.6))
        top, bottom = figure.subplots(2, 1, height_ratios=(3.6, 1), sharex=True)
        top.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="perfect")
        top.errorbar(
            table.probability,
            table.frequency,
            yerr=table.bars,
            fmt="o-",
            color=BLUE,
            ecolor=BLUE,
            elinewidth=1,
            capsize=2.5,
            markersize=5,
            linewidth=1.4,
            label="observed, Wilson 95% by bin",
        )
        if before is not None:
            earlier = reliability(*_outcomes(before)[:2])
            caption = f"before calibration, ECE {earlier.error:.3f}"
            top.plot(earlier.probability, earlier.frequency, "x--", color=VERMILION, linewidth=1.2, label=caption)
        top.set(ylabel="observed frequency", ylim=(-0.02, 1.02), xlim=(-0.01, 1.01))
        top.set_title(f"{title}, ECE {table.error:.3f}")
        top.legend(loc="upper left")
        bottom.bar(table.low, table.count, width=0.92 / BINS, align="edge", color=BLUE)
        bottom.set(xlabel=label, ylabel="number")
    return figure


def _outcomes(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, str, str]:
    if predictions.task == "binary":
        name = shortened(predictions.positive, 28)
        truth, probability = predictions.truth[:, 1], predictions.probabilities[:, 1]
        return truth, probability, f"Reliability: {name}", f"predicted probability of {name}"
    if predictions.task == "multilabel":
        truth, probability = predictions.truth.ravel(), predictions.probabilities.ravel()
        return truth, probability, "Reliability: all labels pooled", "predicted probability"
    right = (predictions.truth & predictions.decisions).any(axis=1)
    confidence = predictions.probabilities.max(axis=1)
    label = "probability of the predicted class"
    return right, confidence, "Reliability of the predicted class", label
