"""From the updates that arrived to their aggregate: screened, then averaged in the open, by a robust rule or securely.

In the open the server checks every update and knows which it used. Under a secure sum it has nothing to check: the
clients check their own, and the sum tells who is in it.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from federated.config import FederateConfig
from federated.engine.updates import Aggregate, ClientUpdate, Mean
from federated.robust.mean import mean
from federated.robust.rules import ROBUST, aggregate, check_enough
from federated.rounds.participation import clients_in_round
from federated.rounds.screening import Update, digest_arrays, screened
from federated.secure import encrypted, masking
from federated.secure.ckks_keys import CkksKeys
from federated.secure.errors import TooFewClientsError
from federated.secure.keys import Exchange, identities
from federated.secure.network import Ask, silent_from
from federated.secure.result import SecureSum
from federated.secure.terms import SumTerms, default_threshold
from medimg.errors import InputError

# The first message that a client that dropped out never sends.
_SILENT_AT = {"masking": "mask", "ckks": "encrypt"}


@dataclass(frozen=True)
class Sums:
    """Secure sums over updates that stay at their clients.

    Attributes:
        shapes: of an update's vectors.
        roster: client -> public identity key.
        ask: number of the round -> how its clients are asked.
        start: digest of what the round's updates were made from (`SumTerms.start`).
        public: the server's context of CKKS.
    """

    shapes: list[tuple[int, ...]]
    roster: Mapping[str, bytes]
    ask: Callable[[int], Ask]
    start: Callable[[], str]
    public: bytes = b""


class Combining:
    """How a federation's updates become one.

    Args:
        config: `aggregation`, `trim`, `byzantine`, `secure*` and `dp`.
        names: of all clients.
        heaviest: largest weight of a client.
        answers: folder in which the clients keep what they have answered in secure sums, so that a resumed training
            gets no second sum of a round over other clients; None: they know until this process ends.
        sums: over updates that stay at their clients; None: all are here.
    """

    def __init__(
        self,
        config: FederateConfig,
        names: Sequence[str],
        heaviest: float,
        answers: Path | None = None,
        sums: Sums | None = None,
    ):
        self.config, self._sums = config, sums
        self._identities = identities(names, answers)
        # A resumed training is another session: its masks are fresh.
        self._session = secrets.token_hex(16)
        self._heaviest = float(heaviest)
        self._ckks = None
        if config.secure == "ckks" and sums is None:
            self._ckks = CkksKeys.generate(len(names), config.secure_limit, self._heaviest)

    def combine(
        self,
        updates: dict[str, ClientUpdate],
        number: int,
        mean_of: Callable[[dict[str, ClientUpdate]], Mean] | None = None,
        absent: Sequence[str] = (),
    ) -> Aggregate:
        """A round's updates as one.

        Args:
            updates: that arrived.
            number: of the round.
            mean_of: averages updates that have passed, where neither a rule nor a secure sum does; None:
                `weighted_mean`.
            absent: clients that began the round and dropped out.

        Returns:
            With a `failure` where nothing can be learnt.
        """
        if self.config.secure != "none":
            return self._securely(updates, number, absent)
        return self._openly(updates, mean_of or weighted_mean)

    def enough(self, clients: int) -> bool:
        """Whether a round can come to an aggregate when no more than so many clients have an update to use."""
        config = self.config
        if config.secure != "none":
            return clients >= (
                config.secure_threshold
                or default_threshold(clients_in_round(len(self._identities), config.client_fraction))
            )
        try:
            check_enough(config.aggregation, clients, config.trim, config.byzantine)
        except InputError:
            return False
        return clients > 0

    def _openly(self, updates: dict[str, ClientUpdate], mean_of: Callable) -> Aggregate:
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
            failure = "no update arrived" if not rejected else "every update was rejected"
            return Aggregate(rejected=rejected, failure=failure)
        included = {u.client: replace(updates[u.client], vectors=list(u.arrays)) for u in good}
        # Of an update without noise, a digest would tell who guesses the client's rows that the guess is right.
        without_noise = self.config.dp == "client"
        digests = {} if without_noise else {u.client: digest_arrays(u.arrays) for u in good}
        aggregator_state, measurements, shares = None, {}, {}
        if self.config.aggregation not in ROBUST:
            arrays, aggregator_state, measurements = mean_of(included)
        elif self.enough(len(included)):
            arrays, shares = self._by_rule(included)
        else:
            return Aggregate(
                rejected=rejected,
                failure=f"{len(included)} updates are too few for --aggregation {self.config.aggregation}",
            )
        return Aggregate(
            arrays, included, rejected, digests, shares=shares, measurements=measurements, aggregator=aggregator_state
        )

    def _finite(self, vector: np.ndarray) -> np.ndarray:
        """With --dp client an update that is no number counts as none: that it was rejected would carry no noise."""
        if self.config.dp != "client" or np.isfinite(vector).all():
            return vector
        return np.zeros_like(vector)

    def _by_rule(self, included: dict[str, ClientUpdate]) -> tuple[list[np.ndarray], dict[str, float]]:
        """The robust rule's choice, and each client's share in it."""
        config = self.config
        vectors, weights = _vectors(included), _weights(included)
        combined = aggregate(config.aggregation, vectors, weights, config.trim, config.byzantine)
        shares = dict(zip(included, map(float, combined.share), strict=True))
        return _shaped(combined.vector, _shapes(included)), shares

    def _securely(self, updates: dict[str, ClientUpdate], number: int, absent: Sequence[str]) -> Aggregate:
        if not updates:
            return Aggregate(failure="no update arrived")
        if self._sums and len(updates) < (least := max(2, self.config.secure_threshold)):
            return Aggregate(failure=f"{len(updates)} sites are there, and a secure sum opens from {least} on")
        shapes = self._sums.shapes if self._sums else _shapes(updates)
        try:
            total = self._sum(updates, number, absent) if not self._sums else self._sum_there(list(updates), number)
        except TooFewClientsError as error:
            return Aggregate(rejected=_of(updates, error.rejected), failure=str(error))
        return Aggregate(
            _shaped(total.mean, shapes),
            {name: updates[name] for name in total.included},
            _of(updates, total.rejected),
            bytes_up=total.bytes_up,
            bytes_down=total.bytes_down,
        )

    def _sum_there(self, names: list[str], number: int) -> SecureSum:
        """Over updates that stay at their clients."""
        config, exchange = self.config, Exchange.generate(secrets.token_bytes)
        terms = SumTerms(
            round=number,
            session=self._session,
            clients=tuple(names),
            threshold=config.secure_threshold or default_threshold(len(names)),
            length=sum(int(np.prod(shape)) for shape in self._sums.shapes),
            limit=config.secure_limit,
            max_weight=max(1.0, self._heaviest),
            bits=config.secure_bits,
            server=exchange.public.hex(),
            start=self._sums.start(),
        )
        roster = {name: self._sums.roster[name] for name in names}
        ask = self._sums.ask(number)
        if config.secure == "ckks":
            return encrypted.summed(terms, roster, self._sums.public, ask)
        return masking.summed(terms, roster, exchange, ask)

    def _sum(self, updates: dict[str, ClientUpdate], number: int, absent: Sequence[str]) -> SecureSum:
        config = self.config
        vectors = dict(zip(updates, _vectors(updates), strict=True))
        # Who dropped out had begun: the others hold shares of its keys. What it would have sent never leaves it.
        vectors.update(dict.fromkeys(absent, np.zeros_like(next(iter(vectors.values())))))
        weights = {name: updates[name].weight if name in updates else 1.0 for name in vectors}
        common = {
            "identities": self._identities,
            "threshold": config.secure_threshold or None,
            "round_number": number,
            "session": self._session,
            "limit": config.secure_limit,
            "network": silent_from(dict.fromkeys(absent, _SILENT_AT[config.secure])),
        }
        if config.secure == "ckks":
            return encrypted.ckks_sum(vectors, weights, keys=self._ckks, max_weight=self._heaviest, **common)
        return masking.masked_sum(
            vectors, weights, bits=config.secure_bits, max_weight=max(1.0, self._heaviest), **common
        )


def weighted_mean(updates: dict[str, ClientUpdate]) -> Mean:
    """The plain mean of the updates by their weights (McMahan et al. 2017); keeps and measures nothing."""
    return Mean(_shaped(mean(_vectors(updates), _weights(updates)).vector, _shapes(updates)), [], {})


def _of(updates: dict[str, ClientUpdate], reasons: dict[str, str]) -> dict[str, str]:
    """Without those who dropped out."""
    return {name: reason for name, reason in reasons.items() if name in updates}


def _vectors(updates: dict[str, ClientUpdate]) -> list[np.ndarray]:
    """Each update's arrays in one, (d,): float32, or float64 of noise in shares, whose sum is exact."""
    flat = [np.concatenate([np.ravel(array) for array in update.vectors]) for update in updates.values()]
    return [vector if vector.dtype == np.float64 else vector.astype(np.float32, copy=False) for vector in flat]


def _weights(updates: dict[str, ClientUpdate]) -> list[float]:
    return [update.weight for update in updates.values()]


def _shapes(updates: dict[str, ClientUpdate]) -> list[tuple[int, ...]]:
    return [vector.shape for vector in next(iter(updates.values())).vectors]


def _shaped(vector: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """A flat vector cut into shapes, float32."""
    arrays, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        arrays.append(np.asarray(vector[start : start + size], np.float32).reshape(shape))
        start += size
    return arrays
