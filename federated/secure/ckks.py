"""Additive CKKS by TenSEAL: clients hold the secret key, the server adds ciphertexts that it can't open.

Source: Cheon, Kim, Kim and Song, Homomorphic Encryption for Arithmetic of Approximate Numbers, ASIACRYPT 2017.
Clients round to a public grid before they encrypt and after they decrypt, so that the approximate sum comes out as the
exact sum of the rounded vectors (up to sums of 10^8): a repeated round gives the same bits, and the decryption's noise,
from which the key could be computed (Li and Micciancio, EUROCRYPT 2021), never leaves a client.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from federated.secure.errors import RefusedError, RejectedError, TooFewClientsError, require
from federated.secure.keys import Identity
from federated.secure.messages import pack, signed_message, unpack, verified_message
from federated.secure.terms import Terms, check_vector
from medimg.errors import InputError

STAGES = ("encrypt", "confirm", "decrypt")
DEGREE = 8192
SLOTS = DEGREE // 2
# 2^-20: rounding costs a client's coordinate at most 4.8e-7.
GRID = 2.0**-20
# Nothing is multiplied, so one prime is enough to hold small sums and two hold sums of weighted vectors; the last prime
# encrypts nothing. All are far below the 218 bits that give 128-bit security at this degree.
_CHAINS = (((60, 60), 40, 2.0**18), ((60, 40, 60), 58, 2.0**40))


def _bound(clients: int, limit: float, max_weight: float) -> float:
    """Largest absolute value of the sum's coordinates, of which the weight is one."""
    return clients * max(limit, 1.0) * max(max_weight, 1.0)


@dataclass(frozen=True)
class CkksKeys:
    """The two contexts of one run, as bytes.

    Args:
        secret: for clients alone; whoever has it can decrypt any client's ciphertext.
        public: for the server: it encrypts and adds.
        holds: largest absolute sum that doesn't wrap around.
    """

    secret: bytes
    public: bytes
    holds: float

    @classmethod
    def generate(cls, clients: int, limit: float, max_weight: float) -> "CkksKeys":
        """Keys that hold the sum of `clients` vectors within the bounds.

        Raises:
            InputError: the bounds are beyond 2^40.
        """
        import tenseal

        bound = _bound(clients, limit, max_weight)
        fitting = [chain for chain in _CHAINS if bound <= chain[2]]
        if not fitting:
            raise InputError(
                f"--secure ckks: the sum of {clients} clients up to {limit:g} x weight {max_weight:g} passes 2^40; "
                "lower the bounds"
            )
        primes, scale_bits, holds = fitting[0]
        context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(primes))
        context.global_scale = 2.0**scale_bits
        # Rotations and products need further keys; sums need none.
        without = {"save_galois_keys": False, "save_relin_keys": False}
        secret = context.serialize(save_secret_key=True, **without)
        return cls(secret, context.serialize(save_secret_key=False, **without), holds)

    def check(self, terms: Terms) -> None:
        """Refuse terms under which the sum could wrap around.

        Raises:
            InputError: more clients or wider bounds than the keys were made for.
        """
        if _bound(len(terms.clients), terms.limit, terms.max_weight) > self.holds:
            raise InputError(
                f"--secure ckks: the keys hold sums up to {self.holds:g}, {len(terms.clients)} clients up to "
                f"{terms.limit:g} x weight {terms.max_weight:g} may pass that; make keys for these bounds"
            )


class CkksClient:
    """One client in one round.

    Args:
        identity: its signing key in this training, with the record of its answers.
        terms: the round's terms as the server sent them.
        secret: the clients' context.
    """

    def __init__(self, identity: Identity, terms: bytes, secret: bytes):
        self.terms = Terms.from_bytes(terms)
        self.name = identity.name
        self._identity, self._context = identity, _context(secret)
        self._decrypted = False
        self._survivors: list[str] = []
        if not self._context.is_private():
            raise InputError(f"client {self.name!r}: the CKKS context has no secret key; pass CkksKeys.secret")

    def encrypt(self, vector: np.ndarray, weight: float = 1.0) -> bytes:
        """Signed ciphertexts of weight x vector, the weight, and a 1 that counts this client.

        Args:
            vector: (length,) float32 or float64 within the terms' limit.
            weight: number of examples, or 1.

        Raises:
            RejectedError: the vector can't be used; names this client.
            RefusedError: the round was answered before, in this session or for other clients.
        """
        import tenseal

        self._identity.answers.begin(self.terms)
        check_vector(self.name, vector, weight, self.terms)
        values = np.concatenate([vector.astype(np.float64) * weight, [weight, 1.0]])
        values = np.rint(values / GRID) * GRID
        parts = [
            tenseal.ckks_vector(self._context, values[start : start + SLOTS]).serialize()
            for start in range(0, len(values), SLOTS)
        ]
        return signed_message(self._identity, self.terms.id, "encrypt", {}, pack(parts))

    def confirm(self, survivors: bytes) -> bytes:
        """Agree to who is in the sum, once and for all.

        Args:
            survivors: JSON list of the names whose ciphertexts the server added, as it says.

        Raises:
            TooFewClientsError: the list is below the threshold.
            RefusedError: it is no list of this round's clients, or not the one that this client confirmed when the
                round was tried before.
        """
        names = json.loads(survivors)
        if len(set(names)) != len(names) or not set(names) <= set(self.terms.clients):
            raise RefusedError(self.name, "the list of the sum repeats or invents names")
        require(len(names), self.terms.threshold, "confirm")
        self._identity.answers.settle(self.terms, sorted(names))
        self._survivors = names
        return signed_message(self._identity, self.terms.id, "confirm", {"survivors": names})

    def decrypt(self, ciphertexts: bytes) -> bytes:
        """The sum, rounded to the grid, signed; once in a round.

        Raises:
            TooFewClientsError: it counts fewer clients than the threshold.
            RefusedError: a second decryption, a sum of another number of clients than this one confirmed, or noise so
                large that rounding might not restore the sum.
        """
        if self._decrypted:
            raise RefusedError(self.name, "a second decryption in one round")
        self._decrypted = True
        parts = [self._context_vector(part).decrypt() for part in unpack(ciphertexts)]
        values = np.concatenate([np.asarray(part) for part in parts])
        steps = np.rint(values / GRID)
        if len(values) != self.terms.length + 2 or np.abs(values / GRID - steps).max() > 0.25:
            raise RefusedError(
                self.name, "the sum's noise is too large to round, or it is not of this round; lower the weights"
            )
        counted = round(steps[-1] * GRID)
        require(counted, self.terms.threshold, "decrypt")
        if counted != len(self._survivors):
            raise RefusedError(
                self.name, f"the sum counts {counted} clients, the confirmed list {len(self._survivors)}"
            )
        total = (steps[:-1] * GRID).astype("<f8")
        return signed_message(self._identity, self.terms.id, "decrypt", {}, total)

    def _context_vector(self, part: bytes):
        import tenseal

        return tenseal.ckks_vector_from(self._context, part)


