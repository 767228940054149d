"""SHAP values of image regions by the Partition explainer (Lundberg and Lee 2017; Owen 1977).

Partition asks the model only for outputs, so every architecture works, and it needs no background images: hidden
regions are blurred. Regions are halved where the output changes most until the evaluations are spent.
"""

import numpy as np
import tensorflow as tf

from explain.methods.score import class_score


def shap_maps(
    model: tf.keras.Model, pixels: np.ndarray, chosen: np.ndarray, task: str, samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed contribution of each pixel to the class's score; an image's sum is score(image) - score(blurred image).

    Args:
        model: raw pixels in, logits out.
        pixels: float32 (B, S, S, C) in 0..255.
        chosen: int (B,), the class to explain.
        task: of the model.
        samples: evaluations of the model per image.

    Returns:
        maps float32 (B, S, S), scores of the blurred images (B,), scores of the images (B,).
    """
    import shap

    size = pixels.shape[1]
    # A kernel of half the image leaves no finding; OpenCV wants at least 2.
    blur = max(2, size // 2)
    maps, bases, scores = [], [], []
    for image, wanted in zip(pixels, chosen, strict=True):

        def score(batch, wanted=wanted):
            logits = model(tf.constant(batch, tf.float32), training=False)
            classes = tf.fill([tf.shape(logits)[0]], tf.cast(wanted, tf.int32))
            return class_score(logits, classes, task).numpy()

        masker = shap.maskers.Image(f"blur({blur},{blur})", image.shape)
        explainer = shap.PartitionExplainer(score, masker)
        explanation = explainer(image[None], max_evals=samples, batch_size=50, silent=True)
        maps.append(explanation.values[0].reshape(image.shape).sum(axis=-1))
        bases.append(float(np.ravel(explanation.base_values)[0]))
        scores.append(float(score(image[None])[0]))
    return np.asarray(maps, np.float32), np.array(bases), np.array(scores)
