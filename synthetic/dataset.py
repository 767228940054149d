"""A synthetic Dataset: an ordinary Dataset folder that says that nobody in it exists, and what made it."""

from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.untrusted.yaml_file import read_yaml
from synthetic.config import TABLE_MODELS, ImageSynthesisOptions, SynthesizeConfig, TableSynthesisOptions

NO_GUARANTEE = "no formal guarantee"


@dataclass(frozen=True, eq=False)
class Made:
    """What a generator leaves.

    Attributes:
        rows: `label` and, of a table, its columns, of images `image` (path relative to the folder); `site` where known.
        features: of a table, the columns that were made.
        details: plain values for `preparation`: settings, checks and the like.
        notes: what the user should read.
        privacy: what is guaranteed of the training patients, in words.
    """

    rows: pd.DataFrame
    features: tuple[Feature, ...] = ()
    details: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    privacy: str = NO_GUARANTEE


def write(made: Made, source: Dataset, out: Path, config: SynthesizeConfig) -> Dataset:
    """Write `manifest.csv` and `dataset.yaml`; every row is a patient of its own, in split train.

    Args:
        made: the rows.
        source: what the generator was fitted on.
        out: the folder.
        config: how.

    Raises:
        InputError: `out` can't be written.
    """
    _forget_place(out, source)
    Dataset(
        root=out,
        name=f"{source.name}-synthetic",
        task=source.task,
        classes=source.classes,
        manifest=_manifest(made, source.is_table),
        modality=source.modality,
        licence=source.licence,
        citation=source.citation,
        source=config.model,
        negative=source.negative,
        preparation=_preparation(made, source, config),
        features=made.features,
        synthetic=True,
    ).save()
    return Dataset.load(out)


def _manifest(made: Made, is_table: bool) -> pd.DataFrame:
    rows, count = made.rows, len(made.rows)
    digits = max(6, len(str(count)))
    names = [f"synthetic-{number:0{digits}d}" for number in range(1, count + 1)]
    columns = {
        **({"row": names} if is_table else {"image": rows["image"].to_numpy()}),
        "label": rows["label"].to_numpy(),
        "patient": names,
        "site": rows["site"].to_numpy() if "site" in rows else np.full(count, ""),
        "split": "train",
        **{feature.name: rows[feature.name].to_numpy() for feature in made.features},
    }
    return pd.DataFrame(columns)


def _preparation(made: Made, source: Dataset, config: SynthesizeConfig) -> dict:
    """What dataset.yaml says of how the rows were made."""
    return {
        "model": config.model,
        "options": _own_options(config),
        # The name alone: where patients' data lie is nobody's business who gets this folder.
        "source": source.root.resolve().name,
        "source_name": source.name,
        # A hash of real rows lets anyone check a guess at them: not where patients are protected.
        **({} if config.is_private else {"source_fingerprint": source.fingerprint()}),
        "split": "train",
        "privacy": made.privacy,
        **made.details,
        "notes": made.notes,
    }


def _forget_place(out: Path, source: Dataset) -> None:
    """Leave the name of the real Dataset in config.yaml, whose path only an unfinished Run needed."""
    path = out / "config.yaml"
    if not path.is_file():
        return
    config = read_yaml(path)
    config["data"] = source.root.resolve().name
    atomic.write_text(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _own_options(config: SynthesizeConfig) -> dict:
    """The options without those of other kinds of data."""
    other_options = ImageSynthesisOptions if config.model in TABLE_MODELS else TableSynthesisOptions
    names = {field.name for field in fields(other_options)}
    return {name: value for name, value in config.to_dict().items() if name not in names}
