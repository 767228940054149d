"""A client of CKKS sums: encrypts its vector, confirms who is in the sum, and decrypts the sum of those alone.

Source: Cheon, Kim, Kim and Song, Homomorphic Encryption for Arithmetic of Approximate Numbers, ASIACRYPT 2017.
Clients round to a public grid before they encrypt and after they decrypt, so that the approximate sum comes out as the
exact sum of the rounded vectors: a repeated round gives the same bits, and the decryption's noise,
from which the key could be computed (Li and Micciancio, EUROCRYPT 2021), never leaves a client. A client decrypts the
sum of a list that a majority has signed, and by its tags (`tags`) nothing else.
"""

from collections.abc import Mapping

import numpy as np

from federated.secure.ckks_keys import BESIDE, SLOTS, CkksKeys, context_of, grid_of, largest_of
from federated.secure.errors import ForgedSumError, RefusedError, require
from federated.secure.keys import Identity
from federated.secure.messages import pack, signed_message, unpack, verified_message
from federated.secure.tags import COUNT, PRIMES, tags
from federated.secure.terms import SumTerms, check_vector
from medimg.errors import InputError
from medimg.untrusted.json_file import parse_json

STAGES = ("encrypt", "confirm", "decrypt")


class CkksClient:
    """One client in one round.

    Args:
        identity: its signing key in this training, with the record of its answers.
        roster: every client's public identity key, given in advance and not by the server.
        terms: the round's terms as the server sent them.
        keys: the clients'.

    Raises:
        RefusedError: the terms name others than it knows, or sums that the keys don't hold.
    """

    def __init__(self, identity: Identity, roster: Mapping[str, bytes], terms: bytes, keys: CkksKeys):
        self.terms = SumTerms.from_bytes(terms)
        self.name = identity.name
        unknown = [name for name in self.terms.clients if name not in roster]
        if unknown or self.name not in self.terms.clients:
            raise RefusedError(self.name, f"the terms name other clients than it knows {unknown}")
        if not keys.holding(self.terms):
            raise RefusedError(self.name, "sums under these terms could pass what the keys hold")
        self._identity, self._roster, self._context, self._tags = identity, roster, context_of(keys.secret), keys.tags
        self._grid = grid_of(self.terms)
        self._decrypted = False
        self._survivors: list[str] = []
        if not self._context.is_private():
            raise InputError(f"client {self.name!r}: the CKKS context has no secret key; pass CkksKeys.secret")

    def encrypt(self, vector: np.ndarray, weight: float = 1.0) -> bytes:
        """Signed ciphertexts of weight x vector, the weight, a 1 that counts this client, and tags.

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
        steps = np.rint(np.concatenate([vector.astype(np.float64) * weight, [weight, 1.0]]) / self._grid)
        fitting = tags(self._tags, self.terms.id, steps.astype(np.int64), [self.name])
        values = np.concatenate([steps, fitting]) * self._grid
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
        names = parse_json(survivors)
        if len(set(names)) != len(names) or not set(names) <= set(self.terms.clients):
            raise RefusedError(self.name, "the list of the sum repeats or invents names")
        require(len(names), self.terms.threshold, "confirm")
        self._identity.answers.settle(self.terms, sorted(names))
        self._survivors = names
        return signed_message(self._identity, self.terms.id, "confirm", {"survivors": names})

    def decrypt(self, request: bytes) -> bytes:
        """The sum, rounded to the grid, signed; once in a round.

        Args:
            request: JSON of the names whose confirmations follow, these, and the encrypted sum, packed.

        Raises:
            TooFewClientsError: fewer than the threshold confirmed the same list, or are counted.
            RefusedError: a second decryption, or a confirmation of another list.
            ForgedSumError: it is not the sum of that list's ciphertexts, or its noise is so large that rounding might
                not restore it.
        """
        if self._decrypted:
            raise RefusedError(self.name, "a second decryption in one round")
        self._decrypted = True
        try:
            names, confirmations, ciphertexts = unpack(request)
            self._check_confirmations(parse_json(names), unpack(confirmations))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise RefusedError(self.name, "what the server sent for 'decrypt' can't be read") from error
        total = (self._steps(ciphertexts) * self._grid).astype("<f8")
        return signed_message(self._identity, self.terms.id, "decrypt", {}, total)

    def _check_confirmations(self, names: list[str], raw: list[bytes]) -> None:
        require(len(set(names) & set(self._survivors)), self.terms.threshold, "decrypt")
        for name, message in zip(names, raw, strict=True):
            confirmation = verified_message(message, name, self._roster[name], self.terms.id, "confirm")
            if confirmation.fields.get("survivors") != self._survivors:
                raise RefusedError(self.name, f"{name!r} was shown another list of the sum")

    def _steps(self, ciphertexts: bytes) -> np.ndarray:
        """The sum of vectors and of weights, in steps of the grid."""
        import tenseal

        try:
            parts = [tenseal.ckks_vector_from(self._context, part).decrypt() for part in unpack(ciphertexts)]
            values = np.concatenate([np.asarray(part) for part in parts]) / self._grid
        except (ValueError, RuntimeError) as error:
            raise ForgedSumError(self.name, "the sum can't be read under this run's key") from error
        steps = np.rint(values)
        if len(values) != self.terms.length + BESIDE or not np.abs(values - steps).max() <= 0.25:
            raise ForgedSumError(
                self.name, "the sum's noise is too large to round, or it is not of this round; lower the weights"
            )
        steps = steps.astype(np.int64)
        counted = round(steps[self.terms.length + 1] * self._grid)
        if counted != len(self._survivors):
            raise ForgedSumError(
                self.name, f"the sum counts {counted} clients, the confirmed list {len(self._survivors)}"
            )
        total, fitting = steps[:-COUNT], steps[-COUNT:]
        excess = np.mod(fitting - tags(self._tags, self.terms.id, total, self._survivors), PRIMES)
        if np.abs(total).max() > largest_of(self.terms) or excess.any():
            raise ForgedSumError(self.name, "what it is asked to decrypt is not the sum of the confirmed list")
        return total[:-1]
