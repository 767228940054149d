"""Every explanation method of images behind one call: a model's evidence, images and classes to maps of their size."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from explain.methods.evidence import Evidence, smoothed, stretched
from explain.methods.gradcam import gradcam, gradcam_plus_plus
from explain.methods.hirescam import hirescam
from explain.methods.integrated_gradients import expected_gradients, integrated_gradients
from explain.methods.occlusion import occlusion
from explain.methods.rise import GRID, rise
from explain.methods.scorecam import scorecam
from explain.methods.shap_partition import shap_partition
from explain.methods.smoothgrad import smoothgrad
from medimg.errors import InputError


@dataclass(frozen=True, eq=False)
class Effort:
    """What a method may spend.

    Attributes:
        samples: evaluations of the model per image, of occlusion, RISE and SHAP.
        seed: of what is drawn.
        background: float32 (K, S, S, C), images that stand for the population; of `shap-gradient` alone.
        smooth: sigma of the Gaussian that maps are smoothed by, as a share of the side. A cell of the last maps, and a
            pixel's gradient, speak of what their receptive field has seen around them: without smoothing the maximum
            of a map is often beside the finding, on its edge or between several cells.
    """

    samples: int = 200
    seed: int = 0
    background: np.ndarray | None = None
    smooth: float = 0.0


@dataclass(frozen=True)
class Method:
    """How images are explained.

    Attributes:
        maps: (evidence, inputs, targets, effort) -> (N, h, w).
        of_layer: looks at the last maps: each member of an ensemble has its own, whose mean is shown.
        signed: evidence against the class too; otherwise maps are from 0 to 1.
        cells: smallest thing that a map can tell apart, as a share of the image's side, of (evidence, effort).
    """

    maps: Callable
    of_layer: bool = False
    signed: bool = False
    cells: Callable = lambda evidence, effort: 1 / evidence.model.inputs[0].shape[1]


def _cell(evidence: Evidence, effort: Effort) -> float:
    return evidence.cell / evidence.model.inputs[0].shape[1]


METHODS = {
    "gradcam": Method(gradcam, True, cells=_cell),
    "gradcam++": Method(gradcam_plus_plus, True, cells=_cell),
    "hirescam": Method(hirescam, True, cells=_cell),
    "scorecam": Method(scorecam, True, cells=_cell),
    "smoothgrad": Method(smoothgrad),
    "integrated-gradients": Method(integrated_gradients, signed=True),
    "occlusion": Method(occlusion, signed=True, cells=lambda evidence, effort: 1 / effort.samples**0.5),
    "rise": Method(rise, cells=lambda evidence, effort: 1 / GRID),
    "shap": Method(shap_partition, signed=True, cells=lambda evidence, effort: (2 / effort.samples) ** 0.5),
    "shap-gradient": Method(expected_gradients, signed=True),
}


def require_known(methods: Iterable[str]) -> None:
    """Refuse a name that is no method of images.

    Raises:
        InputError: it isn't.
    """
    for method in methods:
        if method not in METHODS:
            raise InputError(f"--method {method}: choose one of {', '.join(METHODS)}")


def heat_maps(
    evidence: Evidence, inputs: list[np.ndarray], targets: np.ndarray, method: str, effort: Effort = Effort()
) -> np.ndarray:
    """Where the evidence for a class is.

    Args:
        evidence: of the model.
        inputs: pixels float32 (N, S, S, C) in 0..255, and columns float32 (N, F) where the model takes any.
        targets: int (N,), the class to explain.
        method: of METHODS.
        effort: what it may spend.

    Returns:
        float32 (N, S, S): signed, or from 0 to 1 per image; all 0 where the map is flat.
    """
    entry = METHODS[method]
    maps = entry.maps(evidence, inputs, np.asarray(targets, np.int32), effort)
    size = inputs[0].shape[1]
    maps = smoothed(stretched(np.nan_to_num(np.asarray(maps, np.float32)), size), effort.smooth * size)
    return maps if entry.signed else _normalised(maps)


def _normalised(maps: np.ndarray) -> np.ndarray:
    """Each map over its own maximum; a map without a positive value stays 0 rather than being divided by it."""
    maps = np.maximum(maps, 0.0)
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)
