"""Noisy marginals learnt again and again, for what can be told of private rows only by many of them; nothing is kept.

This is no release: real rows are read without an account, and what comes of it stays with who has them.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medimg.data.schema import Feature
from medimg.privacy.accounting import calibrate
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.sampling import PoissonSampling
from medimg.privacy.units import Units
from synthetic.tables.encoding import Encoding
from synthetic.tables.fitting import sampled
from synthetic.tables.generator_inputs import GeneratorInputs, targets_of
from synthetic.tables.marginals import Marginals
from synthetic.tables.private_step import PrivateSteps
from synthetic.tables.settings import settings_for
from synthetic.tables.training import one_thread, randomness


class Rehearsal:
    """Marginals of training rows with other labels.

    Args:
        rows: labelled training rows.
        features: columns; what is not stated of them is read off the rows.
        classes: labels, in order.
        epsilon: of each rehearsal.
        delta: likewise.

    Raises:
        InputError: no column varies, or no noise keeps the epsilon.
    """

    def __init__(
        self, rows: pd.DataFrame, features: tuple[Feature, ...], classes: tuple[str, ...], epsilon: float, delta: float
    ):
        self.rows, self.classes = rows, classes
        self._noise = calibrate(epsilon, delta, Mechanism.shuffle(1), 1)
        with one_thread(), randomness(0, "networks"):
            self._encoding = Encoding.fit(rows, features, 0)

    def made(self, labels: np.ndarray, counts: Mapping[str, int], number: int) -> pd.DataFrame:
        """Rows by one rehearsal: `label` and the columns.

        Args:
            labels: (N,), of the training rows.
            counts: label -> rows to make.
            number: of the rehearsal: each has noise of its own.
        """
        patients, secret = self.rows["patient"].to_numpy(), Secret.fixed(number, {"purpose": "rehearsal"})
        units = Units.of(patients)
        private = PrivateSteps(
            PoissonSampling(units, len(units), secret), 1.0, self._noise, secret, len(units), secret.row_keys(patients)
        )
        targets = targets_of(pd.DataFrame({"label": labels}), self.classes)
        material = GeneratorInputs(
            self._encoding, targets, len(self.classes), settings_for("marginals", len(units), private=True), private
        )
        with one_thread():
            model = Marginals(material)
            model.step(0, np.random.default_rng(0))
            wanted = np.array([counts.get(name, 0) for name in self.classes])
            return sampled(model, self._encoding.code, self.classes, wanted, number)
