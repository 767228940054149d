"""What privacy costs: the cells of the study privacy-utility, a training for every epsilon."""

import dataclasses
import math

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.options import of_data
from medimg.studies.config import PrivacyUtilityConfig
from medimg.studies.declared import Cell, Study
from medimg.training.open_options import settled

# The last is no privacy at all.
EPSILONS = ("inf", "0.5", "1", "2", "4", "8")


def with_epsilons(study: Study, dataset: Dataset, config: PrivacyUtilityConfig, training: TrainConfig) -> Study:
    """The study with a cell for each epsilon.

    Args:
        study: as its file declares it.
        dataset: that is trained on.
        config: `epsilon`.
        training: options of every training but epsilon and seed.

    Raises:
        InputError: an epsilon that is no number above 0, or an option that does nothing.
    """
    epsilons = [_epsilon(text) for text in config.epsilon or EPSILONS]
    # As private trainings have it, whose options may not depend on who is joined with whom.
    dataset = Dataset.load(dataset.root, joins_copies=False)
    strictest, _ = settled(_private(training, min(epsilons)), dataset)
    training.require_effect(of_data(dataset.is_table), resolved=strictest)
    if dataset.is_table:
        # One model for all, the one that a private training has where nobody says.
        training = dataclasses.replace(training, model=strictest.model)
    cells = [
        Cell(
            "",
            "no privacy" if math.isinf(epsilon) else f"epsilon {epsilon:g}",
            # All options, chosen by rules or not: epochs are what a budget cuts.
            (("train", _options(training, epsilon, dataset)), ("audit", {"attack": ["threshold"]})),
            # A gradient of its own for each patient.
            cost=1.0 if math.isinf(epsilon) else 4.0,
        )
        for epsilon in epsilons
    ]
    return dataclasses.replace(study, cells=tuple(cells))


def _options(training: TrainConfig, epsilon: float, dataset: Dataset) -> dict:
    return settled(_private(training, epsilon), dataset)[0].given()


def _epsilon(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise InputError(f"--epsilon {text}: must be a number above 0, or inf")
    return value


def _private(training: TrainConfig, epsilon: float) -> TrainConfig:
    if math.isinf(epsilon):
        return dataclasses.replace(training, dp_noise_multiplier=None)
    return dataclasses.replace(training, dp_epsilon=epsilon)
