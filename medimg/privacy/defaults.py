"""What a private training does where nobody says: by what is public of it alone.

A choice by the rows would be a release that no ledger counts. So the rules know the options, and the number of patients
in coarse steps; they were fitted by cross-validation on other data (`benchmarks/private_defaults.py` of tables,
`benchmarks/private_images.py` of the last layer on a frozen backbone; of a network of images no rule was better).
"""

import math

_STEPS = (5, 2, 1)
# By a mean of gradients clipped to 1. Noise is in every weight: a network, which has many, takes smaller steps, and so
# does the last layer on a backbone's hundreds of features.
_RATE = {"logistic": 0.05, "network": 0.03, "head": 0.02}
_WITHOUT_MOMENTUM = 10.0
# Times the root of epsilon x patients.
_PASSES = {"logistic": 2.0, "network": 2.0, "head": 1.0}
_FEWEST, _MOST = 5, 200
_LARGEST_RATE = 0.3
_NO_EPSILON = 1.0
# Of backbones whose features' norm was measured: a quarter of it (MobileNet 0.75: 11 to 56, median 19 to 41), which is
# about that of the gradient of a mistake. Clipped to less, all errors weigh alike, and of unequal classes the commonest
# is all that is learnt; clipped to more than there is, noise alone would grow.
_CLIPS, _CLIP = {"mobilenet": 10.0}, 1.0


def coarse(patients: int) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, 100, ... that is not above the number of patients.

    What is set from the size of a private training part (batch, epochs, how many are made) is set from this.

    Args:
        patients: at least 1.
    """
    power = 10 ** (len(str(patients)) - 1)
    return next(step * power for step in _STEPS if step * power <= patients)


def private_defaults(config, unit: str, patients: int) -> dict[str, tuple]:
    """Option -> (value, reason), of options that are open.

    Args:
        config: of `medimg train`, with `optimizer` None where it is open.
        unit: of the Dataset, `image` or `row`.
        patients: in coarse steps.
    """
    model = _trained(config, unit)
    if not model:
        return {}
    optimizer = config.optimizer or "momentum"
    wanted = _PASSES[model] * math.sqrt((config.dp_epsilon or _NO_EPSILON) * patients)
    passes = round(min(_MOST, max(_FEWEST, wanted)))
    times = "twice the" if _PASSES[model] == 2.0 else "the"
    choices = {
        "optimizer": (optimizer, "what Adam divides by would be noise mostly"),
        "batch_size": (
            patients,
            "noise is added once a step, however many patients it has: nearly all of them (in steps of 1, 2, 5)",
        ),
        "epochs": (
            passes,
            f"{times} root of epsilon x patients, at most {_MOST}: more gather noise, fewer learn less",
        ),
    }
    clip = config.dp_clip or _CLIP
    if model == "head":
        clip = config.dp_clip or _CLIPS.get(config.model, _CLIP)
        choices["dp_clip"] = (clip, "a quarter of such features' norm, where it is known: large errors then weigh more")
        choices["dropout"] = (0.0, "noise holds the weights down already")
    if optimizer in ("momentum", "sgd"):
        # Fewer passes than wanted go as far in larger steps.
        rate = min(_LARGEST_RATE, _RATE[model] * max(1.0, wanted / passes))
        rate *= _WITHOUT_MOMENTUM if optimizer == "sgd" else 1.0
        reason = f"of a {model}; over the clip, since a patient's gradient is scaled down to it"
        choices["learning_rate"] = (float(f"{rate / clip:.2g}"), reason)
    return choices


def _trained(config, unit: str) -> str:
    """What noise is added to, as the rules call it; empty: they know none."""
    if unit == "row":
        return "logistic" if config.model == "logistic" else "network"
    return "head" if config.freeze == "backbone" and not config.fine_tune_epochs else ""
