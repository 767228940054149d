"""What a command's options are made of: fields with a default, a help text and the values they may take.

Nothing heavy is imported here: `medimg --help` reads the classes made of these.
"""

import dataclasses
from pathlib import Path
from typing import Any, Self

from medimg.errors import InputError


def option(default: Any, help: str, choices=None, minimum=None, maximum=None, above=None, metavar=None):
    """A field of a configuration: default, help, and the values it may take (choices, or a range)."""
    metadata = {
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "metavar": metavar,
    }
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def flag(name: str) -> str:
    """`image_size` -> `--image-size`."""
    return "--" + name.replace("_", "-")


class Config:
    """Base of every command's configuration: values are checked on the way in."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))

    def to_dict(self) -> dict:
        """Plain values for YAML and JSON."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}

    def given(self) -> dict:
        """`to_dict` without the options that are at their defaults: the same after options have been added."""
        defaults = {}
        for field in dataclasses.fields(self):
            made = field.default_factory is not dataclasses.MISSING
            defaults[field.name] = field.default_factory() if made else field.default
        return {key: v for key, v in self.to_dict().items() if v != _plain(defaults[key])}

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """From plain values; an unknown name is an InputError."""
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise InputError(f"option '{unknown[0]}' is not known; known are {', '.join(sorted(names))}")
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _check(field: dataclasses.Field, value: Any) -> None:
    rules = field.metadata
    if value is None or not rules:
        return
    if rules["choices"] and value not in rules["choices"]:
        raise InputError(f"{flag(field.name)} {value}: choose one of {', '.join(map(str, rules['choices']))}")
    for bound, holds in (
        ("minimum", lambda limit: value >= limit),
        ("maximum", lambda limit: value <= limit),
        ("above", lambda limit: value > limit),
    ):
        limit = rules[bound]
        if limit is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{flag(field.name)} {value}: a number is needed")
        if not holds(limit):
            words = {"minimum": "at least", "maximum": "at most", "above": "more than"}[bound]
            raise InputError(f"{flag(field.name)} {value}: must be {words} {limit}")
