"""`--tune N`: a few settings, each judged by rows of the training fold that its generator did not see."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.splits import split_groups
from medimg.untrusted.csv_cells import read_csv
from synthetic.tables.settings import Settings
from synthetic.tables.usefulness import auroc

# Rows that settings are judged on: those of split val where they are enough, else a part of train.
FEWEST_HELD_OUT = 30
HELD_OUT = 0.25
CLASSIFIERS = ("logistic-regression", "gradient-boosting")
# Of the settings that are drawn after the first ones, in this order.
FIRST = ({}, {"epochs": 0.5}, {"epochs": 2.0}, {"learning_rate": 0.5}, {"learning_rate": 2.0}, {"width": 0.5})

Fit = Callable[[pd.DataFrame, Settings, str], pd.DataFrame]


def tune(
    dataset: Dataset, rows: pd.DataFrame, settings: Settings, tries: int, seed: int, fit: Fit, file: Path
) -> tuple[Settings, pd.DataFrame]:
    """The best of `tries` settings by the mean AUROC of classifiers that learnt from made rows.

    Args:
        dataset: the real one.
        rows: labelled training rows.
        settings: the first that is tried; it wins ties.
        tries: how many.
        seed: of the settings drawn and of the rows held out.
        fit: from (rows to see, settings, name of the try) to made rows, labelled.
        file: table of the tries; those in it already are not made again.

    Returns:
        The settings and the table: `try`, `auroc` and what was changed, as a factor.
    """
    seen, held_out = parts(dataset, rows, seed)
    table = read_csv(file, keep_default_na=True) if file.is_file() else pd.DataFrame()
    done = table.to_dict("records")
    for number, factors in enumerate(candidates(tries, seed)):
        if number < len(done):
            continue
        made = fit(seen, scaled(settings, factors), f"try-{number + 1}")
        scores = [auroc(dataset, made, held_out, name) for name in CLASSIFIERS]
        known = [score for score in scores if score is not None]
        row = {name: factors.get(name, 1.0) for name in ("epochs", "learning_rate", "width")}
        done.append({"try": number + 1, "auroc": float(np.mean(known)) if known else 0.5, **row})
        atomic.write_csv(file, pd.DataFrame(done))
    table = pd.DataFrame(done)
    best = table.loc[table["auroc"].idxmax()]
    return scaled(settings, best.drop(["try", "auroc"]).to_dict()), table


def parts(dataset: Dataset, rows: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that a tried generator sees, and those that it is judged on."""
    validation = dataset.rows("val", labelled=True)
    if len(validation) >= FEWEST_HELD_OUT and validation["label"].nunique() > 1:
        return rows, validation
    where = split_groups(rows["label"], rows["patient"], (1 - HELD_OUT, HELD_OUT, 0), seed)
    where = np.asarray(where)
    return rows[where == "train"], rows[where == "val"]


def candidates(tries: int, seed: int) -> list[dict[str, float]]:
    """Factors of settings: FIRST, then random ones."""
    random = np.random.default_rng(seed)
    drawn = [
        {name: float(2.0 ** random.integers(-2, 3)) for name in ("epochs", "learning_rate", "width")}
        for _ in range(max(0, tries - len(FIRST)))
    ]
    return [*FIRST, *drawn][:tries]


def scaled(settings: Settings, factors: dict[str, float]) -> Settings:
    """Settings times factors; the learning rates of generator and critic go together."""
    rate = factors.get("learning_rate", 1.0)
    return replace(
        settings,
        epochs=max(1, round(settings.epochs * factors.get("epochs", 1.0))),
        learning_rate=settings.learning_rate * rate,
        critic_learning_rate=settings.critic_learning_rate * rate,
        width=max(16, round(settings.width * factors.get("width", 1.0))),
    )
