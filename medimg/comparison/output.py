"""What a comparison leaves: comparison.png, comparison.html, comparison.csv and comparison.json."""

from pathlib import Path

import pandas as pd

from medimg import atomic
from medimg.comparison.figure import forest_figure
from medimg.comparison.pairs import ALPHA
from medimg.evaluation.metrics import METRIC_NAMES, METRICS
from medimg.style.figures import save
from medimg.style.pages import inlined, template
from medimg.style.words import interval, p_text, signed

KINDS = {"run": "Run", "baseline": "scikit-learn baseline", "majority": "constant answer"}


def write(out: Path, result: dict) -> None:
    """Write the four files, comparison.json last: where it is, all the rest is.

    Args:
        out: the folder.
        result: content of comparison.json.

    Raises:
        InputError: the folder can't be written.
    """
    picture = save(forest_figure(result), out / "comparison.png")
    atomic.write_csv(out / "comparison.csv", model_table(result))
    atomic.write_text(out / "comparison.html", page(result, picture))
    atomic.write_json(out / "comparison.json", result)


def model_table(result: dict) -> pd.DataFrame:
    """One row a model: name, kind, and each metric's value, low and high."""
    rows = []
    for model in result["models"]:
        row = {"model": model["name"], "kind": model["kind"]}
        for metric in METRICS:
            measured = model["metrics"][metric]
            row |= {metric: measured["value"], f"{metric}_low": measured["low"], f"{metric}_high": measured["high"]}
        rows.append(row)
    return pd.DataFrame(rows)


def page(result: dict, picture: Path) -> str:
    """The comparison as HTML without any outside address.

    Args:
        result: content of comparison.json.
        picture: the figure, PNG.
    """
    return template("comparison", "comparison.html").render(
        result=result,
        title=METRIC_NAMES[result["metric"]][0],
        metric_names={name: METRIC_NAMES[name] for name in METRICS},
        kinds=KINDS,
        alpha=ALPHA,
        figure=inlined(picture),
        text=interval,
        p_text=p_text,
        signed=signed,
        fold_numbers=range(1, (result["folds"] or {"n": 0})["n"] + 1),
    )
