"""What a training starts from: a Run that goes on must start from the same, or it is another training.

`--weights` is read again when a Run goes on, and so is `model.json`. Were they others by then, what was settled of the
first (whose patients they come from, what was spent) would be said of the second, and a private training would meet
its noise again under other gradients.
"""

import hashlib
import json
from collections.abc import Iterable

import numpy as np

from medimg import atomic
from medimg.errors import InputError
from medimg.run import Run

# Of environment.json.
FIELD = "start"


def start_of(weights: Iterable[np.ndarray], description: dict) -> str:
    """SHA-256 of the first weights and of model.json, 64 hexadecimal digits."""
    # As it is written and read again.
    text = json.dumps(json.loads(json.dumps(atomic.finite(description))), sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for array in weights:
        digest.update(str((array.shape, array.dtype.name)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def require_same_start(run: Run, start: str) -> None:
    """Refuse to go on from other first weights, or with another model.json, than the Run began with.

    Args:
        run: that goes on; one from before Runs kept their start is taken as it is.
        start: of `start_of`, as it would be now.

    Raises:
        InputError: they differ.
    """
    began_with = run.environment().get(FIELD)
    if began_with and began_with != start:
        raise InputError(
            f"{run.root}: --weights or model.json are others than this Run began with; put them back, or train anew "
            "with --overwrite"
        )
