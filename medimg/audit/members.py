"""Members and non-members of a Run: the rows that an attack must tell apart."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.holdout import FEWEST_PATIENTS, HELD_OUT, strata
from medimg.errors import InputError
from medimg.run import Run


@dataclass(frozen=True, eq=False)
class AuditSubject:
    """What is attacked and on which rows.

    Attributes:
        run: the Run.
        dataset: its Dataset, with the parts that the Run was trained on.
        rows: labelled rows of members (of `train`), then of non-members; index 0..N-1.
        member: bool (N,).
        notes: what a reader must know of them.
        pool: what shadow models may be trained on: all rows of `train` and of the non-members' part.
        where: int (N,), position of each of `rows` in `pool`.
        held_out: non-members were drawn from the training part by `train --audit-holdout`; else they are `test`.
    """

    run: Run
    dataset: Dataset
    rows: pd.DataFrame
    member: np.ndarray
    notes: tuple[str, ...]
    pool: pd.DataFrame
    where: np.ndarray
    held_out: bool

    @property
    def patients(self) -> np.ndarray:
        """Patient of each row, text (N,)."""
        return self.rows["patient"].to_numpy(str)

    @property
    def targets(self) -> np.ndarray:
        """Labels as `Dataset.targets` gives them."""
        return self.dataset.targets(self.rows)

    @property
    def others(self) -> str:
        """The part of the non-members."""
        return HELD_OUT if self.held_out else "test"

    def patient_counts(self) -> tuple[int, int]:
        """Patients among members and among non-members."""
        patients = self.patients
        return len(set(patients[self.member])), len(set(patients[~self.member]))


def subject(run: Run, seed: int = 0) -> AuditSubject:
    """The members and non-members of a Run.

    Non-members are the patients that the Run's training held out for this, with as many members drawn from `train`,
    alike in label; where it held out none, those of `test`, with all of `train`. Validation patients are neither: the
    epoch was chosen by them.

    Args:
        run: the Run.
        seed: of the draw of members.

    Raises:
        InputError: the data are not those of the training, or a part has too few patients.
    """
    dataset = run.dataset()
    fingerprint = run.environment().get("data_fingerprint")
    # A private Run does not tell.
    if fingerprint and fingerprint != dataset.fingerprint():
        raise InputError(
            f"{run.root}: its data at {dataset.root} have changed since its training, so who was a member is not "
            "known; restore them or train anew"
        )
    held_out = bool(run.config["options"].get("audit_holdout"))
    others = HELD_OUT if held_out else "test"
    parts = {name: dataset.rows(name, labelled=True) for name in ("train", others)}
    notes = _notes(dataset, run, held_out)
    if dataset.is_table and run.config["options"].get("missing") == "drop-rows":
        # Rows with gaps were left out of training; non-members must be complete likewise.
        parts, note = _complete(dataset, parts)
        notes += note
    pool = pd.concat([parts["train"], parts[others]], ignore_index=True)
    member = np.arange(len(pool)) < len(parts["train"])
    eligible = np.ones(len(pool), bool)
    if held_out:
        eligible = ~_twins(dataset, pool)
        if not eligible.all():
            notes.append(
                f"{pool.loc[~eligible, 'patient'].nunique()} patients share an image with another patient of 'train' "
                "or of those held out and are neither member nor non-member"
            )
        eligible &= _matched(pool, member, eligible, seed)
    where = eligible.nonzero()[0]
    result = AuditSubject(
        run, dataset, pool.iloc[where].reset_index(drop=True), member[where], tuple(notes), pool, where, held_out
    )
    _require_patients(result)
    return result


def same_rows(first: AuditSubject, second: AuditSubject) -> None:
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
            "Dataset, with the same --folds, --fold, --seed, --audit-holdout and --missing"
        )


def _require_patients(subject: AuditSubject) -> None:
    names = ("train", subject.others)
    for name, patients in zip(names, subject.patient_counts(), strict=True):
        if patients >= FEWEST_PATIENTS:
            continue
        kind = "members" if name == "train" else "non-members"
        remedy = (
            "train again with a larger --audit-holdout"
            if subject.held_out
            else "prepare with another --split and train again"
        )
        raise InputError(
            f"{subject.dataset.root}/manifest.csv: {patients} patients with labels in split '{name}'; the audit needs "
            f"at least {FEWEST_PATIENTS} {kind}: {remedy}"
        )


def _twins(dataset: Dataset, pool: pd.DataFrame) -> np.ndarray:
    """Rows of patients that share an image with another patient, whichever is a member: bool (N,)."""
    from medimg.data.leakage import content_hashes

    pixels, broken = content_hashes(dataclasses.replace(dataset, manifest=pool))
    if broken:
        raise InputError(f"{broken[0]}; prepare the data set again")
    readable = pool.assign(pixels=pixels)[pixels != ""]
    owners = readable.groupby("pixels")["patient"].transform("nunique")
    return pool["patient"].isin(readable.loc[owners > 1, "patient"]).to_numpy()


def _matched(pool: pd.DataFrame, member: np.ndarray, allowed: np.ndarray, seed: int) -> np.ndarray:
    """As many patients of either kind, drawn at random within each set of labels: bool (N,)."""
    generator = np.random.default_rng([seed, 9])
    labels = strata(pool[allowed])
    kinds = pool[allowed].assign(member=member[allowed]).groupby("patient")["member"].first()
    chosen: list[str] = []
    for _, patients in labels.groupby(labels):
        inside = kinds[patients.index]
        sides = [inside.index[inside].to_numpy(), inside.index[~inside].to_numpy()]
        size = min(map(len, sides))
        chosen += [name for side in sides for name in generator.choice(side, size, replace=False)]
    return pool["patient"].isin(chosen).to_numpy()


def _notes(dataset: Dataset, run: Run, held_out: bool) -> list[str]:
    notes = []
    if held_out:
        share, weights = (run.config["options"].get(name) for name in ("audit_holdout", "weights"))
        notes.append(
            f"each training patient was held out with probability {share:g}, by the seed and the patient's name alone; "
            "nothing was learnt or chosen from those who were. As many members are drawn, alike in label"
        )
        if weights not in (None, "none", "imagenet"):
            notes.append(
                "the Run started from other weights: of a Run it was checked that it has not learnt from the patients "
                "held out; of a weights file nothing is known"
            )
    elif dataset.preparation.get("split") == "official":
        notes.append(
            "the parts are official, not drawn at random: where train and test differ for another reason (hospital, "
            "year, scanner), an attack that finds the difference looks like a leak; train with --audit-holdout"
        )
    return notes


def _complete(dataset: Dataset, parts: dict[str, pd.DataFrame]) -> tuple[dict, list[str]]:
    from medimg.tables.fit import complete_rows

    complete = {name: complete_rows(dataset, rows) for name, rows in parts.items()}
    left_out = sum(len(rows) for rows in parts.values()) - sum(map(len, complete.values()))
    note = f"{left_out} rows with missing values are left out, as the training left them out"
    return complete, [note] if left_out else []
