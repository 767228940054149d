"""Class activation maps and SmoothGrad, by tf-keras-vis.

Grad-CAM (Selvaraju et al. 2017), Grad-CAM++ (Chattopadhay et al. 2018), Score-CAM (Wang et al. 2020), SmoothGrad
(Smilkov et al. 2017).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import tensorflow as tf

from explain.methods.score import class_score, last_map

METHODS = ("gradcam", "gradcam++", "scorecam", "smoothgrad")
# Score-CAM runs the model once per map; beyond the strongest maps the picture no longer changes.
_SCORECAM_MAPS = 64
_SMOOTHGRAD_SAMPLES, _SMOOTHGRAD_NOISE = 20, 0.15
# SmoothGrad holds every noisy copy of every image at once.
_SMOOTHGRAD_IMAGES = 4
_TINY = 1e-30


def heat_maps(model: tf.keras.Model, pixels: np.ndarray, chosen: np.ndarray, method: str, task: str) -> np.ndarray:
    """Where the evidence for a class is, per image from 0 to 1; all 0 where the map is flat.

    Args:
        model: raw pixels in, logits out.
        pixels: float32 (B, S, S, C) in 0..255.
        chosen: int (B,), the class to explain.
        method: one of METHODS.
        task: of the model.

    Returns:
        float32 (B, S, S).
    """
    chosen = np.asarray(chosen, np.int32)
    if method == "smoothgrad":
        maps = _smoothgrad(model, pixels, chosen, task)
    elif method == "scorecam":
        maps = _scorecam(model, pixels, chosen, task)
    else:
        maps = _gradcam(model, pixels, chosen, method, task)
    return _normalised(_stretched(np.asarray(maps, np.float32), pixels.shape[1]))


def _gradcam(model, pixels, chosen, method: str, task: str) -> np.ndarray:
    """(B, h, w), the size of the last map."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus

    def score(logits):
        value = class_score(logits, tf.constant(chosen), task)
        # Grad-CAM++ takes the exponential of the score, which overflows beyond 88; a constant factor of the map is
        # all that it changes, so the score is moved to 0 and keeps its gradient.
        return value - tf.stop_gradient(value) if method == "gradcam++" else value

    explainer = (GradcamPlusPlus if method == "gradcam++" else Gradcam)(model, clone=False)
    return explainer(
        score,
        pixels,
        penultimate_layer=last_map(model),
        seek_penultimate_conv_layer=False,
        expand_cam=False,
        normalize_cam=False,
    )


def _scorecam(model, pixels, chosen, task: str) -> np.ndarray:
    """(B, h, w); image by image, since tf-keras-vis would pick the strongest maps for a batch together."""
    from tf_keras_vis.scorecam import Scorecam

    layer = last_map(model)
    channels = model.get_layer(layer).output.shape[-1]
    multilabel = task == "multilabel"
    explainer = Scorecam(_with_zero_logit(model) if multilabel else model, clone=False)

    def score(wanted):
        # What arrives is the softmax of all outputs. Of a label and the constant 0 alone it is the label's sigmoid.
        def probability(softmax):
            p = softmax[:, wanted]
            return p / (p + softmax[:, -1] + _TINY) if multilabel else p

        return probability

    with _no_progress_bar():
        maps = [
            explainer(
                score(wanted),
                image[None],
                penultimate_layer=layer,
                seek_penultimate_conv_layer=False,
                max_N=min(_SCORECAM_MAPS, channels),
                expand_cam=False,
                normalize_cam=False,
            )[0]
            for image, wanted in zip(pixels, chosen.tolist(), strict=True)
        ]
    return np.stack(maps)


@lru_cache(maxsize=1)
def _with_zero_logit(model) -> tf.keras.Model:
    """The same model with a constant 0 after its logits; kept, since a new one for every batch is compiled anew."""
    padded = tf.pad(model.output, [[0, 0], [0, 1]])
    return tf.keras.Model(model.input, padded)


def _smoothgrad(model, pixels, chosen, task: str) -> np.ndarray:
    """(B, S, S), the largest magnitude over channels: a dark finding has a negative gradient."""
    from tf_keras_vis.saliency import Saliency

    explainer, maps = Saliency(model, clone=False), []
    for start in range(0, len(pixels), _SMOOTHGRAD_IMAGES):
        some = slice(start, start + _SMOOTHGRAD_IMAGES)
        gradient = explainer(
            lambda logits, wanted=chosen[some]: class_score(logits, tf.constant(wanted), task),
            pixels[some],
            smooth_samples=_SMOOTHGRAD_SAMPLES,
            smooth_noise=_SMOOTHGRAD_NOISE,
            keepdims=True,
            normalize_map=False,
        )
        maps.append(np.abs(gradient).max(axis=-1))
    return np.concatenate(maps)


def _stretched(maps: np.ndarray, size: int) -> np.ndarray:
    """(B, h, w) -> (B, size, size), a map's cell over the pixels it stands for.

    The zoom of tf-keras-vis puts the centres of the outer cells on the image's edge, half a cell off.
    """
    import cv2

    if maps.shape[1:] == (size, size):
        return maps
    return np.stack([cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in maps])


def _normalised(maps: np.ndarray) -> np.ndarray:
    """Each map over its own maximum; a map without a positive value stays 0 rather than being divided by it."""
    maps = np.nan_to_num(np.maximum(maps, 0.0))
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Score-CAM calls `predict`, whose bar would appear among ours."""
    shown = tf.keras.utils.is_interactive_logging_enabled()
    tf.keras.utils.disable_interactive_logging()
    try:
        yield
    finally:
        if shown:
            tf.keras.utils.enable_interactive_logging()
