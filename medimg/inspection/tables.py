"""Look over a table before training: counts, leakage, missing values, associations, how the sites differ."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.data.dataset import SPLITS, Dataset
from medimg.data.leakage import Leakage, find_leakage
from medimg.data.splits import missing_classes
from medimg.inspection.counts import UNLABELLED, class_counts
from medimg.tables.association import with_label
from medimg.tables.ordered import ordered_matrix
from medimg.tables.shift import site_shift

# An AUROC above it by one feature alone: more likely a leak of the outcome than medicine.
TOO_GOOD = 0.99
# Associations and figures of a larger table are of a seeded sample.
MOST_ROWS = 20_000
_SEED = 0
_MOST_NAMED = 8
_STEPS = 5


@dataclass(frozen=True)
class TableInspection:
    """What was found.

    Attributes:
        name, task, classes: of the Dataset.
        counts: part -> class -> rows; `(unlabelled)` is counted too.
        rows, patients: part -> number.
        sites: site -> part -> rows, the largest site first.
        site_counts: site -> class -> rows.
        rows_per_patient: number of rows -> patients with so many.
        types: type of column -> number of columns.
        features: one a column that a model may learn from, the one that ranks the classes best first: `name`, `type`,
            `missing` (fraction of all rows), `missing_by_site`, `auroc` and `missing_auroc` (of training rows, see
            `association.with_label`), `shift` (site -> standardised difference from the other sites; null = not known)
            and `separated` (sites that do not overlap with the others at all).
        leakage: patients and copied rows in more than one part, copied rows under two labels.
        duplicates: groups of rows that are alike in every feature.
        problems: sentences; any of them is a reason not to train.
        notes: sentences that are worth knowing.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    rows: dict[str, int]
    patients: dict[str, int]
    sites: dict[str, dict[str, int]]
    site_counts: dict[str, dict[str, int]]
    rows_per_patient: dict[int, int]
    types: dict[str, int]
    features: list[dict]
    leakage: Leakage
    duplicates: int
    problems: list[str]
    notes: list[str]


def inspect_table(dataset: Dataset, out: Path, progress: Callable[[int, int], None] | None = None) -> TableInspection:
    """Examine a table and write `inspection.json`, `figures/*.png` and `inspection.html`.

    Args:
        dataset: what to look over.
        out: folder of the results.
        progress: called with steps done and steps in all.

    Raises:
        InputError: `out` can't be written.
    """
    from medimg.inspection.tables_page import figures, page

    step = progress or (lambda done, total: None)
    out = Path(out)
    values, rows = ordered_matrix(dataset.manifest, dataset.inputs), learning_rows(dataset)
    step(1, _STEPS)
    features = _features(dataset, values, rows)
    step(2, _STEPS)
    inspection = _facts(dataset, values, features)
    atomic.write_json(out / "inspection.json", asdict(inspection))
    step(3, _STEPS)
    pictures = figures(dataset, inspection, rows, out / "figures")
    step(4, _STEPS)
    atomic.write_text(out / "inspection.html", page(dataset, inspection, pictures))
    step(_STEPS, _STEPS)
    return inspection


def learning_rows(dataset: Dataset) -> pd.DataFrame:
    """At most MOST_ROWS labelled rows of train (of all parts when train has none): what shows labels beside features.

    A choice that is made after a look at the labels of val or test is no longer judged fairly by them.
    """
    rows = dataset.rows("train", labelled=True)
    rows = rows if len(rows) else dataset.rows(labelled=True)
    return rows.sample(MOST_ROWS, random_state=_SEED) if len(rows) > MOST_ROWS else rows


def site_counts(dataset: Dataset, column: str) -> dict[str, dict[str, int]]:
    """site -> value of `split` or `label` -> rows, the largest site first."""
    rows = dataset.manifest[["site", column]]
    rows = rows[rows["site"] != ""]
    table = rows.groupby(["site", column]).size().unstack(fill_value=0)
    table = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    names = SPLITS if column == "split" else [*dataset.classes, *([""] if "" in table else [])]
    return {str(site): {name or UNLABELLED: int(row.get(name, 0)) for name in names} for site, row in table.iterrows()}


def _features(dataset: Dataset, values: np.ndarray, rows: pd.DataFrame) -> list[dict]:
    inputs, manifest = dataset.inputs, dataset.manifest
    associations = with_label(rows, inputs, pd.factorize(rows["label"])[0], _SEED).to_numpy()
    missing = np.isnan(values)
    everywhere = missing.mean(axis=0)
    sites = list(site_counts(dataset, "split"))
    by_site = np.array([missing[(manifest["site"] == site).to_numpy()].mean(0) for site in sites])
    compared = sites if len(sites) > 1 else []
    shift = site_shift(manifest, inputs, compared).to_numpy()
    features = [
        {
            "name": feature.name,
            "type": feature.type,
            "missing": float(everywhere[i]),
            "missing_by_site": {site: float(by_site[j, i]) for j, site in enumerate(sites)},
            "auroc": float(associations[i, 0]),
            "missing_auroc": float(associations[i, 1]),
            "shift": dict(zip(compared, shift[i].tolist(), strict=True)),
            "separated": [compared[j] for j in np.flatnonzero(np.isinf(shift[i]))],
        }
        for i, feature in enumerate(inputs)
    ]
    return sorted(features, key=lambda f: -np.nan_to_num(f["auroc"]))


