"""A declared study: cells of all seeds run within a budget, kept as they end; then its page, table and figure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.lock import writes
from medimg.models.registry import ARGUMENTS, family
from medimg.options import flag, of_data
from medimg.studies import page
from medimg.studies.config import StudyConfig
from medimg.studies.course import run_cells
from medimg.studies.declared import CLASSIFYING, LENGTHS, Cell, Study, load
from medimg.studies.folder import claim
from medimg.studies.measured import judge
from medimg.studies.outcome import StudyOutcome
from medimg.studies.running import Runner
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
        InputError: the Datasets or an option don't fit, no cell can be run, or `out` holds another study.
    """
    out, datasets = Path(out), _fitting(load(name), data)
    study = load(name, of_data(datasets[0].is_table))
    study = adapt(study, datasets) if adapt else study
    cells, starts = settle(_chosen_cells(study, config), config.weights)
    study, seeds = replace(study, cells=cells), config.seeds or study.seeds
    claim(out, study.name, datasets[0], {"data": [one.fingerprint() for one in datasets]})
    with Shared() as shared:
        runner = Runner(data, out, config.bootstrap, shared)
        course = run_cells(study, runner, seeds, config.budget and 60 * config.budget, progress)
    named = tuple(one.name for one in datasets)
    outcome = StudyOutcome(study, seeds, course, starts, named, command, config.bootstrap)
    votes = {cell.label for cell in cells if cell.votes}
    verdicts = [judge(one, outcome.values(), outcome.paired, votes) for one in study.claims]
    return page.write(out, outcome, verdicts)


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
        _require_everywhere(name, chosen, study)
    return tuple(cell.with_options(**options) for cell in chosen)


def _require_everywhere(name: str, cells: Sequence[Cell], study: Study) -> None:
    """Refuse an option that of cells which are compared would be some cells' alone.

    Raises:
        InputError: a cell has the same step of the same Dataset without it.
    """
    settled = {(cell.data, step) for cell in cells for step, its in cell.steps if name in its}
    without = [
        cell.label
        for cell in cells
        if not cell.votes and any((cell.data, step) in settled and name not in its for step, its in cell.steps)
    ]
    if without:
        raise InputError(
            f"{flag(name)}: {study.name} does not set it of {' and '.join(map(repr, without))}; choose others by --cell"
        )


def _of_models(study: Study, config: StudyConfig) -> tuple[Cell, ...]:
    """A cell for each model where models are what is compared, else all cells of the one."""
    if not any(_models(cell) for cell in study.cells):
        raise InputError(f"--model: is for studies that train a classifier, and {study.name} has its own; leave it out")
    for name in config.model:
        if name not in ARGUMENTS:
            family(name)
    if study.by_model:
        models = {name: cell for cell in study.cells for name in _models(cell)}
        # Of a model that the study has no cell of, all but the model is as of its last backbone with weights.
        backbones = [cell for cell in study.cells if any(its.get("weights") == "imagenet" for _, its in cell.steps)]
        other = [cell for cell in backbones or study.cells if not cell.votes][-1]
        pairs = [(name, models.get(name, replace(other, name=name, cost=1.0))) for name in config.model]
        return tuple(cell.with_options(model=name, model_arg=config.model_arg) for name, cell in pairs)
    if len(config.model) > 1:
        raise InputError(f"--model {config.model[1]}: {study.name} trains one model; leave it out")
    asked = [cell for cell in study.cells if not config.cell or cell.label in config.cell]
    if len({name for cell in asked for name in _models(cell)}) > 1:
        raise InputError(f"--model: is what cells of {study.name} differ in; choose among them by --cell")
    return tuple(cell.with_options(model=config.model[0], model_arg=config.model_arg) for cell in study.cells)


def _models(cell: Cell) -> list[str]:
    """Classifiers that it trains."""
    return [its["model"] for step, its in cell.steps if step in CLASSIFYING and "model" in its]
