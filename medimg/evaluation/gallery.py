"""All figures of an evaluation."""

from pathlib import Path

import pandas as pd

from medimg.evaluation.confusion import confusion_figure
from medimg.evaluation.curves import precision_recall_figure, roc_figure
from medimg.evaluation.mistakes import worst_mistakes
from medimg.evaluation.mistakes_figure import mistakes_figure
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.reliability_figure import reliability_figure
from medimg.evaluation.training_curves import training_figure
from medimg.style.figures import save

# Files of an evaluation in its folder `figures/`, NAME.png.
FIGURES = (
    "roc",
    "precision_recall",
    "confusion_matrix",
    "reliability",
    "training_curves",
    "worst_mistakes",
)


def write_figures(
    folder: Path,
    predictions: Predictions,
    summary: dict,
    history: pd.DataFrame,
    paths: list[Path] | None,
    before: Predictions | None = None,
) -> dict[str, Path]:
    """Draw every figure that the data allow into `folder`.

    Args:
        folder: where; a figure of an earlier evaluation that can't be drawn now is removed.
        predictions: of N rows.
        summary: what `summarise` says of them.
        history: the Run's history.
        paths: length N, the image of each row; None of a table.
        before: with probabilities that are not calibrated yet; None: these are the model's own.

    Returns:
        name -> path, in the order of the report.
    """
    mistakes = worst_mistakes(predictions) if paths else []
    drawn = {
        "roc": roc_figure(predictions, summary),
        "precision_recall": precision_recall_figure(predictions, summary),
        "confusion_matrix": confusion_figure(predictions, "image" if paths else "row"),
        "reliability": reliability_figure(predictions, before),
        "training_curves": training_figure(history),
        "worst_mistakes": mistakes_figure(mistakes, [paths[mistake.row] for mistake in mistakes]),
    }
    written = {}
    for name, figure in ((name, drawn[name]) for name in FIGURES):
        path = folder / f"{name}.png"
        if figure is None:
            path.unlink(missing_ok=True)
        else:
            written[name] = save(figure, path)
    return written
