"""Which columns of a table say label, patient, site and part, and which classes the labels make."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from medimg.config import PrepareConfig
from medimg.data import schema
from medimg.data.dataset import SEPARATOR
from medimg.data.manifest import name_text
from medimg.errors import InputError
from medimg.sources.base import PARTS, task_of
from medimg.sources.image_labels import joint_of
from medimg.style.words import listed
from medimg.tables.cells import shown
from medimg.tables.inference import ColumnSummary

# Names that say patient, best first, in lower case without spaces and signs.
PATIENT_NAMES = (
    "patientid",
    "patientnumber",
    "patientno",
    "patient",
    "subjectid",
    "subject",
    "usubjid",
    "personid",
    "participantid",
    "participant",
    "mrn",
    "pid",
)
_MOST_CLASSES = 100
# A whole number of more values is a measurement.
_MOST_NUMBERS = 20
_DEFAULTS = PrepareConfig()


@dataclass(frozen=True)
class Roles:
    """Columns by what they say; '' = the table has none.

    Attributes:
        label, patient, site, split: names of columns.
        notes: sentences about the choice.
    """

    label: str
    patient: str
    site: str
    split: str
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, str]:
        """Role -> column, of those that the table has."""
        named = {role: getattr(self, role) for role in ("label", "patient", "site", "split")}
        return {role: name for role, name in named.items() if name}


def assign_roles(
    path: Path, names: tuple[str, ...], summaries: dict[str, ColumnSummary], config: PrepareConfig
) -> Roles:
    """Find the columns that the options name, or that are called like a role.

    Args:
        path: the table, for messages.
        names: of its columns.
        summaries: column -> what it holds.
        config: `label_column`, `patient_column`, `site_column`, `split_column` and `split` are used.

    Raises:
        InputError: a named column is missing or named for two roles, or the column of parts holds none.
    """
    label = _named(path, names, "label", config)
    if not label:
        raise InputError(
            f"{path}: column '{config.label_column}' is missing; it has {listed(names, 12)}; name the column of "
            "labels with --label-column"
        )
    patient, notes = _patient(path, names, label, config)
    site = _named(path, names, "site", config)
    split = _named(path, names, "split", config)
    if split and not _holds_parts(path, split, summaries[split], config):
        split = ""
    roles = Roles(label, patient, site, split, notes)
    named = list(roles.columns.values())
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice:
        both = " and ".join(f"--{r}-column" for r, name in roles.columns.items() if name == twice)
        raise InputError(f"{path}: column '{twice}' is named by {both}; each needs a column of its own")
    return roles


def classes_of(
    path: Path, label: str, summary: ColumnSummary, separator: str | None
) -> tuple[tuple[str, ...], str, list[str]]:
    """The classes that a column of labels holds, in order.

    Args:
        path: the table, for messages.
        label: the column's name.
        summary: what it holds.
        separator: `label_separator`: 'none' where what looks like several labels is one.

    Returns:
        Classes, the task, and notes.

    Raises:
        InputError: the labels are measurements, too many, only one class, or several in a cell.
    """
    where = f"{path}: column '{label}'"
    other = "name the column of labels with --label-column"
    levels = {name_text(name): count for name, count in (summary.levels or {}).items() if name}
    if summary.levels is None or len(levels) > _MOST_CLASSES:
        what = "numbers" if summary.all_numbers else "values"
        raise InputError(f"{where} holds too many different {what} to be classes; {other}")
    if summary.all_numbers and len(levels) > _MOST_NUMBERS:
        raise InputError(f"{where} holds {len(levels)} different numbers: a measurement, no classes; {other}")
    if separator not in (None, "none"):
        raise InputError(f"--label-separator {separator}: a table's row has one label; give none, or leave it out")
    joint = SEPARATOR if separator else joint_of(levels)[0]
    several = next((name for name in levels if joint and joint in name), None)
    if several:
        none = "" if joint == SEPARATOR else ", or say --label-separator none"
        raise InputError(
            f"{where} holds '{shown(several)}': is it one label or several? A table's row has one: write it without "
            f"'{joint}'{none}"
        )
    if len(levels) < 2:
        problem = f"only one class, '{shown(next(iter(levels)))}'" if levels else "no labels"
        raise InputError(f"{where} holds {problem}; a classifier needs two; {other}")
    classes = tuple(schema.in_order(levels, schema.Feature(label, "categorical")))
    notes = []
    if summary.rows > summary.known:
        notes.append(f"{summary.rows - summary.known} rows have no label: kept as unlabelled rows")
    return classes, task_of(classes), notes


def _named(path: Path, names: tuple[str, ...], role: str, config: PrepareConfig) -> str:
    """The column that an option names; '' when there is none of the default name."""
    name = getattr(config, f"{role}_column")
    if name in names:
        return name
    if name != getattr(_DEFAULTS, f"{role}_column"):
        raise InputError(
            f"{path}: column '{name}' is missing; it has {listed(names, 12)}; name the right one with --{role}-column"
        )
    return ""


def _patient(path: Path, names: tuple[str, ...], label: str, config: PrepareConfig) -> tuple[str, list[str]]:
    name = _named(path, names, "patient", config)
    if name:
        return name, []
    plain = {re.sub(r"[\W_]", "", each.lower()): each for each in names if each != label}
    column = next((plain[each] for each in PATIENT_NAMES if each in plain), "")
    if column:
        return column, [f"column '{column}' taken for patients (--patient-column names another)"]
    note = "no patients known: every row counts as its own patient (--patient-column names their column)"
    return "", [note]


def _holds_parts(path: Path, split: str, summary: ColumnSummary, config: PrepareConfig) -> bool:
    """Whether a column says train, val, test; a column that is just called so may say something else."""
    odd = [name for name in summary.levels or ("?",) if name and name.lower() not in PARTS]
    if not odd:
        return summary.known > 0
    if config.split == "official" or split != _DEFAULTS.split_column:
        raise InputError(
            f"{path}: column '{split}' holds '{shown(odd[0])}', not one of train, val, test; mend it, or name "
            "another with --split-column"
        )
    return False
