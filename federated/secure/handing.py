"""Hands a client's secret to another through the server, which sees it encrypted.

Whoever lacks it advertises an X25519 key, signed; whoever has it encrypts it to that key by ChaCha20-Poly1305 (RFC
8439) and signs. Each verifies the other by the roster that it was given beforehand, and `about` names what for.
"""

import json
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from federated.secure.client import claimed_sender
from federated.secure.errors import RefusedError, RejectedError
from federated.secure.keys import Exchange, Identity
from federated.secure.messages import signed_message, verified_message

# Each pair of keys is used once.
_NONCE = bytes(12)
_WANTED, _HANDED = "wants the key", "hands the key"


class Receiver:
    """A client without the secret.

    Args:
        identity: its signing key.
        roster: client -> public identity key.
        about: 64 hexadecimal digits, the same at all clients.
    """

    def __init__(self, identity: Identity, roster: Mapping[str, bytes], about: str):
        self._identity, self._roster, self._about = identity, roster, about
        self._exchange = Exchange.generate(secrets.token_bytes)

    def advertise(self) -> bytes:
        """What it asks with."""
        return signed_message(self._identity, self._about, _WANTED, {"public": self._exchange.public.hex()})

    def receive(self, raw: bytes) -> bytes:
        """The secret.

        Raises:
            RejectedError: of another client, for another, or changed.
            RefusedError: of nobody in the roster, or it can't be read.
        """
        name = self._identity.name
        try:
            sender = claimed_sender(raw)
            message = verified_message(raw, sender, self._roster[sender], self._about, _HANDED)
            key = self._exchange.agree(bytes.fromhex(message.fields["public"]), self._about, _route(sender, name))
            return ChaCha20Poly1305(key).decrypt(_NONCE, bytes(message.body), _route(sender, name).encode())
        except InvalidTag as error:
            raise RejectedError(sender, f"the key that it hands does not open at {name!r}; it was changed") from error
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            if isinstance(error, RejectedError):
                raise
            raise RefusedError(name, "the key that it was handed can't be read") from error


def hand(identity: Identity, roster: Mapping[str, bytes], about: str, advertised: bytes, secret: bytes) -> bytes:
    """The secret for whoever advertised.

    Args:
        identity: of the client that has it.
        roster: client -> public identity key.
        about: as of `Receiver`.
        advertised: by a client of the roster.
        secret: to hand.

    Raises:
        RejectedError: the advertisement is not that of the client which it names.
        RefusedError: it names nobody in the roster, or can't be read.
    """
    exchange = Exchange.generate(secrets.token_bytes)
    try:
        to = claimed_sender(advertised)
        wanted = verified_message(advertised, to, roster[to], about, _WANTED)
        key = exchange.agree(bytes.fromhex(wanted.fields["public"]), about, _route(identity.name, to))
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, RejectedError):
            raise
        raise RefusedError(identity.name, "what asks for the key is of no client that it knows") from error
    body = ChaCha20Poly1305(key).encrypt(_NONCE, secret, _route(identity.name, to).encode())
    return signed_message(identity, about, _HANDED, {"public": exchange.public.hex()}, body)


def _route(sender: str, to: str) -> str:
    return json.dumps(["key", sender, to])
