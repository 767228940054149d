"""A declared study: cells of all seeds run within a budget, kept as they end; then its page, table and figure."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from medimg.config import StudyConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.lock import writes
from medimg.options import of_data
from medimg.studies import budget, page
from medimg.studies.budget import Plan
from medimg.studies.declared import LENGTHS, Cell, Study
from medimg.studies.folder import claim
from medimg.studies.measured import judge
from medimg.studies.outcome import Outcome
from medimg.studies.running import Done, Runner
from medimg.studies.starts import settle
from medimg.style.words import listed


@writes("out")
def run(
    study: Study,
    data: Sequence[Path],
    out: Path,
    config: StudyConfig,
    command: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Run a study, or go on with it.

    Args:
        study: declared.
        data: its Datasets, in its order.
        out: gets `work/` (Runs and Datasets), `study.json`, `study.md`, `study.png` and `study.html`.
        config: `seeds`, `epochs`, `image_size`, `cell`, `weights`, `budget`, `bootstrap`.
        command: as it was given, for the page.
        progress: called with cells done and cells in all.

    Returns:
        The content of study.json.

    Raises:
        InputError: the Datasets or an option don't fit, or `out` holds another study.
    """
    started, out = time.monotonic(), Path(out)
    datasets = _fitting(study, data)
    cells, starts = settle(_asked(study, config), config.weights)
    study, seeds = replace(study, cells=cells), config.seeds or study.seeds
    claim(out, study.name, datasets[0], {"data": [one.fingerprint() for one in datasets]})
    runner = Runner(data, out, config.bootstrap)
    settled, cost = Plan(seeds, cells, budget.Scale()), None
    if config.budget:
        cost = budget.pilot(runner, cells[0], len(datasets[cells[0].data].rows("train")), 0)
        left = 60 * config.budget - (time.monotonic() - started)
        settled = budget.plan(study, seeds, cost, left)
    done: dict[str, list[Done]] = {cell.label: [] for cell in settled.cells}
    finished, not_run = [], []
    order = _claimed_first(study, settled.cells)
    for seed in range(settled.seeds):
        for cell in order:
            members = [done[_beside(cell, vote)] for vote in cell.votes]
            left = 60 * (config.budget or 0) - (time.monotonic() - started)
            late = cost and finished and not budget.fits(cell, cost, settled.scale, finished, left)
            if late or any(len(one) <= seed for one in members):
                not_run.append(f"{cell.label} (seed {seed})")
                continue
            one = runner.run(settled.scale.applied(cell), seed, [member[seed] for member in members])
            finished.append((cell, one))
            done[cell.label].append(one)
            if progress:
                progress(len(finished) + len(not_run), settled.seeds * len(order))
    seconds = sum({id(one): one.seconds for _, one in finished}.values())
    plan = budget.shorter(settled, not_run)
    outcome = Outcome(study, plan, starts, done, tuple(one.name for one in datasets), seconds, command)
    verdicts = [judge(one, outcome.values()) for one in study.claims]
    return page.write(out, outcome, verdicts)


def _fitting(study: Study, data: Sequence[Path]) -> list[Dataset]:
    if len(data) != len(study.needs):
        raise InputError(
            f"study {study.name}: needs {len(study.needs)} DATA ({'; '.join(study.needs)}), and {len(data)} were given"
        )
    datasets = []
    for path, need in zip(data, study.needs, strict=True):
        dataset = Dataset.load(path)
        kind = {*need.split(), of_data(dataset.is_table)} if "any" in need.split() else set(need.split())
        if not kind - {"any", "sites"} <= {of_data(dataset.is_table), dataset.task}:
            raise InputError(
                f"{path}: study {study.name} needs {need}, and this is {of_data(dataset.is_table)} of a {dataset.task} "
                "task"
            )
        if "sites" in kind and dataset.manifest["site"].nunique() < 2:
            raise InputError(f"{path}: study {study.name} needs patients of several sites, and this has one")
        datasets.append(dataset)
    return datasets


def _asked(study: Study, config: StudyConfig) -> tuple[Cell, ...]:
    """The cells that were asked for, with the options that hold for all of them."""
    known = {cell.label: cell for cell in study.cells}
    for label in config.cell:
        if label not in known:
            raise InputError(f"--cell {label}: {study.name} has {listed(known, len(known))}")
    chosen = [known[label] for label in config.cell or known]
    given = {"image_size": config.image_size, **dict.fromkeys(LENGTHS, config.epochs)}

    def settled(options: dict) -> dict:
        return {name: value if given.get(name) is None else given[name] for name, value in options.items()}

    return tuple(replace(cell, steps=tuple((step, settled(its)) for step, its in cell.steps)) for cell in chosen)


def _claimed_first(study: Study, cells: Sequence[Cell]) -> list[Cell]:
    """Votes after those who vote; what claims need first, should time run out."""
    return sorted(cells, key=lambda cell: (cell.label not in study.claimed, bool(cell.votes)))


def _beside(cell: Cell, name: str) -> str:
    return f"{cell.group} / {name}" if cell.group else name
