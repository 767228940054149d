"""`--extra`: synthetic rows beside the real ones of the training part, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from medimg.data.dataset import Dataset
from medimg.errors import InputError


def with_extra(dataset: Dataset, folder: Path) -> tuple[Dataset, dict]:
    """A Dataset with a synthetic one's rows added to train.

    Args:
        dataset: the real one.
        folder: of the synthetic one.

    Returns:
        Both together, and what the Run's environment.json says of the extra: `data`, `fingerprint`, `rows`.

    Raises:
        InputError: it is not synthetic, was fitted on other data, or does not fit the real one.
    """
    extra = Dataset.load(Path(folder))
    _check(dataset, extra)
    rows = extra.rows("train", labelled=True)
    if not dataset.is_table:
        rows = rows.assign(image=[str(path.resolve()) for path in extra.paths(rows)])
    # Findings, identifiers and the like, which a generator does not make, stay empty.
    rows = rows.reindex(columns=dataset.manifest.columns)
    text = dataset.manifest.select_dtypes("object").columns
    rows[text] = rows[text].fillna("")
    manifest = pd.concat([dataset.manifest, rows], ignore_index=True)
    record = {"data": str(extra.root.resolve()), "fingerprint": extra.fingerprint(), "rows": len(rows)}
    return replace(dataset, manifest=manifest), record


def note(record: dict, unit: str) -> str:
    """The sentence that a report says of it."""
    return (
        f"trained with {record['rows']} synthetic {unit}s of {record['data']} beside the real ones; none of them is in "
        "validation or test"
    )


def _check(dataset: Dataset, extra: Dataset) -> None:
    if not extra.synthetic:
        raise InputError(f"--extra {extra.root}: is not a synthetic Dataset; 'medimg synthesize' makes one")
    made_from = extra.preparation.get("source_fingerprint")
    if made_from and made_from != dataset.fingerprint():
        raise InputError(
            f"--extra {extra.root}: was made from other data than {dataset.root}, or from other parts of it: a test "
            "patient may be behind it; synthesize again from these"
        )
    for name in ("task", "classes", "negative"):
        if getattr(extra, name) != getattr(dataset, name):
            raise InputError(f"--extra {extra.root}: has another {name} than {dataset.root}")
    if extra.is_table != dataset.is_table:
        kinds = [("images", "a table")[d.is_table] for d in (extra, dataset)]
        raise InputError(f"--extra {extra.root}: holds {kinds[0]}, {dataset.root} {kinds[1]}")
    columns = {feature.name for feature in extra.features}
    missing = [feature.name for feature in dataset.inputs if feature.name not in columns]
    if missing:
        raise InputError(f"--extra {extra.root}: column '{missing[0]}' is missing")
