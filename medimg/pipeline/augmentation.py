"""Augmentation of a batch on raw pixels 0..255: flip, rotation, zoom, contrast, Gaussian noise.

What an image goes through depends on (its key, view) alone, where the view is the epoch, or the epoch modulo K when
each image has K views in all: the same image and view look the same in whatever batch and whenever, and whichever
other images there are.
"""

from dataclasses import dataclass

import numpy as np

from medimg.privacy.draws.keyed import fold, uniform

# What an image's key is folded by, for each of the two uses.
_GEOMETRY, _NOISE = range(2)


@dataclass(frozen=True)
class Strength:
    """Largest change each way: degrees, fractions of zoom and contrast, noise in grey levels."""

    flip: bool
    rotation: float
    zoom: float
    contrast: float
    noise: float


STRENGTHS = {
    "light": Strength(flip=False, rotation=5.0, zoom=0.05, contrast=0.1, noise=2.0),
    "standard": Strength(flip=True, rotation=10.0, zoom=0.1, contrast=0.2, noise=5.0),
}


class Augmentation:
    """Seeded augmentation of N images.

    Args:
        strength: how much.
        keys: uint64 (N,), all that an image's draws depend on.
        views: K views of each image in all; 0: a fresh one every epoch.
    """

    def __init__(self, strength: Strength, keys: np.ndarray, views: int = 0):
        self.strength, self.keys, self.views = strength, keys, views

    @classmethod
    def seeded(cls, strength: Strength, images: int, seed: int, views: int = 0) -> "Augmentation":
        """With keys of a public seed and the images' places."""
        return cls(strength, fold(np.arange(images, dtype=np.uint64), seed), views)

    def keyed(self, keys: np.ndarray) -> "Augmentation":
        """The same with other keys: of private training, a patient's own."""
        return Augmentation(self.strength, keys, self.views)

    def view(self, epoch: int) -> int:
        """The view that an epoch shows."""
        return epoch % self.views if self.views else epoch

    def parameters(self, view: int) -> np.ndarray:
        """float32 (N, 5): flip (0 or 1), radians, zoom factor, contrast factor, noise in grey levels."""
        drawn = uniform(fold(self.keys, _GEOMETRY, view), 5)
        table = (2.0 * drawn - 1.0).astype(np.float32)
        table[:, 0] = (table[:, 0] > 0) & self.strength.flip
        table[:, 1] *= np.deg2rad(self.strength.rotation)
        table[:, 2] = 1.0 + table[:, 2] * self.strength.zoom
        table[:, 3] = 1.0 + table[:, 3] * self.strength.contrast
        table[:, 4] = np.abs(table[:, 4]) * self.strength.noise
        return table

    def noise_seeds(self, view: int) -> np.ndarray:
        """int64 (N, 2), of the images' pixel noise."""
        own = fold(self.keys, _NOISE, view)
        return np.stack([fold(own, 0), fold(own, 1)], axis=1).view(np.int64)

    def apply(self, pixels, epoch, chosen):
        """Augment a batch.

        Args:
            pixels: float32 (B, S, S, C) in 0..255.
            epoch: int64 scalar.
            chosen: int64 (B,), the images' indices in the set.

        Returns:
            float32 (B, S, S, C) in 0..255.
        """
        import tensorflow as tf

        def rows(epoch_number, indices):
            return [table[indices] for table in self._tables(self.view(int(epoch_number)))]

        kinds = [tf.float32, tf.int64]
        parameters, seeds = tf.numpy_function(rows, [epoch, chosen], kinds, stateful=False)
        parameters.set_shape((None, 5))
        seeds.set_shape((None, 2))
        pixels = _geometry(pixels, parameters[:, 0], parameters[:, 1], parameters[:, 2])
        mean = tf.reduce_mean(pixels, axis=(1, 2), keepdims=True)
        pixels = (pixels - mean) * parameters[:, 3, None, None, None] + mean
        shape = pixels.shape[1:]
        noise = tf.map_fn(lambda s: tf.random.stateless_normal(shape, s), seeds, fn_output_signature=tf.float32)
        return tf.clip_by_value(pixels + noise * parameters[:, 4, None, None, None], 0.0, 255.0)

    def _tables(self, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and seeds of a view, drawn once per epoch rather than once per batch."""
        last = getattr(self, "_last", None)
        if last is None or last[0] != view:
            tables = self.parameters(view), self.noise_seeds(view)
            last = self._last = (view, tables)
        return last[1]


def _geometry(pixels, flip, angle, zoom):
    """Flip, rotate and zoom about the centre in one bilinear resampling; the border is mirrored."""
    import tensorflow as tf

    half = (tf.cast(tf.shape(pixels)[1], tf.float32) - 1.0) / 2.0
    cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    mirror = 1.0 - 2.0 * flip
    # Rows map output (x, y) to input: input = A (output - centre) + centre.
    a, b, c, d = cos * mirror, -sin * mirror, sin, cos
    zero = tf.zeros_like(a)
    transforms = tf.stack([a, b, half - (a + b) * half, c, d, half - (c + d) * half, zero, zero], axis=1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=transforms,
        output_shape=tf.shape(pixels)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    return tf.ensure_shape(moved, pixels.shape)
