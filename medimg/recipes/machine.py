"""What a recipe knows of the machine: cores, memory, GPUs, and the weights at hand."""

import os
from dataclasses import dataclass
from pathlib import Path

from medimg.errors import InputError
from medimg.models.known_weights import identify
from medimg.models.registry import FAMILIES
from medimg.models.weight_store import ENDINGS, kept


@dataclass(frozen=True)
class Backbone:
    """A file of weights whose family is known by its hash.

    Attributes:
        file: where it is, from whichever folder the plan is run again.
        family: name in the registry.
        arguments: of `--model-arg`.
        licence: of the weights.
    """

    file: str
    family: str
    arguments: dict[str, str]
    licence: str

    @property
    def name(self) -> str:
        """`mobilenet-0.75`."""
        return "-".join([self.family, *self.arguments.values()])


@dataclass(frozen=True)
class Machine:
    """What there is to compute with.

    Attributes:
        cores: of the processor that this process may use.
        memory: GB.
        gpus: how many.
        backbones: weights at hand.
    """

    cores: int
    memory: float
    gpus: int
    backbones: tuple[Backbone, ...]

    def words(self) -> str:
        """One line."""
        names = ", ".join(backbone.name for backbone in self.backbones) or "no weights at hand"
        return f"{self.cores} cores, {self.memory:.0f} GB, {self.gpus} GPUs; {names}"


def machine(weights: str) -> Machine:
    """Of this machine, with the weights of `--weights`: a file, a folder of files, or none.

    Raises:
        InputError: there is no such file or folder, or no file in it is known by its hash.
    """
    import psutil
    import tensorflow as tf

    return Machine(
        len(os.sched_getaffinity(0)),
        psutil.virtual_memory().total / 1e9,
        len(tf.config.list_physical_devices("GPU")),
        backbones(weights),
    )


def backbones(weights: str) -> tuple[Backbone, ...]:
    """The files of weights in a folder, or the one file, that are known, largest first; `none`: those of the store."""
    if weights == "none":
        available = [_backbone(one.file, one.family, one.licence) for one in kept()]
        return tuple(sorted(filter(None, available), key=lambda one: -Path(one.file).stat().st_size))
    if weights == "imagenet":
        raise InputError(
            "--weights imagenet: a recipe takes weights that are on this machine; give their file or folder"
        )
    place = Path(weights)
    if not place.exists():
        raise InputError(f"--weights {weights}: there is no such file or folder; leave it out to train from scratch")
    files = [place] if place.is_file() else sorted(file for file in place.iterdir() if file.suffix in ENDINGS)
    available = [one for file in sorted(files, key=lambda file: -file.stat().st_size) if (one := _backbone_in(file))]
    if not available:
        raise InputError(
            f"--weights {weights}: no file that is known by its hash; a recipe can't tell whose weights they are: name "
            "their --model, or leave --weights out"
        )
    return tuple(available)


def _backbone_in(file: Path) -> Backbone | None:
    identity = identify(file)
    return _backbone(str(file.resolve()), identity["family"], identity["licence"]) if "family" in identity else None


def _backbone(file: str, family: str, licence: str) -> Backbone | None:
    name, *arguments = family.split()
    if name not in FAMILIES:
        return None
    return Backbone(file, name, dict(one.split("=") for one in arguments), licence)
