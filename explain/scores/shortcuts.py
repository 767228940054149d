"""Where maps lie that should lie on findings: at borders, on text and markers, outside the body or a given mask.

And how alike the maps of different patients are: a map that is the same on every image shows a habit of the model, not
the patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explain.scores import intervals
from explain.scores.localisation import energy

# What is told of: the map's share of a region over the region's share of the image, by the lower end of its interval;
# and the least share of the map. An even map has 1 everywhere. In the air around a patient there is nothing to see;
# what is outside given masks is often most of the image, so that it is told of where most of the map is there.
# A map of no evidence, as of a negative film, is often a little stronger at a side, by the zeros beyond it.
_SIDES = dict.fromkeys(("border", "top", "bottom", "left", "right"), 2.0)
RATIO, MASS = {**_SIDES, "outside_body": 1.2, "outside_mask": 1.0}, {"outside_mask": 0.5}
_RATIO, _MASS = 1.5, 0.1
# Of a class: the correlation of its maps with their mean.
ALIKE = 0.95
# Images with a region, below which nothing is said.
_FEWEST = 4
WORDS = {
    "border": "at the image's border",
    "top": "in the image's upper sixth",
    "bottom": "in the image's lower sixth",
    "left": "in the image's left sixth",
    "right": "in the image's right sixth",
    "text": "on text or markers",
    "outside_body": "outside the body",
    "outside_mask": "outside the given masks",
}


@dataclass(frozen=True, eq=False)
class Lying:
    """Maps and what is known of their images.

    Attributes:
        maps: float32 (N, S, S).
        regions: region -> bool (N, S, S), of `WORDS`.
        labels: (N,).
        patients: (N,).
    """

    maps: np.ndarray
    regions: dict[str, np.ndarray]
    labels: np.ndarray
    patients: np.ndarray


def measure(lying: Lying, of: str, positive: str = "") -> dict:
    """`n`, `regions`, `mean_map_similarity` and `findings`, sentences that are empty where nothing stands out.

    Args:
        lying: the maps.
        of: what they are evidence for, in words.
        positive: the class whose evidence all maps show; that its maps are alike on images without it says nothing.
    """
    evidence = np.maximum(lying.maps, 0.0)
    not_flat = evidence.any(axis=(1, 2))
    regions = {name: _region(lying, evidence, not_flat, name) for name in lying.regions}
    alike = _similarity(evidence[not_flat], lying.labels[not_flat], lying.patients[not_flat])
    return {
        "n": int(not_flat.sum()),
        "flat_maps": int((~not_flat).sum()),
        "regions": regions,
        "mean_map_similarity": alike,
        "findings": _findings(regions, alike, of, positive),
    }


def _region(lying: Lying, evidence: np.ndarray, not_flat: np.ndarray, name: str) -> dict | None:
    """None where no image has such a region."""
    region = lying.regions[name]
    has = not_flat & region.any(axis=(1, 2))
    if not has.any():
        return None
    mass = np.array([energy(m, r) for m, r in zip(evidence[has], region[has], strict=True)])
    area, patients, labels = region[has].mean(axis=(1, 2)), lying.patients[has], lying.labels[has]
    by_class = {}
    for label in np.unique(labels):
        of_label = labels == label
        by_class[str(label)] = {
            **intervals.mean(mass[of_label], patients[of_label]),
            "ratio": intervals.ratio(mass[of_label], area[of_label], patients[of_label]),
            "images": int(of_label.sum()),
            "of": int((not_flat & (lying.labels == label)).sum()),
        }
    return {
        "mass": intervals.mean(mass, patients),
        "area": float(area.mean()),
        "ratio": intervals.ratio(mass, area, patients),
        "images": int(has.sum()),
        "by_class": by_class,
    }


def _similarity(evidence: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> dict:
    """Pearson's correlation of each map with the mean of the other patients' maps of its class."""
    flat = evidence.reshape(len(evidence), evidence[0].size if len(evidence) else 0).astype(np.float64)
    flat /= flat.sum(axis=1, keepdims=True)
    correlations, by_class = np.full(len(flat), np.nan), {}
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        for row in of_label:
            others = of_label[patients[of_label] != patients[row]]
            if len(others) >= _FEWEST:
                correlations[row] = np.corrcoef(flat[row], flat[others].mean(axis=0))[0, 1]
        by_class[str(label)] = intervals.mean(correlations[of_label], patients[of_label])
    return {**intervals.mean(correlations, patients), "by_class": by_class}


def _findings(regions: dict, alike: dict, of: str, positive: str) -> list[str]:
    sentences = []
    for name, region in regions.items():
        groups = {"": {**region["mass"], **region}, **region["by_class"]} if region else {}
        loud = [label for label, group in groups.items() if label and _stands_out(name, group)]
        if groups and _stands_out(name, groups[""]) and len(loud) in (0, len(groups) - 1):
            sentences.append(_sentence(name, groups[""], of, f"{groups['']['images']} images"))
            continue
        sentences += [_sentence(name, groups[label], of, f"images labelled {label}") for label in loud]
    for label, value in alike["by_class"].items():
        if (value["low"] or 0.0) > ALIKE and positive in ("", label):
            sentences.append(
                f"The maps of {of} are nearly the same on all images labelled {label} (correlation with the mean of "
                f"the others {value['value']:.2f}): they show a habit of the model rather than the patient."
            )
    return sentences


def _stands_out(name: str, group: dict) -> bool:
    mass, ratio = group.get("value"), group["ratio"]["low"]
    return (
        group["images"] >= _FEWEST
        and ratio is not None
        and ratio > RATIO.get(name, _RATIO)
        and mass > MASS.get(name, _MASS)
    )


def _sentence(name: str, group: dict, of: str, where: str) -> str:
    ratio = group["ratio"]
    return (
        f"On {where}, {group['value']:.0%} of the map of {of} lies {WORDS[name]}, {ratio['value']:.1f} times its "
        f"share of the image ({ratio['low']:.1f} to {ratio['high']:.1f}): has the model learnt a shortcut there?"
    )


def class_means(
    pixels: np.ndarray, maps: np.ndarray, labels: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label -> mean image (S, S, C) and mean map over its maximum (S, S)."""
    labels, means = np.asarray(labels), {}
    for label in np.unique(labels):
        of_label = labels == label
        heat = np.maximum(maps[of_label], 0.0).mean(axis=0)
        means[str(label)] = pixels[of_label].mean(axis=0), heat / (heat.max() or 1.0)
    return means
