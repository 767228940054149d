"""A threshold that a Run brings along: its recipe has chosen it with the model, before any evaluation."""

import numpy as np

from medimg.evaluation.thresholds import Rule, parse_rule
from medimg.run import Run
from medimg.untrusted.json_file import read_json

FILE = "threshold.json"
RULE = "recipe"
USUAL = "youden"


def rule_of(run: Run, text: str | None) -> Rule:
    """The rule that decides.

    Args:
        run: the Run.
        text: `--threshold`; None: the Run's own where it has one, else Youden's.

    Raises:
        InputError: not a rule.
    """
    if text in (None, RULE):
        return Rule(RULE) if (run.root / FILE).is_file() else parse_rule(USUAL)
    return parse_rule(text)


def own_threshold(run: Run, classes: tuple[str, ...]) -> tuple[float | np.ndarray, dict]:
    """The threshold, of a multilabel task (classes,), and what metrics.json says of it."""
    described = read_json(run.root / FILE, needed=("value",))
    value = described["value"]
    return (np.array([value[name] for name in classes]) if isinstance(value, dict) else float(value)), described
