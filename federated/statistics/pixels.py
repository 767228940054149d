"""Colour whitening from sums of pixels over the clients."""

import numpy as np

from federated.statistics.asking import Ask, Asking, answer_of, numbers
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline.whitening import PixelSums, Whitening, image_sums, whitening


def pixels(dataset: Dataset, request: dict) -> dict:
    """At the site: sums over its labelled images in train, at the model's size and channels."""
    if dataset.is_table:
        raise InputError(f"{dataset.root}: holds rows of a table; colours are of images")
    paths = dataset.paths(dataset.rows("train", labelled=True))
    return image_sums(paths, int(request["image_size"]), int(request["channels"])).to_dict()


def pixel_whitening(ask: Ask, image_size: int, channels: int, method: str = "pca") -> Whitening:
    """The whitening of all clients' training images together, equal to that of their pooled pixels; one round.

    Args:
        ask: as for `fit`.
        image_size: images are resized to it first.
        channels: 1 or 3.
        method: of `medimg.pipeline.whitening.LEARNT`.

    Raises:
        InputError: no client has images, or an answer is unusable.
    """
    total = PixelSums.none(channels)
    for client, answer in Asking(ask)("pixels", image_size=image_size, channels=channels):
        with answer_of(client, "pixels"):
            count = int(numbers(answer, "count", (), counts=True))
            sums = numbers(answer, "sums", (channels,))
            products = numbers(answer, "products", (channels, channels))
            if (sums < 0).any() or (sums > 255.0 * count).any():
                raise ValueError("the mean pixel is not in 0..255")
            if not np.array_equal(products, products.T):
                raise ValueError("the products are not symmetric")
            total += PixelSums(count, sums, products)
    return whitening(total, method)
