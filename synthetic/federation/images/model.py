"""A GAN in training as one list of arrays: what a federation sends, averages and keeps."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from federated.tff.local_model import of_zeros
from synthetic.config import ImageSynthesisOptions
from synthetic.images.networks import Gan
from synthetic.images.spectral import SpectralLimit
from synthetic.images.step import NetworkSteps


@dataclass(frozen=True, eq=False)
class GanModel:
    """What the clients of a federation train, as `federated.tff.local_model.LocalModel` is for classifiers.

    The moments of Adam and the generator's moving average are averaged with the weights: with a single client the
    rounds are then one training that nobody interrupted.

    Attributes:
        gan: gives the form of the networks; not changed.
        options: of the training; settled.
        local_norm: set by the engine; always false, there is nothing to keep at a client.
    """

    gan: Gan
    options: ImageSynthesisOptions
    local_norm: bool = False

    local = ()

    def check(self) -> None:
        """Group normalisation has nothing that clients can't share: nothing to refuse."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the arrays."""
        return [tuple(array.shape) for array in self.initial()]

    @property
    def federated(self) -> tuple[int, ...]:
        """All arrays are sent."""
        return tuple(range(len(self.initial())))

    def initial(self) -> list[np.ndarray]:
        """The arrays before the first step: the networks' weights, moments of 0."""
        return [array.numpy() for array in Averaged(NetworkSteps(self.gan, self.options, 0)).read()]

    def in_graph(self) -> NetworkSteps:
        """A training for the graph under construction, its weights to be assigned."""
        networks = {
            name: tf.keras.Model.from_config(of_zeros(getattr(self.gan, name)))
            for name in ("generator", "discriminator", "average")
        }
        gan = Gan(**networks, latent_size=self.gan.latent_size, classes=self.gan.classes)
        return NetworkSteps(gan, self.options, 0)


class Averaged:
    """What of a training is averaged, in order: networks, moments, and the spectral norm's vectors where there are any.

    Second moments travel as their square roots, which are of a gradient's size: the grid of a secure sum would round
    the squares away, and the mean of roots is never negative.

    Args:
        steps: of the training.
    """

    def __init__(self, steps: NetworkSteps):
        gan = steps.gan
        networks = [*gan.generator.weights, *gan.discriminator.weights, *gan.average.weights]
        moments = [
            variable
            for optimizer in (steps.generator_optimizer, steps.discriminator_optimizer)
            # Beside the moments Adam keeps its count of steps and its rate.
            for variable in optimizer.variables
            if _is(variable, "m") or _is(variable, "v")
        ]
        limit = steps.limit
        vectors = limit.vectors if isinstance(limit, SpectralLimit) else []
        self._variables = [*networks, *moments, *vectors]
        squares = {variable.ref() for variable in moments if _is(variable, "v")}
        self._square = [variable.ref() in squares for variable in self._variables]

    def read(self) -> list[tf.Tensor]:
        """The arrays, in a graph or out of it."""
        return [
            tf.sqrt(variable) if square else tf.convert_to_tensor(variable)
            for variable, square in zip(self._variables, self._square, strict=True)
        ]

    def assign(self, arrays: list) -> None:
        """Take over what `read` gave, or its mean over clients."""
        for variable, value, square in zip(self._variables, arrays, self._square, strict=True):
            # A rounded sum may be a little below 0.
            variable.assign(tf.square(tf.maximum(value, 0.0)) if square else value)


def _is(variable: tf.Variable, moment: str) -> bool:
    return variable.name.split("/")[0] == moment
