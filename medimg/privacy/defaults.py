"""What a private training of a table does where nobody says: by what is public of it alone.

A choice by the rows would be a release that no ledger counts. So the rules know the options, and the number of patients
in coarse steps; they were fitted by cross-validation on other data (`benchmarks/private_defaults.py`).
"""

import math

_STEPS = (5, 2, 1)
# By a mean of gradients clipped to 1. Noise is in every weight: a network, which has many, takes smaller steps.
_RATE = {"logistic": 0.05, "network": 0.03}
_WITHOUT_MOMENTUM = 10.0
_PASSES = 2.0
_FEWEST, _MOST = 5, 200
_LARGEST_RATE = 0.3
_NO_EPSILON = 1.0


def coarse(patients: int) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, 100, ... that is not above the number of patients.

    What is set from the size of a private training part (batch, epochs, how many are made) is set from this.

    Args:
        patients: at least 1.
    """
    power = 10 ** (len(str(patients)) - 1)
    return next(step * power for step in _STEPS if step * power <= patients)


def private_defaults(config, patients: int) -> dict[str, tuple]:
    """Option -> (value, reason), of options that are open.

    Args:
        config: of `medimg train`, with `optimizer` None where it is open.
        patients: in coarse steps.
    """
    optimizer, model = config.optimizer or "momentum", "logistic" if config.model == "logistic" else "network"
    wanted = _PASSES * math.sqrt((config.dp_epsilon or _NO_EPSILON) * patients)
    passes = round(min(_MOST, max(_FEWEST, wanted)))
    choices = {
        "optimizer": (optimizer, "what Adam divides by would be noise mostly"),
        "batch_size": (
            patients,
            "noise is added once a step, however many patients it has: nearly all of them (in steps of 1, 2, 5)",
        ),
        "epochs": (
            passes,
            f"twice the root of epsilon x patients, at most {_MOST}: more gather noise, fewer learn less",
        ),
    }
    if optimizer in ("momentum", "sgd"):
        # Fewer passes than wanted go as far in larger steps.
        rate = min(_LARGEST_RATE, _RATE[model] * max(1.0, wanted / passes))
        rate *= _WITHOUT_MOMENTUM if optimizer == "sgd" else 1.0
        reason = f"of a {model}; over the clip, since a patient's gradient is scaled down to it"
        choices["learning_rate"] = (float(f"{rate / config.dp_clip:.2g}"), reason)
    return choices
