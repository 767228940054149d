"""Where a study's backbones start: `weights: imagenet` is a file given or kept here, else random, and is said so."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.models.known_weights import identify
from medimg.models.weight_store import kept, parsed_family
from medimg.studies.declared import Cell

# Of whatever model: a file that no hash tells of, or Keras' own.
_ANY = "*"
# Seconds of a backbone that is trained through, forward and back in each of some epochs, over those of a frozen one,
# whose features are computed once.
_THROUGH = 10.0
RANDOM = "random weights (no ImageNet weights of it here)"


def settle(cells: Sequence[Cell], weights: Sequence[str]) -> tuple[tuple[Cell, ...], dict[str, str]]:
    """Cells whose weights are files or none, and in words where each starts (nothing of those that ask for none).

    Args:
        cells: of a study.
        weights: files of `--weights`; `none` alone: all start at random.

    Raises:
        InputError: a file that is not there, or no cell starts from weights.
    """
    if weights and not any(its.get("weights") == "imagenet" for cell in cells for _, its in cell.steps):
        raise InputError("--weights: is for studies whose backbones start from ImageNet; leave it out")
    files = {} if "none" in weights else {one.family: one.file for one in kept()}
    for file in weights:
        if file in ("none", "imagenet"):
            continue
        if not Path(file).is_file():
            raise InputError(f"--weights {file}: no such file")
        files[identify(Path(file)).get("family", _ANY)] = file
    if "imagenet" in weights:
        files.setdefault(_ANY, "imagenet")
    pairs = [_settled(cell, files) for cell in cells]
    return tuple(cell for cell, _ in pairs), {cell.label: words for cell, words in pairs if words}


def _settled(cell: Cell, files: dict[str, str]) -> tuple[Cell, str]:
    words, steps, cost = "", [], cell.cost
    for step, its in cell.steps:
        options = its
        if options.get("weights") == "imagenet" and not cell.votes:
            family, file = _of(options, files)
            if file:
                is_named = family in files or file == "imagenet"
                origin = f"ImageNet weights ({family})" if is_named else f"{Path(file).name}, not known by its hash"
                frozen = options.get("freeze", "none") != "none"
                words = f"{origin}, {'backbone frozen' if frozen else 'all trained'}"
                arguments = {**options.get("model_arg", {}), **parsed_family(family)[1]}
                options = {**options, "weights": file, "model_arg": arguments}
            else:
                cost *= _THROUGH if options.get("freeze", "none") != "none" else 1.0
                words, options = RANDOM, {**options, "weights": "none", "freeze": "none", "head_start": "random"}
                options = {key: value for key, value in options.items() if value not in ("none", "random")}
        steps.append((step, options))
    return replace(cell, steps=tuple(steps), cost=cost), words


def _of(options: dict, files: dict[str, str]) -> tuple[str, str]:
    """The family and file of weights that fit the model, of several the widest; without them no file."""
    arguments_wanted, model = options.get("model_arg", {}), options.get("model", TrainConfig().model)
    for family in sorted(set(files) - {_ANY}, reverse=True):
        name, arguments = parsed_family(family)
        if name == model and all(arguments_wanted.get(key, value) == value for key, value in arguments.items()):
            return family, files[family]
    return model, files.get(_ANY, "")
