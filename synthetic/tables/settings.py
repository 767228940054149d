"""Sizes, rates, batch and epochs of a generator: set from the number of rows where nothing is said.

The ctgan library's defaults (batches of 500, 300 epochs) are made for tables of 10,000 rows and more: below 500 rows
they are one update an epoch, and 300 updates leave CTGAN worse than chance.
"""

import math
from dataclasses import asdict, dataclass

from medimg.privacy.defaults import coarse
from medimg.privacy.sampling import steps_per_pass

LARGEST_BATCH = 500
# Steps that small tables get, however few rows they have, and that large ones don't go beyond.
FEWEST_STEPS = {"ctgan": 1500, "tvae": 900}
MOST_STEPS = 20_000
LIBRARY_EPOCHS = 300
RATE = {"ctgan": 2e-4, "tvae": 1e-3}
PACK = 10

LARGEST_PRIVATE_BATCH = 2000
PRIVATE_STEPS = {"ctgan": 300, "tvae": 100}
PRIVATE = {
    "ctgan": {
        "learning_rate": 2e-3,
        "critic_learning_rate": 5e-3,
        "width": 32,
        "latent_size": 8,
        "pack": 1,
        "class_only": True,
    },
    "tvae": {"learning_rate": 2e-2, "width": 32, "latent_size": 4},
}


@dataclass(frozen=True)
class Settings:
    """What decides a generator's training, beside data and seed.

    Attributes:
        batch_size: rows of a step; a multiple of `pack`. Private: patients on average.
        epochs: passes over the training rows.
        steps_per_epoch: steps of a pass.
        learning_rate: of the generator, or of the autoencoder.
        critic_learning_rate: of CTGAN's critic.
        critic_steps: private CTGAN: steps of the critic for one of the generator.
        width: units of a hidden layer of CTGAN; TVAE has half.
        latent_size: random numbers that a row is made from.
        pack: rows that CTGAN's critic judges together.
        class_only: CTGAN's generator is told the class and never a category, whose frequencies would be of patients.
    """

    batch_size: int
    epochs: int
    steps_per_epoch: int
    learning_rate: float = 2e-4
    critic_learning_rate: float = 2e-4
    critic_steps: int = 1
    width: int = 256
    latent_size: int = 128
    pack: int = PACK
    class_only: bool = False

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.epochs * self.steps_per_epoch

    def to_dict(self) -> dict:
        """Plain values for YAML."""
        return asdict(self)


def settings_for(
    model: str, rows: int, batch_size: int | None = None, epochs: int | None = None, private: bool = False
) -> Settings:
    """Settings of a model for a table of so many rows.

    Args:
        model: ctgan, tvae or marginals.
        rows: training rows; private: patients.
        batch_size: wanted; None: about half the rows, at most 500; private: the patients in coarse steps
            (`medimg.privacy.defaults.coarse`), at most 2,000, and they decide nothing else but the steps of a pass.
        epochs: wanted; None: as many as give FEWEST_STEPS to a small table, 300 to a large one, fewer where that were
            more than MOST_STEPS.
        private: by DP-SGD: all patients in few steps of small networks, since noise is added to every weight.
    """
    if model == "marginals":
        size = coarse(rows) if private else rows
        return Settings(batch_size=size, epochs=1, steps_per_epoch=1)
    if private:
        batch_size = batch_size or min(LARGEST_PRIVATE_BATCH, coarse(rows))
        steps_per_epoch = steps_per_pass(rows, batch_size)
        epochs = epochs or max(1, PRIVATE_STEPS[model] // steps_per_epoch)
        return Settings(batch_size, epochs, steps_per_epoch, **PRIVATE[model])
    if batch_size is None:
        batch_size = min(LARGEST_BATCH, max(2 * PACK, rows // 2))
    batch_size = max(1, min(batch_size, rows))
    if model == "ctgan":
        batch_size = max(PACK, batch_size // PACK * PACK)
    steps_per_epoch = max(1, round(rows / batch_size))
    if epochs is None:
        fewest = math.ceil(FEWEST_STEPS[model] / steps_per_epoch)
        epochs = max(1, min(max(LIBRARY_EPOCHS, fewest), MOST_STEPS // steps_per_epoch))
    return Settings(batch_size, epochs, steps_per_epoch, RATE[model])
