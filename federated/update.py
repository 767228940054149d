"""A client's update as it arrives at the server, and what the server checks before it is used.

The server gives every chosen client a fresh nonce for the round. The client seals its update: a SHA-256 digest over
all of it, or an HMAC with a key that it shares with the server. A digest shows damage on the way; only the HMAC (or
mutual TLS) shows a forger, who could compute a digest anew. Neither shows a client that lies about its own training:
that is what `federated.robust` and the norm bound are for.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

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
        round: of the training, from 1 on.
        nonce: what the server gave this client for this round.
        arrays: the change of every trainable weight, float32.
        examples: training examples behind it.
        seal: see `sealed`; empty before.
    """

    client: str
    round: int
    nonce: str
    arrays: tuple[np.ndarray, ...]
    examples: int
    seal: str = ""

    def digest(self, key: bytes | None = None) -> str:
        """SHA-256 over everything but the seal, as 64 hexadecimal digits; with a key the HMAC."""
        head = [self.client, int(self.round), self.nonce, int(self.examples)]
        head += [[array.dtype.str, *np.shape(array)] for array in self.arrays]
        return _digest(json.dumps(head).encode(), self.arrays, key)

    def vector(self) -> np.ndarray:
        """All values in one vector (d,), array after array in C order."""
        return np.concatenate([np.ravel(array) for array in self.arrays])


@dataclass(frozen=True)
class Limits:
    """What no honest client exceeds; None leaves it open.

    Attributes:
        norm: largest Euclidean norm of all arrays together.
        examples: most examples; a client that claims more would outweigh the others in the mean.
    """

    norm: float | None = None
    examples: int | None = None


def nonces(clients: Iterable[str]) -> dict[str, str]:
    """A fresh 128-bit nonce for each client of a round, from the operating system."""
    return {client: secrets.token_hex(16) for client in clients}


def sealed(update: Update, key: bytes | None = None) -> Update:
    """The update with its seal: its digest, or with a key the HMAC that only a holder of the key can make."""
    return replace(update, seal=update.digest(key))


def digest_arrays(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of arrays with their shapes and dtypes, e.g. of a model's weights, as 64 hexadecimal digits."""
    head = [[array.dtype.str, *np.shape(array)] for array in arrays]
    return _digest(json.dumps(head).encode(), arrays, None)


def validate(
    update: Update,
    expected_shapes: Sequence[tuple[int, ...]],
    round: int,
    seen: Set[str],
    nonce: str | None = None,
    key: bytes | None = None,
    dtype: np.dtype = np.float32,
    limits: Limits = Limits(),
) -> None:
    """Check an update; the caller adds the nonce of an accepted one to `seen`.

    Args:
        update: as received.
        expected_shapes: of the arrays, in order.
        round: the round that the server is in.
        seen: nonces of updates accepted so far.
        nonce: what the server gave the client for this round; None when it keeps no list.
        key: of the HMAC; None for a plain digest.
        dtype: of every array.
        limits: what no honest client exceeds.

    Raises:
        RejectedUpdateError: with the client and the reason.
    """
    reason = (
        _not_fresh(update, round, seen, nonce)
        or _wrong_form(update, expected_shapes, np.dtype(dtype))
        or _broken_seal(update, key)
        or _no_number(update)
        or _beyond(update, limits)
    )
    if reason:
        raise RejectedUpdateError(update.client, reason)


def screened(
    updates: Sequence[Update],
    expected_shapes: Sequence[tuple[int, ...]],
    round: int,
    issued: Mapping[str, str],
    keys: Mapping[str, bytes] | None = None,
    limits: Limits = Limits(),
) -> tuple[list[Update], dict[str, str]]:
    """A round's updates that pass, and why the others do not.

    A second update under a client's name, whoever sent it, is a replay: the first one stays.

    Args:
        updates: as received, in order of arrival.
        expected_shapes: of the arrays.
        round: the round that the server is in.
        issued: client -> the nonce it was given for this round.
        keys: client -> key of its HMAC; None for plain digests.
        limits: what no honest client exceeds.

    Returns:
        The accepted updates in the order given; client -> reason for the rejected, several joined by "; ".
    """
    accepted, rejected, seen = [], {}, set()
    for update in updates:
        try:
            if update.client not in issued or (keys is not None and update.client not in keys):
                raise RejectedUpdateError(update.client, f"the client has no part in round {round}")
            key = None if keys is None else keys[update.client]
            nonce = issued[update.client]
            validate(update, expected_shapes, round, seen, nonce, key, limits=limits)
        except RejectedUpdateError as error:
            known = [rejected[error.client]] if error.client in rejected else []
            rejected[error.client] = "; ".join([*known, error.reason])
            continue
        seen.add(update.nonce)
        accepted.append(update)
    return accepted, rejected


def _not_fresh(update: Update, round: int, seen: Set[str], nonce: str | None) -> str:
    if update.round != round:
        return f"it is of round {update.round}, this is round {round}"
    if update.nonce in seen:
        return "replayed: an update with its nonce is already in"
    if nonce is not None and not hmac.compare_digest(update.nonce.encode(), nonce.encode()):
        return f"replayed or forged: its nonce is not the one given to the client for round {round}"
    return ""


def _wrong_form(update: Update, shapes: Sequence[tuple[int, ...]], dtype: np.dtype) -> str:
    if isinstance(update.examples, bool) or not isinstance(update.examples, int | np.integer):
        return f"examples is {update.examples!r}, not a whole number"
    if update.examples <= 0:
        return f"it claims {update.examples} examples; at least 1 is needed"
    if len(update.arrays) != len(shapes):
        return f"it has {len(update.arrays)} arrays, the model has {len(shapes)}"
    for i, (array, shape) in enumerate(zip(update.arrays, shapes, strict=True)):
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            found = getattr(array, "dtype", type(array).__name__)
            return f"array {i} has dtype {found}, not {dtype}"
        if array.shape != tuple(shape):
            return f"array {i} has shape {array.shape}, the model's is {tuple(shape)}"
    return ""


def _broken_seal(update: Update, key: bytes | None) -> str:
    if not update.seal:
        return "it is not sealed"
    if not hmac.compare_digest(update.seal.encode(), update.digest(key).encode()):
        return "its seal does not fit: it was changed on the way" + (" or forged" if key else "")
    return ""


def _no_number(update: Update) -> str:
    for i, array in enumerate(update.arrays):
        broken = array.size - int(np.isfinite(array).sum())
        if broken:
            return f"array {i} holds NaN or infinity in {broken} of {array.size} values"
    return ""


def _beyond(update: Update, limits: Limits) -> str:
    if limits.examples is not None and update.examples > limits.examples:
        return f"it claims {update.examples} examples, more than {limits.examples}"
    if limits.norm is not None:
        # Array by array, so that no second copy in float64 of the whole update is needed.
        squares = [float(np.square(a, dtype=np.float64).sum()) for a in update.arrays]
        norm = float(np.sqrt(sum(squares)))
        if norm > limits.norm:
            return f"its norm {norm:.4g} is above the bound {limits.norm:.4g}"
    return ""


def _digest(head: bytes, arrays: Sequence[np.ndarray], key: bytes | None) -> str:
    machine = hashlib.sha256() if key is None else hmac.new(key, digestmod=hashlib.sha256)
    # The length before the head keeps head and values apart.
    machine.update(len(head).to_bytes(8, "big") + head)
    for array in arrays:
        machine.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return machine.hexdigest()
