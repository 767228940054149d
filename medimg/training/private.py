"""Private training: a stage by DP-SGD, patients drawn by Poisson sampling, every step in the ledger."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline.batches import steady
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.budget import Budget
from medimg.privacy.chunks import chunks
from medimg.privacy.class_counts import COUNTING, noisy_class_counts, noisy_class_weights
from medimg.privacy.dp_model import make_private
from medimg.privacy.draws.keyed import fold
from medimg.privacy.draws.noise_seed import Secret, fingerprint, secret_of
from medimg.privacy.ledger import Ledger
from medimg.privacy.per_example.kinds import check as check_layers
from medimg.privacy.sampling import Sampling, sampling
from medimg.privacy.statement import CLASS_COUNTS
from medimg.privacy.terms import Terms, require_finite_clip, require_small_delta
from medimg.privacy.units import Units
from medimg.run import Run
from medimg.training.data import Material
from medimg.training.lineage import NONE, Lineage
from medimg.training.loop import Stage
from medimg.training.phases import Phase
from medimg.training.private_options import refuse_what_learns_from_rows, require_public_classes

# Examples computed at once, unless a patient has more.
PHYSICAL_BATCH = 64
# Defaults until there were rules, left out then as those of today are: a Run from then goes on with its noise.
_ONCE_DEFAULT = {"batch_size": 32, "optimizer": "adam", "dp_clip": 1.0}


def check(dataset: Dataset, config: TrainConfig) -> None:
    """Refuse what can't be private, before anything is written.

    Raises:
        InputError: names the option.
    """
    refuse_what_learns_from_rows(dataset, config)
    require_finite_clip(config)
    rows = dataset.rows("train", labelled=True)
    require_public_classes(dataset)
    units = Units.of(rows["patient"].to_numpy())
    require_small_delta(config, len(units))
    drawn = _sampling(config, units, None)
    if config.dp_engine == "tf-privacy" and drawn.most_rows_per_unit > 1:
        raise InputError(
            "--dp-engine tf-privacy: clips single images, not patients; use medimg or --dp-images-per-patient 1"
        )


def check_model(kind, model: tf.keras.Model, config: TrainConfig) -> None:
    """Refuse layers that can't be private, before anything is written.

    Args:
        kind: the module of the data's kind.
        model: to be trained.
        config: options.

    Raises:
        InputError: names the layer.
    """
    for phase in kind.plan(config, model):
        kind.prepare(model, phase)
        check_layers(kind.fitted(model, phase, config))


def keyed_by(config: TrainConfig) -> dict:
    """The options that draws depend on, as `medimg.privacy.draws.noise_seed.Secret` has them."""
    return {name: value for name, value in config.given().items() if _ONCE_DEFAULT.get(name) != value}


class PrivateTraining:
    """The private side of one Run: sampling, noise, budget and ledger.

    Args:
        run: the Run.
        dataset: its Dataset.
        config: its options.
        material: its examples.
        phases: planned.
        lineage: whose steps the first weights, or the rows, bring along.
        start: what it begins with (`medimg.training.start`).

    Raises:
        InputError: the budget allows no epoch, or more patients are drawn than there are.
    """

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        config: TrainConfig,
        material: Material,
        phases: list[Phase],
        lineage: Lineage = NONE,
        start: str = "",
    ):
        self.config, self.material = config, material
        # The noise must not meet other gradients: of other pixels, first weights or another model.json.
        data = fingerprint({"data": dataset.content("train"), "start": start})
        # Options, not the Run: where it lies does not matter.
        self.secret = secret_of(run.root / "checkpoints", keyed_by(config), data, config.dp_seed)
        self.units = Units.of(material.patients)
        self._keys = self.secret.row_keys(material.patients)
        if material.augmentation:
            material.augmentation = material.augmentation.keyed(self._keys)
        drawn = self._sampling(0)
        self.ledger = Ledger.of(
            run.root,
            Terms.of(config, drawn.expected_units, draw=self.secret.draw()),
            _circumstances(config, lineage),
            dataset.root,
            lineage.inherited,
        )
        counting = [(CLASS_COUNTS, COUNTING, 1)] if config.balance == "class-weight" else []

        def settle(noise, previous):
            wanted = drawn.steps_per_pass * max(1, sum(phase.epochs for phase in phases))
            counted = tuple(mechanism.event([(0, steps)]) for _, mechanism, steps in counting)
            budget = Budget(config.dp_epsilon, config.dp_delta, (*previous, *counted))
            noise_multiplier = noise(*(phase.name for phase in phases)) or config.dp_noise_multiplier
            self.plan = budget.plan(drawn.mechanism(), wanted, noise_multiplier)
            self.phases = _within(phases, self.plan.steps // drawn.steps_per_pass, config)
            planned = [(phase.name, self.plan.mechanism, phase.epochs * drawn.steps_per_pass) for phase in self.phases]
            return [*counting, *planned]

        self.ledger.reserve(settle, whole_dataset=config.dp_budget == "dataset")
        if counting:
            self._weigh_classes(len(dataset.classes))

    def stage(self, stage: Stage, phase: Phase, number: int, earlier: int) -> Stage:
        """The same stage, trained privately.

        Args:
            stage: as without privacy.
            phase: what it is of.
            number: of the phase.
            earlier: epochs that the phases before it took.
        """
        drawn = self._sampling(number)
        private = make_private(
            stage.model,
            self.config.dp_clip,
            self.plan.mechanism.noise_multiplier,
            drawn.expected_units,
            # Each step brings its own.
            seed=0,
            engine=self.config.dp_engine,
            accumulation_steps=1 if self.config.dp_engine == "tf-privacy" else 0,
        )
        steps = drawn.steps_per_pass
        mechanism = drawn.mechanism(self.plan.mechanism.noise_multiplier)

        def before(epoch: int) -> None:
            self.ledger.record(phase.name, epoch * steps, (epoch + 1) * steps, mechanism)

        return dataclasses.replace(
            stage,
            model=private,
            batches=self._batches(stage, drawn, earlier),
            tells_training=False,
            before=before,
            # Private weights wander: their loss grows with their confidence while the ranking still improves.
            keeps_last=not self.config.patience,
            counted=False,
        )

    def require_counted(self, history: list[dict]) -> None:
        """Refuse a checkpoint whose epochs the ledger does not count.

        Args:
            history: rows of history.csv, of the epochs that it has made.

        Raises:
            InputError: the ledger is older, or gone.
        """
        for number, phase in enumerate(self.phases):
            epochs = sum(row["phase"] == phase.name for row in history)
            self.ledger.require_counted(phase.name, epochs * self._sampling(number).steps_per_pass)

    def complete(self) -> None:
        """The last step has been taken."""
        self.ledger.complete()

    def _sampling(self, number: int) -> Sampling:
        return _sampling(self.config, self.units, self.secret, number)

    def _weigh_classes(self, classes: int) -> None:
        self.ledger.record(CLASS_COUNTS, 0, 1, COUNTING)
        targets = self.material.targets
        counts = noisy_class_counts(np.eye(classes)[targets], self.units, self.secret)
        self.material.sample_weights = noisy_class_weights(counts)[targets]

    def _batches(self, stage: Stage, drawn: Sampling, earlier: int) -> Callable[[tuple[int, int]], tf.data.Dataset]:
        """Of some epochs tf.data of (inputs, targets, what `make_private` takes): their steps in chunks of one size.

        It is the same stream each time, read from its start: TensorFlow would trace another one for each epoch.
        """
        asked = (0, 0)
        material = self.material
        size = max(PHYSICAL_BATCH, drawn.most_rows_per_unit)
        if self.config.dp_engine == "tf-privacy":
            # It can't add up the chunks of a step: a step must fit one.
            size = len(self.units)
        targets = tf.constant(material.targets)
        weights = material.sample_weights

        def drawn_chunks():
            for epoch in range(*asked):
                start = (epoch - earlier) * drawn.steps_per_pass
                for step in drawn.steps(start, start + drawn.steps_per_pass):
                    noise = self.secret.state("noise", drawn.phase, step.number)
                    for chunk in chunks(step, size, drawn.units):
                        keys = fold(self._keys[chunk.rows], drawn.phase, step.number)
                        last = np.bool_(chunk.last)
                        yield np.int64(epoch), chunk.rows, chunk.groups, last, keys, noise

        def fetch(epoch, rows, groups, last, keys, noise):
            extra = {"unit": groups, "last": last, "key": keys, "noise": noise}
            if weights is not None:
                extra["weight"] = tf.gather(tf.constant(weights, tf.float32), rows)
            return stage.inputs(epoch, rows), tf.gather(targets, rows), extra

        signature = (
            tf.TensorSpec((), tf.int64),
            tf.TensorSpec((size,), tf.int64),
            tf.TensorSpec((size,), tf.int32),
            tf.TensorSpec((), tf.bool),
            tf.TensorSpec((size,), tf.uint64),
            tf.TensorSpec((3,), tf.int64),
        )
        source = tf.data.Dataset.from_generator(drawn_chunks, output_signature=signature)
        stream = steady(source.map(fetch, num_parallel_calls=2, deterministic=True).prefetch(4))

        def of(epochs: tuple[int, int]) -> tf.data.Dataset:
            nonlocal asked
            asked = epochs
            return stream

        return of


def _sampling(config: TrainConfig, units: Units, secret: Secret | None, number: int = 0) -> Sampling:
    """How a phase draws patients; without a secret how many, not whom."""
    kind, most = config.dp_sampling, config.dp_images_per_patient
    return sampling(kind, units, config.batch_size, secret, most, number)


def _within(phases: list[Phase], epochs: int, config: TrainConfig) -> list[Phase]:
    """The phases cut to the epochs that the budget allows."""
    if epochs == 0 and any(phase.epochs for phase in phases):
        raise InputError(
            f"--dp-epsilon {config.dp_epsilon}: not enough for one epoch with --dp-noise-multiplier "
            f"{config.dp_noise_multiplier}; give more noise, a smaller batch or a larger epsilon"
        )
    cut = []
    for phase in phases:
        allowed = min(phase.epochs, epochs)
        epochs -= allowed
        cut.append(dataclasses.replace(phase, epochs=allowed))
    return cut


def _circumstances(config: TrainConfig, lineage: Lineage) -> Circumstances:
    return Circumstances(
        poisson=config.dp_sampling == "poisson",
        early_stopping=bool(config.patience or config.plateau_patience),
        best_epoch=bool(config.patience),
        shared_validation=bool(config.patience or config.plateau_patience),
        search=True,
        fixed_seed=config.dp_seed is not None,
        pretrained=lineage.others,
        weights_file=lineage.unknown,
        vouched=lineage.vouched,
    )
