"""Weights at hand: files whose family is known by their hash, in a folder or in this machine's store."""

from dataclasses import asdict, dataclass
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
        source: where they come from; of weights that are not known by their hash, by the word of who added them.
    """

    file: str
    family: str
    arguments: dict[str, str]
    licence: str
    source: str

    @property
    def name(self) -> str:
        """`mobilenet-0.75`."""
        return "-".join([self.family, *self.arguments.values()])

    @property
    def is_of_imagenet(self) -> bool:
        """Learnt from ImageNet, as all that are known by their hash."""
        return "ImageNet" in self.source


def backbones(weights: str) -> tuple[Backbone, ...]:
    """The files of weights in a folder, or the one file, that are known, largest first; `none`: those of the store."""
    if weights == "none":
        known = [_backbone(one.file, asdict(one)) for one in kept()]
        return tuple(sorted(filter(None, known), key=lambda one: -Path(one.file).stat().st_size))
    if weights == "imagenet":
        raise InputError(
            "--weights imagenet: without a --model, weights must be on this machine; give their file or folder"
        )
    place = Path(weights)
    if not place.exists():
        raise InputError(f"--weights {weights}: there is no such file or folder; leave it out to train from scratch")
    files = [place] if place.is_file() else sorted(file for file in place.iterdir() if file.suffix in ENDINGS)
    known = [one for file in sorted(files, key=lambda file: -file.stat().st_size) if (one := _known(file))]
    if not known:
        raise InputError(
            f"--weights {weights}: no file that is known by its hash, so it can't be told whose weights they are; name "
            "their --model, or leave --weights out"
        )
    return tuple(known)


def _known(file: Path) -> Backbone | None:
    known = identify(file)
    return _backbone(str(file.resolve()), known) if "family" in known else None


def _backbone(file: str, known: dict) -> Backbone | None:
    name, *arguments = known["family"].split()
    if name not in FAMILIES:
        return None
    return Backbone(file, name, dict(one.split("=") for one in arguments), known["licence"], known["source"])
