"""Class activation maps and SmoothGrad, by tf-keras-vis.

Grad-CAM (Selvaraju et al. 2017), Grad-CAM++ (Chattopadhay et al. 2018), Score-CAM (Wang et al. 2020), SmoothGrad
(Smilkov et al. 2017). tf-keras-vis hands Score-CAM's score the softmax of the logits, in a multilabel model too.
"""

import numpy as np
import tensorflow as tf

from explain.score import class_score, last_map

METHODS = ("gradcam", "gradcam++", "scorecam", "smoothgrad")
# Score-CAM runs the model once per map; beyond the strongest maps the picture no longer changes.
_SCORECAM_MAPS = 64
_SMOOTHGRAD_SAMPLES, _SMOOTHGRAD_NOISE = 20, 0.15


def heat_maps(
    model: tf.keras.Model, pixels: np.ndarray, chosen: np.ndarray, method: str, task: str
) -> np.ndarray:
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
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.scorecam import Scorecam

    chosen = tf.constant(chosen, tf.int32)

    def score(logits):
        return class_score(logits, chosen, task)

    if method == "smoothgrad":
        maps = Saliency(model, clone=False)(
            score,
            pixels,
            smooth_samples=_SMOOTHGRAD_SAMPLES,
            smooth_noise=_SMOOTHGRAD_NOISE,
            normalize_map=False,
        )
    else:
        kind = {"gradcam": Gradcam, "gradcam++": GradcamPlusPlus, "scorecam": Scorecam}[method]
        more = (
            {"max_N": min(_SCORECAM_MAPS, model.get_layer(last_map(model)).output.shape[-1])}
            if method == "scorecam"
            else {}
        )
        explainer = kind(model, clone=False)
        maps = explainer(
            score, pixels, penultimate_layer=last_map(model), normalize_cam=False, **more
        )
    return _normalised(np.asarray(maps, np.float32))


def _normalised(maps: np.ndarray) -> np.ndarray:
    """Each map over its own maximum; a map without a positive value stays 0 rather than being divided by it."""
    maps = np.nan_to_num(np.maximum(maps, 0.0))
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)
