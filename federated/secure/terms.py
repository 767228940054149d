"""What all parties of a secure round agree to before anything is sent; its hash names the round."""

import hashlib
import json
import math
import secrets
from collections.abc import Mapping, Sized
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Self

from federated.secure.errors import RejectedError
from federated.secure.fixed_point import FixedPoint
from medimg.errors import InputError
from medimg.untrusted.json_file import parse_json


@dataclass(frozen=True)
class SumTerms:
    """The public parameters of one secure round.

    Every signature, key and share is bound to `id`, the SHA-256 of all fields: a message of another round, or of
    the same round under other parameters, does not verify.

    Args:
        round: number of the training round, for people; the nonce is what makes rounds differ.
        clients: names in order; the order decides the signs of pairwise masks.
        threshold: clients needed to reveal the sum; `default_threshold` unless given.
        length: parameters in a client's vector.
        limit: public bound of a parameter's absolute value.
        max_weight: public bound of a client's weight (its number of examples).
        bits: 32 or 64, of the modular sum; masking only.
        server: the server's X25519 key of this round in hex; masking only.
        session: 16 random bytes in hex of the coordinator's process: a round that is repeated in another one starts
            from fresh keys, and clients answer it as they did before or not at all (`answers`).
        start: digest of what the updates were made from, of which each client checks its own: weights that differ by
            client would let the server silence all but one (Pasquini et al., CCS 2022); empty: not said.
        nonce: 16 random bytes in hex.

    Raises:
        InputError: fewer than two clients, a repeated name, a threshold that reveals a client's own vector or can't
            be met, or bounds that the modular sum can't hold.
    """

    round: int
    clients: tuple[str, ...]
    threshold: int
    length: int
    limit: float = 1024.0
    max_weight: float = 2.0**20
    bits: int = 64
    server: str = ""
    session: str = field(default_factory=lambda: secrets.token_hex(16))
    start: str = ""
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    @classmethod
    def over(cls, vectors: Mapping[str, Sized], threshold: int | None, session: str, **others) -> Self:
        """Of a sum over these clients' vectors.

        Args:
            vectors: client -> (length,).
            threshold: None: a strict majority.
            session: of the coordinator's process; empty: a new one.
            others: attributes.
        """
        return cls(
            clients=tuple(vectors),
            threshold=default_threshold(len(vectors)) if threshold is None else threshold,
            length=len(next(iter(vectors.values()))) if len(vectors) else 0,
            **({"session": session} if session else {}),
            **others,
        )

    def __post_init__(self):
        count = len(self.clients)
        if count < 2:
            raise InputError(
                f"secure aggregation needs 2 or more clients, there are {count}: the sum of one is its own update"
            )
        if len(set(self.clients)) != count:
            raise InputError("secure aggregation: two clients have the same name; rename one")
        if not count / 2 < self.threshold <= count:
            raise InputError(
                f"--secure-threshold {self.threshold}: must be more than half of the {count} clients "
                f"(from {default_threshold(count)} to {count})"
            )
        if self.length < 1:
            raise InputError("secure aggregation: the vector is empty")
        # Refuses bounds that don't fit.
        _ = self.fixed_point

    @cached_property
    def fixed_point(self) -> FixedPoint:
        """The encoding of this round's vectors."""
        return FixedPoint(self.limit, self.max_weight, len(self.clients), self.bits)

    @cached_property
    def id(self) -> str:
        """SHA-256 in hex of all fields."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def lasting(self) -> dict:
        """All that is the same when the round is repeated."""
        return {name: value for name, value in asdict(self).items() if name not in ("session", "nonce", "server")}

    def place(self, client: str) -> int:
        """1, 2, ...: the client's point on the sharing polynomials."""
        return self.clients.index(client) + 1

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> "SumTerms":
        """Read what `to_bytes` wrote; checks them as the constructor does."""
        fields = parse_json(message)
        return cls(**{**fields, "clients": tuple(fields["clients"])})


def default_threshold(clients: int) -> int:
    """The smallest strict majority: two disjoint groups can't both reach it."""
    return clients // 2 + 1


def check_vector(client: str, vector, weight: float, terms: SumTerms) -> None:
    """What an honest client checks of its own vector before it is hidden, since nobody can afterwards.

    Args:
        client: whose it is, for the message.
        vector: shape (terms.length,), float32 or float64.
        weight: above 0, at most `terms.max_weight`.
        terms: of the round.

    Raises:
        RejectedError: names the client; a wrong shape or type, NaN or infinity, or a value beyond the limit.
    """
    import numpy as np

    if getattr(vector, "shape", None) != (terms.length,):
        shape = getattr(vector, "shape", type(vector).__name__)
        raise RejectedError(client, f"its vector has shape {shape}, this round's is ({terms.length},)")
    if vector.dtype not in (np.float32, np.float64):
        raise RejectedError(client, f"its vector is {vector.dtype}; float32 or float64 is needed")
    low, high = float(vector.min()), float(vector.max())
    # A NaN makes both NaN.
    if not (math.isfinite(low) and math.isfinite(high)):
        # How many would tell of this client alone.
        raise RejectedError(client, "its vector has NaN or infinity")
    if max(-low, high) > terms.limit:
        # How large it is would tell of this client alone.
        raise RejectedError(
            client, f"its vector goes beyond the public limit of {terms.limit:g}; clip updates or raise it"
        )
    if not 0 < weight <= terms.max_weight:
        raise RejectedError(client, f"its weight {weight:g} must be above 0 and at most {terms.max_weight:g}")
