"""A plan: the candidates of a recipe, each an ordinary training by the options of `medimg train`, with its reason.

`plan.yaml` in the Run is a file of options: `medimg train DATA --config RUN/plan.yaml --out RUN2` trains by it, edited
or not.
"""

import dataclasses
import math
import shlex
import typing
from dataclasses import dataclass
from pathlib import Path

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.options import flag
from medimg.pipeline.augmentation import STRENGTHS
from medimg.training.open_options import FILE
from medimg.untrusted.yaml_file import read_yaml

VIEWS = len(STRENGTHS["acquisition"].kinds)
# Options of the training as a whole, or that judging, whose rows and pixels are those of every candidate, would miss.
_NONE_OF_ITS = ("recipe", "time", "candidate", "folds", "fold", "seeds", "member", "vote", "metadata", "extra")
_NONE_OF_ITS += ("audit_holdout", "labelled_fraction", "calibrate", "weights_patients")
_YES_OR_NO = {"true": True, "false": False}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class PlannedModel:
    """A training that competes.

    Attributes:
        options: of `medimg train`.
        reason: why it is tried.
        seconds: what it is predicted to take; NaN: not asked yet (`medimg.recipes.rules.timed`).
    """

    options: dict
    reason: str
    seconds: float = math.nan

    @property
    def name(self) -> str:
        """`mobilenet-0.75-224px`."""
        size = [f"{self.options['image_size']}px"] if "image_size" in self.options else []
        model = self.options.get("model", "baseline_cnn")
        return "-".join([model, *self.options.get("model_arg", {}).values(), *size])

    @property
    def is_probe(self) -> bool:
        """A regression on a frozen backbone's features, that can be fitted anew on any of the rows in no time."""
        wanted = {"head_start": "logistic", "epochs": 0, "augment": "acquisition", "views": VIEWS}
        return wanted.items() <= self.options.items()

    def config(self, seed: int) -> TrainConfig:
        """As `train` takes it."""
        config = TrainConfig(**{"seed": seed, **self.options})
        return config.with_given_names(self.options)

    def words(self) -> str:
        """The options as they are typed."""
        return shlex.join(word for name, value in self.options.items() for word in _typed(name, value))


def _typed(name: str, value) -> list[str]:
    if isinstance(value, dict):
        return [word for key, content in value.items() for word in (flag(name), f"{key}={content}")]
    return [flag(name), str(value)]


def parsed(words: str) -> PlannedModel:
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
        if not option.startswith("--") or name not in kinds or name in _NONE_OF_ITS or name.startswith("dp_"):
            raise InputError(f"--candidate '{words}': {option} is not an option of 'medimg train' that it can have")
        annotated: typing.Any = kinds[name].type
        kind = next(iter(typing.get_args(annotated)), annotated)
        if kind is dict:
            key, _, content = value.partition("=")
            options.setdefault(name, {})[key] = content
            continue
        try:
            options[name] = _YES_OR_NO[value.lower()] if kind is bool else kind(value)
        except (KeyError, TypeError, ValueError):
            raise InputError(f"--candidate '{words}': {option} {value}: must be {kind.__name__}") from None
    TrainConfig(**options)
    return PlannedModel(options, "given")


def kept(folder: Path) -> list[PlannedModel]:
    """The candidates of the plan in a Run; none where it was killed before it had one."""
    path = folder / FILE
    return [parsed(words) for words in read_yaml(path)["candidate"]] if path.is_file() else []


def seconds_of(time: str) -> float:
    """`12m`, `90s` or `1.5h` in seconds.

    Raises:
        InputError: it is none.
    """
    text = str(time).strip().lower()
    try:
        seconds = float(text[:-1]) * _SECONDS[text[-1:]]
    except (KeyError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(f"--time {time}: give a time such as 90s, 12m or 1.5h")
    return seconds


def written(candidates: list[PlannedModel], time: str, seed: int, lines: list[str]) -> str:
    """Content of plan.yaml."""
    import yaml

    comments = "".join(f"# {line}\n" for line in lines)
    head = yaml.safe_dump({"recipe": "auto", "time": time, "seed": seed}, sort_keys=False)
    body = "candidate:\n"
    for one in candidates:
        seconds = "" if math.isnan(one.seconds) else f" (predicted: {one.seconds:.0f} s)"
        body += f"# {one.name}: {one.reason}{seconds}\n- {yaml.safe_dump(one.words(), width=10**6).splitlines()[0]}\n"
    return comments + head + body
