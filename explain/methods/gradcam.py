"""Grad-CAM (Selvaraju et al. 2017) and Grad-CAM++ (Chattopadhay et al. 2018), by tf-keras-vis."""

import numpy as np
import tensorflow as tf

from explain.methods.evidence import Evidence
from explain.methods.score import class_score, last_map

# Pixels of the images whose activations a gradient keeps at once: 19 images of 224.
_PIXELS = 1_000_000


def gradcam(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, h, w): the last maps, each weighed by its mean gradient."""
    from tf_keras_vis.gradcam import Gradcam

    return _cam(Gradcam, evidence, inputs, targets, shift=False)


def gradcam_plus_plus(evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, effort) -> np.ndarray:
    """float32 (N, h, w): with a pixel's weight from the second and third derivatives."""
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus

    # It takes the exponential of the score, which overflows beyond 88; a constant factor of the map is all that it
    # changes, so the score is moved to 0 and keeps its gradient.
    return _cam(GradcamPlusPlus, evidence, inputs, targets, shift=True)


def _cam(explainer, evidence: Evidence, inputs, targets, shift: bool) -> np.ndarray:
    maps, batch = [], max(1, _PIXELS // inputs[0][0, ..., 0].size)
    for start in range(0, len(targets), batch):
        some = slice(start, start + batch)

        def score(logits, classes=targets[some]):
            value = class_score(logits, tf.constant(classes), evidence.task)
            return value - tf.stop_gradient(value) if shift else value

        pixels = [array[some] for array in inputs]
        maps.append(
            explainer(evidence.model, clone=False)(
                score,
                pixels if len(pixels) > 1 else pixels[0],
                penultimate_layer=last_map(evidence.model),
                seek_penultimate_conv_layer=False,
                # Its zoom puts the centres of the outer cells on the image's edge, half a cell off.
                expand_cam=False,
                normalize_cam=False,
            )
        )
    return np.concatenate(maps)
