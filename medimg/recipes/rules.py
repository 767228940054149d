"""The rules by which data and machine lead to candidates: each with its reason, best guess first."""

import dataclasses
import functools
import time
from collections.abc import Iterable

import numpy as np

from medimg.config import TrainConfig
from medimg.models.at_hand import Backbone
from medimg.models.build import build
from medimg.models.registry import family
from medimg.recipes.fingerprint import Fingerprint
from medimg.recipes.machine import Machine
from medimg.recipes.plan import VIEWS, PlannedModel
from medimg.recipes.probes import FITS
from medimg.training.features import extractor, forward_function
from medimg.training.images import computed_once

# Images smaller than what ImageNet's weights know are enlarged to this side at least.
_LEAST_SIDE = 96
# Above it a network from scratch learns slowly on a processor, and gains little.
_SCRATCH_SIDE = 128
_SCRATCH_EPOCHS = 40
# Of fewer rows so few are kept apart that their loss would end a training by chance.
_STOPPED_BY_VALIDATION = 1000
_MEASURED = 32
# A step of training takes about as long as so many forward passes: forward, backward and the augmented pixels.
_STEP = 4.0
# Seconds that building, tracing and judging take whatever there is to learn from.
_FIXED = 5.0
# Of one regression on one row of some hundred features.
_FIT = 1.2e-4


def candidates(fingerprint: Fingerprint, machine: Machine) -> list[PlannedModel]:
    """What competes on such data on such a machine."""
    return timed(
        _of_tables(fingerprint) if fingerprint.unit == "row" else _of_images(fingerprint, machine), fingerprint
    )


def timed(plan: Iterable[PlannedModel], fingerprint: Fingerprint) -> list[PlannedModel]:
    """The same, each with what it is predicted to take on this machine."""
    return [
        dataclasses.replace(one, seconds=_seconds(one.config(0).resolved(fingerprint.unit), fingerprint))
        for one in plan
    ]


def _seconds(config: TrainConfig, fingerprint: Fingerprint) -> float:
    if fingerprint.unit == "row":
        # Training a network on a table is a matter of steps, not of rows, until there are many.
        return (1 if config.model == "logistic" else 2) * (10.0 + fingerprint.rows / 500)
    colour = family(config.model).takes_colour or not fingerprint.grey
    what = (config.model, config.image_size, config.channels or (3 if colour else 1), tuple(config.model_arg.items()))
    once = config.freeze == "backbone" and computed_once(config)
    seconds = (1 + config.views) / _rate(*what, frozen=True) if once else _STEP * config.epochs / _rate(*what)
    if config.fine_tune_epochs:
        seconds += _STEP * config.fine_tune_epochs / _rate(*what)
    if once and config.head_start == "logistic":
        regressions = (
            len(fingerprint.classes) if fingerprint.task == "multilabel" else max(1, len(fingerprint.classes) - 1)
        )
        seconds += FITS * (1 + config.views) * regressions * _FIT
    return _FIXED + fingerprint.rows * seconds


def _of_images(fingerprint: Fingerprint, machine: Machine) -> list[PlannedModel]:
    balance = "class-weight" if fingerprint.imbalance > 1.5 and fingerprint.task != "multilabel" else "none"
    weighted = {"balance": balance}
    competing = []
    if machine.backbones:
        sides = _sides(fingerprint.side)
        for place, backbone in enumerate(machine.backbones):
            # The best of the weights is tried at every size, others at the first alone.
            competing += [
                _probe(backbone, side, fingerprint, weighted) for side in (sides if place == 0 else sides[:1])
            ]
    if fingerprint.side <= _SCRATCH_SIDE or not competing:
        network = _from_scratch(fingerprint, weighted, first=not competing)
        # Enlarged small images have no more detail: what is trained for their size comes first.
        competing.insert(0 if fingerprint.side <= _LEAST_SIDE else len(competing), network)
    return competing


def _sides(side: int) -> list[int]:
    largest = 224 if side >= 160 else max(_LEAST_SIDE, 32 * round(side / 32))
    return [largest, 160] if largest > 160 else [largest]


def _probe(backbone: Backbone, side: int, fingerprint: Fingerprint, weighted: dict) -> PlannedModel:
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
    return PlannedModel(
        options,
        f"{fingerprint.rows} {fingerprint.unit}s are few for a network: a regression on features of {backbone.name} "
        f"(licence: {backbone.licence}) at {side} px; views of other framing, exposure and sharpness stand for other "
        "machines, without flips, since laterality may count",
    )


def _from_scratch(fingerprint: Fingerprint, weighted: dict, first: bool) -> PlannedModel:
    side = max(family("baseline_cnn").minimum_size, min(fingerprint.side, _SCRATCH_SIDE))
    stops = fingerprint.rows >= _STOPPED_BY_VALIDATION
    options = {
        "model": "baseline_cnn",
        "image_size": side,
        "epochs": _SCRATCH_EPOCHS,
        "dropout": 0.5,
        "augment": "acquisition",
        **({"patience": 8, "plateau_patience": 3} if stops else {"patience": 0, "plateau_patience": 6}),
        **weighted,
    }
    why = (
        "there are no weights at hand"
        if first
        else f"images of {fingerprint.side} px are small enough to learn from scratch"
    )
    end = "at most" if stops else "to the end, since the loss of few rows would stop it by chance"
    reason = f"{why}; at {side} px, {_SCRATCH_EPOCHS} epochs {end}"
    return PlannedModel(options, reason)


@functools.lru_cache
def _rate(name: str, side: int, channels: int, arguments: tuple, frozen: bool = False) -> float:
    """Images a second, measured: of a whole model, or of its frozen backbone."""
    model = build(name, side, channels, 2, None, model_arg=dict(arguments))
    forward = forward_function(extractor(model) if frozen else model)
    pixels = np.zeros((_MEASURED, side, side, channels), np.float32)
    forward(pixels).numpy()
    started = time.monotonic()
    forward(pixels).numpy()
    return _MEASURED / max(time.monotonic() - started, 1e-6)


def _of_tables(fingerprint: Fingerprint) -> list[PlannedModel]:
    few = fingerprint.rows < 2000
    weighted = {"balance": "class-weight"} if fingerprint.imbalance > 3 and fingerprint.task != "multilabel" else {}
    return [
        PlannedModel(
            {"model": "logistic", "model_arg": {"l2": l2}, **weighted},
            f"{fingerprint.rows} rows: a regression is hard to beat on few, penalised {words}",
        )
        for l2, words in (("0.001", "a little"), ("0.03", "much"))
    ] + [
        PlannedModel(
            {"model": "mlp", "model_arg": {"width": str(width)}, **weighted},
            f"two layers of {width} find interactions that a regression does not",
        )
        for width in ((32,) if few else (64, 256))
    ]
