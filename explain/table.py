"""explain() of a table Run: SHAP values of the raw features and partial dependence, as numbers and figures."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from explain.config import ExplainConfig
from explain.figures.dependence_figure import partial_dependence
from explain.figures.table_figures import bar, beeswarm, waterfall
from explain.methods.partial_dependence import Dependence, dependence, value_text
from explain.methods.table_score import TableModel
from explain.methods.table_shap import Attribution, affordable, attribute
from explain.selection import classes_in_turn, positive_entry, predicted, split_rows
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.operating_point import decision_words, thresholds
from medimg.privacy.release import reference_split, require_unprotected
from medimg.run import Run
from medimg.style.figures import save

METHODS = ("shap",)
_BACKGROUND = 100
_MOST_ROWS = 200
# Evaluations of the model in all: more features, fewer rows in the beeswarm.
_BUDGET = 4_000_000
_DEPENDENCE_ROWS = 500
_MOST_DEPENDENCES = 6


def explain_table(
    run: Run, config: ExplainConfig, root: Path, progress: Callable[[int, int], None] | None = None
) -> dict:
    """Write `shap/`.

    `shap_values.csv`, `summary.json`, `beeswarm.png` (per class with more than two), `bar.png`,
    `partial_dependence.csv` and `.png` of the leading features, and a waterfall `000-<row>.png` of each of --count rows
    of --split. What is explained: the log-odds of the positive class, with more classes the logit of each; the
    waterfall then shows the predicted class. Hidden features take the values of up to 100 training rows (of a
    private Run validation rows).

    Returns:
        `rows`: per method the rows that have a waterfall.

    Raises:
        InputError: an option that is for images, an empty split, or a table without the Run's columns.
    """
    _require_table_options(config)
    model, dataset = TableModel.of(run), run.dataset()
    require_unprotected(run.config["options"], config.split)
    rows = split_rows(dataset, config.split)
    drawn_rows, explained, sampled = _choose(rows, config, _most_rows(model, config))
    raw = model.raw(explained)
    reference = reference_split(run.config["options"])
    background = model.raw(_sample(dataset, reference, _BACKGROUND, config.seed))
    attribution = attribute(model, background, raw, config.samples, config.seed, progress)
    folder = root / "shap"
    _clear(folder)
    atomic.write_csv(folder / "shap_values.csv", _values(model, explained["row"], attribution))
    importance = np.abs(attribution.values[sampled]).mean(axis=0)
    leading = np.argsort(-importance.sum(axis=1), kind="stable")
    _draw_summary(model, attribution.values[sampled], raw[sampled], leading, folder)
    _dependences(model, dataset, reference, leading, config.seed, folder)
    limits = thresholds(run, run.description())
    entries = [
        _explain_row(model, attribution, raw, i, row, limits, folder)
        for i, row in enumerate(drawn_rows.to_dict("records"))
    ]
    atomic.write_json(
        folder / "summary.json",
        {
            "split": config.split,
            "rows": int(sampled.sum()),
            "rows_in_split": len(rows),
            "background_split": reference,
            "background_rows": len(background),
            **_summary(model, attribution, importance, limits),
        },
    )
    return {"rows": {"shap": entries}}


def _require_table_options(config: ExplainConfig) -> None:
    for method in config.method:
        if method not in METHODS:
            raise InputError(f"--method {method}: is for images; a Run of a table is explained by {', '.join(METHODS)}")


def _choose(rows: pd.DataFrame, config: ExplainConfig, most: int) -> tuple:
    """Rows with a waterfall; these and a sample that stands for the part; which of them are of that sample."""
    drawn_rows = classes_in_turn(rows, config.count, config.seed)
    sample = rows.sample(min(len(rows), most), random_state=config.seed)
    explained = pd.concat([drawn_rows, sample])
    explained = explained[~explained.index.duplicated()]
    return drawn_rows, explained, explained.index.isin(sample.index)


def _most_rows(model: TableModel, config: ExplainConfig) -> int:
    if affordable(model, config.samples) in ("linear", "gradient"):
        return _MOST_ROWS
    per_row = max(config.samples, 4 * len(model.features)) * _BACKGROUND
    return max(config.count, min(_MOST_ROWS, _BUDGET // per_row))


def _sample(dataset: Dataset, split: str, count: int, seed: int) -> pd.DataFrame:
    rows = split_rows(dataset, split)
    return rows.sample(min(count, len(rows)), random_state=seed)


def _values(model: TableModel, names: pd.Series, attribution: Attribution) -> pd.DataFrame:
    """`shap_values.csv`: row, with more than two classes `class`, a column a feature, base and score."""
    tables = []
    for k, index in enumerate(model.explained):
        table = pd.DataFrame(attribution.values[:, :, k], columns=model.features)
        names_taken = set(model.features)
        if len(model.explained) > 1:
            table.insert(0, _free("class", names_taken), model.classes[index])
        table.insert(0, "row", names.to_numpy())
        table[_free("base", names_taken)] = attribution.base[k]
        table[_free("score", names_taken)] = attribution.scores[:, k]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _free(name: str, names: set[str]) -> str:
    return f"({name})" if name in names else name


def _draw_summary(model, values, raw, leading, folder: Path) -> None:
    features = model.preprocessing.raw
    several = len(model.explained) > 1
    names_of = _file_names(model.classes)
    for k in range(len(model.explained)):
        name = f"beeswarm-{names_of[k]}.png" if several else "beeswarm.png"
        order = np.argsort(-np.abs(values[:, :, k]).mean(axis=0), kind="stable")
        figure = beeswarm(values[:, :, k], raw, features, order, model.score_name(k))
        save(figure, folder / name)
    importance = np.abs(values).mean(axis=0)
    names = [model.score_name(k) for k in range(len(model.explained))]
    save(bar(importance, model.features, leading, names), folder / "bar.png")


def _dependences(model, dataset, reference: str, leading, seed: int, folder: Path) -> list[Dependence]:
    patients = model.raw(_sample(dataset, reference, _DEPENDENCE_ROWS, seed))
    classes = [model.classes[k] for k in model.explained]
    curves = [dependence(model, patients, int(i)) for i in leading[:_MOST_DEPENDENCES]]
    atomic.write_csv(folder / "partial_dependence.csv", pd.concat([curve.table(classes) for curve in curves]))
    save(partial_dependence(curves, classes, seed), folder / "partial_dependence.png")
    return curves


def _explain_row(model, attribution, raw, i: int, row: dict, limits, folder: Path) -> dict:
    """Draw a row's waterfall."""
    chances = model.probabilities(raw[i : i + 1])
    called = int(predicted(chances, limits, model.task)[0])
    k = 0 if model.task == "binary" else called
    texts = [
        f"{feature.name} = {value_text(feature, value)}"
        for feature, value in zip(model.preprocessing.raw, raw[i], strict=True)
    ]
    chance = float(chances[0, called])
    title = f"{row['row']}: predicted {decision_words(model.task, model.classes, called, chances[0], limits)}"
    title += f" (label: {row['label']})" if row["label"] else ""
    picture = f"{i:03d}-{_safe(str(row['row']))}.png"
    figure = waterfall(
        attribution.values[i, :, k],
        float(attribution.base[k]),
        float(attribution.scores[i, k]),
        texts,
        title,
        model.score_name(k),
        model.task != "multiclass",
    )
    save(figure, folder / picture)
    return {
        "row": str(row["row"]),
        "picture": f"{folder.name}/{picture}",
        "predicted": model.classes[called],
        "probability": chance,
        "label": row["label"],
        "base": float(attribution.base[k]),
        "score": float(attribution.scores[i, k]),
        **positive_entry(model.task, model.classes, chances[0], limits),
    }


def _summary(model: TableModel, attribution: Attribution, importance: np.ndarray, limits: list[float]) -> dict:
    classes = [model.classes[k] for k in model.explained]
    binary = model.task == "binary"
    return {
        "method": attribution.method,
        "explained": [model.score_name(k) for k in range(len(classes))],
        **({"positive_class": classes[0], "threshold": limits[1]} if binary else {}),
        "base": attribution.base,
        "largest_remainder": float(np.abs(attribution.remainder).max()),
        "mean_absolute_shap": {
            name: dict(zip(classes, line, strict=True))
            for name, line in zip(model.features, importance.tolist(), strict=True)
        },
    }


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)[:80]


def _file_names(names: Sequence[str]) -> list[str]:
    """`_safe` names, with a number before each where two would be one file, also on a disk that takes a for A."""
    safe = [_safe(name) for name in names]
    distinct = len({name.casefold() for name in safe}) == len(safe)
    return safe if distinct else [f"{k}-{name}" for k, name in enumerate(safe)]


def _clear(folder: Path) -> None:
    """Figures of an earlier explanation would look like part of this one."""
    for file in folder.glob("*.png"):
        file.unlink()
