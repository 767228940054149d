"""ROC and precision-recall curves, with intervals and the operating point."""

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from medimg.evaluation.predictions import Predictions
from medimg.style.figures import BLACK, GREY, VERMILION, line_style, styled
from medimg.style.words import interval, shortened

# More curves than this can't be told apart; those of the most frequent classes are drawn.
MOST_CURVES = 20


def roc_figure(predictions: Predictions, summary: dict) -> Figure | None:
    """ROC of the positive class, or of each class; None when no class has both kinds of rows.

    Args:
        predictions: of one split.
        summary: what `summarise` says of them.
    """
    drawn = _drawable(predictions)
    if not drawn:
        return None
    with styled():
        figure, axes = _canvas(len(drawn))
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="chance")
        for number, index in enumerate(drawn):
            one, name = predictions.one_vs_rest[index], predictions.classes[index]
            alarms, hits, _ = roc_curve(one.truth, one.score, drop_intermediate=False)
            text = interval(summary["per_class"][name]["auroc"], missing="undefined")
            label = f"AUROC {text}" if len(drawn) == 1 else f"{shortened(name, 24)}  {text}"
            axes.plot(alarms, hits, label=label, **line_style(number))
        if predictions.task == "binary":
            values = summary["per_class"][predictions.positive]
            x, y = 1 - values["specificity"]["value"], values["sensitivity"]["value"]
            _operating_point(axes, x, y, predictions.threshold, "sensitivity", "specificity", 1 - x)
        axes.set(xlabel="1 − specificity", ylabel="sensitivity", title=_title("ROC", predictions))
        _frame(axes, drawn, "lower right", "AUROC (95% interval)")
    return figure


def precision_recall_figure(predictions: Predictions, summary: dict) -> Figure | None:
    """Precision against sensitivity, with the prevalence that a random ranking would reach.

    Args:
        predictions: of one split.
        summary: what `summarise` says of them.
    """
    drawn = _drawable(predictions)
    if not drawn:
        return None
    with styled():
        figure, axes = _canvas(len(drawn))
        for number, index in enumerate(drawn):
            one, name = predictions.one_vs_rest[index], predictions.classes[index]
            precision, recall, _ = precision_recall_curve(one.truth, one.score)
            # The closing point (0, 1) is a convention, not a threshold of these rows: the precision
            # of the highest score holds down to a sensitivity of 0, as average precision counts it.
            precision[-1] = precision[-2]
            text = interval(summary["per_class"][name]["auprc"], missing="undefined")
            prevalence = one.truth.mean()
            if len(drawn) == 1:
                label = f"AUPRC {text}"
                axes.axhline(prevalence, color=GREY, linestyle=":", linewidth=1.2, label=f"prevalence {prevalence:.3f}")
            else:
                label = f"{shortened(name, 24)}  {text}  prev. {prevalence:.3f}"
            axes.plot(recall, precision, drawstyle="steps-post", label=label, **line_style(number))
        if predictions.task == "binary":
            values = summary["per_class"][predictions.positive]
            x, y = values["sensitivity"]["value"], values["precision"]["value"]
            if y is not None:
                _operating_point(axes, x, y, predictions.threshold, "precision", "sensitivity", x)
        axes.set(
            xlabel="sensitivity (recall)",
            ylabel="precision (positive predictive value)",
            title=_title("Precision-recall", predictions),
        )
        _frame(axes, drawn, "lower left", "AUPRC (95% interval), prevalence")
    return figure


def _drawable(predictions: Predictions) -> list[int]:
    """Classes to draw: both kinds of rows are there; the most frequent when there are many."""
    rows = predictions.truth.sum(axis=0)
    both = (rows > 0) & (rows < len(predictions))
    if predictions.task == "binary":
        return [1] if both[1] else []
    if both.sum() > MOST_CURVES:
        rare_first = np.argsort(np.where(both, rows, -1), kind="stable")
        both[rare_first[:-MOST_CURVES]] = False
    return [int(index) for index in np.flatnonzero(both)]


def _canvas(curves: int):
    width = 5.6 if curves == 1 else 9.6
    figure = Figure(figsize=(width, 5.4))
    return figure, figure.subplots()


def _operating_point(axes, x, y, threshold, first, second, second_value) -> None:
    # Folds of a cross-validation decide each by its own.
    which = f"threshold {threshold:.3g}" if np.ndim(threshold) == 0 else "thresholds of the folds"
    text = f"{which}: {first} {y:.3f}, {second} {second_value:.3f}"
    axes.plot(x, y, "o", color=VERMILION, markersize=9, markeredgecolor="white", label=text, zorder=5)


def _title(name: str, predictions: Predictions) -> str:
    if predictions.task == "binary":
        positive, rows = predictions.positive, int(predictions.truth[:, 1].sum())
        return f"{name}: {shortened(positive, 30)} ({rows} of {len(predictions)})"
    return f"{name}: each class against the rest (n = {len(predictions)})"


def _frame(axes, drawn: list[int], corner: str, heading: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    if len(drawn) == 1:
        axes.legend(loc=corner, frameon=True, framealpha=0.9, edgecolor="none")
    else:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title=heading)
        legend.set_alignment("left")
    axes.tick_params(colors=BLACK)
