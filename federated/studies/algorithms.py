"""The cells of the study federated-hospitals: which algorithms, and whether their rates are chosen."""

from dataclasses import replace

from federated.studies.config import HospitalsConfig
from medimg.errors import InputError
from medimg.studies.declared import Cell, Study
from medimg.style.words import listed

# What `tune` tries in the place of the study's.
_CLIENT_RATES, _SERVER_RATES = (0.003, 0.01, 0.03), (0.03, 0.1, 0.3)


def with_algorithms(study: Study, config: HospitalsConfig) -> Study:
    """The study with the algorithms that were asked for, each site alone and all pooled among them.

    Args:
        study: as its file declares it.
        config: `strategy`, `tune`.

    Raises:
        InputError: an algorithm that the study does not have.
    """
    algorithms = [cell.name for cell in study.cells if not _is_reference(cell)]
    for name in config.strategy:
        if name not in algorithms:
            raise InputError(f"--strategy {name}: {study.name} has {listed(algorithms, len(algorithms))}")
    cells = [cell for cell in study.cells if not config.strategy or _is_reference(cell) or cell.name in config.strategy]
    return replace(study, cells=tuple(map(_tried, cells) if config.tune else cells))


def _tried(cell: Cell) -> Cell:
    """The server's rates of those that have one, else the clients'."""
    if _is_reference(cell):
        return cell
    has_server = any("server_learning_rate" in its for _, its in cell.steps)
    name, rates = ("server_learning_rate", _SERVER_RATES) if has_server else ("learning_rate", _CLIENT_RATES)
    tried = {"tried": [{name: rate} for rate in rates]}
    steps = tuple((step, {**its, **tried} if step == "hospitals" else its) for step, its in cell.steps)
    return replace(cell, steps=steps, cost=cell.cost * len(rates))


def _is_reference(cell: Cell) -> bool:
    return any(its.get("references") for _, its in cell.steps)
