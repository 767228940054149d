"""A study's cells run seed by seed, within a time where there is one; one that can't be run leaves the others be."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medimg.errors import InputError
from medimg.studies import budget
from medimg.studies.declared import Cell, Study
from medimg.studies.running import Done, Runner, Scale


@dataclass(frozen=True)
class Course:
    """What was run.

    Attributes:
        scale: how long cells were trained, and on how many rows.
        done: label -> a finished cell a seed.
        cuts: what was left out, in sentences.
        failed: label -> why the cell, or a seed of it, could not be run.
        seconds: that all steps took, those that cells share once, whenever they were run.
    """

    scale: Scale
    done: dict[str, list[Done]]
    cuts: tuple[str, ...]
    failed: dict[str, str]
    seconds: float


def run_cells(
    study: Study, runner: Runner, seeds: int, seconds: float | None, progress: Callable[[int, int], None] | None
) -> Course:
    """All cells of all seeds, or what fits into the seconds: seed by seed, so that the last seeds are what falls out.

    The seconds are the study's: a cell that is kept counts with those that it took, so that the same command given
    again runs what is left of it and no more.

    Args:
        study: with the cells that were asked for.
        runner: of its folder.
        seeds: that were asked for.
        seconds: that there are; None: no end.
        progress: called with cells done and cells in all.

    Raises:
        InputError: that of the first cell, where none can be run.
    """
    started, scale, cost = time.monotonic(), Scale(), None
    if seconds:
        cost = _pilot(study, runner)
        # By what the pilot took when it was run: a study that is taken up again has the same scale.
        scale = budget.scale_for(study, cost, seconds - cost.pilot)
    piloted = cost.steps if cost else {}
    done: dict[str, list[Done]] = {cell.label: [] for cell in study.cells}
    failed: dict[str, InputError] = {}
    finished: list[tuple[Cell, float]] = []
    # Folder of a step -> its seconds: steps that several cells share are the first one's.
    took: dict[Path, float] = {}
    order = budget.order(study, cost, scale, seconds or 0.0)
    jobs = [(seed, cell) for seed in range(seeds) for cell in order]
    for number, (seed, cell) in enumerate(jobs, 1):
        members = [done[label] for label in cell.voters]
        if len(done[cell.label]) == seed and all(len(its) > seed for its in members) and cell.label not in failed:
            job = (scale.applied(cell), seed, [its[seed] for its in members])
            kept = runner.kept(*job)
            spent = max(time.monotonic() - started, sum((piloted | took).values()))
            # The pilot may have been the first steps of it.
            spent -= sum(its for folder, its in kept.items() if folder in piloted and folder not in took)
            is_done = len(kept) == len(job[0].steps)
            before = _before(study, cell, seed, done)
            if not cost or not finished or is_done or budget.fits(cell, cost, scale, finished, seconds - spent, before):
                try:
                    done[cell.label].append(runner.run(*job))
                except InputError as error:
                    failed[cell.label] = error
                else:
                    steps = runner.kept(*job)
                    finished.append((cell, sum(its for folder, its in steps.items() if folder not in took)))
                    took |= steps
        if progress:
            progress(number, len(jobs))
    if failed and not finished:
        raise next(iter(failed.values()))
    whole = {label: its for label, its in done.items() if label not in failed}
    cuts = budget.cuts(study, seeds, cost, seconds, scale, whole, finished) if cost else ()
    reasons = {label: str(error) for label, error in failed.items()}
    return Course(scale, done, cuts, reasons, sum((piloted | took).values()))


def _before(study: Study, cell: Cell, seed: int, done: dict[str, list[Done]]) -> tuple[Cell, Done] | None:
    """The finished cell that one follows."""
    if not cell.follows:
        return None
    ends = [one for one in study.cells if not one.follows and one.cost and one.steps[:-1] == cell.steps[:-1]]
    return next(((one, done[one.label][seed]) for one in ends if len(done[one.label]) > seed), None)


def _pilot(study: Study, runner: Runner) -> budget.Cost:
    """What the first cell that can be run predicts."""
    *others, last = study.cells
    for cell in others:
        try:
            return budget.pilot(runner, cell, study.foretold)
        except InputError:
            # It may be the pilot's few rows: whether the cell itself can be run is said of the cell.
            continue
    return budget.pilot(runner, last, study.foretold)
