"""A validation in one figure: ranking, calibration and what differs; and images of both sides to look at."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from medimg.evaluation.calibration import reliability
from medimg.evaluation.predictions import Predictions
from medimg.pipeline.pixels import load_image
from medimg.style.figures import BLUE, GREY, VERMILION, styled
from medimg.style.words import interval, shortened

# Beyond it a bar would leave the others without length.
_FAR = 3.0
_MOST_BARS = 18
_IMAGES = 8
_BINS = 8


def summary_figure(internal: Predictions | None, external: Predictions | None, result: dict) -> Figure | None:
    """ROC and reliability of a binary model on both sides, and every standardised difference; None without any.

    Args:
        internal: on the Run's own test part, None where it is absent.
        external: on labelled rows, None without any.
        result: content of validation.json.
    """
    both = [(BLUE, "own test part", internal), (VERMILION, "here", external)]
    labelled = [one for one in both if one[2] is not None and one[2].task == "binary"]
    curves = [one for one in labelled if 0 < one[2].truth[:, 1].sum() < len(one[2])]
    panels = []
    if curves and external and not result["few"]:
        panels = [lambda axes: _roc(axes, curves, result), lambda axes: _reliability(axes, labelled)]
    if result["shift"]:
        panels.append(lambda axes: _differences(axes, result["shift"]))
    if not panels:
        return None
    with styled():
        figure = Figure(figsize=(4.9 * len(panels), 4.9))
        for axes, draw in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
            draw(axes)
    return figure


def images_figure(internal: list[Path], external: list[Path], size: int) -> Figure:
    """Some images of each side as the model sees them, at one grey scale.

    Args:
        internal: files of the Run's own test part; may be empty.
        external: files of the others.
        size: of the model.
    """
    rows = [(title, files) for title, files in (("own test part", internal), ("here", external)) if files]
    with styled():
        figure = Figure(figsize=(1.55 * _IMAGES, 1.85 * len(rows)))
        grid = figure.subplots(len(rows), _IMAGES, squeeze=False)
        for line, (title, files) in zip(grid, rows, strict=True):
            chosen = np.unique(np.linspace(0, len(files) - 1, min(len(files), _IMAGES)).round().astype(int))
            for axes in line:
                axes.axis("off")
            line[0].set_title(title, loc="left")
            for axes, number in zip(line, chosen, strict=False):
                axes.imshow(load_image(files[number], size, 1)[..., 0], cmap="gray", vmin=0, vmax=255)
    return figure


def _roc(axes, sides, result: dict) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2)
    for colour, name, side in sides:
        alarms, hits, _ = roc_curve(side.truth[:, 1], side.probabilities[:, 1], drop_intermediate=False)
        key = "here" if name == "here" else "own"
        axes.plot(alarms, hits, color=colour, label=f"{name}: AUROC {interval(result['auroc'][key])}")
        called = side.decisions[:, 1]
        point = (called[~side.truth[:, 1]].mean(), called[side.truth[:, 1]].mean())
        axes.plot(*point, "o", color=colour, markersize=8, markeredgecolor="white", zorder=5)
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", title="Ranking; dots: the Run's threshold", aspect="equal")
    axes.legend(loc="lower right", fontsize=8.5)


def _reliability(axes, sides) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2)
    for colour, name, side in sides:
        table = reliability(side.truth[:, 1], side.probabilities[:, 1], _BINS)
        axes.errorbar(
            table.probability,
            table.frequency,
            table.bars,
            fmt="o",
            color=colour,
            label=name,
            capsize=2,
            markersize=5,
            alpha=0.85,
        )
    positive = shortened(sides[0][2].classes[1], 24)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title="Calibration (Wilson 95% by bin)")
    axes.set(xlabel=f"predicted probability of {positive}", ylabel="observed frequency")
    axes.legend(loc="best")


def _differences(axes, shift: list[dict]) -> None:
    shown = shift[:_MOST_BARS]
    sizes = [_FAR if one["effect"] is None else np.clip(one["effect"], -_FAR, _FAR) for one in shown]
    colours = [VERMILION if one["shifted"] else GREY for one in shown]
    places = np.arange(len(shown))
    axes.barh(places, sizes, 0.6, color=colours)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(places, [shortened(one["name"], 44) for one in shown], fontsize=8)
    axes.set_xlim(-_FAR - 0.15, _FAR + 0.15)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"standardised difference, here − own (at most {_FAR:g} drawn)", fontsize=9)
    axes.set_title("What differs (red: Holm p < 0.05)")
