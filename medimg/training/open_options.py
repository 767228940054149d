"""Options that nobody gave: those of a private training are settled by rules, told with their reasons and kept."""

import dataclasses
from pathlib import Path
from typing import TypeVar

import yaml

from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.parts import parts_of
from medimg.listener import Listener
from medimg.models.at_hand import Backbone, backbones
from medimg.models.registry import family
from medimg.models.weights import run_of
from medimg.options import Config, flag
from medimg.privacy.defaults import coarse, private_defaults
from medimg.run import Run

FILE = "plan.yaml"
# Who has it can take the noise off.
_SECRET = "dp_seed"
_Config = TypeVar("_Config", bound=Config)
# Of normalisation.
_WITHOUT_LAYERS = ("vgg16", "vgg19", "alexnet")


def settled(config: TrainConfig, dataset: Dataset) -> tuple[TrainConfig, dict[str, tuple]]:
    """The options with the defaults of such data, and what rules chose: option -> (value, reason).

    Args:
        config: options.
        dataset: before its folds are made; of a private training the patients of the training part are counted in
            coarse steps.
    """
    if not config.is_private:
        kind = config.model_of(dataset.is_table)
        return dataclasses.replace(config, **_values(kind)).resolved(dataset.unit), kind
    patients, kind = _patients(config, dataset), _kind(config, dataset.is_table)
    config = dataclasses.replace(config, **_values(kind))
    by_rule = private_defaults(config, dataset.unit, patients)
    open_ones = {name: choice for name, choice in by_rule.items() if getattr(config, name) is None}
    return config.resolved(dataset.unit, patients), kind | open_ones


def _kind(config: TrainConfig, is_table: bool) -> dict[str, tuple]:
    """In the place of usual models and layers that no private training can have."""
    if is_table:
        return (
            {"model": ("logistic", "has the fewest weights that noise is added to")} if config.is_open("model") else {}
        )
    if config.is_open("model", "model_arg", "freeze", "norm") and (backbone := _at_hand(config)):
        return _head_of(backbone)
    from_scratch = (config.weights, config.freeze) == ("none", "none")
    is_open = from_scratch and config.is_open("norm") and config.model not in _WITHOUT_LAYERS
    return {"norm": ("group", "that of a batch mixes patients")} if is_open else {}


def _values(by_rule: dict[str, tuple]) -> dict:
    return {name: value for name, (value, _) in by_rule.items()}


def _at_hand(config: TrainConfig) -> Backbone | None:
    """The largest of ImageNet's weights in the folder of `--weights`, or of this machine's store if none is given."""
    place = Path(config.weights)
    if not config.is_open("weights") and (not place.is_dir() or run_of(config.weights)):
        return None
    fitting = (one for one in backbones(config.weights) if family(one.family).minimum_size <= config.image_size)
    return next((one for one in fitting if one.is_of_imagenet), None)


def _head_of(backbone: Backbone) -> dict[str, tuple]:
    spared = "what it has learnt of ImageNet's images needs no noise"
    options = {"model": (backbone.family, f"its weights are at hand (licence: {backbone.licence}); {spared}")}
    if backbone.arguments:
        options["model_arg"] = (backbone.arguments, "of these weights")
    return options | {
        "weights": (backbone.file, "the largest at hand that are known to be ImageNet's"),
        "freeze": ("backbone", "noise is in every weight that is trained: the last layer has few"),
    }


def _patients(config: TrainConfig, dataset: Dataset) -> int:
    """Of the training part; of cross-validation, of the smallest one."""
    folds = [config.fold] if config.fold or not config.folds else range(1, config.folds + 1)
    parts = [parts_of(dataset, {**config.to_dict(), "fold": fold}) for fold in folds]
    return coarse(max(1, min(part.rows("train", labelled=True)["patient"].nunique() for part in parts)))


def kept(config: _Config, out: Path) -> _Config:
    """Of a Run that goes on, what nobody gives is as it has it, whatever the rules say by now."""
    options = Run.load(out).config["options"]
    names = (field.name for field in dataclasses.fields(config))
    before = {name: options[name] for name in names if getattr(config, name) is None and options.get(name) is not None}
    return dataclasses.replace(config, **before).with_given_names(config.names_given())


def tell(run: Run, config_given: Config, by_rule: dict[str, tuple], listener: Listener) -> None:
    """What rules chose: told, and written into the Run beside what was given, as options (`--config`)."""
    if not by_rule:
        return
    options = {name: value for name, value in config_given.given().items() if name not in (_SECRET, *by_rule)}
    text = yaml.safe_dump(options, sort_keys=False) if options else ""
    for name, (value, reason) in by_rule.items():
        listener.note(f"{flag(name)} {_words(value)}: {reason}")
        text += f"# {reason}\n" + yaml.safe_dump({name: value})
    atomic.write_text(run.root / FILE, text)


def _words(value) -> str:
    """As it is given on a command line."""
    return " ".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, dict) else str(value)
