"""Models of tables: preprocessed columns float32 (B, F) in, logits (B, classes) out."""

import tensorflow as tf

from medimg.errors import InputError
from medimg.models.head import DROPOUT, LOGITS
from medimg.models.registry import ARGUMENTS


def check(name: str) -> None:
    """Raises InputError unless the model takes tables."""
    if name not in ARGUMENTS:
        raise InputError(f"--model {name}: needs images; a table takes {' or '.join(ARGUMENTS)}")


def build_tabular(
    name: str, features: int, classes: int, dropout: float = 0.2, model_arg: dict | None = None
) -> tf.keras.Model:
    """Build a classifier of preprocessed columns.

    Args:
        name: `logistic` (multinomial logistic regression) or `mlp` (dense layers with ReLU and dropout).
        features: F.
        classes: number of outputs.
        dropout: of the mlp, after each hidden layer.
        model_arg: `l2` (penalty of the weights' squares); mlp: `width`, `layers`.

    Raises:
        InputError: an unknown model or argument.
    """
    check(name)
    arguments = _arguments(name, model_arg or {})
    layers = tf.keras.layers

    def dense(units: int, **options):
        penalty = tf.keras.regularizers.L2(arguments["l2"]) if arguments["l2"] else None
        return layers.Dense(units, kernel_regularizer=penalty, **options)

    columns = tf.keras.Input((features,), name="columns")
    x = columns
    for i in range(1, int(arguments.get("layers", 0)) + 1):
        x = dense(arguments["width"], activation="relu", name=f"dense{i}")(x)
        x = layers.Dropout(dropout, name=DROPOUT if i == 1 else f"{DROPOUT}{i}")(x)
    # The loss of a logistic regression has one minimum: start where no class is favoured.
    start = "zeros" if name == "logistic" else "glorot_uniform"
    return tf.keras.Model(columns, dense(classes, kernel_initializer=start, name=LOGITS)(x), name=name)


def _arguments(name: str, values: dict) -> dict:
    defaults = ARGUMENTS[name]
    arguments = {key: default for key, (_, default) in defaults.items()}
    for key, value in values.items():
        if key not in defaults:
            raise InputError(f"--model-arg {key}: {name} has no such argument (it has {', '.join(defaults)})")
        kind = defaults[key][0]
        try:
            arguments[key] = kind(value)
        except ValueError:
            raise InputError(f"--model-arg {key}={value}: must be {kind.__name__}") from None
        least = 1 if kind is int else 0
        if not arguments[key] >= least:
            raise InputError(f"--model-arg {key}={value}: must be at least {least}")
    return arguments
