"""Who is in a Run: the flow from what was found to what was measured, the parts side by side, and their separation."""

import re
from collections import Counter

import pandas as pd

from medimg.data.dataset import SEPARATOR, SPLITS, Dataset
from medimg.data.leakage import leakage_between
from medimg.data.splits import parts_note
from medimg.privacy.ledger import is_private, read
from medimg.privacy.statement import WITHHELD
from medimg.report.missing import missing
from medimg.run import Run
from medimg.tables.metadata import names_of
from medimg.untrusted.csv_cells import read_csv

_MOST_COLUMNS, _MOST_LEVELS, _MOST_REASONS = 24, 6, 12
# Names, numbers and paths in a reason for leaving out: the same reason counts once.
_PARTICULARS = re.compile(r"'[^']*'|\S*/\S*|\S+\.\w{2,5}\b|\d+")
_HOW = {
    "official": "the source's own parts",
    "drawn": "drawn by patient",
    "drawn anew": "drawn by patient, anew where the source has parts of its own",
}


def protected(run: Run) -> bool:
    """Whether a Run promises privacy to its training patients, of whom nothing exact is told then."""
    return is_private(run.config["options"]) or read(run.root) is not None


def flow(run: Run, metrics: dict, dataset: Dataset | None, measured: Dataset | None) -> dict:
    """`flow` of report.json.

    Args:
        run: the Run.
        metrics: of the evaluation.
        dataset: the Run's Dataset, with the Run's parts; None: it is not here.
        measured: the Dataset that was evaluated; None: it is not here.
    """
    evaluated = {
        "dataset": metrics["dataset"],
        "split": metrics["split"],
        "rows": metrics["n"],
        "patients": metrics["patients"],
        "unlabelled": metrics["unlabelled"],
        "classes": metrics["support"],
    }
    if dataset is None:
        return {"evaluated": evaluated, **missing(f"the Run's Dataset is not at {run.config['data']}")}
    private, pooled = protected(run), metrics["split"] == "cross-validation"
    parts = {name: dataset.rows(name) for name in SPLITS if not (private and name == "train")}
    if pooled:
        parts = {"all folds": dataset.manifest}
    if measured is not None and measured.root != dataset.root:
        split = None if metrics["split"] == "all" else metrics["split"]
        parts[f"{metrics['dataset']}: {metrics['split']}"] = measured.rows(split, labelled=True)
    parts = {name: rows for name, rows in parts.items() if len(rows)}
    left_out = [] if private else _left_out(dataset)
    total = None if private else len(dataset.manifest) + sum(one["count"] for one in left_out)
    return {
        "unit": dataset.unit,
        "found": total,
        "left_out": left_out,
        "kept": None
        if private
        else {"rows": len(dataset.manifest), "patients": int(dataset.manifest["patient"].nunique())},
        "parts": [_part(name, rows, dataset) for name, rows in parts.items()],
        "evaluated": evaluated,
        "characteristics": _characteristics(dataset, parts),
        "withheld": f"the training part and what was left out of the source: {WITHHELD}" if private else None,
        "preparation": [] if private else list(dataset.preparation.get("notes") or []),
    }


def _left_out(dataset: Dataset) -> list[dict]:
    """What `prepare` found and did not take, by reason; the names are in rejected.csv."""
    path = dataset.root / "rejected.csv"
    if not path.is_file():
        return []
    reasons = read_csv(path, dtype=str, keep_default_na=False)["reason"]
    counts = Counter(_gist(reason) for reason in reasons).most_common()
    rest = sum(count for _, count in counts[_MOST_REASONS:])
    entries = [{"reason": reason, "count": count} for reason, count in counts[:_MOST_REASONS]]
    return entries + ([{"reason": "other reasons, in rejected.csv", "count": rest}] if rest else [])


def _gist(reason: str) -> str:
    return re.sub(r"…(\s*…)+", "…", _PARTICULARS.sub("…", reason))


def _part(name: str, rows: pd.DataFrame, dataset: Dataset) -> dict:
    labels = rows["label"].str.split(SEPARATOR).explode().value_counts()
    names = [*dataset.classes, *([dataset.negative] if dataset.negative else [])]
    labelled = max(1, int((rows["label"] != "").sum()))
    counts = {one: int(labels.get(one, 0)) for one in names}
    return {
        "name": name,
        "rows": len(rows),
        "patients": int(rows["patient"].nunique()),
        "unlabelled": int((rows["label"] == "").sum()),
        "classes": {one: {"count": count, "share": count / labelled} for one, count in counts.items()},
    }


