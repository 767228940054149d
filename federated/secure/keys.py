"""Keys: an Ed25519 identity given in advance, X25519 keys made anew for every round, and what pairs derive."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federated.secure.answers import AnswerRecord

KEY_BYTES = 32


@dataclass(frozen=True)
class Identity:
    """A client's signing key in one training; the public half is handed to all others before the first round.

    Attributes:
        name: of the client.
        private: its key.
        answers: which rounds it has answered; none unless given.
    """

    name: str
    private: Ed25519PrivateKey
    answers: AnswerRecord | None = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        if self.answers is None:
            object.__setattr__(self, "answers", AnswerRecord(self.name))

    @classmethod
    def generate(cls, name: str, answers: Path | None = None) -> "Identity":
        """A new random key.

        Args:
            name: of the client.
            answers: file that keeps what it has answered; None: in memory alone.
        """
        return cls(name, Ed25519PrivateKey.generate(), AnswerRecord(name, answers))

    @property
    def public(self) -> bytes:
        """The 32 bytes that others verify with."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """A signature of 64 bytes."""
        return self.private.sign(message)


def identities(names: Iterable[str], folder: Path | None = None) -> dict[str, Identity]:
    """A new identity for each name.

    Args:
        names: of the clients, in an order that a resumed training has again.
        folder: for a file of each client that keeps what it has answered; None: in memory alone.
    """
    return {
        name: Identity.generate(name, None if folder is None else folder / f"{number}.jsonl")
        for number, name in enumerate(names)
    }


def roster(known: dict[str, Identity]) -> dict[str, bytes]:
    """Name -> public key: what every party holds of the others."""
    return {name: identity.public for name, identity in known.items()}


def signed_by(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is that of the key's owner on exactly this message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class Exchange:
    """An X25519 key pair of one round, as 32 raw bytes each."""

    private: bytes
    public: bytes

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes]) -> "Exchange":
        """A key pair from 32 random bytes."""
        return cls.from_private(entropy(KEY_BYTES))

    @classmethod
    def from_private(cls, private: bytes) -> "Exchange":
        """The pair of a known private key."""
        key = X25519PrivateKey.from_private_bytes(private)
        return cls(private, key.public_key().public_bytes_raw())

    def agree(self, public: bytes, round_id: str, purpose: str) -> bytes:
        """The 32-byte key that only this pair of parties can derive, for one round and one purpose.

        Raises:
            ValueError: the other key has low order, so that the result would be known to anyone.
        """
        shared = X25519PrivateKey.from_private_bytes(self.private).exchange(X25519PublicKey.from_public_bytes(public))
        return derive(shared, round_id, purpose)


def derive(secret: bytes, round_id: str, purpose: str) -> bytes:
    """HKDF-SHA256 (RFC 5869): 32 bytes bound to a round and a purpose."""
    kdf = HKDF(hashes.SHA256(), KEY_BYTES, salt=bytes.fromhex(round_id), info=purpose.encode())
    return kdf.derive(secret)
