"""Augmentation of a batch on raw pixels 0..255: flip, rotation, zoom, contrast, Gaussian noise; when strong also shift,
brightness and a square cut out; of acquisition also blur.

What an image goes through depends on (its key, view) alone, where the view is the epoch, or the epoch modulo K when
each image has K views in all: the same image and view look the same in whatever batch and whenever, and whichever
other images there are.
"""

from dataclasses import dataclass

import numpy as np

from medimg.privacy.draws.keyed import fold, uniform

# What an image's key is folded by, for each of its uses.
_GEOMETRY, _NOISE, _STRONG, _BLUR = range(4)
# Of the blur, as a fraction of an image's side.
_BLUR_DEVIATION = 0.006


@dataclass(frozen=True)
class Strength:
    """Largest change each way: degrees, fractions of zoom and contrast, noise in grey levels.

    When strong: shift in fractions of the side, brightness in grey levels, the side of a square made grey, as a
    fraction of the image's, and how far an image becomes its blurred self (1: wholly).
    """

    flip: bool
    rotation: float
    zoom: float
    contrast: float
    noise: float
    shift: float = 0.0
    brightness: float = 0.0
    cutout: float = 0.0
    blur: float = 0.0

    @property
    def is_strong(self) -> bool:
        """It does more than turn, scale and add noise."""
        return bool(self.shift or self.brightness or self.cutout or self.blur)

    @property
    def blurs(self) -> bool:
        """Some view may be blurred."""
        return bool(self.blur)

    def of(self, view: int) -> "Strength":
        """What changes a view."""
        return self


@dataclass(frozen=True)
class InTurn:
    """Several strengths, each of which changes every so manieth view.

    Attributes:
        kinds: name -> strength.
    """

    kinds: dict[str, Strength]
    is_strong = True
    cutout = 0.0

    @property
    def blurs(self) -> bool:
        """Some view may be blurred."""
        return any(one.blurs for one in self.kinds.values())

    def of(self, view: int) -> Strength:
        """What changes a view."""
        return list(self.kinds.values())[view % len(self.kinds)]


STRENGTHS = {
    "light": Strength(flip=False, rotation=5.0, zoom=0.05, contrast=0.1, noise=2.0),
    "standard": Strength(flip=True, rotation=10.0, zoom=0.1, contrast=0.2, noise=5.0),
    "strong": Strength(
        True, rotation=20.0, zoom=0.25, contrast=0.5, noise=10.0, shift=0.1, brightness=40.0, cutout=0.35
    ),
    # What differs between machines and those who use them, a kind a view: framing, exposure, sharpness. No flips, since
    # laterality may count.
    "acquisition": InTurn(
        {
            "framing": Strength(False, rotation=7.0, zoom=0.2, contrast=0.0, noise=0.0, shift=0.08),
            "exposure": Strength(False, rotation=0.0, zoom=0.0, contrast=0.5, noise=0.0, brightness=40.0),
            "sharpness": Strength(False, rotation=0.0, zoom=0.0, contrast=0.1, noise=12.0, blur=1.0),
        }
    ),
}


class Augmentation:
    """Seeded augmentation of N images.

    Args:
        strength: how much.
        keys: uint64 (N,), all that an image's draws depend on.
        views: K views of each image in all; 0: a fresh one every epoch.
    """

    def __init__(self, strength: Strength | InTurn, keys: np.ndarray, views: int = 0):
        self.strength, self.keys, self.views = strength, keys, views

    @classmethod
    def seeded(cls, strength: Strength | InTurn, images: int, seed: int, views: int = 0) -> "Augmentation":
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
        centre of the square across and down, as a fraction of the side; where it blurs (N, 11): and how far.
        """
        strength = self.strength.of(view)
        drawn = uniform(fold(self.keys, _GEOMETRY, view), 5)
        table = (2.0 * drawn - 1.0).astype(np.float32)
        table[:, 0] = (table[:, 0] > 0) & strength.flip
        table[:, 1] *= np.deg2rad(strength.rotation)
        table[:, 2] = 1.0 + table[:, 2] * strength.zoom
        table[:, 3] = 1.0 + table[:, 3] * strength.contrast
        table[:, 4] = np.abs(table[:, 4]) * strength.noise
        if not self.strength.is_strong:
            return table
        more = uniform(fold(self.keys, _STRONG, view), 5).astype(np.float32)
        more[:, :3] = 2.0 * more[:, :3] - 1.0
        more[:, :3] *= np.float32([strength.shift, strength.shift, strength.brightness])
        table = np.concatenate([table, more], axis=1)
        if not self.strength.blurs:
            return table
        blur = uniform(fold(self.keys, _BLUR, view), 1).astype(np.float32) * np.float32(strength.blur)
        return np.concatenate([table, blur], axis=1)

    def noise_seeds(self, view: int) -> np.ndarray:
        """int64 (N, 2), of the images' pixel noise."""
        keys = fold(self.keys, _NOISE, view)
        return np.stack([fold(keys, 0), fold(keys, 1)], axis=1).view(np.int64)

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
        blurs = self.strength.blurs
        parameters.set_shape((None, 11 if blurs else 10 if strong else 5))
        seeds.set_shape((None, 2))
        shift = parameters[:, 5:7] if strong else None
        pixels = _geometry(pixels, parameters[:, 0], parameters[:, 1], parameters[:, 2], shift)
        if blurs:
            pixels += (_blurred(pixels) - pixels) * parameters[:, 10, None, None, None]
        mean = tf.reduce_mean(pixels, axis=(1, 2), keepdims=True)
        pixels = (pixels - mean) * parameters[:, 3, None, None, None] + mean
        shape = pixels.shape[1:]
        noise = tf.map_fn(lambda s: tf.random.stateless_normal(shape, s), seeds, fn_output_signature=tf.float32)
        pixels += noise * parameters[:, 4, None, None, None]
        if strong:
            pixels += parameters[:, 7, None, None, None]
        if self.strength.cutout:
            pixels = _cut_out(pixels, parameters[:, 8:10], self.strength.cutout)
        return tf.clip_by_value(pixels, 0.0, 255.0)

    def _tables(self, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and seeds of a view, drawn once per epoch rather than once per batch."""
        last = getattr(self, "_last", None)
        if last is None or last[0] != view:
            tables = self.parameters(view), self.noise_seeds(view)
            last = self._last = (view, tables)
        return last[1]


def _blurred(pixels):
    """By a Gaussian, the border mirrored; float32 (B, S, S, C)."""
    import tensorflow as tf

    deviation = max(0.5, _BLUR_DEVIATION * pixels.shape[1])
    reach = min(int(np.ceil(3 * deviation)), pixels.shape[1] - 1)
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    line = np.tile((line / line.sum()).astype(np.float32)[:, None], (1, pixels.shape[3]))[..., None]
    padded = tf.pad(pixels, [[0, 0], [reach, reach], [reach, reach], [0, 0]], "REFLECT")
    down = tf.nn.depthwise_conv2d(padded, line[:, None], (1, 1, 1, 1), "VALID")
    return tf.nn.depthwise_conv2d(down, line[None], (1, 1, 1, 1), "VALID")


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
