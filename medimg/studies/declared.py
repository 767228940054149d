"""A study as its file declares it: a grid of cells, each a chain of steps; what is measured; what the source claims.

`definitions/NAME.yaml`: `question`, first; `source`; `needs`: kinds of the Datasets in order; `seeds`; `steps`: step ->
its options, in order; `groups` and `cells`: name -> step -> options beside those, or null: without this step; of a cell
also `groups` that it is in, `cost` (seconds over the first cell's), `votes` (cells that it is an ensemble of), `data`
(number of the Dataset); `kinds`: tables or images -> step -> options beside those; `by_model`: cells are models;
`metrics`: title -> where a step's result has it, `{cell}` for the cell's name, or
other titles -> `most` or `least`: the mean rank in its group by these; `figure`: titles; `claims`; `notes`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from medimg.errors import InputError

FOLDER = Path(__file__).parent / "definitions"
# Options that say how long a step trains: a study's own, and all that its --budget cuts.
LENGTHS = ("epochs", "rounds")
CUT = (*LENGTHS, "pretrain_epochs")
# Steps that train the model of a study's --model.
CLASSIFYING = ("train", "federate")
_NOT_STEPS = ("groups", "cost", "votes", "data")


@dataclass(frozen=True)
class Cell:
    """One way of doing it.

    Attributes:
        group: what it is compared within; empty: of all.
        name: in its group.
        steps: (step, options), in order.
        cost: seconds over the first cell's.
        votes: cells of its group that it is an ensemble of.
        data: number of the Dataset that it begins with.
        follows: all its steps but the last are another cell's, which is run before it.
    """

    group: str
    name: str
    steps: tuple[tuple[str, dict], ...]
    cost: float = 1.0
    votes: tuple[str, ...] = ()
    data: int = 0
    follows: bool = False

    @property
    def label(self) -> str:
        """`group / name`, as claims call it."""
        return _label(self.group, self.name)

    def with_options(self, **options) -> "Cell":
        """With these options in the steps that set them; `model_arg` goes with `model`, a classifier's."""
        steps = []
        for step, its in self.steps:
            mine = {
                name: value for name, value in options.items() if name in its and name not in ("model", "model_arg")
            }
            if "model" in options and step in CLASSIFYING:
                mine |= {"model": options["model"], "model_arg": options["model_arg"]}
            steps.append((step, {**its, **mine}))
        return replace(self, steps=tuple(steps))

    @property
    def voters(self) -> list[str]:
        """Labels of those it is an ensemble of."""
        return [_label(self.group, vote) for vote in self.votes]


@dataclass(frozen=True)
class PublishedClaim:
    """What the source says, as something that an interval decides.

    Attributes:
        says: in words.
        metric: title.
        cell: its label; empty: of all cells, by analysis of variance over seeds, whose p is below `at_most`.
        less: label of what is subtracted; empty: nothing.
        at_least: it claims this much or more.
        at_most: it claims this much or less.
        more_than: it claims more than this: an interval that ends there does not show it.
    """

    says: str
    metric: str
    cell: str = ""
    less: str = ""
    at_least: float | None = None
    at_most: float | None = None
    more_than: float | None = None


@dataclass(frozen=True)
class Study:
    """Attributes: as the file's; and `foretold`, a step of the pilot that tells what the last steps of cells take.

    Its result has `seconds`: a cell's name -> those of it that differ from cell to cell.
    """

    name: str
    question: str
    source: str
    needs: tuple[str, ...]
    seeds: int
    cells: tuple[Cell, ...]
    metrics: dict[str, str | dict[str, str]]
    figure: tuple[str, ...]
    claims: tuple[PublishedClaim, ...] = ()
    notes: tuple[str, ...] = field(default=())
    by_model: bool = False
    foretold: tuple[str, dict] | None = None

    @property
    def claimed(self) -> set[str]:
        """Labels of the cells that a claim needs; an analysis of variance needs all."""
        if not all(claim.cell for claim in self.claims):
            return {cell.label for cell in self.cells}
        named = {label for claim in self.claims for label in (claim.cell, claim.less)}
        return named | {vote for cell in self.cells if cell.label in named for vote in cell.voters}


def _label(group: str, name: str) -> str:
    return f"{group} / {name}" if group else name


def names() -> list[str]:
    """Of all studies that have a file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def question(name: str) -> str:
    """What a study asks: the first line of its file, so that a help page reads no YAML."""
    with (FOLDER / f"{name}.yaml").open(encoding="utf-8") as file:
        return file.readline().removeprefix("question:").strip()


def load(name: str, kind: str = "") -> Study:
    """Read a study's file.

    Args:
        name: of the study.
        kind: of the Dataset, `images` or `tables`.

    Raises:
        InputError: there is none.
    """
    if name not in names():
        raise InputError(f"study '{name}' is not known; choose one of {', '.join(names())}")
    # Lazily: the command line's help needs no YAML.
    from medimg.untrusted.yaml_file import read_yaml

    content = read_yaml(FOLDER / f"{name}.yaml")
    steps, groups = content.pop("steps"), content.pop("groups", {"": {}})
    for step, options in content.pop("kinds", {}).get(kind, {}).items():
        steps[step] = {**steps[step], **options}
    cells = tuple(
        _cell(steps, group, its or {}, cell, changes or {})
        for group, its in groups.items()
        for cell, changes in content["cells"].items()
        if group in (changes or {}).get("groups", groups)
    )
    claims = tuple(PublishedClaim(**claim) for claim in content.pop("claims", ()))
    listed = {key: tuple(content.pop(key, ())) for key in ("needs", "figure", "notes")}
    return Study(name, claims=claims, **listed, **{**content, "cells": cells})


def _cell(steps: dict, group: str, its: dict, name: str, changes: dict) -> Cell:
    over = [{key: value for key, value in one.items() if key not in _NOT_STEPS} for one in (its, changes)]
    chain = []
    for step, options in steps.items():
        layers = [options, *(one[step] for one in over if step in one)]
        if layers[-1] is not None:
            chain.append((step, {key: value for layer in layers for key, value in (layer or {}).items()}))
    fixed = {key: (its | changes)[key] for key in ("cost", "data") if key in its | changes}
    return Cell(group, name, tuple(chain), votes=tuple(changes.get("votes", ())), **fixed)
