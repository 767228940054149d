"""A plan: the candidates of a recipe, each an ordinary training by the options of `medimg train`, with its reason.

`plan.yaml` in the Run is a file of options: `medimg train DATA --config RUN/plan.yaml --out RUN2` trains by it, edited
or not.
"""

import dataclasses
import math
import shlex
import typing
from dataclasses import dataclass

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.options import flag

FILE = "plan.yaml"
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Candidate:
    """A training that competes.

    Attributes:
        options: of `medimg train`.
        reason: why it is tried.
        seconds: what it is predicted to take; NaN: of a plan that was given.
    """

    options: dict
    reason: str
    seconds: float

    @property
    def name(self) -> str:
        """`mobilenet-0.75-224px`."""
        size = [f"{self.options['image_size']}px"] if "image_size" in self.options else []
        model = self.options.get("model", "baseline_cnn")
        return "-".join([model, *self.options.get("model_arg", {}).values(), *size])

    @property
    def is_probe(self) -> bool:
        """A regression on a frozen backbone's features, that can be fitted anew on any of the rows in no time."""
        return self.options.get("head_start") == "logistic" and not self.options.get("epochs", 1)

    def config(self, seed: int) -> TrainConfig:
        """As `train` takes it."""
        config = TrainConfig(**{"seed": seed, **self.options})
        return config.told_by(self.options)

    def words(self) -> str:
        """The options as they are typed."""
        return shlex.join(word for name, value in self.options.items() for word in _typed(name, value))


def _typed(name: str, value) -> list[str]:
    if isinstance(value, dict):
        return [word for key, content in value.items() for word in (flag(name), f"{key}={content}")]
    return [flag(name), str(value)]


def parsed(words: str) -> Candidate:
    """A candidate from its options as they are typed.

    Raises:
        InputError: names the option.
    """
    kinds = {field.name: field for field in dataclasses.fields(TrainConfig)}
    options: dict = {}
    try:
        typed = shlex.split(words)
    except ValueError as error:
        raise InputError(f"--candidate '{words}': {error}") from error
    if len(typed) % 2 or not typed:
        raise InputError(f"--candidate '{words}': give options of 'medimg train' and their values")
    for option, value in zip(typed[::2], typed[1::2], strict=True):
        name = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or name not in kinds or name in ("recipe", "time", "candidate"):
            raise InputError(f"--candidate '{words}': {option} is not an option of 'medimg train' that it can have")
        annotated: typing.Any = kinds[name].type
        kind = next(iter(typing.get_args(annotated)), annotated)
        if kind is dict:
            key, _, content = value.partition("=")
            options.setdefault(name, {})[key] = content
            continue
        try:
            options[name] = kind(value)
        except (TypeError, ValueError):
            raise InputError(f"--candidate '{words}': {option} {value}: must be {kind.__name__}") from None
    TrainConfig(**options)
    return Candidate(options, "given", float("nan"))


def seconds_of(time: str) -> float:
    """`12m`, `90s` or `1.5h` in seconds.

    Raises:
        InputError: it is none.
    """
    text = str(time).strip().lower()
    try:
        found = float(text[:-1]) * _SECONDS[text[-1:]]
    except (KeyError, ValueError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise InputError(f"--time {time}: give a time such as 90s, 12m or 1.5h")
    return found


def written(candidates: list[Candidate], time: str, seed: int, lines: list[str]) -> str:
    """Content of plan.yaml."""
    import yaml

    comments = "".join(f"# {line}\n" for line in lines)
    head = yaml.safe_dump({"recipe": "auto", "time": time, "seed": seed}, sort_keys=False)
    body = "candidate:\n"
    for one in candidates:
        seconds = "" if math.isnan(one.seconds) else f" (predicted: {one.seconds:.0f} s)"
        body += f"# {one.name}: {one.reason}{seconds}\n- {yaml.safe_dump(one.words(), width=10**6).splitlines()[0]}\n"
    return comments + head + body