def _characteristics(dataset: Dataset, parts: dict[str, pd.DataFrame]) -> list[dict]:
    """One row a number, one a level of a category: `name`, `kind` and, by part, mean, SD and missing, or count."""
    if not parts:
        return []
    # Of the parts that are told of alone: a level that only protected patients have would tell of them.
    everything = pd.concat(parts.values())
    names = [f.name for f in dataset.inputs] if dataset.is_table else names_of(everything)
    if dataset.is_table and everything["site"].nunique() > 1:
        names.append("site")
    entries = []
    for name in names[:_MOST_COLUMNS]:
        columns = {part: rows[name] for part, rows in parts.items() if name in rows}
        if pd.api.types.is_numeric_dtype(everything[name]):
            each = {part: _number(column) for part, column in columns.items()}
            entries.append({"name": name, "kind": "number", "parts": each})
            continue
        text = {part: column.fillna("").astype(str) for part, column in columns.items()}
        levels = everything[name].fillna("").astype(str).value_counts()
        for level in levels.index[:_MOST_LEVELS]:
            each = {part: _level(column, level) for part, column in text.items()}
            entries.append({"name": f"{name}: {level or 'missing'}", "kind": "level", "parts": each})
    return entries


def _number(column: pd.Series) -> dict:
    numbers = pd.to_numeric(column, errors="coerce").dropna()
    spread = float(numbers.std()) if len(numbers) > 1 else None
    return {
        "mean": float(numbers.mean()) if len(numbers) else None,
        "sd": spread,
        "missing": len(column) - len(numbers),
    }


def _level(column: pd.Series, level: str) -> dict:
    count = int((column == level).sum())
    return {"count": count, "share": count / max(1, len(column))}


def separation(run: Run, metrics: dict, dataset: Dataset | None, predictions: pd.DataFrame | None) -> dict:
    """`separation` of report.json: that no patient and no image is in two parts, counted now.

    Args:
        run: the Run.
        metrics: of the evaluation.
        dataset: the Run's Dataset.
        predictions: content of predictions.csv, which of a cross-validation tells whose the folds' test rows were.
    """
    if metrics["split"] == "cross-validation" and predictions is not None and "fold" in predictions:
        folds = predictions.groupby("patient")["fold"].nunique()
        crossing, images, how = int((folds > 1).sum()), None, f"{metrics['n_folds']} folds, drawn by patient"
        patients, rows = len(folds), len(predictions)
    elif dataset is None:
        return missing(f"the Run's Dataset is not at {run.config['data']}; its training refused patients in two parts")
    else:
        hashes = dataset.manifest.get("pixels", pd.Series("", index=dataset.manifest.index)).fillna("").astype(str)
        leakage = leakage_between(dataset.manifest, hashes)
        crossing = len(leakage.patients)
        images = len(leakage.images) if "pixels" in dataset.manifest else None
        how = dataset.preparation.get("split") or "as its manifest says"
        published = dataset.manifest[dataset.manifest["split"] != "train"] if protected(run) else dataset.manifest
        patients, rows = published["patient"].nunique(), len(published)
    return {
        "how": _HOW.get(how, how),
        "patients_in_two_parts": crossing,
        "identical_images_in_two_parts": images,
        "patients_have_several_rows": patients < rows,
        "notes": [] if dataset is None else parts_note(dataset.preparation, metrics["split"] == "cross-validation"),
        "fingerprint": _fingerprint(run, dataset),
    }


def _fingerprint(run: Run, dataset: Dataset | None) -> dict:
    """SHA-256 of the manifest that was trained on; of private training none: a guess at a row could be checked."""
    if protected(run):
        return {"trained_on": WITHHELD, "unchanged": None}
    path = run.root / "environment.json"
    fingerprint = run.environment().get("data_fingerprint") if path.is_file() else None
    return {
        "trained_on": fingerprint,
        "unchanged": None if dataset is None or not fingerprint else dataset.fingerprint() == fingerprint,
    }
