"""How the two networks held each other: their losses over the epochs, or over a federation's rounds."""

import pandas as pd
from matplotlib.figure import Figure

from medimg.style.figures import BLUE, GREEN, VERMILION, styled

LOSSES = {
    "real_loss": ("discriminator, real images", BLUE),
    "fake_loss": ("discriminator, made images", VERMILION),
    "generator_loss": ("generator", GREEN),
    # Of a federation, whose clients tell one number.
    "loss": ("discriminator, real and made", BLUE),
}


def loss_figure(history: pd.DataFrame) -> Figure:
    """Losses by epoch or round; what a private training does not tell is left out.

    Args:
        history: `epoch` or `round`, and columns of `LOSSES`.
    """
    time = "epoch" if "epoch" in history else "round"
    with styled():
        figure = Figure(figsize=(8, 3.2))
        axes = figure.subplots()
        for name, (label, colour) in LOSSES.items():
            if name in history and history[name].notna().any():
                axes.plot(history[time], history[name], color=colour, label=label)
        axes.set_xlabel(time)
        axes.set_ylabel("mean loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.lines:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure
