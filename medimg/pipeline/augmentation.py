"""Augmentation of a batch on raw pixels 0..255: flip, rotation, zoom, contrast, Gaussian noise; when strong also shift,
brightness and a square cut out.

What an image goes through depends on (its key, view) alone, where the view is the epoch, or the epoch modulo K when
each image has K views in all: the same image and view look the same in whatever batch and whenever, and whichever
other images there are.
"""

from dataclasses import dataclass

import numpy as np

from medimg.privacy.draws.keyed import fold, uniform

# What an image's key is folded by, for each of its uses.
_GEOMETRY, _NOISE, _STRONG = range(3)


@dataclass(frozen=True)
class Strength:
    """Largest change each way: degrees, fractions of zoom and contrast, noise in grey levels.

    When strong: shift in fractions of the side, brightness in grey levels, and the side of a square made grey, as a
    fraction of the image's.
    """

    flip: bool
    rotation: float
    zoom: float
    contrast: float
    noise: float
    shift: float = 0.0
    brightness: float = 0.0
    cutout: float = 0.0

    @property
    def is_strong(self) -> bool:
        """It does more than turn, scale and blur."""
        return bool(self.shift or self.brightness or self.cutout)


STRENGTHS = {
    "light": Strength(flip=False, rotation=5.0, zoom=0.05, contrast=0.1, noise=2.0),
    "standard": Strength(flip=True, rotation=10.0, zoom=0.1, contrast=0.2, noise=5.0),
    "strong": Strength(
        True, rotation=20.0, zoom=0.25, contrast=0.5, noise=10.0, shift=0.1, brightness=40.0, cutout=0.35
    ),
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
        """float32 (N, 5): flip (0 or 1), radians, zoom factor, contrast factor, noise in grey levels.

        When strong (N, 10): then shifts in fractions of the side across and down, brightness in grey levels, and the
        centre of the square across and down, as a fraction of the side.
        """
        drawn = uniform(fold(self.keys, _GEOMETRY, view), 5)
        table = (2.0 * drawn - 1.0).astype(np.float32)
        table[:, 0] = (table[:, 0] > 0) & self.strength.flip
        table[:, 1] *= np.deg2rad(self.strength.rotation)
        table[:, 2] = 1.0 + table[:, 2] * self.strength.zoom
        table[:, 3] = 1.0 + table[:, 3] * self.strength.contrast
        table[:, 4] = np.abs(table[:, 4]) * self.strength.noise
        if not self.strength.is_strong:
            return table
        more = uniform(fold(self.keys, _STRONG, view), 5).astype(np.float32)
        more[:, :3] = 2.0 * more[:, :3] - 1.0
        more[:, :3] *= np.float32([self.strength.shift, self.strength.shift, self.strength.brightness])
        return np.concatenate([table, more], axis=1)

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
        strong = self.strength.is_strong
        parameters.set_shape((None, 10 if strong else 5))
        seeds.set_shape((None, 2))
        shift = parameters[:, 5:7] if strong else None
        pixels = _geometry(pixels, parameters[:, 0], parameters[:, 1], parameters[:, 2], shift)
        mean = tf.reduce_mean(pixels, axis=(1, 2), keepdims=True)
        pixels = (pixels - mean) * parameters[:, 3, None, None, None] + mean
        shape = pixels.shape[1:]
        noise = tf.map_fn(lambda s: tf.random.stateless_normal(shape, s), seeds, fn_output_signature=tf.float32)
        pixels += noise * parameters[:, 4, None, None, None]
        if strong:
            pixels += parameters[:, 7, None, None, None]
            pixels = _cut_out(pixels, parameters[:, 8:10], self.strength.cutout)
        return tf.clip_by_value(pixels, 0.0, 255.0)

    def _tables(self, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and seeds of a view, drawn once per epoch rather than once per batch."""
        last = getattr(self, "_last", None)
        if last is None or last[0] != view:
            tables = self.parameters(view), self.noise_seeds(view)
            last = self._last = (view, tables)
        return last[1]


def _cut_out(pixels, centre, side: float):
    """A square of the given side, in fractions of the image's, in mid grey."""
    import tensorflow as tf

    size = tf.shape(pixels)[1]
    along = tf.cast(tf.range(size), tf.float32) / tf.cast(size, tf.float32)
    across, down = (tf.abs(along[None] - centre[:, k, None]) < side / 2.0 for k in (0, 1))
    return tf.where((down[:, :, None] & across[:, None, :])[..., None], 127.5, pixels)


def _geometry(pixels, flip, angle, zoom, shift=None):
    """Flip, rotate and zoom about the centre, and shift, in one bilinear resampling; the border is mirrored."""
    import tensorflow as tf

    half = (tf.cast(tf.shape(pixels)[1], tf.float32) - 1.0) / 2.0
    cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    mirror = 1.0 - 2.0 * flip
    # Rows map output (x, y) to input: input = A (output - centre) + centre.
    a, b, c, d = cos * mirror, -sin * mirror, sin, cos
    zero = tf.zeros_like(a)
    right, down = half - (a + b) * half, half - (c + d) * half
    if shift is not None:
        right, down = right + shift[:, 0] * 2.0 * half, down + shift[:, 1] * 2.0 * half
    transforms = tf.stack([a, b, right, c, d, down, zero, zero], axis=1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=transforms,
        output_shape=tf.shape(pixels)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    return tf.ensure_shape(moved, pixels.shape)
