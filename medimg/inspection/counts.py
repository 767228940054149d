"""How many images or rows each part has of each class."""

from medimg.data.dataset import SEPARATOR, SPLITS, Dataset

UNLABELLED = "(unlabelled)"


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """part -> class -> images or rows; one of several classes counts in each."""
    names = [*dataset.classes, *([dataset.negative] if dataset.negative else [])]
    # Two columns alone: a table may have thousands.
    rows = dataset.manifest[["split", "label"]]
    rows = rows.assign(label=rows["label"].replace("", UNLABELLED).str.split(SEPARATOR))
    sizes = rows.explode("label").groupby(["split", "label"]).size()
    names += [UNLABELLED] if UNLABELLED in sizes.index.get_level_values(1) else []
    return {part: {name: int(sizes.get((part, name), 0)) for name in names} for part in SPLITS}
