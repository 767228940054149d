"""A site's rounds under noise in shares: the sum of its patients' clipped gradients in whole numbers, and its share.

The same at a site of its own and in simulation. Every patient is in every round, so nothing is gained by sampling. What
a patient adds is computed by itself and is whole numbers, so that another patient's absence moves nothing of it, down
to the last bit.
"""

import numpy as np
import tensorflow as tf

from federated.algorithms.plain import NOTHING
from federated.engine import records
from federated.engine.local_training import Share, dropout_seed
from federated.engine.records import ClientData, Layout
from federated.engine.state import State
from federated.engine.updates import ClientRound, ClientUpdate
from federated.private.noise_shares import SharedStep
from federated.private.noise_stream import KeyStream, round_key
from federated.private.steps import keys_of_step
from federated.tff.local_model import LocalModel, assign
from medimg.pipeline.batches import steady
from medimg.privacy.clipping import check_mechanism, clipped_sum
from medimg.privacy.discrete_gaussian import DiscreteGaussian

# Clipping is in float32: what it may exceed the clip by is taken off beforehand.
_SHORT = 1.0 - 2.0**-16


class SharedRounds:
    """What a site does in rounds; its graph is built once.

    Args:
        spec: model that is trained.
        layout: of the examples.
        step: of a round.
        seed: of the training.

    Raises:
        InputError: numbers that make no mechanism.
    """

    def __init__(self, spec: LocalModel, layout: Layout, step: SharedStep, seed: int):
        spec.check()
        check_mechanism(step.l2_norm_clip, step.mechanism.noise_multiplier, 1)
        self._spec, self._layout, self._step, self._seed = spec, layout, step, seed
        self._sums = self._build()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the weights that a round starts from."""
        return self._spec.shapes

    def update(
        self, state: State, client: ClientData, client_state: list | None, number: int, part: float
    ) -> ClientUpdate:
        """A round, from the global state.

        Args:
            state: of which weights are read.
            client: with its records and its key.
            client_state: not read.
            number: of the round.
            part: not read: there is one step, and it is done.

        Returns:
            Vectors in float64, multiples of the grid's step: a secure sum adds them exactly.
        """
        sums = self.sums(state, client, number)
        key = round_key(client.folder, self._step.training, client.name, number, state.weights)
        noise = DiscreteGaussian(self._step.mechanism.share_variance, KeyStream(key))
        vectors = []
        for whole in sums:
            share = np.array(noise.samples(whole.size), np.int64).reshape(whole.shape)
            vectors.append((whole + share) * self._step.shares.unit)
        withheld, size = float("nan"), 4 * sum(whole.size for whole in sums)
        down = 4 * sum(int(np.prod(shape)) for shape in self.shapes)
        measures = ClientRound(client.examples, withheld, withheld, withheld, size, down)
        return ClientUpdate(vectors, 1.0, list(NOTHING), measures)

    def sums(self, state: State, client: ClientData, number: int) -> list[np.ndarray]:
        """What the patients add, in steps of the grid: int64, without noise. It must not leave.

        Args:
            state: of which weights are read.
            client: with its records.
            number: of the round.
        """
        seed = dropout_seed(self._seed, number, client.name)
        none = [tf.constant(array) for array in NOTHING]
        weights = [tf.constant(array) for array in state.weights]
        steps = tf.zeros([1, 1], tf.int64)
        share = Share(weights, none, none, tf.constant(client.folder), steps, tf.constant(seed))
        return [np.asarray(whole) for whole in self._sums(share)]

    def _build(self):
        model, loss, spec, step = self._spec.in_graph(), self._spec.loss(), self._spec, self._step
        places = {variable.ref(): i for i, variable in enumerate(model.trainable_variables)}
        order = [places[model.weights[i].ref()] for i in spec.federated]
        # The gradients are clipped as they are; the update, which is theirs times the rate, is what is added up.
        scale = _SHORT * step.shares.sensitivity / step.l2_norm_clip
        most = tf.constant(step.shares.sensitivity**2, tf.int64)

        @tf.function
        def total(share: Share):
            assign(model, share.weights)
            numbers = records.units(share.folder)
            patients = iter(_patients(share.folder, self._layout, numbers))
            sums = tuple(tf.zeros(variable.shape, tf.int64) for variable in model.trainable_variables)
            for _ in tf.range(tf.reduce_max(numbers) + 1):
                inputs, targets, weights, keys = next(patients)
                alone = tf.zeros_like(keys, tf.int32)
                keys = keys_of_step(keys, share, tf.constant(0))
                clipped = clipped_sum(model, loss, inputs, targets, alone, step.l2_norm_clip, weights, keys)
                added = _whole(clipped.gradients, scale, most)
                sums = tuple(s + a for s, a in zip(sums, added, strict=True))
            return [sums[i] for i in order]

        return total


class SharedPool:
    """Simulated clients, all in this process; a `federated.rounds.pool.Pool`.

    Args:
        rounds: what each does.
        clients: with their records and keys on this machine.
    """

    sums = None

    def __init__(self, rounds: SharedRounds, clients: list[ClientData]):
        self._rounds = rounds
        self.clients = {client.name: client for client in clients}

    def updates(
        self, state: State, names: list[str], number: int, work: dict[str, float]
    ) -> tuple[dict[str, ClientUpdate], dict[str, str]]:
        """As `Pool` says; nobody is ever lost, and nobody does a part of its one step."""
        return {name: self._rounds.update(state, self.clients[name], None, number, 1.0) for name in names}, {}


def _whole(gradients: list, scale: float, most: tf.Tensor) -> list:
    """A patient's gradients in steps of the grid, cut off towards zero, so that no norm grows.

    Whoever's would be larger than is counted, or no number, counts as absent: by no path is the sensitivity passed.
    """
    scaled = [tf.cast(gradient, tf.float64) * scale for gradient in gradients]
    # Squares of what is far too large are none of int64's. NaN is not below anything.
    large = tf.reduce_any(
        [tf.reduce_any(~(tf.square(gradient) <= 2.0 * tf.cast(most, tf.float64))) for gradient in scaled]
    )
    # Cast to whole numbers, floating point is cut off towards zero.
    whole = [tf.cast(tf.where(large, tf.zeros_like(gradient), gradient), tf.int64) for gradient in scaled]
    # In float64: exact up to 2^53, beyond which it is above anything that is counted.
    squares = tf.add_n([tf.reduce_sum(tf.square(tf.cast(part, tf.float64))) for part in whole])
    counts = ~large & (squares <= tf.cast(most, tf.float64))
    return [tf.where(counts, part, tf.zeros_like(part)) for part in whole]


def _patients(folder: tf.Tensor, layout: Layout, numbers: tf.Tensor) -> tf.data.Dataset:
    """(inputs, targets, weights, keys) of each patient in turn, with all its examples; for use in a graph."""
    fetch, keys = records.reader(folder, layout), records.row_keys(folder)

    def one(patient):
        rows = tf.where(tf.equal(numbers, patient))[:, 0]
        details = tf.data.Dataset.from_tensors(tf.gather(keys, rows))
        examples = tf.data.Dataset.zip((fetch(rows), details))
        return examples.map(lambda example, keys: (*example, keys))

    count = tf.reduce_max(numbers) + 1
    return steady(tf.data.Dataset.range(tf.cast(count, tf.int64), output_type=tf.int32).flat_map(one).prefetch(2))
