"""policy.yaml's entries, each read and checked by what it is; `federated.flower.policy` is what they mean."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from federated.flower import kinds
from federated.flower.keys import Party
from federated.option_groups import STRATEGIES
from medimg.errors import InputError
from medimg.models.registry import ARGUMENTS, FAMILIES
from medimg.untrusted.printable import printable
from medimg.untrusted.yaml_file import read_yaml

_OF_DP = ("unit", "epsilon", "delta", "budget", "noise")


def entries(path: Path) -> dict:
    """Attributes of a `Policy` by a file, whose keys' files are relative to it.

    Raises:
        InputError: names the file and the entry.
    """
    path = Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a mapping, e.g. 'coordinators: [coordinator.pub]'")
    known = {**_ENTRIES, "dp": _dp}
    unknown = sorted(str(name) for name in content.keys() - known.keys())
    if unknown:
        raise InputError(f"{path}: '{printable(unknown[0], 50)}' is no entry; there are {', '.join(known)}")
    if not content.get("coordinators"):
        raise InputError(f"{path}: 'coordinators' must list the public key files of those who are answered")
    attributes = {}
    for name, value in content.items():
        try:
            attributes.update(known[name](name, value, path.parent))
        except InputError as error:
            raise InputError(f"{path}: '{name}': {error}") from error
    return attributes


def _parties(name: str, value: object, folder: Path) -> dict:
    # Of an empty list nobody knows whether it means all or none.
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise InputError("must be a list of public key files")
    parties = tuple(Party.read(folder / one) for one in value)
    if len({party.name for party in parties}) < len(parties):
        raise InputError("names somebody twice")
    return {name: parties}


def _names(known: Callable[[], tuple[str, ...]]):
    def read(name: str, value: object, folder: Path) -> dict:
        if not isinstance(value, list) or not value:
            raise InputError("must be a list of names")
        for one in value:
            if one not in known():
                raise InputError(f"{printable(one, 50)} is not known; there are {', '.join(known())}")
        return {name: tuple(value)}

    return read


def _number(attribute: str, least: float, most: float = 1e9, whole: bool = True):
    def read(name: str, value: object, folder: Path) -> dict:
        kind = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
            raise InputError(f"must be a {'whole ' * whole}number from {least:g} to {most:g}")
        return {attribute: value}

    return read


def _choice(*known):
    def read(name: str, value: object, folder: Path) -> dict:
        # 1 is not true.
        if not any(value is one or (isinstance(one, str) and value == one) for one in known):
            raise InputError(f"must be one of {', '.join(str(one).lower() for one in known)}")
        return {name: value}

    return read


def _hours(name: str, value: object, folder: Path) -> dict:
    try:
        first, last = (datetime.strptime(part.strip(), "%H:%M").time() for part in str(value).split("-"))
        if first == last:
            raise ValueError("it would never answer")
    except ValueError as error:
        raise InputError("must be a text like '18:00-06:00'") from error
    return {name: (first, last)}


def _dp(name: str, value: object, folder: Path) -> dict:
    if not isinstance(value, dict) or value.keys() - set(_OF_DP):
        raise InputError(f"must be a mapping of {', '.join(_OF_DP)}")
    if value.get("unit", "patient") != "patient":
        raise InputError("unit must be patient: the site itself adds the noise")
    attributes = {"dp_unit": "patient"}
    for entry, (least, most) in {"epsilon": (1e-6, 1e6), "delta": (1e-300, 0.5), "budget": (1e-6, 1e6)}.items():
        if entry in value:
            attributes.update(_number(f"dp_{entry}", least, most, whole=False)(entry, value[entry], folder))
    if "noise" in value:
        attributes["dp_noise"] = _choice("local", "distributed")("noise", value["noise"], folder)["noise"]
    return attributes


_ENTRIES = {
    "coordinators": _parties,
    "sites": _parties,
    "models": _names(lambda: (*FAMILIES, *ARGUMENTS, *kinds.named())),
    "strategies": _names(lambda: STRATEGIES),
    "max_rounds": _number("most_rounds", 1),
    "max_runs": _number("most_runs", 0),
    "secure": _choice("required", "optional", "masking", "ckks"),
    "min_sites": _number("fewest_sites", 2),
    "min_patients": _number("fewest_patients", 1),
    "min_batch": _number("fewest_rows", 1),
    "statistics": _choice(True, False),
    "metrics": _choice(True, False),
    "gain": _choice(True, False),
    "hours": _hours,
    "approval": _choice(True, False),
}
