"""Images as pixels and as features."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.fft import dctn

from medimg.data.imaging import read_image
from medimg.data.resizing import resize
from medimg.errors import InputError
from medimg.models.registry import family, parse_arguments
from medimg.pipeline.pixels import PixelCache, as_pixels, image_form
from synthetic.judge.config import JudgeConfig
from synthetic.judge.rows import Subject
from synthetic.judge.vectors import Vectors

# Larger images are judged at this size: no generator here makes larger ones.
MOST_SIZE = 128
# Backbones see nothing in 28 px; ImageNet's were trained on 224.
BACKBONE_SIZE = 128
# Low frequencies: 8 x 8 of the 32 x 32 of the discrete cosine transform.
DCT_SIZE, FREQUENCIES = 32, 8
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pixels of the three parts at one size, float32 (N, S, S, C) in 0..255."""

    made: np.ndarray
    train: np.ndarray
    test: np.ndarray

    @property
    def size(self) -> int:
        """S."""
        return self.made.shape[1]

    @property
    def channels(self) -> int:
        """C, 1 or 3."""
        return self.made.shape[3]


def load(subject: Subject, progress) -> Pictures:
    """Decode all images at the size of the synthetic ones: real images with more detail would be told by that alone.

    Raises:
        InputError: an image can't be read.
    """
    parts = {
        "synthetic": subject.synthetic.paths(subject.made),
        "train": subject.real.paths(subject.train),
        "test": subject.real.paths(subject.test),
    }
    size = min(MOST_SIZE, max(read_image(parts["synthetic"][0]).shape[:2]))
    channels = max(image_form(paths).channels for paths in parts.values())
    pixels = []
    for name, paths in parts.items():
        cache = PixelCache.in_memory(
            paths, size, channels, progress=lambda d, n, name=name: progress(f"decode {name}", d, n)
        )
        pixels.append(as_pixels(cache.take(np.arange(len(paths)))))
        cache.close()
    return Pictures(*pixels)


def features(pictures: Pictures, config: JudgeConfig, progress) -> Vectors:
    """Features of all images, by the name that the report gives them.

    Raises:
        InputError: the backbone or its weights can't be had.
    """
    choice = config.features
    if choice == "auto":
        choice = "imagenet" if _has_imagenet(config) else "dct"
    if choice == "dct":
        parts = (pictures.made, pictures.train, pictures.test)
        name = (
            f"low frequencies of the pixels ({FREQUENCIES} x {FREQUENCIES} coefficients of the discrete cosine "
            f"transform at {min(DCT_SIZE, pictures.size)} px; no trained network)"
        )
        return Vectors(*(low_frequencies(part) for part in parts), name)
    return _of_backbone(pictures, config, choice, progress)


def low_frequencies(images: np.ndarray) -> np.ndarray:
    """The coarse content of images: nothing is learnt, so nothing can favour training images.

    Args:
        images: float32 (N, S, S, C) in 0..255.

    Returns:
        float64 (N, 64 * C): lowest coefficients of the orthonormal two-dimensional DCT-II, in grey levels:
        distances are root mean squared differences of the blurred images, but for a factor.
    """
    size = min(DCT_SIZE, images.shape[1])
    small = np.asarray([_resized(image, size) for image in images], np.float64)
    coefficients = dctn(small, axes=(1, 2), norm="ortho") / size
    return coefficients[:, :FREQUENCIES, :FREQUENCIES].reshape(len(images), -1)


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    resized = resize(image, size)
    return resized if resized.ndim == 3 else resized[:, :, None]


def _has_imagenet(config: JudgeConfig) -> bool:
    """Keras has downloaded the backbone's weights before; the judge by itself downloads nothing."""
    application = family(config.feature_model).application
    if application is None or config.feature_arg:
        return False
    stem = application.lower().replace("v2", "_v2")
    files = (Path.home() / ".keras" / "models").glob(f"{stem}*no*top.h5")
    # MobileNets have a file for each image size.
    return any("mobilenet" not in stem or f"_{BACKBONE_SIZE}_" in file.name for file in files)


def _of_backbone(pictures: Pictures, config: JudgeConfig, weights: str, progress) -> Vectors:
    # What can be refused without TensorFlow is refused before it is imported.
    if weights != "imagenet" and not Path(weights).is_file():
        raise InputError(
            f"--features {weights}: no such file; give a backbone's .h5 or .keras, or auto, imagenet or dct"
        )
    backbone = family(config.feature_model)
    if backbone.application is None:
        raise InputError(
            f"--feature-model {config.feature_model}: has no ImageNet weights; take another, or --features dct"
        )
    parse_arguments(backbone, config.feature_arg)
    import tensorflow as tf

    from medimg.models.build import build
    from medimg.training.features import extractor, forward_function

    model = build(config.feature_model, BACKBONE_SIZE, pictures.channels, 2, weights, model_arg=config.feature_arg)
    forward = forward_function(extractor(model))
    parts = (pictures.made, pictures.train, pictures.test)
    total, pooled = sum(len(part) for part in parts), []
    for part in parts:
        batches = []
        for start in range(0, len(part), _BATCH):
            grown = [_resized(image, BACKBONE_SIZE) for image in part[start : start + _BATCH]]
            batches.append(forward(tf.constant(np.asarray(grown, np.float32))).numpy())
            progress("features", sum(map(len, pooled)) + sum(map(len, batches)), total)
        pooled.append(np.concatenate(batches).astype(np.float64))
    tf.keras.backend.clear_session()
    source = "ImageNet weights" if weights == "imagenet" else f"weights of {Path(weights).name}"
    name = f"{config.feature_model} at {BACKBONE_SIZE} px with {source}, pooled"
    return Vectors(*pooled, name)


def grey(images: np.ndarray) -> np.ndarray:
    """float32 (N, S, S) in 0..255."""
    if images.shape[3] == 1:
        return images[..., 0]
    return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
