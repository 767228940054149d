"""Generator and discriminator of a class-conditional DCGAN (Radford et al. 2016), sized to the image.

Pixels are 0..255 on both sides; scaling is inside. The class comes in as a vector (B, classes), one-hot or multi-hot,
so that every task has the same networks. No layer looks at more than one image of a batch: without batch statistics a
patient's gradient can be clipped, and federated sites have nothing to average but weights.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from medimg.errors import InputError

SMALLEST, LARGEST = 4, 8  # of the map that the generator starts from
MOST_FILTERS = 256
SLOPE = 0.2

layers = tf.keras.layers


@dataclass(frozen=True)
class Gan:
    """The networks of one training.

    Attributes:
        generator: (noise and condition (B, latent + classes)) -> pixels float32 (B, S, S, C) in 0..255.
        discriminator: pixels (B, S, S, C) -> (B, 1 + classes), the parts of `scores`.
        average: the generator with the moving average of its weights; it draws the images that are kept.
        latent_size: random numbers of an image.
        classes: length of the condition.
    """

    generator: tf.keras.Model
    discriminator: tf.keras.Model
    average: tf.keras.Model
    latent_size: int
    classes: int

    def weights(self) -> dict[str, list[np.ndarray]]:
        """Plain arrays by network, as `set_weights` takes them."""
        return {name: getattr(self, name).get_weights() for name in NETWORKS}

    def set_weights(self, weights: dict[str, list[np.ndarray]]) -> None:
        """Take over the weights of networks of the same form."""
        for name in NETWORKS:
            getattr(self, name).set_weights(weights[name])


NETWORKS = ("generator", "discriminator", "average")


def build(image_size: int, channels: int, classes: int, filters: int, latent_size: int, seed: int) -> Gan:
    """Networks with their first weights, which depend on the arguments alone.

    Args:
        image_size: S, which halved a few times gives 4 to 8.
        channels: 1 or 3.
        classes: length of the condition.
        filters: channels at S, doubled at each halving up to 256.
        latent_size: random numbers of an image.
        seed: of the first weights.

    Raises:
        InputError: no such networks for this size.
    """
    widths = _widths(image_size, filters)
    generator = _generator(image_size, channels, classes, widths, latent_size, seed)
    average = tf.keras.models.clone_model(generator)
    average.set_weights(generator.get_weights())
    return Gan(
        generator=generator,
        discriminator=_discriminator(image_size, channels, classes, widths, seed + 1),
        average=average,
        latent_size=latent_size,
        classes=classes,
    )


def halvings(image_size: int) -> int:
    """How often a size is halved to come to 4..8.

    Raises:
        InputError: it does not come there.
    """
    size, count = image_size, 0
    while size > LARGEST and size % 2 == 0:
        size, count = size // 2, count + 1
    if not SMALLEST <= size <= LARGEST or not count:
        raise InputError(
            f"--image-size {image_size}: can't be halved down to 4 to 8 pixels; use 28, 32, 48, 64, 96 or 128"
        )
    return count


def scores(outputs: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """How real an image looks as one of its class: the projection discriminator (Miyato and Koyama 2018).

    Args:
        outputs: of the discriminator, (B, 1 + classes).
        condition: (B, classes).

    Returns:
        Logits (B,).
    """
    return outputs[:, 0] + tf.reduce_sum(outputs[:, 1:] * condition, axis=1)


def _widths(image_size: int, filters: int) -> list[int]:
    """Channels after each halving, from the largest map to the smallest."""
    return [min(filters * 2**i, max(filters, MOST_FILTERS)) for i in range(halvings(image_size))]


def _generator(
    image_size: int, channels: int, classes: int, widths: list[int], latent_size: int, seed: int
) -> tf.keras.Model:
    seeds, numbers = _seeds(seed), itertools.count(1000 * seed + 500, 2)
    start = image_size // 2 ** len(widths)
    x = inputs = layers.Input((latent_size + classes,), name="noise_and_class")
    x = layers.Dense(start * start * widths[-1], use_bias=False, kernel_initializer=next(seeds))(x)
    x = layers.Reshape((start, start, widths[-1]))(x)
    x = _styled(x, inputs, next(numbers))
    for width in (*reversed(widths[:-1]), max(widths[0] // 2, 8)):
        # A kernel of twice the stride: every output pixel has equally many inputs, so no chequerboard.
        x = layers.Conv2DTranspose(width, 4, 2, "same", use_bias=False, kernel_initializer=next(seeds))(x)
        x = _styled(x, inputs, next(numbers))
    x = layers.Conv2D(channels, 3, padding="same", activation="tanh", kernel_initializer=next(seeds))(x)
    pixels = layers.Rescaling(127.5, 127.5)(x)
    return tf.keras.Model(inputs, pixels, name="generator")


def _styled(x, inputs, number: int):
    """Group normalisation whose scale and offset depend on noise and class (Dumoulin et al. 2017), then ReLU.

    With fixed ones every image would have the same brightness and contrast: the norm takes an image's own away.
    """
    channels = x.shape[-1]
    x = layers.GroupNormalization(_groups(channels), center=False, scale=False)(x)
    gain, offset = (
        layers.Reshape((1, 1, channels))(
            layers.Dense(
                channels,
                # Small, so that the first images are not yet wild.
                kernel_initializer=tf.keras.initializers.VarianceScaling(0.2, seed=seed),
                bias_initializer=first,
            )(inputs)
        )
        for first, seed in (("ones", number), ("zeros", number + 1))
    )
    return layers.ReLU()(layers.Add()([layers.Multiply()([x, gain]), offset]))


def _groups(channels: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)


def _discriminator(image_size: int, channels: int, classes: int, widths: list[int], seed: int) -> tf.keras.Model:
    seeds = _seeds(seed)
    inputs = layers.Input((image_size, image_size, channels), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    for width in widths:
        x = layers.Conv2D(width, 4, 2, "same", kernel_initializer=next(seeds))(x)
        x = layers.LeakyReLU(SLOPE)(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(1 + classes, kernel_initializer=next(seeds))(x)
    return tf.keras.Model(inputs, outputs, name="discriminator")


def _seeds(seed: int):
    """First weights as DCGAN has them are small; with group normalisation He's scale trains sooner."""
    number = 1000 * seed
    while True:
        yield tf.keras.initializers.HeNormal(seed=number)
        number += 1
