"""Runs on the same rows in the same order; anything else can't be compared in pairs."""

from dataclasses import replace

import numpy as np

from medimg.comparison.reading import Evaluated
from medimg.errors import InputError


def align(evaluated: list[Evaluated]) -> tuple[list[Evaluated], list[str]]:
    """Bring every Run's rows into the order of the first.

    Args:
        evaluated: at least one.

    Returns:
        The Runs, and notes that a reader must know.

    Raises:
        InputError: a Run is given twice, or two differ in task, classes, rows, labels or patients; names them.
    """
    first = evaluated[0]
    roots = [one.run.root.resolve() for one in evaluated]
    for number, root in enumerate(roots):
        if root in roots[:number]:
            raise InputError(f"{evaluated[number].place}: given twice; name each Run once")
    aligned, notes = [first], []
    for other in evaluated[1:]:
        _same_question(first, other)
        aligned.append(other.take(_order(first, other)))
        _same_answers(first, aligned[-1])
        if other.metrics.get("data") != first.metrics.get("data"):
            notes.append(
                f"{first.place} and {other.place} were evaluated on Datasets at different places "
                f"({first.metrics.get('data')}, {other.metrics.get('data')}); names, labels and patients "
                "of the rows agree, so they are taken for the same rows"
            )
    return _with_common_folds(aligned, notes), notes


def _same_question(first: Evaluated, other: Evaluated) -> None:
    for what in ("task", "classes"):
        ours, theirs = first.metrics[what], other.metrics[what]
        if ours != theirs:
            raise InputError(
                f"{first.place} and {other.place} differ in {what}: {_shown(ours)} and {_shown(theirs)}; "
                "compare Runs of one task and one order of classes (of two the second is the positive one)"
            )
    validated = "cross-validation"
    if (first.metrics["split"] == validated) != (other.metrics["split"] == validated):
        one, whole = (first, other) if other.metrics["split"] == validated else (other, first)
        raise InputError(
            f"{whole.place} is cross-validated and {one.place} is not; "
            "train both with the same --folds, or both without"
        )
    if first.unit != other.unit:
        raise InputError(f"{first.place} and {other.place}: one is of images, the other of a table's rows")


def _order(first: Evaluated, other: Evaluated) -> np.ndarray:
    """Positions in `other` of the rows of `first`."""
    unit = first.unit
    ours, theirs = first.rows[unit], other.rows[unit]
    for one, its, that, others in ((first, ours, other, theirs), (other, theirs, first, ours)):
        missing = ~its.isin(others)
        if missing.any():
            raise InputError(
                f"{one.place} and {that.place} were evaluated on different {unit}s: {int(missing.sum())} of "
                f"{len(its)} in the first are not in the second (such as '{its[missing].iloc[0]}'); "
                "evaluate both on the same split of the same Dataset"
            )
    where = {name: i for i, name in enumerate(theirs)}
    return np.array([where[name] for name in ours], np.int64)


def _same_answers(first: Evaluated, other: Evaluated) -> None:
    truth = (first.predictions.truth != other.predictions.truth).any(axis=1)
    patient = (first.rows["patient"] != other.rows["patient"]).to_numpy()
    for what, differs in (("label", truth), ("patient", patient)):
        if differs.any():
            row = int(differs.argmax())
            ours, theirs = (one.rows[what].iloc[row] for one in (first, other))
            raise InputError(
                f"{first.place} and {other.place}: {first.unit} '{first.rows[first.unit].iloc[row]}' has "
                f"{what} '{ours}' in the first and '{theirs}' in the second ({int(differs.sum())} such); "
                "evaluate both again on one Dataset"
            )


def _with_common_folds(aligned: list[Evaluated], notes: list[str]) -> list[Evaluated]:
    """Folds are of use in pairs only when every Run has the same."""
    if aligned[0].folds is None:
        return aligned
    if all(one.folds is not None and (one.folds == aligned[0].folds).all() for one in aligned):
        return aligned
    notes.append("the Runs have different folds (another --seed or --folds), so no test over folds is made")
    return [replace(one, rows=one.rows.drop(columns="fold", errors="ignore")) for one in aligned]


def _shown(value) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
