"""Which method explains which model best: models trained alike, every method scored on the same images, and ranks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from explain.config import ExplainConfig, InterpretabilityConfig
from explain.explain import explain
from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.lock import writes
from medimg.models.registry import family
from medimg.options import of_data
from medimg.run import Run
from medimg.style.figures import save, styled
from medimg.training.train import train_the_same

# Score -> whether more is better; what the data allow of them is ranked.
SCORES = {
    "pointing_game": True,
    "energy_in_box": True,
    "iou": True,
    "deletion": False,
    "insertion": True,
    "faithfulness": True,
    "randomisation": False,
    "stability": True,
}
_CONTROLS = ("random", "centre", "edges")


@writes("out")
def interpretability(
    data: Path,
    out: Path,
    study: InterpretabilityConfig,
    training: TrainConfig,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Train each model, explain its test images by each method, and rank the methods, controls among them.

    A finished training is taken as it is, so a killed study goes on where it stopped.

    Args:
        data: a prepared Dataset folder of images.
        out: gets a Run for each model, `scores.csv`, `ranking.csv` and `interpretability.png`.
        study: models, methods, and how much is scored.
        training: options of every training.
        progress: called with models done and models in all.

    Returns:
        One row a method or control and model: `mean_rank` over scores, 1 the best, and each score.

    Raises:
        InputError: as `train` and `explain`, or a Dataset of a table.
    """
    dataset = Dataset.load(data)
    if dataset.is_table:
        raise InputError(f"{data}: is a table; methods of images are what this study compares")
    training.require_effect(of_data(False))
    for name in study.model:
        family(name)
    rows = []
    for done, name in enumerate(study.model, 1):
        options = replace(training, model=name).resolved(dataset.unit).with_given_names(())
        train_the_same(data, Path(out) / name, options)
        run = Run.load(Path(out) / name)
        config = ExplainConfig(
            method=study.method,
            count=1,
            mistakes=0,
            score_count=study.score_count,
            localisation_count=study.localisation_count,
            samples=study.samples,
            appearance_count=0,
            seed=training.seed,
        )
        rows += _rows(name, explain(run, config)["scores"])
        if progress:
            progress(done, len(study.model))
    table = pd.DataFrame(rows)
    ranking = ranked(table)
    atomic.write_csv(Path(out) / "scores.csv", table)
    atomic.write_csv(Path(out) / "ranking.csv", ranking)
    save(_figure(ranking, dataset.name), Path(out) / "interpretability.png")
    return ranking


def _rows(model: str, scores: dict) -> list[dict]:
    """A row a method, control and score; the controls are those of the first method's."""
    first = next(iter(scores.values()))
    of = {**scores, **{f"({name})": first["controls"][name] for name in _CONTROLS}}
    return [
        {"model": model, "method": method, "score": score, **its[score]}
        for method, its in of.items()
        for score in SCORES
        if its.get(score, {}).get("value") is not None
    ]


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Mean rank of each method over scores, within a model; equals share their ranks.

    Args:
        table: `model`, `method`, `score` and `value`.
    """
    wide = table.pivot(index=["model", "method"], columns="score", values="value")
    wide = wide[[name for name in SCORES if name in wide]]
    better = pd.DataFrame({name: wide[name] if SCORES[name] else -wide[name] for name in wide})
    ranks = better.groupby(level="model").rank(ascending=False).mean(axis=1)
    wide.insert(0, "mean_rank", ranks)
    return wide.reset_index().sort_values(["model", "mean_rank"], kind="stable", ignore_index=True)


def _figure(ranking: pd.DataFrame, name: str) -> Figure:
    """Methods by models: mean rank in colour and, where known, the pointing game beneath."""
    grid = ranking.pivot(index="method", columns="model", values="mean_rank")
    grid = grid.loc[grid.mean(axis=1).sort_values(kind="stable").index]
    second = "pointing_game" if "pointing_game" in ranking else "insertion"
    beneath = ranking.pivot(index="method", columns="model", values=second).reindex_like(grid)
    with styled():
        figure = Figure(figsize=(3.4 + 1.6 * grid.shape[1], 1.6 + 0.5 * grid.shape[0]))
        axes = figure.subplots()
        axes.grid(visible=False)
        picture = axes.imshow(grid, cmap="viridis_r", aspect="auto")
        axes.set_xticks(range(grid.shape[1]), grid.columns)
        axes.set_yticks(range(grid.shape[0]), grid.index)
        for (y, x), rank in np.ndenumerate(grid.to_numpy()):
            value = beneath.iat[y, x]
            text = f"{rank:.1f}" + ("" if np.isnan(value) else f"\n{value:.2f}")
            colour = "white" if picture.norm(rank) > 0.4 else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=9, color=colour)
        figure.colorbar(picture, ax=axes, label="mean rank over scores (1 is best)").ax.invert_yaxis()
        label = second.replace("_", " ")
        title = f"{name}: mean rank, and {label} beneath\n(in brackets: maps that know nothing of the model)"
        figure.suptitle(title, fontsize="medium", wrap=True)
    return figure