def _facts(dataset: Dataset, values: np.ndarray, features: list[dict]) -> TableInspection:
    manifest = dataset.manifest
    leakage = find_leakage(dataset)
    duplicates, notes = _duplicates(dataset, values)
    parts = manifest["split"].value_counts()
    in_part = manifest[["patient", "split"]].drop_duplicates()["split"].value_counts()
    per_patient = manifest["patient"].value_counts().value_counts().sort_index()
    return TableInspection(
        name=dataset.name,
        task=dataset.task,
        classes=dataset.classes,
        counts=class_counts(dataset),
        rows={part: int(parts.get(part, 0)) for part in SPLITS},
        patients={part: int(in_part.get(part, 0)) for part in SPLITS},
        sites=site_counts(dataset, "split"),
        site_counts=site_counts(dataset, "label"),
        rows_per_patient={int(number): int(count) for number, count in per_patient.items()},
        types=pd.Series([f.type for f in dataset.features]).value_counts().to_dict(),
        features=features,
        leakage=leakage,
        duplicates=duplicates,
        problems=leakage.problems(),
        notes=_notes(dataset, values, features) + notes,
    )


def _notes(dataset: Dataset, values: np.ndarray, features: list[dict]) -> list[str]:
    notes = [str(note) for note in dataset.preparation.get("notes", [])]
    for name, part, count in missing_classes(dataset.manifest["label"], dataset.manifest["split"]):
        note = f"class '{name}' has no row in {part} ({count} in all)"
        notes += [] if note in notes else [note]
    notes += [f"part '{part}' is empty" for part in SPLITS if not (dataset.manifest["split"] == part).any()]
    notes += [_too_good(f) for f in features if _alone(f) > TOO_GOOD]
    notes += _naming(_constant(dataset, values), "constant, so nothing can be learned from them")
    notes += _naming([f["name"] for f in features if f["missing"] == 1], "missing in every row")
    for site in features[0]["missing_by_site"]:
        absent = [f["name"] for f in features if f["missing_by_site"][site] == 1 and f["missing"] < 1]
        notes += _naming(absent, f"missing in every row of site '{site}'")
    apart = [f["name"] for f in features if f["separated"]]
    notes += _naming(apart, "no overlap between a site and the others, so they tell the site")
    metadata = [f.name for f in dataset.features if not f.is_input]
    notes += _naming(metadata, "never learned from (identifier or metadata)")
    if len(dataset.manifest) > MOST_ROWS:
        notes.append(f"associations and figures of values are of at most {MOST_ROWS} rows, drawn with seed {_SEED}")
    return notes


def _alone(feature: dict) -> float:
    return float(np.nanmax([feature["auroc"], feature["missing_auroc"], 0.0]))


def _too_good(feature: dict) -> str:
    being = "" if feature["auroc"] > TOO_GOOD else ", by being missing or not,"
    return (
        f"feature '{feature['name']}' alone{being} tells the label (AUROC {_alone(feature):.3f} on train): likely "
        "recorded after the outcome; if so, make it metadata in dataset.yaml"
    )


def _constant(dataset: Dataset, values: np.ndarray) -> list[str]:
    known = ~np.isnan(values)
    low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
    high = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)
    return [feature.name for feature, same in zip(dataset.inputs, low == high, strict=True) if same]


def _duplicates(dataset: Dataset, values: np.ndarray) -> tuple[int, list[str]]:
    """Groups of rows alike in every feature, and what is wrong with some: two coarse records may be alike by chance."""
    # Adding 0 makes -0.0 what it equals.
    key = pd.Series([hash((row + 0.0).tobytes()) for row in values], dataset.manifest.index)
    copied = key.duplicated(keep=False)
    groups = dataset.manifest[["split", "label"]][copied].groupby(key[copied])
    across = int((groups["split"].nunique() > 1).sum())
    conflicts = int((groups["label"].nunique() > 1).sum())
    notes = [
        f"{count} groups of rows alike in every feature {what}"
        for count, what in ((across, "are spread over several parts"), (conflicts, "have different labels"))
        if count
    ]
    return groups.ngroups, notes


def _naming(names: list[str], what: str) -> list[str]:
    """One line for columns that share a finding."""
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return [f"{what}: {', '.join(names[:_MOST_NAMED])}{more}"]
