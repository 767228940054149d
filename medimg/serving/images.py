"""The served function: encoded image bytes to probabilities in TensorFlow operations alone.

It must see what training saw (`medimg.pipeline.pixels.load_raw`): the same decoding, channels, resize and rounding.
"""

import tensorflow as tf

from medimg.data.resizing import ROUNDING
from medimg.models.resizing import LUMA, LUMA_SHIFT, axis_weights
from medimg.pipeline.batches import steady
from medimg.serving.answer import ServedAnswer
from medimg.serving.orientation import upright

NO_IMAGE = "no PNG or JPEG that can be decoded"


class Served(ServedAnswer):
    """A classifier of images with signatures `serving_default` (image bytes) and `pixels`.

    Args:
        model: raw pixels in, logits out.
        description: the Run's description.
        thresholds: per class.
    """

    def __init__(self, model: tf.keras.Model, description: dict, thresholds: list[float]):
        super().__init__(model, description, thresholds)
        self.size, self.channels = description["image_size"], description["channels"]
        self.white, self.prepared = description.get("white"), description.get("prepared_size")
        shape = (None, self.size, self.size, self.channels)
        self.from_pixels = tf.function(
            self._from_pixels, input_signature=[tf.TensorSpec(shape, tf.float32, name="pixels")]
        )
        self.from_bytes = tf.function(
            self._from_bytes, input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")]
        )

    def signatures(self) -> dict:
        """For tf.saved_model.save."""
        return {"serving_default": self.from_bytes, "pixels": self.from_pixels}

    def _from_bytes(self, image_bytes):
        pixels, error = decoded(image_bytes, self.size, self.channels, self.white, self.prepared)
        return self._from_pixels(pixels, error)

    def _from_pixels(self, pixels, error=None):
        return self.answer(pixels, error)


def decoded(image_bytes, size: int, channels: int, white: int | None, prepared: int | None):
    """Pixels float32 (B, size, size, channels), black where there is an error, and errors string (B,).

    A graph has no other way to outlive an operation's failure than a Dataset that leaves the element out.
    """
    count = tf.shape(image_bytes, tf.int64)[0]
    shape = (size, size, channels)
    read = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes))
    read = read.map(lambda place, data: (place, decode(data, size, channels, white, prepared)), tf.data.AUTOTUNE)
    # The one more element is there when none could be read: an empty Dataset has no batch.
    black = tf.data.Dataset.from_tensors((tf.constant(0, tf.int64), tf.zeros(shape)))
    together = steady(black.concatenate(read.ignore_errors()).batch(count + 1))
    places, pixels = (part[1:] for part in together.get_single_element())
    fine = tf.scatter_nd(places[:, None], tf.ones_like(places), [count]) > 0
    pixels = tf.scatter_nd(places[:, None], pixels, (count, *shape))
    return tf.ensure_shape(pixels, (None, *shape)), tf.where(fine, "", NO_IMAGE)


def decode(data, size: int, channels: int, white: int | None = None, prepared: int | None = None):
    """Encoded PNG (8 or 16 bits, grey, RGB, palette, alpha) or JPEG -> float32 (size, size, channels) in 0..255.

    Args:
        data: string scalar.
        size: of the model.
        channels: of the model.
        white: `white` of the model's description. Of a 12-bit detector, 4095, it is that of the source's images, which
            have no value above; the Dataset's have been stretched, and stay as they are.
        prepared: `prepared_size` of the model's description; the Dataset's images have it, and stay as they are.
    """
    is_jpeg = tf.io.is_jpeg(data)
    sixteen = tf.logical_and(tf.logical_not(is_jpeg), tf.equal(tf.strings.substr(data, 24, 1), b"\x10"))
    # The accurate transform is OpenCV's.
    image = tf.cond(
        is_jpeg,
        lambda: tf.cast(tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE"), tf.int64),
        lambda: tf.cond(
            sixteen,
            lambda: tf.cast(tf.io.decode_png(data, dtype=tf.uint16), tf.int64),
            lambda: tf.cast(tf.io.decode_png(data), tf.int64),
        ),
    )
    full = tf.where(sixteen, tf.constant(65535, tf.int64), tf.constant(255, tf.int64))
    return as_pixels(upright(image, data), full, size, channels, white, prepared)


def as_pixels(image, full, size: int, channels: int, white: int | None, prepared: int | None):
    """Decoded values int64 (H, W, 1 to 4), of which `full` (255 or 65535) is white, as `decode` answers them."""
    image = _over_black(image, full)
    brightest = tf.reduce_max(image)
    if prepared:
        image = tf.cast(_resized(tf.cast(image, tf.float32), prepared), tf.int64)
    image = _stretched(image, full, white, brightest)
    image = _with_channels(image, channels)
    return _resized(tf.cast(image, tf.float32), size) / tf.cast(full // 255, tf.float32)


def _stretched(image, full, white: int | None, brightest):
    """As `medimg.data.intensity.to_full_scale` did before training; `brightest` is of the whole file."""
    if white is None:
        return image
    if white:
        top = tf.where((full > 255) & (brightest <= white), tf.constant(white, tf.int64), full)
    else:
        highest = tf.reduce_max(image)
        top = tf.where(highest > 0, highest, full)
    return (image * full + top // 2) // top


def _over_black(image, full):
    """Drop an alpha channel by laying the colour over black, in integers as `medimg.data.imaging` does."""
    depth = tf.shape(image)[2]
    colour = image[:, :, : tf.where(depth > 2, 3, 1)]
    has_alpha = tf.logical_or(tf.equal(depth, 2), tf.equal(depth, 4))
    return tf.cond(has_alpha, lambda: (colour * image[:, :, -1:] + full // 2) // full, lambda: colour)


def _with_channels(image, channels: int):
    is_grey = tf.equal(tf.shape(image)[2], 1)
    if channels == 3:
        return tf.cond(is_grey, lambda: tf.repeat(image, 3, axis=2), lambda: image)

    def luma():
        total = tf.reduce_sum(image * tf.constant(LUMA, tf.int64), axis=2, keepdims=True)
        return (total + (1 << (LUMA_SHIFT - 1))) // (1 << LUMA_SHIFT)

    return tf.cond(is_grey, lambda: image, luma)


def _resized(image, size: int):
    """At the model's size, rounded as in training."""
    shape = tf.shape(image)

    def stretched():
        rows, columns = axis_weights(shape[0], size), axis_weights(shape[1], size)
        # float32 products like OpenCV's; ROUNDING keeps their last digits from mattering.
        moved = tf.einsum("ij,jkc,lk->ilc", rows, image, columns)
        return tf.floor(moved + ROUNDING)

    same = tf.logical_and(tf.equal(shape[0], size), tf.equal(shape[1], size))
    resized = tf.cond(same, lambda: image, stretched)
    return tf.ensure_shape(resized, (size, size, None))
