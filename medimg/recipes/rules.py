"""The rules by which data and machine lead to candidates: each with its reason, best guess first."""

import time

import numpy as np

from medimg.models.build import build
from medimg.models.registry import family
from medimg.pipeline.augmentation import STRENGTHS
from medimg.recipes.fingerprint import Fingerprint
from medimg.recipes.machine import Backbone, Machine
from medimg.recipes.plan import Candidate
from medimg.training.features import extractor, forward_function

VIEWS = len(STRENGTHS["acquisition"].kinds)
# Images smaller than what ImageNet's weights know are enlarged to this side at least.
_LEAST_SIDE = 96
# Above it a network from scratch learns slowly on a processor, and gains little.
_SCRATCH_SIDE = 128
_SCRATCH_EPOCHS = 40
_MEASURED = 32
# A step of training takes about as long as so many forward passes: forward, backward and the augmented pixels.
_STEP = 4.0


def candidates(known: Fingerprint, machine: Machine) -> list[Candidate]:
    """What competes on such data on such a machine."""
    if known.unit == "row":
        return _of_tables(known)
    balance = "class-weight" if known.imbalance > 1.5 and known.task != "multilabel" else "none"
    weighted = {"balance": balance}
    found = []
    if machine.backbones:
        sides = _sides(known.side)
        for place, backbone in enumerate(machine.backbones):
            # The best of the weights is tried at every size, others at the first alone.
            found += [_probe(backbone, side, known, weighted) for side in (sides if place == 0 else sides[:1])]
    if known.side <= _SCRATCH_SIDE or not found:
        network = _from_scratch(known, weighted, first=not found)
        # Enlarged small images have no more detail: what is trained for their size comes first.
        found.insert(0 if known.side <= _LEAST_SIDE else len(found), network)
    return found


def _sides(side: int) -> list[int]:
    largest = 224 if side >= 160 else max(_LEAST_SIDE, 32 * round(side / 32))
    return [largest, 160] if largest > 160 else [largest]


def _probe(backbone: Backbone, side: int, known: Fingerprint, weighted: dict) -> Candidate:
    options = {
        "model": backbone.family,
        **({"model_arg": backbone.arguments} if backbone.arguments else {}),
        "weights": backbone.file,
        "image_size": side,
        "freeze": "backbone",
        "head_start": "logistic",
        "epochs": 0,
        "augment": "acquisition",
        "views": VIEWS,
        **weighted,
    }
    forward = forward_function(extractor(build(backbone.family, side, 3, 2, None, model_arg=backbone.arguments)))
    seconds = known.rows * (1 + VIEWS) / _rate(forward, side, 3)
    return Candidate(
        options,
        f"{known.rows} {known.unit}s are few for a network and many for a regression on features of {backbone.name} "
        f"(ImageNet, {backbone.licence}) at {side} px; views of other framing, exposure and sharpness stand for other "
        "machines, without flips, since laterality may count",
        seconds,
    )


def _from_scratch(known: Fingerprint, weighted: dict, first: bool) -> Candidate:
    side = max(family("baseline_cnn").minimum_size, min(known.side, _SCRATCH_SIDE))
    options = {
        "model": "baseline_cnn",
        "image_size": side,
        "epochs": _SCRATCH_EPOCHS,
        "dropout": 0.5,
        "augment": "acquisition",
        "patience": 8,
        "plateau_patience": 3,
        **weighted,
    }
    channels = 1 if known.grey else 3
    rate = _rate(forward_function(build("baseline_cnn", side, channels, 2)), side, channels)
    why = (
        "there are no weights at hand" if first else f"images of {known.side} px are small enough to learn from scratch"
    )
    reason = f"{why}; at {side} px, {_SCRATCH_EPOCHS} epochs at most"
    return Candidate(options, reason, known.rows * _STEP * _SCRATCH_EPOCHS / rate)


def _rate(forward, side: int, channels: int) -> float:
    """Images a second, measured."""
    pixels = np.zeros((_MEASURED, side, side, channels), np.float32)
    forward(pixels).numpy()
    started = time.monotonic()
    forward(pixels).numpy()
    return _MEASURED / max(time.monotonic() - started, 1e-6)


def _of_tables(known: Fingerprint) -> list[Candidate]:
    few = known.rows < 2000
    weighted = {"balance": "class-weight"} if known.imbalance > 3 and known.task != "multilabel" else {}
    # Training a network on a table is a matter of steps, not of rows, until there are many.
    seconds = 10.0 + known.rows / 500
    return [
        Candidate(
            {"model": "logistic", "model_arg": {"l2": l2}, **weighted},
            f"{known.rows} rows: a regression is hard to beat on few, penalised {words}",
            seconds,
        )
        for l2, words in (("0.001", "a little"), ("0.03", "much"))
    ] + [
        Candidate(
            {"model": "mlp", "model_arg": {"width": str(width)}, **weighted},
            f"two layers of {width} find interactions that a regression does not",
            2 * seconds,
        )
        for width in ((32,) if few else (64, 256))
    ]
