"""The private side of a generator of rows: patients drawn by Poisson sampling, noise by the budget, all in the ledger.

Only CTGAN's critic, or TVAE as a whole, meets real rows, and it meets them through clipped, noisy gradients; the
generator and what it makes follow from that (post-processing). `marginals` meets them once, in one noisy sum. The class
counts are a release of their own, with their own noise.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.privacy import ledger as ledger_file
from medimg.privacy.accounting import calibrate
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.budget import Budget
from medimg.privacy.draws.noise_seed import secret_of
from medimg.privacy.ledger import Ledger
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.sampling import Sampling, sampling
from medimg.privacy.statement import summary
from medimg.privacy.terms import Terms, require_finite_clip, require_small_delta
from medimg.privacy.units import Units
from medimg.tables.public import require_public
from synthetic import public
from synthetic.config import SynthesizeConfig
from synthetic.tables.mix import votes
from synthetic.tables.private_step import PrivateSteps
from synthetic.tables.settings import Settings

COUNTING = "Gaussian noise on the sum of patients' mean rows, in units of the longest such row"
# Of the budget, for the class counts.
COUNTS_SHARE = 0.1


def check(dataset: Dataset, rows: pd.DataFrame, config: SynthesizeConfig) -> None:
    """Refuse what can't be private.

    Raises:
        InputError: names the option, or the columns of which nothing is stated.
    """
    require_public(features_of(dataset, config), str(dataset.root))
    if dataset.task == "multilabel":
        raise InputError(
            "--dp-epsilon: a multilabel set's combinations of labels would be given away; make a Dataset of one label"
        )
    if config.per_site:
        raise InputError(
            "--per-site: is not private, since the budget is of one generator; leave it out, or prepare each site as "
            "a Dataset of its own"
        )
    if config.tune:
        raise InputError(
            "--tune: each try would cost privacy of its own; leave it out and give --epochs and --batch-size"
        )
    if config.dp_engine != "medimg":
        raise InputError(f"--dp-engine {config.dp_engine}: is for Keras models; leave it out")
    require_finite_clip(config)
    require_small_delta(config, rows["patient"].nunique())


def features_of(dataset: Dataset, config: SynthesizeConfig) -> tuple[Feature, ...]:
    """Columns to learn with what is stated of them; the site too where its categories are.

    Raises:
        InputError: an option states nothing of a column of this table.
    """
    features = public.stated(dataset, config)
    return tuple(f for f in features if f.is_input and (f.name != public.SITE.name or f.categories))


def guarantee(out: Path, model: str) -> tuple[str, dict]:
    """What `privacy.json` of a finished training promises, in words, and its epsilon for `dataset.yaml`."""
    content = ledger_file.read(out)
    words = summary(content, "row", model)
    return words, {"delta": content["delta"], "epsilon": content["epsilon"]["pld"]}


class PrivateGenerator:
    """What one private training may do, and its ledger in `privacy.json`.

    Args:
        dataset: the real one.
        rows: labelled training rows.
        out: folder of the synthetic Dataset.
        config: options.
        settings: wanted; `settings` has the epochs that the budget allows.

    Raises:
        InputError: the budget does not allow an epoch.
    """

    def __init__(self, dataset: Dataset, rows: pd.DataFrame, out: Path, config: SynthesizeConfig, settings: Settings):
        self.config, self.out = config, out
        data = dataset.fingerprint()
        self.secret = secret_of(out / "checkpoints", config.given(), data, config.dp_seed)
        patients = rows["patient"].to_numpy()
        units = Units.of(patients)
        # Counted is everybody once.
        expected = len(units) if config.model == "marginals" else settings.batch_size
        self._drawn: Sampling = sampling(config.dp_sampling, units, expected, self.secret, config.dp_images_per_patient)
        self._keys, self._divisor = self.secret.row_keys(patients), settings.batch_size
        of_sum = {"mechanism": COUNTING} if config.model == "marginals" else {}
        terms = Terms.of(config, settings.batch_size, draw=self.secret.draw(), **of_sum)
        circumstances = Circumstances(
            poisson=config.dp_sampling == "poisson", search=True, fixed_seed=config.dp_seed is not None
        )
        self._ledger = Ledger.of(out, terms, circumstances, dataset.root)
        self.counts = self._counts_mechanism()
        self._ledger.reserve(
            lambda noise, previous: self._settle(settings, noise, previous), whole_dataset=config.dp_budget == "dataset"
        )

    def steps(self) -> PrivateSteps:
        """How the networks make a step."""
        return PrivateSteps(
            self._drawn, self.config.dp_clip, self._mechanism.noise_multiplier, self.secret, self._divisor, self._keys
        )

    def record(self, first: int, last: int) -> None:
        """Write down steps that are about to be made."""
        self._ledger.record("train", first, last, self._mechanism)

    def require_counted(self, steps: int) -> None:
        """Refuse a checkpoint with more steps than the ledger counts."""
        self._ledger.require_counted("train", steps)

    def class_weights(self, targets: np.ndarray, patients: np.ndarray, classes: int) -> np.ndarray:
        """How frequent the classes are, by noisy counts of patients; equal with `--class-mix equal`.

        Counts of a size that the noise swallows are pulled towards equal: the noise's deviation is added to each.

        Args:
            targets: int (N,).
            patients: (N,).
            classes: number of classes.

        Returns:
            float (classes,), above 0.
        """
        if self.counts is None:
            return np.ones(classes)
        self._ledger.record("class counts", 0, 1, self.counts)
        deviation = self.counts.noise_multiplier
        noise = self.secret.generator("class counts").normal(0.0, deviation, classes)
        noisy = votes(targets, patients, classes) + noise
        return np.maximum(noisy, 0.0) + deviation

    def complete(self) -> tuple[str, dict]:
        """The last step has been made: the guarantee in words, and its epsilon for `dataset.yaml`."""
        self._ledger.complete()
        return guarantee(self.out, self.config.model)

    def _settle(self, settings: Settings, noise, previous: tuple) -> list[tuple]:
        """Noise and epochs within the budget; the steps to reserve."""
        config, counts = self.config, []
        if self.counts:
            counts = [("class counts", self.counts, 1)]
            previous = (*previous, self.counts.event([(0, 1)]))
        budget = Budget(config.dp_epsilon, config.dp_delta, previous)
        given = noise("train") or config.dp_noise_multiplier
        plan = budget.plan(self._drawn.mechanism(), settings.steps, given)
        epochs = plan.steps // settings.steps_per_epoch
        if not epochs:
            raise InputError(
                f"--dp-epsilon {config.dp_epsilon}: not enough for one epoch with --dp-noise-multiplier "
                f"{given}; give more noise, a smaller batch or a larger epsilon"
            )
        self.settings = replace(settings, epochs=min(epochs, settings.epochs))
        self._mechanism = plan.mechanism
        return [("train", plan.mechanism, self.settings.steps), *counts]

    def _counts_mechanism(self) -> Mechanism | None:
        config = self.config
        if config.class_mix == "equal":
            return None
        everyone = Mechanism.shuffle(1)
        if config.dp_epsilon is None:
            return Mechanism.shuffle(1, config.dp_noise_multiplier)
        share = COUNTS_SHARE * config.dp_epsilon
        return Mechanism.shuffle(1, calibrate(share, config.dp_delta, everyone, 1))
