"""The server of CKKS sums: adds ciphertexts as they arrive, and can open none (`ckks_client`)."""

import json
from collections.abc import Mapping

import numpy as np

from federated.secure.ckks_keys import BESIDE, SLOTS, context_of
from federated.secure.errors import RejectedError, TooFewClientsError, require
from federated.secure.messages import pack, unpack, verified_message
from federated.secure.terms import SumTerms
from medimg.errors import InputError


class CkksServer:
    """One round at the server: adds ciphertexts as they arrive; its context has no secret key.

    Args:
        terms: the round's terms.
        roster: client -> public identity key.
        public: `CkksKeys.public`.
    """

    def __init__(self, terms: SumTerms, roster: Mapping[str, bytes], public: bytes):
        self.terms = terms
        self._roster, self.context = roster, public_context(public)
        self._sum: list = []
        self._included: list[str] = []
        self._confirmed: dict[str, bytes] = {}
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

    def listed(self, reasons: dict[str, str] | None = None) -> bytes:
        """Who is in the sum, for clients to confirm.

        Args:
            reasons: client -> why it was refused, or refuses.

        Raises:
            TooFewClientsError: fewer than the threshold sent theirs.
        """
        require(len(self._included), self.terms.threshold, "encrypt", reasons)
        return json.dumps(self.included).encode()

    def confirmed(self, sender: str, raw: bytes) -> None:
        """Take a client's word that it knows the list of the sum.

        Raises:
            RejectedError: names the sender; changed or of another list.
        """
        if self._verified(sender, raw, "confirm").fields.get("survivors") != list(self.included):
            raise RejectedError(sender, "confirmed another list of the sum")
        self._confirmed[sender] = raw

    def request(self, reasons: dict[str, str] | None = None) -> bytes:
        """What a client is asked to decrypt: confirmations of the list, and the encrypted sum.

        Args:
            reasons: client -> why it was refused, or refuses.

        Raises:
            TooFewClientsError: fewer than the threshold agree to the list.
        """
        require(len(self._confirmed), self.terms.threshold, "confirm", reasons)
        names = json.dumps(list(self._confirmed)).encode()
        return pack([names, pack(self._confirmed.values()), pack(vector.serialize() for vector in self._sum)])

    def answered(self, sender: str, raw: bytes) -> None:
        """Take a client's decryption of the sum.

        Raises:
            RejectedError: names the sender; changed or of the wrong shape.
        """
        body = self._verified(sender, raw, "decrypt").body
        if len(body) != 8 * (self.terms.length + 1):
            raise RejectedError(sender, "its decryption has the wrong length")
        self._answer = np.frombuffer(body, dtype="<f8")

    def total(self, reasons: dict[str, str] | None = None) -> tuple[np.ndarray, float]:
        """The (length,) float64 weighted sum and the sum of weights.

        Args:
            reasons: client -> why it was refused, or refuses.

        Raises:
            TooFewClientsError: no client decrypted it.
        """
        if self._answer is None:
            refused = "; ".join(f"{name!r} {reason}" for name, reason in (reasons or {}).items())
            raise TooFewClientsError(
                "secure aggregation: no client is left to decrypt the sum"
                f"{f' ({refused})' if refused else ''}; repeat the round",
                reasons,
            )
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
        full, rest = divmod(self.terms.length + BESIDE, SLOTS)
        if sizes != [SLOTS] * full + [rest] * bool(rest):
            raise RejectedError(
                sender, f"its ciphertexts hold {sum(sizes)} values, this round's {self.terms.length + BESIDE}"
            )
        return vectors


def public_context(content: bytes):
    """The server's.

    Raises:
        InputError: it is none, or the clients'.
    """
    try:
        context = context_of(content)
    except (ValueError, RuntimeError) as error:
        raise InputError("the clients' CKKS context can't be read") from error
    if context.is_private():
        raise InputError("the server was given the clients' CKKS key; pass CkksKeys.public")
    return context
