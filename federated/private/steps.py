"""DP-SGD as the steps of a client in TFF: `medimg.privacy`'s clipped sums on patients drawn at the site."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from federated.engine.local_training import LocalTraining, Share, StepGradients
from federated.engine.records import ClientData, Layout
from federated.private import draws, stream
from medimg.errors import InputError
from medimg.privacy.clipping import check_mechanism, clipped_sum, noisy_mean
from medimg.privacy.draws.keyed import fold_tensor
from medimg.privacy.sampling import steps_per_pass


@dataclass(frozen=True)
class SiteMechanism:
    """What a site does in a step.

    Attributes:
        patients: of its training part.
        expected_patients: of a step, at most on average, and what its sum is divided by.
        noise_multiplier: standard deviation of the noise over the clip.
    """

    patients: int
    expected_patients: int
    noise_multiplier: float

    @property
    def sampling_probability(self) -> float:
        """Of a patient in a step: known by the steps of a pass alone, as of `medimg.privacy.sampling`."""
        return 1.0 / steps_per_pass(self.patients, self.expected_patients)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A site's patients and noise of one round, in the graph.

    Attributes:
        chunks: iterator of (inputs, targets, weights, patients, keys, last): up to a step's `last`.
        expected: patients of a step on average, float32 scalar.
        deviation: of the noise, float32 scalar.
        noise: key, int64 (2,).
    """

    chunks: Iterator
    expected: tf.Tensor
    deviation: tf.Tensor
    noise: tf.Tensor

    def noisy_mean(self, sums: list, number: tf.Tensor) -> list:
        """The sums of clipped gradients of step `number` with their noise, over the expected patients."""
        generator = stream.Normal(stream.derive(self.noise, number))
        return noisy_mean(sums, self.deviation, self.expected, generator)


class PatientSteps:
    """Steps of a private site: patients by Poisson sampling, clipped, with noise; loss and accuracy are not told.

    A site draws by its own key (`federated.private.site_key`), so the coordinator knows neither sample nor noise.

    Args:
        sites: by the client's name.
        l2_norm_clip: most that a patient contributes: the sum of its examples' gradients.
        training: names the options of the training, hexadecimal.

    Raises:
        InputError: numbers that make no mechanism.
    """

    def __init__(self, sites: dict[str, SiteMechanism], l2_norm_clip: float, training: str):
        for site in sites.values():
            check_mechanism(l2_norm_clip, site.noise_multiplier, site.expected_patients)
        self.sites, self.l2_norm_clip = dict(sites), l2_norm_clip
        self._training = int(training, 16) % 2**63
        self._numbers = {name: number for number, name in enumerate(sites)}

    def planned(self, local: LocalTraining, client: ClientData, seed: int, round_number: int) -> np.ndarray:
        """The site's number in each step: which patients, only the site draws."""
        if client.name not in self.sites:
            raise InputError(f"client {client.name}: has no place in the privacy plan; start anew")
        site = self.sites[client.name]
        if client.units != site.patients:
            raise InputError(
                f"client {client.name}: {client.units} patients, and the privacy plan is for {site.patients}; start "
                "anew with --overwrite"
            )
        return np.full((steps_of(local, site), 1), self._numbers[client.name], np.int64)

    def drawing(self, layout: Layout, share: Share, number: tf.Tensor) -> "Drawing":
        """What a site draws in a round; for use in a graph.

        Args:
            layout: of the examples.
            share: of the site.
            number: of the site, as `planned` told.
        """
        sites = list(self.sites.values())
        probability = _chosen([s.sampling_probability for s in sites], number, tf.float64)
        deviation = _chosen(
            # Without noise the clip may be infinite.
            [s.noise_multiplier and s.noise_multiplier * self.l2_norm_clip for s in sites],
            number,
            tf.float32,
        )
        key = stream.round_key(share, self._training)
        secret, noise = stream.derive(key, 0), stream.derive(key, 1)
        count = tf.shape(share.steps, out_type=tf.int64)[0]
        chunks = iter(draws.batches(share.folder, layout, probability, secret, count))
        expected = _chosen([s.expected_patients for s in sites], number, tf.float32)
        return Drawing(chunks, expected, deviation, noise)

    def begin(self, model, loss, layout: Layout, share: Share):
        """As in `federated.engine.local_training.Steps`."""
        drawing = self.drawing(layout, share, share.steps[0, 0])

        def step(number):
            sums = tuple(tf.zeros(v.shape, v.dtype) for v in model.trainable_variables)
            last = tf.constant(False)
            while not last:
                inputs, targets, weights, patients, keys, last = next(drawing.chunks)
                step_keys = keys_of_step(keys, share, number)
                clip = self.l2_norm_clip
                clipped = clipped_sum(model, loss, inputs, targets, patients, clip, weights, step_keys)
                sums = tuple(s + g for s, g in zip(sums, clipped.gradients, strict=True))
            gradients = drawing.noisy_mean(list(sums), number)
            withheld = tf.constant(float("nan"))
            return StepGradients(tuple(gradients), tf.constant(1.0), withheld, withheld)

        return step


def keys_of_step(keys: tf.Tensor, share: Share, number: tf.Tensor) -> tf.Tensor:
    """What examples draw by in a step of a round: uint64 (B,).

    Args:
        keys: uint64 (B,), of the examples.
        share: of the site: its seed is the round's.
        number: of the step in the round.
    """
    return fold_tensor(keys, share.seed[0], share.seed[1], number)


def steps_of(local: LocalTraining, site: SiteMechanism) -> int:
    """Steps of a round: as many epochs as asked for, each of which draws every patient once on average."""
    if local.steps:
        return local.steps
    return local.epochs * steps_per_pass(site.patients, site.expected_patients)


def _chosen(values: list, number, kind: tf.DType) -> tf.Tensor:
    return tf.gather(tf.constant(values, kind), number)
