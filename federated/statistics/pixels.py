"""Colour whitening from sums of pixels over the clients."""

import numpy as np

from federated.statistics.asking import Asking, Total, unusable, whole
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline.whitening import PixelSums, Whitening, image_sums, whitening

# Sums of products go to 2^16 times the pixels: in this unit, a power of two, they stay far below 2^40.
_UNIT = 2.0**24


def pixels(dataset: Dataset, request: dict) -> np.ndarray:
    """At the site: sums over its labelled images in train, at the model's size and channels."""
    if dataset.is_table:
        raise InputError(f"{dataset.root}: holds rows of a table; colours are of images")
    paths = dataset.paths(dataset.rows("train", labelled=True))
    totals = image_sums(paths, int(request["image_size"]), int(request["channels"]))
    return np.concatenate([[totals.count], totals.sums / _UNIT, totals.products.ravel() / _UNIT])


def pixel_whitening(total: Total, image_size: int, channels: int, method: str = "pca") -> Whitening:
    """The whitening of all clients' training images together, equal to that of their pooled pixels; one round.

    Args:
        total: as for `fit`.
        image_size: images are resized to it first.
        channels: 1 or 3.
        method: of `medimg.pipeline.whitening.LEARNT`.

    Raises:
        InputError: no client has images, or an answer is unusable.
    """
    size = 1 + channels + channels * channels
    answer = Asking(total)("pixels", size, image_size=image_size, channels=channels)
    count = int(whole("pixels", answer[:1])[0])
    sums, products = answer[1 : 1 + channels] * _UNIT, answer[1 + channels :].reshape(channels, channels) * _UNIT
    if (sums < 0).any() or (sums > 255.0 * count).any():
        raise unusable("pixels", "the mean pixel is not in 0..255")
    if not np.array_equal(products, products.T):
        raise unusable("pixels", "the products are not symmetric")
    return whitening(PixelSums(count, sums, products), method)
