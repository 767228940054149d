"""Keys of a site or a coordinator: one secret file, and the public one that the others are given.

Flower's node key is ECDSA on P-384; messages and secure sums are signed by an Ed25519 key that is derived from it, so
that there is one secret to keep.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federated.secure.keys import KEY_BYTES, Identity
from medimg import atomic
from medimg.errors import InputError
from medimg.lock import in_turn
from medimg.untrusted.json_file import parse_json
from medimg.untrusted.printable import printable

SECRET, PUBLIC = ".key", ".pub"
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,100}")
_PURPOSE = b"medimg: signatures of messages"


@dataclass(frozen=True)
class Party:
    """What the others know of a site or a coordinator.

    Attributes:
        name: of the site, as it is a client; of a coordinator anything.
        node: public key of Flower's node, PEM.
        identity: public key of its signatures, 32 bytes.
    """

    name: str
    node: bytes
    identity: bytes

    def to_dict(self) -> dict:
        """Plain values."""
        return {"name": self.name, "node": self.node.decode(), "identity": self.identity.hex()}

    @classmethod
    def read(cls, path: Path) -> "Party":
        """Of a public file.

        Raises:
            InputError: it is none.
        """
        try:
            fields = parse_json(Path(path).read_text(encoding="utf-8"))
            party = cls(fields["name"], fields["node"].encode(), bytes.fromhex(fields["identity"]))
            key = serialization.load_pem_public_key(party.node)
        except OSError as error:
            raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: no public key of medimg; make one with 'medimg federate key NAME'") from error
        if not (isinstance(key, ec.EllipticCurvePublicKey) and len(party.identity) == KEY_BYTES):
            raise InputError(f"{path}: its keys are of another kind; make them with 'medimg federate key NAME'")
        return cls(checked_name(party.name), party.node, party.identity)


@dataclass(frozen=True)
class Keys:
    """The secret half.

    Attributes:
        name: whose.
        node: Flower's node key.
    """

    name: str
    node: ec.EllipticCurvePrivateKey

    @property
    def party(self) -> Party:
        """The public half."""
        pem = self.node.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return Party(self.name, pem, self.identity().public)

    def identity(self, answers: Path | None = None) -> Identity:
        """The signing key.

        Args:
            answers: file that keeps what it has answered in secure sums; None: in memory alone.
        """
        from federated.secure.answers import AnswerRecord

        scalar = self.node.private_numbers().private_value.to_bytes(48, "big")
        seed = HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=_PURPOSE).derive(scalar)
        return Identity(self.name, Ed25519PrivateKey.from_private_bytes(seed), AnswerRecord(self.name, answers))


def checked_name(name: str) -> str:
    """A name that can stand in a file's name and a line of a log.

    Raises:
        InputError: it can't.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.strip(". ") == "":
        raise InputError(f"name {printable(name, 100)!r}: must have 1 to 100 characters, and no / or \\")
    return name


def make(name: str, folder: Path) -> Path:
    """Write NAME.key and NAME.pub, or leave them as they are.

    Returns:
        The secret file.

    Raises:
        InputError: the folder can't be written.
    """
    secret = Path(folder) / f"{checked_name(name)}{SECRET}"
    try:
        secret.parent.mkdir(parents=True, exist_ok=True)
        # Of two at once the public file of one would lie beside the secret of the other.
        with in_turn(secret.parent):
            _make(secret, name)
    except OSError as error:
        raise atomic.cannot_write(secret, error) from error
    return secret


def _make(secret: Path, name: str) -> None:
    for path in (secret, secret.with_suffix(PUBLIC)):
        atomic.sweep_beside(path)
    if not secret.is_file():
        keys = Keys(name, ec.generate_private_key(ec.SECP384R1()))
        pem = keys.node.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        atomic.write_json(secret.with_suffix(PUBLIC), keys.party.to_dict())
        with atomic.replacing(secret) as temporary:
            temporary.chmod(0o600)
            temporary.write_bytes(pem)


def load(path: Path) -> Keys:
    """Of a secret file; its name is the party's.

    Raises:
        InputError: it is none, or others can read it.
    """
    path = Path(path)
    try:
        raw, mode = path.read_bytes(), path.stat().st_mode
        key = serialization.load_pem_private_key(raw, None)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: no secret key of medimg; make one with 'medimg federate key NAME'") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp384r1":
        raise InputError(f"{path}: its key is of another kind; make one with 'medimg federate key NAME'")
    if mode & 0o077:
        raise InputError(f"{path}: others can read this secret key; chmod 600 it")
    return Keys(checked_name(path.name.removesuffix(SECRET)), key)
