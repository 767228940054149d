"""What is judged: the synthetic rows, the real rows they were learnt from, and real rows of patients held out."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.errors import InputError

# Fewer rows can't be told from each other by any of the measures.
LEAST_ROWS = 5


@dataclass(frozen=True, eq=False)
class Subject:
    """Labelled rows of both Datasets.

    Attributes:
        real: the Dataset that the generator was fitted on.
        synthetic: what it made.
        train: real rows of split train, the members: the generator saw these.
        test: real rows of split test, of patients that it did not see.
        made: the synthetic rows.
        notes: what a reader must know.
    """

    real: Dataset
    synthetic: Dataset
    train: pd.DataFrame
    test: pd.DataFrame
    made: pd.DataFrame
    notes: list[str] = field(default_factory=list)

    @property
    def origin(self) -> dict:
        """What the synthetic Dataset says of how it was made."""
        return self.synthetic.preparation

    @property
    def pool(self) -> pd.DataFrame:
        """All real rows, train first."""
        return pd.concat([self.train, self.test], ignore_index=True)

    @property
    def reserve(self) -> pd.DataFrame:
        """Real rows of patients out of train, of every split: how near two patients come, whoever was learnt from."""
        rows = self.real.rows(labelled=True)
        members = set(self.real.rows("train")["patient"])
        return rows[(rows["split"] != "train") & ~rows["patient"].isin(members)].reset_index(drop=True)

    @property
    def member(self) -> np.ndarray:
        """bool (train + test,): the row of `pool` is a training row."""
        return np.arange(len(self.train) + len(self.test)) < len(self.train)

    def limited(self, most: int, seed: int) -> "Subject":
        """At most `most` rows of each part, drawn by seed; what is left out is noted."""
        notes = list(self.notes)

        def some(rows: pd.DataFrame, name: str) -> pd.DataFrame:
            if len(rows) <= most:
                return rows
            notes.append(
                f"{name}: {most:,} of {len(rows):,} rows, drawn at random, were measured; copies were sought in all"
            )
            drawn = np.random.default_rng(seed).choice(len(rows), most, replace=False)
            return rows.iloc[np.sort(drawn)].reset_index(drop=True)

        return replace(
            self,
            train=some(self.train, "real train"),
            test=some(self.test, "real test"),
            made=some(self.made, "synthetic"),
            notes=notes,
        )


def load(synthetic: Path, real: Path) -> Subject:
    """Read both Datasets and check that one can be the other's imitation.

    Raises:
        InputError: they are the same, of different kinds, classes or columns, or have too few rows to be judged.
    """
    if Path(synthetic).resolve() == Path(real).resolve():
        raise InputError(f"--real {real}: is the Dataset to be judged itself; give the real one")
    imitation, original = Dataset.load(synthetic), Dataset.load(real)
    if imitation.root.joinpath("manifest.csv").samefile(original.root / "manifest.csv"):
        raise InputError(f"--real {real}: is the Dataset to be judged itself; give the real one")
    _check_alike(imitation, original)
    _check_source(imitation, original)
    rows = {
        "train": original.rows("train", labelled=True),
        "test": original.rows("test", labelled=True),
        "made": imitation.rows("train", labelled=True),
    }
    for name, dataset in (("train", original), ("test", original), ("made", imitation)):
        if len(rows[name]) < LEAST_ROWS:
            split = "test" if name == "test" else "train"
            raise InputError(
                f"{dataset.root}/manifest.csv: {len(rows[name])} labelled {dataset.unit}s in split '{split}'; judging "
                f"needs at least {LEAST_ROWS} in train and, of other patients, in test"
            )
    if rows["train"]["label"].nunique() < 2:
        raise InputError(
            f"{original.root}/manifest.csv: split 'train' has one class only; there is nothing to be predicted"
        )
    shared = set(rows["train"]["patient"]) & set(rows["test"]["patient"])
    if shared:
        raise InputError(
            f"{original.root}/manifest.csv: patient '{min(shared)}' is in train and in test, so nobody was held out; "
            "prepare the data set again"
        )
    renumbered = {name: part.reset_index(drop=True) for name, part in rows.items()}
    return Subject(original, imitation, notes=_notes(imitation, original), **renumbered)


def _check_alike(synthetic: Dataset, real: Dataset) -> None:
    where = f"{synthetic.root}/dataset.yaml"
    if synthetic.is_table != real.is_table:
        kinds = ("images", "a table")
        raise InputError(
            f"{where}: holds {kinds[synthetic.is_table]}, but --real {real.root} holds {kinds[real.is_table]}"
        )
    if (synthetic.task, sorted(synthetic.classes)) != (real.task, sorted(real.classes)):
        raise InputError(
            f"{where}: {synthetic.task} of {', '.join(synthetic.classes)}, but --real {real.root} is {real.task} of "
            f"{', '.join(real.classes)}; give the Dataset that it imitates"
        )
    types = {feature.name: feature.type for feature in synthetic.features}
    for feature in real.inputs:
        if feature.name not in types:
            raise InputError(f"{where}: column '{feature.name}' of --real {real.root} is missing")
        if types[feature.name] != feature.type:
            raise InputError(
                f"{where}: column '{feature.name}' is {types[feature.name]}, but {feature.type} in --real {real.root}"
            )


def _check_source(synthetic: Dataset, real: Dataset) -> None:
    """Of another version, test may hold patients that the generator was fitted on."""
    fingerprint = synthetic.preparation.get("source_fingerprint")
    if fingerprint and fingerprint != real.fingerprint():
        raise InputError(
            f"{synthetic.root}/dataset.yaml: was made from {synthetic.preparation.get('source')}, whose rows and "
            f"splits were not those of --real {real.root}; give that one, or synthesize anew from this one"
        )


def _notes(synthetic: Dataset, real: Dataset) -> list[str]:
    notes = [
        "report.html and figures/ were made from real patients and show some of them: this folder stays inside; "
        "nothing was written into the synthetic Dataset",
        "members are the real rows of split train, non-members those of split test; rows of val are neither, but tell "
        "with them how near two patients come",
        "intervals tell of the choice of test patients, not of training the generator anew with another seed",
    ]
    if not synthetic.synthetic:
        notes.append(
            "dataset.yaml does not say what made these rows; they are taken as learnt from split train of the real ones"
        )
    per_patient = real.rows().groupby("patient").size()
    if real.is_table and (per_patient > 1).any():
        notes.append("attribute inference attacks one row of each patient, since only patients are independent")
    return notes
