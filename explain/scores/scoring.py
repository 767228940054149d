"""All scores of an explanation method on a split, each beside what maps reach that know nothing of the model."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from explain.methods.evidence import smoothed
from explain.scores import controls, intervals, perturbation
from explain.scores.localisation import CUTS, energy, hit, overlaps
from explain.scores.randomisation import cascade
from explain.scores.similarity import rank_correlation

# Images, of different patients where there are, on which methods are asked again and again.
FEW = 8
# Standard deviation of the noise that a map should not mind, in grey values, and how often it is drawn.
_NOISE, DRAWS = 5.0, 2


@dataclass(frozen=True, eq=False)
class Subjects:
    """Images that maps are scored on.

    Attributes:
        inputs: what the model takes of N images.
        chosen: int (N,), the class of each that is explained.
        patients: (N,).
        regions: bool (N, S, S), where the finding is; None where that is not known.
    """

    inputs: list[np.ndarray]
    chosen: np.ndarray
    patients: np.ndarray
    regions: np.ndarray | None = None

    def some(self, which) -> "Subjects":
        """Those that a slice or a mask selects."""
        regions = None if self.regions is None else self.regions[which]
        return Subjects([x[which] for x in self.inputs], self.chosen[which], self.patients[which], regions)


# From what explains (an Explainer of the model, or of one that is randomised), inputs and classes to maps.
Make = Callable[..., np.ndarray]


class Scoring:
    """What all methods are scored on, and what is computed once for all of them.

    Args:
        explainer: of the Run's model: `evidence`, and `with_model` of another one.
        asked: images without known findings.
        located: images with findings, or None.
        tuning: images with findings of the validation part, which a map's cut is chosen on, or None.
        seed: of what is drawn.
        smooth: sigma in pixels that the controls are smoothed by, as the methods' maps are.
    """

    def __init__(
        self,
        explainer,
        asked: Subjects,
        located: Subjects | None,
        tuning: Subjects | None,
        seed: int,
        smooth: float = 0.0,
    ):
        self.explainer, self.asked, self.located, self.tuning, self.seed = explainer, asked, located, tuning, seed
        evidence, size = explainer.evidence, asked.inputs[0].shape[1]
        self.hidden = perturbation.subsets(size, seed)
        self.lost = perturbation.drops(evidence, asked.inputs, asked.chosen, self.hidden)
        first = np.sort(np.unique(asked.patients, return_index=True)[1])[:FEW]
        self.few = asked.some(first)
        # One for all methods: what is compiled of it reads its weights at every call.
        self.randomised = explainer.with_model(tf.keras.models.clone_model(explainer.model))
        draw = np.random.default_rng(seed)
        makers: dict[str, Make] = {
            "random": lambda _, inputs, chosen: smoothed(controls.random(inputs[0], draw), smooth),
            "centre": lambda _, inputs, chosen: smoothed(controls.centre(inputs[0]), smooth),
            "edges": lambda _, inputs, chosen: smoothed(controls.edges(inputs[0]), smooth),
        }
        self.controls = {name: self._measured(make) for name, make in makers.items()}

    def of(self, make: Make, cell: float) -> tuple[dict, np.ndarray]:
        """The scores of a method, and its maps of the images without known findings float32 (N, S, S).

        Args:
            make: its maps.
            cell: side of the smallest thing that they tell apart, in pixels; smaller findings are refused.
        """
        maps = make(self.explainer, self.asked.inputs, self.asked.chosen)
        values = self._measured(make, maps)
        large = np.ones(0, bool) if self.located is None else self.located.regions.sum(axis=(1, 2)) >= cell**2
        found = self._summary(values, large)
        found["controls"] = {name: self._summary(control, large) for name, control in self.controls.items()}
        found["n"] = {
            "images": len(self.asked.chosen), "patients": len(set(self.asked.patients)),
            "findings": int(large.sum()), "findings_smaller_than_a_cell": int((~large).sum()), "cell_pixels": cell,
        }  # fmt: skip
        return found, maps

    def _measured(self, make: Make, maps: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Score -> its value for each image, or each finding."""
        asked, evidence = self.asked, self.explainer.evidence
        if maps is None:
            maps = make(self.explainer, asked.inputs, asked.chosen)
        deletion, insertion = perturbation.areas(evidence, asked.inputs, asked.chosen, maps)
        values = {
            "deletion": deletion,
            "insertion": insertion,
            "faithfulness": perturbation.faithfulness(maps, self.hidden, self.lost),
            **self._asked_again(make),
        }
        if self.located is not None:
            values |= self._localised(make, self.located)
        return values

    def _localised(self, make: Make, located: Subjects) -> dict[str, np.ndarray]:
        maps = make(self.explainer, located.inputs, located.chosen)
        pairs = list(zip(maps, located.regions, strict=True))
        values = {
            "pointing_game": np.array([hit(m, r) for m, r in pairs]),
            "energy_in_box": np.array([energy(m, r) for m, r in pairs]),
        }
        if self.tuning is not None:
            tuned = make(self.explainer, self.tuning.inputs, self.tuning.chosen)
            each = [overlaps(m, r) for m, r in zip(tuned, self.tuning.regions, strict=True)]
            best = int(np.mean(each, axis=0).argmax())
            values["iou"] = np.array([overlaps(m, r)[best] for m, r in pairs])
            values["iou_cut"] = np.array([CUTS[best]])
        return values

    def _asked_again(self, make: Make) -> dict[str, np.ndarray]:
        """`randomisation`, of other weights, and `stability`, of noise: likeness to the map as it is."""
        few, draw = self.few, np.random.default_rng(self.seed)
        maps = make(self.explainer, few.inputs, few.chosen)
        noisy = []
        for _ in range(DRAWS):
            noise = draw.normal(0, _NOISE, few.inputs[0].shape).astype(np.float32)
            noisy.append(
                rank_correlation(maps, make(self.explainer, [few.inputs[0] + noise, *few.inputs[1:]], few.chosen))
            )
        others = []
        for _ in cascade(self.explainer.model, self.randomised.model, self.seed):
            others.append(rank_correlation(maps, make(self.randomised, few.inputs, few.chosen)))
        return {"randomisation": _row_means(others), "stability": _row_means(noisy)}

    def _summary(self, values: dict[str, np.ndarray], large: np.ndarray) -> dict:
        found = {}
        for name, each in values.items():
            if name == "iou_cut":
                found[name] = float(each[0])
            elif name in ("pointing_game", "energy_in_box", "iou"):
                patients = self.located.patients[large]
                measure = intervals.share if name == "pointing_game" else intervals.mean
                found[name] = measure(each[large], patients)
            else:
                patients = self.few.patients if name in ("randomisation", "stability") else self.asked.patients
                found[name] = intervals.mean(each, patients)
        return found


def _row_means(each: list[np.ndarray]) -> np.ndarray:
    """Mean over draws or stages, without those that are not defined: float64 (N,)."""
    values = np.array(each)
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(values.shape[1], np.nan), where=known.any(axis=0))
