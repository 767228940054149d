"""Maps as one would write them with tf-keras-vis and shap alone: load a Keras model, read, explain, paint, keep.

`python -m benchmarks.peers.plain_explanations MODEL.keras gradcam|shap OUT IMAGE...`: a PNG of image and overlay and an
npz an image, and a contact sheet. All images are one batch. Of a binary model with one logit or one probability the map
is of the positive class. Of medimg nothing is used but the reading of its model.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np

# What the regions' colours are worth beside the image.
_STRENGTH, _SIDE = 0.6, 320
EVALUATIONS, BATCH = 200, 64


def gradcam(model, x: np.ndarray) -> np.ndarray:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    return Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)(
        CategoricalScore(_positive(model, len(x))), x, penultimate_layer=-1
    )


def shap(model, x: np.ndarray) -> np.ndarray:
    import shap as library

    positive = _positive(model, 1)[0]

    def score(images):
        return model.predict(images, batch_size=BATCH, verbose=0)[:, positive]

    masker = library.maskers.Image(f"blur({x.shape[1] // 4},{x.shape[1] // 4})", x[0].shape)
    explainer = library.PartitionExplainer(score, masker)
    return explainer(x, max_evals=EVALUATIONS, batch_size=BATCH, silent=True).values.sum(axis=-1)


def _positive(model, count: int) -> list[int]:
    return [model.output_shape[-1] - 1] * count


def main() -> None:
    from medimg.models.saving import load_model

    file, method, out, *paths = sys.argv[1:]
    model, out = load_model(Path(file)), Path(out)
    _, size, _, channels = model.input_shape
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
    images = [cv2.resize(cv2.imread(path, flag), (size, size), interpolation=cv2.INTER_AREA) for path in paths]
    x = np.stack(images).reshape(len(images), size, size, channels)[..., ::-1].astype(np.float32)
    maps = {"gradcam": gradcam, "shap": shap}[method](model, x)
    chances = model.predict(x, verbose=0)
    out.mkdir(parents=True)
    pairs = []
    for path, pixels, values, chance in zip(paths, x, maps, chances, strict=True):
        heat = np.abs(values) / (np.abs(values).max() or 1)
        shown = np.repeat(pixels, 3, axis=2) if channels == 1 else pixels
        shown = cv2.resize(shown.astype(np.uint8), (_SIDE, _SIDE))
        heat_shown = cv2.applyColorMap(cv2.resize((255 * heat).astype(np.uint8), (_SIDE, _SIDE)), cv2.COLORMAP_JET)
        pair = np.hstack([shown, cv2.addWeighted(shown, 1 - _STRENGTH, heat_shown, _STRENGTH, 0)])
        pair = cv2.copyMakeBorder(pair, 30, 0, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        text = f"{Path(path).name} {np.ravel(chance)[-1]:.2f}"
        cv2.putText(pair, text, (5, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0))
        cv2.imwrite(str(out / f"{Path(path).stem}.png"), pair)
        np.savez_compressed(out / f"{Path(path).stem}.npz", heat_map=heat)
        pairs.append(pair)
    pairs += [np.full_like(pairs[0], 255)] * (-len(pairs) % 4)
    sheet = np.vstack([np.hstack(pairs[start : start + 4]) for start in range(0, len(pairs), 4)])
    cv2.imwrite(str(out / "contact_sheet.png"), sheet)


if __name__ == "__main__":
    main()
