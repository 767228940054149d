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
        targets: int (N,), the class of each that is explained.
        patients: (N,).
        regions: bool (N, S, S), where the finding is; None where that is not known.
    """

    inputs: list[np.ndarray]
    targets: np.ndarray
    patients: np.ndarray
    regions: np.ndarray | None = None

    def some(self, selection) -> "Subjects":
        """Those that a slice or a mask selects."""
        regions = None if self.regions is None else self.regions[selection]
        return Subjects([x[selection] for x in self.inputs], self.targets[selection], self.patients[selection], regions)


# From what explains (an Explainer of the model, or of one that is randomised), inputs and classes to maps.
Make = Callable[..., np.ndarray]


class Scoring:
    """What all methods are scored on, and what is computed once for all of them.

    Args:
        explainer: of the Run's model: `evidence`, and `with_model` of another one.
        subjects: images without known findings.
        located: images with findings, or None.
        tuning: images with findings of the validation part, which a map's cut is chosen on, or None.
        seed: of what is drawn.
        smooth: sigma in pixels that the controls are smoothed by, as the methods' maps are.
    """

    def __init__(
        self,
        explainer,
        subjects: Subjects,
        located: Subjects | None,
        tuning: Subjects | None,
        seed: int,
        smooth: float = 0.0,
    ):
        self.explainer, self.subjects, self.located, self.tuning, self.seed = explainer, subjects, located, tuning, seed
        evidence, size = explainer.evidence, subjects.inputs[0].shape[1]
        self.hidden = perturbation.subsets(size, seed)
        self.losses = perturbation.drops(evidence, subjects.inputs, subjects.targets, self.hidden)
        first = np.sort(np.unique(subjects.patients, return_index=True)[1])[:FEW]
        self.few = subjects.some(first)
        # One for all methods: what is compiled of it reads its weights at every call.
        self.randomised = explainer.with_model(tf.keras.models.clone_model(explainer.model))
        draw = np.random.default_rng(seed)
        makers: dict[str, Make] = {
            "random": lambda _, inputs, targets: smoothed(controls.random(inputs[0], draw), smooth),
            "centre": lambda _, inputs, targets: smoothed(controls.centre(inputs[0]), smooth),
            "edges": lambda _, inputs, targets: smoothed(controls.edges(inputs[0]), smooth),
        }
        self.controls = {name: self._measured(make) for name, make in makers.items()}

    def of(self, make: Make, cell: float) -> tuple[dict, np.ndarray]:
        """The scores of a method, and its maps of the images without known findings float32 (N, S, S).

        Args:
            make: its maps.
            cell: side of the smallest thing that they tell apart, in pixels; smaller findings are refused.
        """
        maps = make(self.explainer, self.subjects.inputs, self.subjects.targets)
        values = self._measured(make, maps)
        large = np.ones(0, bool) if self.located is None else self.located.regions.sum(axis=(1, 2)) >= cell**2
        scores = self._summary(values, large)
        scores["controls"] = {name: self._summary(control, large) for name, control in self.controls.items()}
        scores["n"] = {
            "images": len(self.subjects.targets), "patients": len(set(self.subjects.patients)),
            "findings": int(large.sum()), "findings_smaller_than_a_cell": int((~large).sum()), "cell_pixels": cell,
        }  # fmt: skip
        return scores, maps

    def _measured(self, make: Make, maps: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Score -> its value for each image, or each finding."""
        subjects, evidence = self.subjects, self.explainer.evidence
        if maps is None:
            maps = make(self.explainer, subjects.inputs, subjects.targets)
        deletion, insertion = perturbation.areas(evidence, subjects.inputs, subjects.targets, maps)
        values = {
            "deletion": deletion,
            "insertion": insertion,
            "faithfulness": perturbation.faithfulness(maps, self.hidden, self.losses),
            **self._under_changes(make),
        }
        if self.located is not None:
            values |= self._localised(make, self.located)
        return values

    def _localised(self, make: Make, located: Subjects) -> dict[str, np.ndarray]:
        maps = make(self.explainer, located.inputs, located.targets)
        pairs = list(zip(maps, located.regions, strict=True))
        values = {
            "pointing_game": np.array([hit(m, r) for m, r in pairs]),
            "energy_in_box": np.array([energy(m, r) for m, r in pairs]),
        }
        if self.tuning is not None:
            tuned = make(self.explainer, self.tuning.inputs, self.tuning.targets)
            ious = [overlaps(m, r) for m, r in zip(tuned, self.tuning.regions, strict=True)]
            best = int(np.mean(ious, axis=0).argmax())
            values["iou"] = np.array([overlaps(m, r)[best] for m, r in pairs])
            values["iou_cut"] = np.array([CUTS[best]])
        return values

    def _under_changes(self, make: Make) -> dict[str, np.ndarray]:
        """`randomisation`, of other weights, and `stability`, of noise: likeness to the map as it is."""
        few, draw = self.few, np.random.default_rng(self.seed)
        maps = make(self.explainer, few.inputs, few.targets)
        noisy = []
        for _ in range(DRAWS):
            noise = draw.normal(0, _NOISE, few.inputs[0].shape).astype(np.float32)
            noisy.append(
                rank_correlation(maps, make(self.explainer, [few.inputs[0] + noise, *few.inputs[1:]], few.targets))
            )
        randomised = []
        for _ in cascade(self.explainer.model, self.randomised.model, self.seed):
            randomised.append(rank_correlation(maps, make(self.randomised, few.inputs, few.targets)))
        return {"randomisation": _row_means(randomised), "stability": _row_means(noisy)}

    def _summary(self, values: dict[str, np.ndarray], large: np.ndarray) -> dict:
        summary = {}
        for name, scores in values.items():
            if name == "iou_cut":
                summary[name] = float(scores[0])
            elif name in ("pointing_game", "energy_in_box", "iou"):
                patients = self.located.patients[large]
                measure = intervals.share if name == "pointing_game" else intervals.mean
                summary[name] = measure(scores[large], patients)
            else:
                patients = self.few.patients if name in ("randomisation", "stability") else self.subjects.patients
                summary[name] = intervals.mean(scores, patients)
        return summary


def _row_means(draws: list[np.ndarray]) -> np.ndarray:
    """Mean over draws or stages, without those that are not defined: float64 (N,)."""
    values = np.array(draws)
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=0)
    return np.divide(total, defined.sum(axis=0), out=np.full(values.shape[1], np.nan), where=defined.any(axis=0))