class CkksServer:
    """One round at the server: adds ciphertexts as they arrive; its context has no secret key.

    Args:
        terms: the round's terms.
        roster: client -> public identity key.
        public: `CkksKeys.public`.
    """

    def __init__(self, terms: Terms, roster: Mapping[str, bytes], public: bytes):
        self.terms = terms
        self._roster, self.context = roster, _context(public)
        if self.context.is_private():
            raise InputError("the server was given the clients' CKKS key; pass CkksKeys.public")
        self._sum: list = []
        self._included: list[str] = []
        self._confirmed: set[str] = set()
        self._answer: np.ndarray | None = None

    @property
    def included(self) -> tuple[str, ...]:
        """Clients in the sum, in the terms' order."""
        return tuple(name for name in self.terms.clients if name in self._included)

    def receive(self, sender: str, raw: bytes) -> None:
        """Verify a client's ciphertexts and add them.

        Raises:
            RejectedError: names the sender; changed, replayed, or of the wrong shape.
        """
        message = self._verified(sender, raw, "encrypt")
        if sender in self._included:
            raise RejectedError(sender, "sent 'encrypt' twice (a replay?)")
        vectors = self._vectors(sender, message.body)
        # All are checked before any is added.
        if self._sum:
            for total, vector in zip(self._sum, vectors, strict=True):
                total.add_(vector)
        else:
            self._sum = vectors
        self._included.append(sender)

    def ciphertexts(self, reasons: dict[str, str] | None = None) -> bytes:
        """The encrypted sum, for a client to decrypt.

        Args:
            reasons: client -> why it was refused, or refuses.

        Raises:
            TooFewClientsError: fewer than the threshold sent theirs.
        """
        require(len(self._included), self.terms.threshold, "encrypt", reasons)
        return pack(vector.serialize() for vector in self._sum)

    def confirmed(self, sender: str, raw: bytes) -> None:
        """Take a client's word that it knows the list of the sum.

        Raises:
            RejectedError: names the sender; changed or of another list.
        """
        if self._verified(sender, raw, "confirm").fields.get("survivors") != list(self.included):
            raise RejectedError(sender, "confirmed another list of the sum")
        self._confirmed.add(sender)

    def require_confirmed(self, reasons: dict[str, str]) -> None:
        """Fail closed where too few clients agree to the list.

        Args:
            reasons: client -> why it was refused, or refuses.

        Raises:
            TooFewClientsError: fewer than the threshold.
        """
        require(len(self._confirmed), self.terms.threshold, "confirm", reasons)

    def answered(self, sender: str, raw: bytes) -> None:
        """Take a client's decryption of the sum.

        Raises:
            RejectedError: names the sender; changed or of the wrong shape.
        """
        body = self._verified(sender, raw, "decrypt").body
        if len(body) != 8 * (self.terms.length + 1):
            raise RejectedError(sender, "its decryption has the wrong length")
        self._answer = np.frombuffer(body, dtype="<f8")

    def total(self) -> tuple[np.ndarray, float]:
        """The (length,) float64 weighted sum and the sum of weights.

        Raises:
            TooFewClientsError: no client decrypted it.
        """
        if self._answer is None:
            raise TooFewClientsError("secure aggregation: no client is left to decrypt the sum; repeat the round")
        return self._answer[:-1].copy(), float(self._answer[-1])

    def _verified(self, sender: str, raw: bytes, kind: str):
        if sender not in self.terms.clients:
            raise RejectedError(sender, "is not one of this round's clients")
        return verified_message(raw, sender, self._roster[sender], self.terms.id, kind)

    def _vectors(self, sender: str, body) -> list:
        import tenseal

        try:
            vectors = [tenseal.ckks_vector_from(self.context, part) for part in unpack(bytes(body))]
            sizes = [vector.size() for vector in vectors]
        except (ValueError, RuntimeError) as error:
            raise RejectedError(sender, "its ciphertexts can't be read under this run's key") from error
        full, rest = divmod(self.terms.length + 2, SLOTS)
        if sizes != [SLOTS] * full + [rest] * bool(rest):
            raise RejectedError(
                sender, f"its ciphertexts hold {sum(sizes)} values, this round's {self.terms.length + 2}"
            )
        return vectors


def _context(content: bytes):
    import tenseal

    return tenseal.context_from(content)
