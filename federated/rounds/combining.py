"""From the updates that arrived to the server's next state: screened, then summed in the open or securely, or by a
robust rule.

In the open the server checks every update and knows which it used. Under a secure sum it has nothing to check: the
clients check their own, and the sum tells who is in it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from federated.config import FederateConfig
from federated.engine.contract import Engine
from federated.engine.state import State
from federated.engine.updates import ClientUpdate
from federated.robust.rules import aggregate
from federated.rounds.screening import Update, digest_arrays, screened
from federated.secure.ckks import CkksKeys
from federated.secure.encrypted import ckks_sum
from federated.secure.errors import TooFewClientsError
from federated.secure.keys import identities
from federated.secure.masking import masked_sum
from federated.secure.network import silent_from
from federated.secure.result import SecureSum

# Done on the updates outside of TFF.
_OUTSIDE = ("median", "trimmed-mean", "krum", "multi-krum")
# The first message that a client that dropped out never sends.
_SILENT_AT = {"masking": "mask", "ckks": "encrypt"}


@dataclass(frozen=True)
class Combined:
    """What became of a round's updates.

    Attributes:
        state: the server's, after the round.
        included: clients whose updates count in it.
        rejected: client -> why its update was not used.
        digests: client -> SHA-256 of its update; empty under a secure sum, where the server has none, and with
            --dp client, where it would be of an update without noise.
        bytes_up, bytes_down: client -> bytes of the secure sum, in place of the plain update's.
        shares: client -> its share in the aggregate, where a rule chose.
        measurements: of TFF's aggregation.
        failure: why nothing was learnt in the round; empty otherwise.
    """

    state: State
    included: tuple[str, ...] = ()
    rejected: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    bytes_up: dict[str, int] = field(default_factory=dict)
    bytes_down: dict[str, int] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    measurements: dict[str, float] = field(default_factory=dict)
    failure: str = ""


class Combining:
    """How a federation's updates become one.

    Args:
        engine: of the strategy.
        config: `aggregation`, `trim`, `byzantine` and `secure*`.
        names: of all clients.
        examples: most training examples of a client.
        answers: folder in which the clients keep what they have answered in secure sums, so that a resumed training
            gets no second sum of a round over other clients; None: they know until this process ends.
    """

    def __init__(
        self, engine: Engine, config: FederateConfig, names: Sequence[str], examples: int, answers: Path | None = None
    ):
        self.engine, self.config = engine, config
        self._identities = identities(names, answers)
        # A resumed training is another session: its masks are fresh.
        self._session = secrets.token_hex(16)
        self._most = float(examples)
        self._ckks = None
        if config.secure == "ckks":
            self._ckks = CkksKeys.generate(len(names), config.secure_limit, self._heaviest)

    @property
    def _heaviest(self) -> float:
        return self._most if self.engine.strategy.by_examples else 1.0

    def combine(
        self, state: State, updates: dict[str, ClientUpdate], number: int, absent: Sequence[str] = ()
    ) -> Combined:
        """The server's part of a round.

        Args:
            state: that the updates were computed from.
            updates: that arrived.
            number: of the round.
            absent: clients that began the round and dropped out.

        Returns:
            With the state as it was, but for its number, where nothing can be learnt.
        """
        if self.config.secure != "none":
            return self._securely(state, updates, number, absent)
        return self._openly(state, updates, number)

    def _openly(self, state: State, updates: dict[str, ClientUpdate], number: int) -> Combined:
        """Where the server sees every update."""
        arrived = [
            Update(
                name,
                tuple(self._finite(np.asarray(vector, np.float32)) for vector in update.vectors),
                max(1, update.measures.examples),
            )
            for name, update in updates.items()
        ]
        shapes = [array.shape for array in arrived[0].arrays] if arrived else []
        good, rejected = screened(arrived, shapes)
        if not good:
            what = "no update arrived" if not rejected else "every update was rejected"
            return Combined(replace(state, round=number), rejected=rejected, failure=what)
        used = {u.client: replace(updates[u.client], vectors=list(u.arrays)) for u in good}
        # Of an update without noise, a digest would tell who guesses the client's rows that the guess is right.
        bare = self.config.dp == "client"
        digests = {} if bare else {u.client: digest_arrays(u.arrays) for u in good}
        if self.config.aggregation in _OUTSIDE:
            return self._by_rule(state, used, rejected, digests, number)
        mean, advanced, measurements = self.engine.aggregate(state, used)
        return Combined(
            self.engine.apply(advanced, mean, used, number), tuple(used), rejected, digests, measurements=measurements
        )

    def _finite(self, vector: np.ndarray) -> np.ndarray:
        """With --dp client an update that is no number counts as none: that it was rejected would carry no noise."""
        if self.config.dp != "client" or np.isfinite(vector).all():
            return vector
        return np.zeros_like(vector)

    def _by_rule(self, state, used: dict[str, ClientUpdate], rejected, digests, number) -> Combined:
        config = self.config
        names = list(used)
        vectors = [_flat(update.vectors) for update in used.values()]
        weights = [update.weight for update in used.values()]
        found = aggregate(config.aggregation, vectors, weights, config.trim, config.byzantine)
        mean = _shaped(found.vector, next(iter(used.values())).vectors)
        shares = dict(zip(names, map(float, found.share), strict=True))
        return Combined(self.engine.apply(state, mean, used, number), tuple(names), rejected, digests, shares=shares)

    def _securely(self, state: State, updates: dict[str, ClientUpdate], number: int, absent: Sequence[str]) -> Combined:
        if not updates:
            return Combined(replace(state, round=number), failure="no update arrived")
        pattern = next(iter(updates.values())).vectors
        vectors = {name: _flat(update.vectors) for name, update in updates.items()}
        # Who dropped out had begun: the others hold shares of its keys. What it would have sent never leaves it.
        vectors.update(dict.fromkeys(absent, np.zeros_like(next(iter(vectors.values())))))
        weights = {name: updates[name].weight if name in updates else 1.0 for name in vectors}
        try:
            found = self._sum(vectors, weights, number, absent)
        except TooFewClientsError as error:
            return Combined(replace(state, round=number), failure=str(error))
        used = {name: updates[name] for name in found.included}
        mean = _shaped(found.mean, pattern)
        rejected = {name: why for name, why in found.rejected.items() if name in updates}
        return Combined(
            self.engine.apply(state, mean, used, number),
            found.included,
            rejected,
            bytes_up=found.bytes_up,
            bytes_down=found.bytes_down,
        )

    def _sum(self, vectors, weights, number: int, absent: Sequence[str]) -> SecureSum:
        config = self.config
        common = {
            "identities": self._identities,
            "threshold": config.secure_threshold or None,
            "round_number": number,
            "session": self._session,
            "limit": config.secure_limit,
            "network": silent_from(dict.fromkeys(absent, _SILENT_AT[config.secure])),
        }
        if config.secure == "ckks":
            return ckks_sum(vectors, weights, keys=self._ckks, max_weight=self._heaviest, **common)
        return masked_sum(vectors, weights, bits=config.secure_bits, max_weight=max(1.0, self._heaviest), **common)


def _flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float32, copy=False)


def _shaped(vector: np.ndarray, pattern: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A flat vector cut into the pattern's shapes, float32."""
    arrays, start = [], 0
    for like in pattern:
        part = vector[start : start + like.size]
        arrays.append(np.asarray(part, np.float32).reshape(like.shape))
        start += like.size
    return arrays
