"""Members and non-members of a Run: the rows that an attack must tell apart."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.dataset import Dataset
from medimg.errors import InputError
from medimg.run import Run

# Patients of each kind without which no rate means anything.
FEWEST_PATIENTS = 8


@dataclass(frozen=True, eq=False)
class Subject:
    """What is attacked and on which rows.

    Attributes:
        run: the Run.
        dataset: its Dataset, with the parts that the Run was trained on.
        rows: labelled rows of `train` (members), then of `test` (non-members); index 0..N-1.
        member: bool (N,).
        notes: what a reader must know of them.
    """

    run: Run
    dataset: Dataset
    rows: pd.DataFrame
    member: np.ndarray
    notes: tuple[str, ...]

    @property
    def patients(self) -> np.ndarray:
        """Patient of each row, text (N,)."""
        return self.rows["patient"].to_numpy(str)

    @property
    def targets(self) -> np.ndarray:
        """Labels as `Dataset.targets` gives them."""
        return self.dataset.targets(self.rows)

    def patient_counts(self) -> tuple[int, int]:
        """Patients among members and among non-members."""
        patients = self.patients
        return len(set(patients[self.member])), len(set(patients[~self.member]))


def subject(run: Run) -> Subject:
    """The members and non-members of a Run.

    Validation patients are neither: the epoch was chosen by them.

    Raises:
        InputError: the data are not those of the training, or a part has too few patients.
    """
    dataset = run.dataset()
    known = run.environment().get("data_fingerprint")
    # A private Run does not tell.
    if known and known != dataset.fingerprint():
        raise InputError(
            f"{run.root}: its data at {dataset.root} have changed since its training, so who was a member is not "
            "known; restore them or train anew"
        )
    parts = {name: dataset.rows(name, labelled=True) for name in ("train", "test")}
    notes = _notes(dataset)
    if dataset.is_table and run.config["options"].get("missing") == "drop-rows":
        # Rows with gaps were left out of training; non-members must be complete likewise.
        parts, note = _complete(dataset, parts)
        notes += note
    for name, rows in parts.items():
        patients = rows["patient"].nunique()
        if patients < FEWEST_PATIENTS:
            kind = "members" if name == "train" else "non-members"
            raise InputError(
                f"{dataset.root}/manifest.csv: {patients} patients with labels in split '{name}'; the audit needs at "
                f"least {FEWEST_PATIENTS} {kind}: prepare with another --split and train again"
            )
    rows = pd.concat([parts["train"], parts["test"]], ignore_index=True)
    member = np.arange(len(rows)) < len(parts["train"])
    return Subject(run, dataset, rows, member, tuple(notes))


def same_rows(first: Subject, second: Subject) -> None:
    """Refuse a twin whose members are others.

    Raises:
        InputError: names both Runs.
    """
    unit = first.dataset.unit
    same = (
        first.dataset.fingerprint() == second.dataset.fingerprint()
        and len(first.rows) == len(second.rows)
        and (first.rows[unit] == second.rows[unit]).all()
        and (first.member == second.member).all()
    )
    if not same:
        raise InputError(
            f"--twin {second.run.root}: trained on other data or parts than {first.run.root}; give a Run of the same "
            "Dataset, with the same --folds, --fold, --seed and --missing"
        )


def _notes(dataset: Dataset) -> list[str]:
    if dataset.preparation.get("split") != "official":
        return []
    return [
        "the parts are official, not drawn at random: where train and test differ for another reason (hospital, year, "
        "scanner), an attack that finds the difference looks like a leak; shadow models measure that (--shadow-models)"
    ]


def _complete(dataset: Dataset, parts: dict[str, pd.DataFrame]) -> tuple[dict, list[str]]:
    from medimg.tables.fit import complete_rows

    complete = {name: complete_rows(dataset, rows) for name, rows in parts.items()}
    left_out = sum(len(rows) for rows in parts.values()) - sum(map(len, complete.values()))
    note = f"{left_out} rows with missing values are left out, as the training left them out"
    return complete, [note] if left_out else []
