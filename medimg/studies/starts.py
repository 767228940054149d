"""Where a study's backbones start: `weights: imagenet` is a file given or kept here, else random, and is said so."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medimg.errors import InputError
from medimg.models.known_weights import identify
from medimg.models.registry import FAMILIES
from medimg.models.weight_store import kept, parsed_family
from medimg.studies.declared import Cell

RANDOM = "random weights (no ImageNet weights of it here)"


def settle(cells: Sequence[Cell], given: Sequence[str]) -> tuple[tuple[Cell, ...], dict[str, str]]:
    """Cells whose weights are files or none, and in words where each starts (nothing of those that ask for none).

    Args:
        cells: of a study.
        given: files of `--weights`; `none` alone: all start at random.

    Raises:
        InputError: a file that is not there, or not known by its hash.
    """
    files = {} if "none" in given else {one.family: one.file for one in kept()}
    for file in given:
        if file == "none":
            continue
        if not Path(file).is_file():
            raise InputError(f"--weights {file}: no such file")
        found = identify(Path(file))
        if "family" not in found:
            raise InputError(f"--weights {file}: not known by its hash; 'medimg weights add' takes it with its family")
        files[found["family"]] = file
    pairs = [_settled(cell, files) for cell in cells]
    return tuple(cell for cell, _ in pairs), {cell.label: words for cell, words in pairs if words}


def _settled(cell: Cell, files: dict[str, str]) -> tuple[Cell, str]:
    words, steps = "", []
    for step, its in cell.steps:
        options = its
        if options.get("weights") == "imagenet":
            family, file = _of(options, files)
            if file:
                words = f"ImageNet weights ({family}), {'backbone frozen' if options.get('freeze') else 'all trained'}"
                arguments = {**options.get("model_arg", {}), **parsed_family(family)[1]}
                options = {**options, "weights": file, "model_arg": arguments}
            else:
                words, options = RANDOM, {**options, "weights": "none", "freeze": "none", "head_start": "random"}
                options = {key: value for key, value in options.items() if value not in ("none", "random")}
        steps.append((step, options))
    return replace(cell, steps=tuple(steps)), words


def _of(options: dict, files: dict[str, str]) -> tuple[str, str]:
    """The weights that fit the model, of several the widest."""
    for family in sorted(files, reverse=True):
        name, arguments = parsed_family(family)
        asked = options.get("model_arg", {})
        if name == options["model"] and all(arguments.get(k, v) == v for k, v in asked.items() if k in arguments):
            return family, files[family]
    if options["model"] not in FAMILIES:
        raise InputError(f"a model '{options['model']}' has no weights")
    return options["model"], ""
