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
    # One model for all, the one that a private training has where nobody says.
    of_all = ("model",) if dataset.is_table else ("model", "model_arg", "weights", "freeze")
    one_model = {name: getattr(strictest, name) for name in of_all}
    training = dataclasses.replace(training, **one_model).with_given_names(training.names_given())
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
    wanted = {"dp_noise_multiplier": None} if math.isinf(epsilon) else {"dp_epsilon": epsilon}
    return dataclasses.replace(training, **wanted).with_given_names(training.names_given())
