"""A client's update at the server, and what the server checks of its values before they are used.

Checked are form and range: number, dtype and shapes of the arrays, NaN and infinity, the number of examples. A value
that was changed within these is not noticed, nor who changed it: that takes keys that sites of their own hold, and on
the way there mutual TLS. A client that lies about its training is what `federated.robust` is for.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medimg.errors import InputError


class RejectedUpdateError(InputError):
    """An update is not used.

    Attributes:
        client: whose it is.
        reason: why, without the client's name.
    """

    def __init__(self, client: str, reason: str):
        super().__init__(f"update of client '{client}' rejected: {reason}")
        self.client, self.reason = client, reason


@dataclass(frozen=True, eq=False)
class Update:
    """What a client sends after its local training.

    Attributes:
        client: its name.
        arrays: the change of every trainable weight, float32.
        examples: training examples behind it.
    """

    client: str
    arrays: tuple[np.ndarray, ...]
    examples: int

    def vector(self) -> np.ndarray:
        """All values in one vector (d,), array after array in C order."""
        return np.concatenate([np.ravel(array) for array in self.arrays])


def digest_arrays(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of arrays with their shapes and dtypes, e.g. of a model's weights, as 64 hexadecimal digits."""
    head = json.dumps([[array.dtype.str, *np.shape(array)] for array in arrays]).encode()
    machine = hashlib.sha256()
    # The length before the head keeps head and values apart.
    machine.update(len(head).to_bytes(8, "big") + head)
    for array in arrays:
        machine.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return machine.hexdigest()


def validate(update: Update, expected_shapes: Sequence[tuple[int, ...]]) -> None:
    """Check form and range of an update.

    Args:
        update: as received.
        expected_shapes: of the arrays, in order.

    Raises:
        RejectedUpdateError: with the client and the reason.
    """
    reason = _wrong_form(update, expected_shapes) or _no_number(update)
    if reason:
        raise RejectedUpdateError(update.client, reason)


def screened(
    updates: Sequence[Update], expected_shapes: Sequence[tuple[int, ...]]
) -> tuple[list[Update], dict[str, str]]:
    """A round's updates that pass, and why the others do not.

    Args:
        updates: one of each client.
        expected_shapes: of the arrays.

    Returns:
        The accepted updates in the order given; client -> reason for the rejected.
    """
    accepted, rejected = [], {}
    for update in updates:
        try:
            validate(update, expected_shapes)
        except RejectedUpdateError as error:
            rejected[error.client] = error.reason
            continue
        accepted.append(update)
    return accepted, rejected


def _wrong_form(update: Update, shapes: Sequence[tuple[int, ...]]) -> str:
    if isinstance(update.examples, bool) or not isinstance(update.examples, int | np.integer):
        return f"examples is {update.examples!r}, not a whole number"
    if update.examples <= 0:
        return f"it claims {update.examples} examples; at least 1 is needed"
    if len(update.arrays) != len(shapes):
        return f"it has {len(update.arrays)} arrays, the model has {len(shapes)}"
    for i, (array, shape) in enumerate(zip(update.arrays, shapes, strict=True)):
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            dtype = getattr(array, "dtype", type(array).__name__)
            return f"array {i} has dtype {dtype}, not float32"
        if array.shape != tuple(shape):
            return f"array {i} has shape {array.shape}, the model's is {tuple(shape)}"
    return ""


def _no_number(update: Update) -> str:
    for i, array in enumerate(update.arrays):
        broken = array.size - int(np.isfinite(array).sum())
        if broken:
            return f"array {i} holds NaN or infinity in {broken} of {array.size} values"
    return ""
