"""What a command's options are made of: fields with a default, a help text and the values they may take.

Nothing heavy is imported here: `medimg --help` reads the classes made of these.
"""

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

from medimg.errors import InputError

# Begins a condition that holds where what follows does not.
_WITHOUT = "use without "
# Seeds of NumPy and scikit-learn have 32 bits.
LARGEST_SEED = 2**32 - 1


def option(default: Any, help: str, choices=None, minimum=None, maximum=None, above=None, metavar=None, only=()) -> Any:
    """A field of a configuration: default, help, the values it may take (choices, or a range), and what it is for.

    `only` has conditions that must all hold, or the option does nothing and is refused: `--partition iid|dirichlet`,
    `--folds` (any but off), `use without --image`, or what the command is about, as `images` or `tables`; of several
    with ` or ` between them one must hold.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "metavar": metavar,
        "only": (only,) if isinstance(only, str) else only,
    }
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def flag(name: str) -> str:
    """`image_size` -> `--image-size`."""
    return "--" + name.replace("_", "-")


def of_data(is_table: bool) -> str:
    """What a command is about, in the word of conditions."""
    return "tables" if is_table else "images"


class Config:
    """Base of every command's configuration: values are checked on the way in.

    Attributes:
        only: what all options of a group among the bases are for, beside the conditions of each.
        given_names: names of the options that a person gave; None: those that are not at their defaults.
        gone: what old Runs call an option -> its name now; empty: there is none any more.
    """

    only: ClassVar[dict[type, tuple[str, ...]]] = {}
    given_names: ClassVar[frozenset[str] | None] = None
    gone: ClassVar[dict[str, str]] = {}

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
            has_factory = field.default_factory is not dataclasses.MISSING
            defaults[field.name] = field.default_factory() if has_factory else field.default
        return {key: v for key, v in self.to_dict().items() if v != _plain(defaults[key])}

    def with_given_names(self, names: Iterable[str]) -> Self:
        """The same, of which a person gave the options of these names."""
        config = dataclasses.replace(self)
        object.__setattr__(config, "given_names", frozenset(names))
        return config

    def names_given(self) -> list[str]:
        """Of the options that a person gave, in order."""
        names = self.given() if self.given_names is None else self.given_names
        return [field.name for field in dataclasses.fields(self) if field.name in names]

    def is_open(self, *names: str) -> bool:
        """Whether none of these options is given, nor other than usual."""
        usual, given = type(self)(), self.names_given()
        return all(getattr(self, name) == getattr(usual, name) and name not in given for name in names)

    @classmethod
    def conditions(cls, field: dataclasses.Field, on_itself: bool = False) -> list[str]:
        """What must hold for an option to do anything; with those that its own value decides, or without."""
        of_groups = [
            condition
            for group, conditions in cls.only.items()
            if field.name in group.__dataclass_fields__
            for condition in conditions
            if on_itself or flag(field.name) not in condition.split()
        ]
        return [*of_groups, *field.metadata["only"]]

    def acting(self, *about: str) -> list[str]:
        """Names of the options that do something where the command is about these, see `of_data`."""
        fields = dataclasses.fields(self)
        return [f.name for f in fields if all(self._holds(c, about) for c in self.conditions(f, on_itself=True))]

    def require_effect(self, *about: str, resolved: "Config | None" = None) -> None:
        """Refuse options that were given and would do nothing.

        Args:
            about: what the command is about, see `of_data`.
            resolved: the same options with the defaults that depend on others.

        Raises:
            InputError: names the first one and what it is for.
        """
        names = self.names_given()
        for field in dataclasses.fields(self):
            for condition in self.conditions(field) if field.name in names else ():
                if not (resolved or self)._holds(condition, about):
                    raise InputError(f"{flag(field.name)}: is for {condition}; leave it out")

    def _holds(self, condition: str, about: tuple[str, ...]) -> bool:
        return any(self._holds_alone(part, about) for part in condition.split(" or "))

    def _holds_alone(self, condition: str, about: tuple[str, ...]) -> bool:
        if condition.startswith(_WITHOUT):
            return not self._holds_alone(condition.removeprefix(_WITHOUT), about)
        if not condition.startswith("--"):
            return condition in about
        name, _, values = condition.removeprefix("--").partition(" ")
        value = getattr(self, name.replace("-", "_"), None)
        if not values:
            return value not in (None, False, 0, "none", (), {})
        return bool(set(values.split("|")) & set(value if isinstance(value, tuple) else (value,)))

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """From plain values; an unknown name is an InputError, one of `gone` is left out or has its new name."""
        values = {cls.gone.get(name, name): value for name, value in values.items()}
        values.pop("", None)
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
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{flag(field.name)} {value}: a finite number is needed")
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
