"""The self-contained page of a table's inspection."""

import re
from pathlib import Path

import pandas as pd

from medimg.data.dataset import SPLITS, Dataset
from medimg.data.schema import Feature
from medimg.inspection.table_figures import class_bars, distributions, pair_plot
from medimg.inspection.table_maps import MOST_FEATURES, association_map, largest_shift, missing_map, shift_map
from medimg.style.figures import save
from medimg.style.pages import inlined, template
from medimg.tables.association import clustered, pairwise
from medimg.tables.shift import NEGLIGIBLE

_MOST_LISTED = 100
_AGE = re.compile(r"(^|[^a-z])age([^a-z]|$)", re.IGNORECASE)

CAPTIONS = {
    "classes": ("Classes by part and site", "Share of rows of each class."),
    "age": ("Age by class", "Training rows."),
    "distributions": (
        "The features that rank the classes best",
        "Training rows; the share of the class's own rows. The features are in the order of the table above.",
    ),
    "missing": ("Missing values by site", "Fraction of the site's rows without a value."),
    "shift": (
        "How the sites differ",
        "Each site against all rows of the other sites, on known values. Numbers: difference of means over the pooled "
        "standard deviation (Austin 2009); categories: its multivariate form, without direction (Yang and Dalton "
        f"2012). Below {NEGLIGIBLE:g} a difference counts as negligible.",
    ),
    "associations": (
        "How the features go together",
        "Training rows on which both are known; alike features are neighbours. Numbers, dates and ordered categories: "
        "Spearman's rank correlation. With one category: correlation ratio; with two: Cramer's V; both corrected for "
        "chance and without direction.",
    ),
    "pairs": ("The leading features in pairs", "Training rows, at most 800 of them; codes are spread a little."),
}


def figures(dataset: Dataset, inspection, rows: pd.DataFrame, folder: Path) -> dict[str, Path]:
    """Write the figures.

    Args:
        dataset: what was inspected.
        inspection: what was found.
        rows: labelled rows whose values may be shown beside their labels.
        folder: where the PNGs go.

    Returns:
        Name of a figure, a key of CAPTIONS -> PNG.
    """
    features = {feature.name: feature for feature in dataset.inputs}
    leading = [features[f["name"]] for f in inspection.features if f["missing"] < 1][:MOST_FEATURES]
    sites = list(inspection.sites)
    drawn = {"classes": _class_figure(inspection)}
    if len(rows):
        age = _age(dataset)
        drawn["age"] = distributions(rows, [age], dataset.classes) if age else None
        drawn["distributions"] = distributions(rows, leading, dataset.classes)
    drawn["missing"] = missing_map(inspection.features, sites if len(sites) > 1 else [])
    drawn["shift"] = shift_map(inspection.features, sites)
    if len(rows) and len(leading) > 1:
        matrix = pairwise(rows, leading)
        order = clustered(matrix)
        drawn["associations"] = association_map(matrix[order][:, order], [leading[i] for i in order])
        drawn["pairs"] = pair_plot(rows, leading, dataset.classes)
    # A figure of an earlier inspection would look like part of this one.
    for name in CAPTIONS:
        (folder / f"{name}.png").unlink(missing_ok=True)
    return {name: save(drawn[name], folder / f"{name}.png") for name in CAPTIONS if drawn.get(name)}


def page(dataset: Dataset, inspection, pictures: dict[str, Path]) -> str:
    """The page as HTML without any outside address."""
    return template("inspection", "tables.html").render(
        data=dataset,
        found=inspection,
        total=len(dataset.manifest),
        most=_MOST_LISTED,
        features=[{**f, "shift_at": largest_shift(f)} for f in inspection.features[:MOST_FEATURES]],
        pictures=[(*CAPTIONS[name], inlined(path)) for name, path in pictures.items()],
    )


def _class_figure(inspection):
    parts = {part: inspection.counts[part] for part in SPLITS if inspection.rows[part]}
    # One site says what the parts say.
    sites = inspection.site_counts if len(inspection.site_counts) > 1 else {}
    names = next(iter(parts.values()))
    sites = {f"site {s}": {n: c.get(n, 0) for n in names} for s, c in sites.items()}
    return class_bars({**parts, **sites}, (len(parts), len(sites)))


def _age(dataset: Dataset) -> Feature | None:
    return next((f for f in dataset.inputs if f.is_number and _AGE.search(f.name)), None)
