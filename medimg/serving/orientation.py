"""The EXIF orientation of a JPEG or PNG, in TensorFlow operations; `medimg.data.imaging` does the same in training.

TensorFlow's decoder ignores it, and a photograph from a phone held upright would be served lying on its side.
Source: EXIF 2.32, sections 4.5.4 and 4.6.2; JPEG markers: ITU-T T.81, annex B; chunks: PNG 1.2, section 3.2, and its
extension eXIf.
"""

import tensorflow as tf

from medimg.untrusted.image_size import PNG

# The tag stands in the first segments; a segment has at most 64 KB.
_HEADER_BYTES = 1 << 18
_SCAN, _END, _EXIF_SEGMENT, _TAG = 0xDA, 0xD9, 0xE1, 0x0112
_EXIF = b"Exif\x00\x00"
# By orientation 0..8: mirrored left to right first? Then turned how often by 90 degrees counter-clockwise?
_MIRRORED = (False, False, True, False, True, True, False, True, False)
_TURNS = (0, 0, 0, 2, 2, 1, 3, 3, 1)


def upright(image, data):
    """Turn a decoded image as its file says.

    Args:
        image: (H, W, C).
        data: string scalar, the file.

    Returns:
        (H, W, C) or (W, H, C).
    """
    orientation = exif_orientation(data)
    mirrored = tf.gather(tf.constant(_MIRRORED), orientation)
    image = tf.cond(mirrored, lambda: tf.reverse(image, axis=[1]), lambda: image)
    return tf.image.rot90(image, tf.gather(tf.constant(_TURNS), orientation))


def exif_orientation(data):
    """int32 scalar 1..8; 1, as it is stored, where the file does not say."""
    is_png = tf.equal(tf.strings.substr(data, 0, len(PNG)), PNG)
    return tf.cond(is_png, lambda: _of_png(data), lambda: _of_jpeg(_numbers(data)))


def _numbers(data):
    return tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, _HEADER_BYTES), tf.uint8), tf.int32)


def _of_jpeg(header):
    exif = _exif_start(header)
    return tf.cond(exif > 0, lambda: _orientation_tag(header, exif), lambda: tf.constant(1))


def _of_png(data):
    """Go from chunk to chunk, each with its length in front and four bytes of checksum behind."""
    size = tf.strings.length(data)

    def chunk_follows(at, exif):
        return tf.equal(tf.strings.length(exif), 0) & (at + 8 <= size)

    def next_chunk(at, exif):
        digits = tf.cast(tf.io.decode_raw(tf.strings.substr(data, at, 4), tf.uint8), tf.int32)
        # No chunk is longer than the file, whatever a broken one says.
        length = tf.where(digits[0] > 0x7F, size, tf.minimum(size, tf.reduce_sum(digits * [1 << 24, 1 << 16, 256, 1])))
        is_exif = tf.equal(tf.strings.substr(data, at + 4, 4), b"eXIf")
        content = tf.cond(is_exif, lambda: tf.strings.substr(data, at + 8, length), lambda: tf.constant(b""))
        return at + 12 + length, content

    exif_chunk = tf.while_loop(chunk_follows, next_chunk, (tf.constant(len(PNG)), tf.constant(b"")))[1]
    # Some writers put a JPEG's mark before it.
    marked = tf.equal(tf.strings.substr(exif_chunk, 0, len(_EXIF)), _EXIF)
    # Padded: an empty one holds no tag.
    header = _numbers(tf.strings.join([exif_chunk, b"\0" * 16]))
    return _orientation_tag(header, tf.where(marked, len(_EXIF), 0))


def _exif_start(header):
    """Where the TIFF part of the EXIF segment starts; 0 when there is none before the image data."""

    def segment_follows(at, exif):
        marker = _bytes(header, at, 2)
        is_image = tf.reduce_any(tf.equal(marker[1], [_SCAN, _END]))
        return (exif == 0) & (at < tf.size(header)) & (marker[0] == 0xFF) & ~is_image

    def next_segment(at, exif):
        is_exif = tf.equal(_bytes(header, at + 1, 1)[0], _EXIF_SEGMENT) & tf.reduce_all(
            tf.equal(_bytes(header, at + 4, len(_EXIF)), list(_EXIF))
        )
        length = _bytes(header, at + 2, 2)
        return at + 2 + length[0] * 256 + length[1], tf.where(is_exif, at + 10, exif)

    # The file starts with a marker of two bytes that has no length.
    return tf.while_loop(segment_follows, next_segment, (tf.constant(2), tf.constant(0)))[1]


def _orientation_tag(header, exif):
    """Look through the entries of the first directory."""
    is_little = tf.equal(_bytes(header, exif, 1)[0], ord("I"))

    def number(at, length: int):
        digits = tf.gather(header, _inside(header, at[..., None] + tf.range(length)))
        digits = tf.where(is_little, tf.reverse(digits, axis=[-1]), digits)
        return tf.reduce_sum(digits * [256**i for i in range(length)][::-1], axis=-1)

    # The offset's upper half is 0 in a segment of 64 KB.
    lower = tf.where(is_little, exif + 4, exif + 6)
    directory = exif + number(lower, 2)
    entries = directory + 2 + 12 * tf.range(number(directory, 2))
    values = tf.boolean_mask(number(entries + 8, 2), tf.equal(number(entries, 2), _TAG))
    value = tf.concat([values, [1]], axis=0)[0]
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _bytes(header, at, count: int):
    return tf.gather(header, _inside(header, at + tf.range(count)))


def _inside(header, at):
    """Positions that a broken header puts past its end become the last byte's."""
    return tf.clip_by_value(at, 0, tf.size(header) - 1)
