"""A declared study: cells of all seeds run within a budget, kept as they end; then its page, table and figure."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.lock import writes
from medimg.options import flag, of_data
from medimg.studies import budget, page
from medimg.studies.config import StudyConfig
from medimg.studies.declared import CLASSIFYING, LENGTHS, Cell, Study, load
from medimg.studies.folder import claim
from medimg.studies.measured import judge
from medimg.studies.outcome import Outcome
from medimg.studies.running import Done, Runner, Scale
from medimg.studies.starts import settle
from medimg.studies.steps import Shared
from medimg.style.words import listed

# Options that are every cell's.
_FOR_ALL = (*LENGTHS, "image_size", "normalize")


@writes("out")
def run(
    name: str,
    data: Sequence[Path],
    out: Path,
    config: StudyConfig,
    command: str = "",
    progress: Callable[[int, int], None] | None = None,
    adapt: Callable[[Study, Sequence[Dataset]], Study] | None = None,
) -> dict:
    """Run a study, or go on with it.

    Args:
        name: of its file.
        data: its Datasets, in its order.
        out: gets `work/` (Runs and Datasets), `study.json`, `study.md`, `study.png` and `study.html`.
        config: options.
        command: as it was given, for the page.
        progress: called with cells done and cells in all.
        adapt: gives a study whose cells are options the cells.

    Returns:
        The content of study.json.

    Raises:
        InputError: the Datasets or an option don't fit, or `out` holds another study.
    """
    out, datasets = Path(out), _fitting(load(name), data)
    study = load(name, of_data(datasets[0].is_table))
    study = adapt(study, datasets) if adapt else study
    cells, starts = settle(_chosen_cells(study, config), config.weights)
    study, seeds = replace(study, cells=cells), config.seeds or study.seeds
    claim(out, study.name, datasets[0], {"data": [one.fingerprint() for one in datasets]})
    with Shared() as shared:
        runner = Runner(data, out, config.bootstrap, shared)
        scale, done, cuts = _ran(study, runner, seeds, config.budget and 60 * config.budget, progress)
    # Of steps that several cells share once.
    took = {one.folders[step]: its for each in done.values() for one in each for step, its in one.took.items()}
    seconds = sum(took.values())
    named = tuple(one.name for one in datasets)
    outcome = Outcome(study, seeds, scale, cuts, starts, done, named, seconds, command, config.bootstrap)
    votes = {cell.label for cell in cells if cell.votes}
    verdicts = [judge(one, outcome.values(), outcome.paired, votes) for one in study.claims]
    return page.write(out, outcome, verdicts)


def _ran(
    study: Study, runner: Runner, seeds: int, seconds: float | None, progress: Callable[[int, int], None] | None
) -> tuple[Scale, dict[str, list[Done]], tuple[str, ...]]:
    """All cells of all seeds, or what fits into the seconds: seed by seed, so that the last seeds are what falls out.

    Returns:
        How long and on how many rows; label -> a finished cell a seed; what was left out.
    """
    started, scale, cost = time.monotonic(), Scale(), None
    if seconds:
        cost = budget.pilot(runner, study.cells[0])
        # By what the pilot took when it was run: a study that is taken up again has the same scale.
        scale = budget.scale_for(study, cost, seconds - cost.pilot)
    done: dict[str, list[Done]] = {cell.label: [] for cell in study.cells}
    finished: list[tuple[Cell, float]] = []
    # Steps that several cells share are the first one's.
    counted: set[Path] = set()
    order = budget.order(study, cost, scale, seconds or 0.0)
    jobs = [(seed, cell) for seed in range(seeds) for cell in order]
    for number, (seed, cell) in enumerate(jobs, 1):
        members = [done[label] for label in cell.voters]
        if len(done[cell.label]) == seed and all(len(its) > seed for its in members):
            job = (scale.applied(cell), seed, [its[seed] for its in members])
            kept = runner.kept(*job)
            left = (seconds or 0.0) - (time.monotonic() - started)
            left += sum(its for folder, its in kept.items() if folder not in counted)
            is_done = len(kept) == len(job[0].steps)
            if not cost or not finished or is_done or budget.fits(cell, cost, scale, finished, left):
                one = runner.run(*job)
                done[cell.label].append(one)
                finished.append((cell, sum(its for step, its in one.took.items() if one.folders[step] not in counted)))
                counted |= set(one.folders.values())
        if progress:
            progress(number, len(jobs))
    return scale, done, budget.cuts(study, seeds, cost, seconds, scale, done, finished) if cost else ()


def _fitting(study: Study, data: Sequence[Path]) -> list[Dataset]:
    if len(data) != len(study.needs):
        raise InputError(
            f"study {study.name}: needs {len(study.needs)} DATA ({'; '.join(study.needs)}), and {len(data)} were given"
        )
    datasets = []
    for path, need in zip(data, study.needs, strict=True):
        dataset = Dataset.load(path)
        kinds = (of_data(dataset.is_table), dataset.task, "any", "data")
        if not set(need.split()) <= set(kinds):
            raise InputError(
                f"{path}: study {study.name} needs {need}, and this is {kinds[0]} of a {dataset.task} task"
            )
        datasets.append(dataset)
    return datasets


def _chosen_cells(study: Study, config: StudyConfig) -> tuple[Cell, ...]:
    """The cells that were asked for, with the options that hold for all of them."""
    config.require_effect()
    cells = _of_models(study, config) if config.model else study.cells
    by_label = {cell.label: cell for cell in cells}
    for label in config.cell:
        if label not in by_label:
            raise InputError(f"--cell {label}: {study.name} has {listed(by_label, len(by_label))}")
    labels = {*config.cell, *(vote for label in config.cell for vote in by_label[label].voters)}
    chosen = [cell for label, cell in by_label.items() if not labels or label in labels]
    options = {name: getattr(config, name) for name in _FOR_ALL if getattr(config, name) is not None}
    for name in options:
        settings = [(step, its[name]) for cell in chosen for step, its in cell.steps if name in its]
        if not settings:
            raise InputError(f"{flag(name)}: is for studies that set it, and {study.name} does not; leave it out")
        if len(set(settings)) > len(dict(settings)):
            raise InputError(f"{flag(name)}: is what cells of {study.name} differ in; choose among them by --cell")
    return tuple(cell.with_options(**options) for cell in chosen)


def _of_models(study: Study, config: StudyConfig) -> tuple[Cell, ...]:
    """A cell for each model where models are what is compared, else all cells of the one."""
    if not any(step in CLASSIFYING for cell in study.cells for step, _ in cell.steps):
        raise InputError(f"--model: is for studies that train a classifier, and {study.name} has its own; leave it out")
    if study.by_model:
        models = {its["model"]: cell for cell in study.cells for _, its in cell.steps if "model" in its}
        # Of a model that the study has no cell of, all but the model is as of its last: a backbone with weights.
        pairs = [(name, models.get(name, replace(study.cells[-1], name=name, cost=1.0))) for name in config.model]
        return tuple(cell.with_options(model=name, model_arg=config.model_arg) for name, cell in pairs)
    if len(config.model) > 1:
        raise InputError(f"--model {config.model[1]}: {study.name} trains one model; leave it out")
    return tuple(cell.with_options(model=config.model[0], model_arg=config.model_arg) for cell in study.cells)
