"""The cells of the study interpretability: models trained alike, a cell a method, and controls beside them."""

from dataclasses import replace

from explain.config import InterpretabilityConfig
from explain.methods.catalogue import require_known
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.models.registry import family
from medimg.options import of_data
from medimg.studies.declared import Cell, Study
from medimg.training.open_options import settled

_CONTROLS = ("random", "centre", "edges")
# Seconds of the first method of a frozen backbone, of which a head alone is trained.
_FROZEN = 0.4
# Pixels of a side, as of the sibling studies of images: at the 224 of `train` the scores take five times as long.
_SIDE = 96
# What of a Run's explanation the scores don't need.
_NO_MORE = {"count": 1, "mistakes": 0, "appearance_count": 0}


def with_methods(study: Study, dataset: Dataset, config: InterpretabilityConfig, training: TrainConfig) -> Study:
    """The study with a group a model and a cell a method or control.

    Args:
        study: as its file declares it.
        dataset: of images.
        config: models, methods, and how much is scored.
        training: options of every training but model and seed; without `--image-size` at 96 px, without `--weights`
            backbones start from ImageNet where weights are at hand, and are frozen.

    Raises:
        InputError: a model or method that is not known, or an option that does nothing.
    """
    training.require_effect(of_data(dataset.is_table))
    given = training.names_given()
    changes = {} if "image_size" in given else {"image_size": _SIDE}
    require_known(config.method)
    scored = {name: getattr(config, name) for name in ("samples", "score_count", "localisation_count")}
    cells = []
    for model in config.model:
        family(model)
        options = _options(replace(training, model=model, **changes).with_given_names(given), dataset)
        # Controls are those of the first method, whose explanation they share.
        first, *others = config.method
        cost = _FROZEN if options.get("freeze") == "backbone" else 1.0
        methods = {name: (name, cost) for name in (first, *others)} | {f"({name})": (first, 0.0) for name in _CONTROLS}
        for name, (method, its) in methods.items():
            steps = ("train", options), ("explain", {**_NO_MORE, **scored, "method": [method]})
            cells.append(Cell(model, name, steps, cost=its, follows=name in others))
    # No constant tells what a method takes: integrated gradients may take a hundred times as long as Grad-CAM.
    foretold = {name: {**_NO_MORE, **scored, "method": [name]} for name in config.method}
    return replace(study, cells=tuple(cells), foretold=("foretell", {"cells": foretold}))


def _options(training: TrainConfig, dataset: Dataset) -> dict:
    """Of one model's training; epochs are what a budget cuts."""
    resolved = settled(training, dataset)[0]
    options = {**resolved.given(), "model": training.model, "epochs": resolved.epochs}
    if family(training.model).imagenet and not {"weights", "freeze"} & set(training.names_given()):
        options |= {"weights": "imagenet", "freeze": "backbone"}
    return options
