"""explain() of a table Run: SHAP values of the raw features and partial dependence, as numbers and figures."""

import re
from collections.abc import Callable
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
    chosen, explained, sampled = _choose(rows, config, _most_rows(model, config))
    raw = model.raw(explained)
    reference = reference_split(run.config["options"])
    background = model.raw(_sample(dataset, reference, _BACKGROUND, config.seed))
    found = attribute(model, background, raw, config.samples, config.seed, progress)
    folder = root / "shap"
    _clear(folder)
    atomic.write_csv(folder / "shap_values.csv", _values(model, explained["row"], found))
    importance = np.abs(found.values[sampled]).mean(axis=0)
    leading = np.argsort(-importance.sum(axis=1), kind="stable")
    _draw_summary(model, found.values[sampled], raw[sampled], leading, folder)
    _dependences(model, dataset, reference, leading, config.seed, folder)
    limits = thresholds(run, run.description())
    entries = [
        _explain_row(model, found, raw, i, row, limits, folder) for i, row in enumerate(chosen.to_dict("records"))
    ]
    atomic.write_json(
        folder / "summary.json",
        {
            "split": config.split,
            "rows": int(sampled.sum()),
            "rows_in_split": len(rows),
            "background_split": reference,
            "background_rows": len(background),
            **_summary(model, found, importance, limits),
        },
    )
    return {"rows": {"shap": entries}}


def _require_table_options(config: ExplainConfig) -> None:
    for method in config.method:
        if method not in METHODS:
            raise InputError(f"--method {method}: is for images; a Run of a table is explained by {', '.join(METHODS)}")


def _choose(rows: pd.DataFrame, config: ExplainConfig, most: int) -> tuple:
    """Rows with a waterfall; these and a sample that stands for the part; which of them are of that sample."""
    chosen = classes_in_turn(rows, config.count, config.seed)
    sample = rows.sample(min(len(rows), most), random_state=config.seed)
    explained = pd.concat([chosen, sample])
    explained = explained[~explained.index.duplicated()]
    return chosen, explained, explained.index.isin(sample.index)


def _most_rows(model: TableModel, config: ExplainConfig) -> int:
    if affordable(model, config.samples) in ("linear", "gradient"):
        return _MOST_ROWS
    each = max(config.samples, 4 * len(model.features)) * _BACKGROUND
    return max(config.count, min(_MOST_ROWS, _BUDGET // each))


def _sample(dataset: Dataset, split: str, count: int, seed: int) -> pd.DataFrame:
    rows = split_rows(dataset, split)
    return rows.sample(min(count, len(rows)), random_state=seed)


def _values(model: TableModel, names: pd.Series, found: Attribution) -> pd.DataFrame:
    """`shap_values.csv`: row, with more than two classes `class`, a column a feature, base and score."""
    tables = []
    for k, index in enumerate(model.explained):
        table = pd.DataFrame(found.values[:, :, k], columns=model.features)
        taken = set(model.features)
        if len(model.explained) > 1:
            table.insert(0, _free("class", taken), model.classes[index])
        table.insert(0, "row", names.to_numpy())
        table[_free("base", taken)] = found.base[k]
        table[_free("score", taken)] = found.scores[:, k]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _free(name: str, taken: set[str]) -> str:
    return f"({name})" if name in taken else name


def _draw_summary(model, values, raw, leading, folder: Path) -> None:
    features = model.preprocessing.raw
    several = len(model.explained) > 1
    for k in range(len(model.explained)):
        name = f"beeswarm-{_safe(model.classes[k])}.png" if several else "beeswarm.png"
        order = np.argsort(-np.abs(values[:, :, k]).mean(axis=0), kind="stable")
        figure = beeswarm(values[:, :, k], raw, features, order, model.score_name(k))
        save(figure, folder / name)
    importance = np.abs(values).mean(axis=0)
    names = [model.score_name(k) for k in range(len(model.explained))]
    save(bar(importance, model.features, leading, names), folder / "bar.png")


def _dependences(model, dataset, reference: str, leading, seed: int, folder: Path) -> list[Dependence]:
    patients = model.raw(_sample(dataset, reference, _DEPENDENCE_ROWS, seed))
    classes = [model.classes[k] for k in model.explained]
    along = [dependence(model, patients, int(i)) for i in leading[:_MOST_DEPENDENCES]]
    atomic.write_csv(folder / "partial_dependence.csv", pd.concat([one.table(classes) for one in along]))
    save(partial_dependence(along, classes, seed), folder / "partial_dependence.png")
    return along


def _explain_row(model, found, raw, i: int, row: dict, limits, folder: Path) -> dict:
    """Draw a row's waterfall."""
    chances = model.probabilities(raw[i : i + 1])
    chosen = int(predicted(chances, limits, model.task)[0])
    k = 0 if model.task == "binary" else chosen
    texts = [
        f"{feature.name} = {value_text(feature, value)}"
        for feature, value in zip(model.preprocessing.raw, raw[i], strict=True)
    ]
    chance = float(chances[0, chosen])
    title = f"{row['row']}: predicted {decision_words(model.task, model.classes, chosen, chances[0], limits)}"
    title += f" (label: {row['label']})" if row["label"] else ""
    picture = f"{i:03d}-{_safe(str(row['row']))}.png"
    figure = waterfall(
        found.values[i, :, k],
        float(found.base[k]),
        float(found.scores[i, k]),
        texts,
        title,
        model.score_name(k),
        model.task != "multiclass",
    )
    save(figure, folder / picture)
    return {
        "row": str(row["row"]),
        "picture": f"{folder.name}/{picture}",
        "predicted": model.classes[chosen],
        "probability": chance,
        "label": row["label"],
        "base": float(found.base[k]),
        "score": float(found.scores[i, k]),
        **positive_entry(model.task, model.classes, chances[0], limits),
    }


def _summary(model: TableModel, found: Attribution, importance: np.ndarray, limits: list[float]) -> dict:
    classes = [model.classes[k] for k in model.explained]
    binary = model.task == "binary"
    return {
        "method": found.method,
        "explained": [model.score_name(k) for k in range(len(classes))],
        **({"positive_class": classes[0], "threshold": limits[1]} if binary else {}),
        "base": found.base,
        "largest_remainder": float(np.abs(found.remainder).max()),
        "mean_absolute_shap": {
            name: dict(zip(classes, line, strict=True))
            for name, line in zip(model.features, importance.tolist(), strict=True)
        },
    }


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)[:80]


def _clear(folder: Path) -> None:
    """Figures of an earlier explanation would look like part of this one."""
    for file in folder.glob("*.png"):
        file.unlink()
