"""`--labelled-fraction`: training patients whose labels are put away, as where few images have been read.

They are put away once, before anything else sees the Dataset, so that nothing can depend on them.
"""

from dataclasses import replace

import numpy as np

from medimg.data.dataset import Dataset
from medimg.data.holdout import strata
from medimg.data.splits import own_numbers
from medimg.errors import InputError


def hide(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """The Dataset with labels of a share of its training patients alone.

    Patients are taken in each stratum (all labels of a patient) by numbers of their own, so that a larger fraction
    holds a smaller one's patients; at least one of each stratum keeps its labels.

    Args:
        dataset: with its parts.
        fraction: of labelled training patients that stay labelled, in (0, 1].
        seed: of the draw.

    Raises:
        InputError: nothing would be hidden.
    """
    if fraction >= 1:
        return dataset
    labels = strata(dataset.rows("train", labelled=True))
    drawn = labels.to_frame("label").assign(number=own_numbers(list(labels.index), seed, "labelled-fraction"))
    place = drawn.groupby("label")["number"].rank(method="first")
    wanted = np.maximum(1, np.round(fraction * drawn.groupby("label")["number"].transform("size")))
    hidden = drawn.index[place > wanted]
    if not len(hidden):
        raise InputError(
            f"--labelled-fraction {fraction:g}: hides none of the {len(drawn)} training patients; give a smaller one"
        )
    manifest = dataset.manifest
    away = (manifest["split"] == "train") & manifest["patient"].isin(hidden)
    return replace(dataset, manifest=manifest.assign(label=manifest["label"].mask(away, "")))
