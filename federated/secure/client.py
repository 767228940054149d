"""A client's side of pairwise masking: it alone holds its vector, and hands out masked words and shares.

Source: Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017 (the variant
with signatures and the consistency check, against a server that may deviate). The methods are called once each, in the
paper's order: `advertise`, `share`, `mask`, `confirm`, `reveal`; each takes and returns bytes. What outlasts the round
is the identity, and with it the record of what it has answered (`answers`): no round is answered in two ways.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from federated.secure import shamir
from federated.secure.errors import RefusedError, RejectedError, require
from federated.secure.keys import KEY_BYTES, Exchange, Identity, derive
from federated.secure.messages import Message, signed_message, unpack, verified_message
from federated.secure.stream import add_mask
from federated.secure.terms import SumTerms, check_vector
from medimg.errors import InputError
from medimg.untrusted.json_file import parse_json

# Purpose of the key that client and server share for the tag of the masked vector.
TAG = "tag"
STAGES = ("advertise", "share", "mask", "confirm", "reveal")


class MaskingClient:
    """One client in one round.

    Args:
        identity: its signing key in this training, with the record of its answers.
        roster: every client's public identity key, given in advance and not by the server.
        terms: the round's terms as the server sent them.
        entropy: number of bytes -> random bytes; seeded in tests alone.
        whole: it agrees to the sum of all clients of the terms, and to no other.

    Raises:
        InputError: the terms are not acceptable (a threshold of half the clients or less, for one).
    """

    def __init__(
        self,
        identity: Identity,
        roster: Mapping[str, bytes],
        terms: bytes,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        whole: bool = False,
    ):
        self.terms = SumTerms.from_bytes(terms)
        self.name, self._whole = identity.name, whole
        self._identity, self._roster, self._entropy = identity, roster, entropy
        unknown = [name for name in self.terms.clients if name not in roster]
        if unknown or self.name not in self.terms.clients:
            raise RefusedError(self.name, f"the terms name other clients than it knows {unknown}")
        # Two key pairs: the first may be revealed if this client drops out, the second never is.
        self._masking, self._channel = Exchange.generate(entropy), Exchange.generate(entropy)
        self._seed = entropy(KEY_BYTES)
        self._done = 0
        self._advertised: dict[str, dict] = {}
        self._held: dict[str, tuple[bytes, bytes]] = {}
        self._survivors: list[str] = []

    def advertise(self) -> bytes:
        """Both public keys of this round.

        Raises:
            RefusedError: the round was answered before, in this session or for other clients.
        """
        with self._step("advertise"):
            self._identity.answers.begin(self.terms)
            fields = {"masking": self._masking.public.hex(), "channel": self._channel.public.hex()}
            return self._signed("advertise", fields)

    def share(self, bundle: bytes) -> bytes:
        """Shares of the self-mask's seed and of the masking key, each encrypted to its holder.

        Args:
            bundle: all advertisements.

        Raises:
            TooFewClientsError: fewer than the threshold advertised.
            RejectedError: an advertisement that isn't its sender's.
        """
        with self._step("share"):
            for message in self._relayed(bundle, "advertise"):
                self._advertised[message.sender] = message.fields
            require(len(self._advertised), self.terms.threshold, "share")
            places = {name: self.terms.place(name) for name in self._advertised}
            split = (self.terms.threshold, places.values(), self._entropy)
            seeds = shamir.share(self._seed, *split)
            keys = shamir.share(self._masking.private, *split)
            encrypted, prints = {}, {}
            for name, place in places.items():
                pair = seeds[place], keys[place]
                prints[name] = [fingerprint(part) for part in pair]
                if name == self.name:
                    self._held[name] = pair
                else:
                    encrypted[name] = self._encrypt(name, b"".join(pair)).hex()
            # The server checks later what it restores or is handed; hashes of random numbers tell it nothing before.
            fields = {"to": encrypted, "prints": prints, "seed": fingerprint(self._seed)}
            return self._signed("share", fields)

    def mask(self, relay: bytes, vector: np.ndarray, weight: float = 1.0) -> bytes:
        """The vector, weighted, in fixed point and under all masks.

        Args:
            relay: JSON of sender -> this client's encrypted shares in hex.
            vector: (length,) float32 or float64 within the terms' limit.
            weight: number of examples, or 1.

        Raises:
            TooFewClientsError: fewer than the threshold shared their keys.
            RejectedError: the vector can't be used (names this client), or a share doesn't open (names its sender).
        """
        with self._step("mask"):
            check_vector(self.name, vector, weight, self.terms)
            for sender, encrypted in parse_json(relay).items():
                self._held[sender] = self._decrypt(sender, bytes.fromhex(encrypted))
            require(len(self._held), self.terms.threshold, "mask")
            masked = self.terms.fixed_point.encode(vector, weight)
            add_mask(masked, self_mask(self._seed, self.terms), 1)
            for other in self._held:
                if other != self.name:
                    key = self._agree(self._masking, other, "masking", f"mask {self.terms.bits}")
                    add_mask(masked, key, sign(self.terms, self.name, other))
            tag_key = self._agree_with(self._channel, "the server", self.terms.server, TAG)
            return signed_message(self._identity, self.terms.id, "mask", {}, masked, tag_key)

    def confirm(self, survivors: bytes) -> bytes:
        """A signature on who is in the sum, so that all clients see the same list before anyone reveals.

        Args:
            survivors: JSON list of the names whose masked vectors the server holds.

        Raises:
            TooFewClientsError: the list is below the threshold.
            RefusedError: it repeats or invents names, leaves this client out, or another where the sum is to be of
                all, or is not the list that this client confirmed when the round was tried before.
        """
        with self._step("confirm"):
            names = parse_json(survivors)
            require(len(names), self.terms.threshold, "confirm")
            if len(set(names)) != len(names) or not set(names) <= set(self._held):
                raise RefusedError(self.name, "the list of the sum repeats names or has some that shared no keys")
            if self.name not in names:
                raise RefusedError(self.name, "the server says that its masked vector did not arrive")
            if self._whole and set(names) != set(self.terms.clients):
                raise RefusedError(self.name, "this sum is of all clients or none, and one of them is left out")
            self._identity.answers.settle(self.terms, sorted(names))
            self._survivors = names
            return self._signed("confirm", {"survivors": names})

    def reveal(self, request: bytes) -> bytes:
        """For a client in the sum its share of the self-mask's seed, for a lost one that of the masking key.

        Never both for one client: with both, the server could unmask a single vector.

        Args:
            request: JSON of survivors, dropped and confirmed (names), then the confirmations.

        Raises:
            TooFewClientsError: fewer than the threshold confirmed the same list.
            RefusedError: a name is asked for twice or not at all, or the list is not the one confirmed.
        """
        with self._step("reveal"):
            raw, *confirmations = unpack(request)
            asked = parse_json(raw)
            survivors, dropped = asked["survivors"], asked["dropped"]
            if set(survivors) & set(dropped):
                both = ", ".join(sorted(set(survivors) & set(dropped)))
                raise RefusedError(self.name, f"the server asks for both secrets of {both}")
            if survivors != self._survivors or set(survivors) | set(dropped) != set(self._held):
                raise RefusedError(self.name, "the server asks for another list than the one it confirmed")
            self._check_confirmations(asked["confirmed"], confirmations)
            seeds = {name: self._held[name][0].hex() for name in survivors}
            keys = {name: self._held[name][1].hex() for name in dropped}
            # Nothing is left that a second request could have.
            self._held, self._seed, self._masking = {}, b"", None
            return self._signed("reveal", {"seeds": seeds, "keys": keys})

    def _check_confirmations(self, names: list[str], raw: list[bytes]) -> None:
        require(len(set(names) & set(self._survivors)), self.terms.threshold, "reveal")
        for name, message in zip(names, raw, strict=True):
            fields = self._verified(message, name, "confirm").fields
            if fields.get("survivors") != self._survivors:
                raise RefusedError(self.name, f"{name!r} was shown another list of the sum")

    @contextmanager
    def _step(self, stage: str) -> Iterator[None]:
        if self._done >= len(STAGES) or STAGES[self._done] != stage:
            raise RefusedError(self.name, f"'{stage}' was asked for out of order or again")
        # Before the work: a stage that failed isn't tried again.
        self._done += 1
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise RefusedError(self.name, f"what the server sent for '{stage}' can't be read") from error

    def _relayed(self, bundle: bytes, kind: str) -> list[Message]:
        messages = []
        for raw in unpack(bundle):
            sender = claimed_sender(raw)
            if sender not in self.terms.clients:
                raise RefusedError(self.name, f"'{kind}' of an unknown client {sender!r}")
            messages.append(self._verified(raw, sender, kind))
        if len({message.sender for message in messages}) != len(messages):
            raise RefusedError(self.name, f"two '{kind}' of one client")
        echo = [message for message in messages if message.sender == self.name]
        if not echo or echo[0].fields["masking"] != self._masking.public.hex():
            raise RefusedError(self.name, "its own keys are missing or changed")
        return messages

    def _encrypt(self, to: str, plain: bytes) -> bytes:
        return self._cipher(to).encrypt(self._nonce(self.name), plain, self._route(self.name, to))

    def _decrypt(self, sender: str, encrypted: bytes) -> tuple[bytes, bytes]:
        if sender not in self._advertised or sender == self.name:
            raise RefusedError(self.name, f"shares of {sender!r}, who advertised no keys")
        route = self._route(sender, self.name)
        try:
            plain = self._cipher(sender).decrypt(self._nonce(sender), encrypted, route)
        except InvalidTag as error:
            raise RejectedError(sender, f"its share for {self.name!r} does not open; it was changed") from error
        if len(plain) != 2 * shamir.SHARE_BYTES:
            raise RejectedError(sender, f"its share for {self.name!r} has the wrong size")
        return plain[: shamir.SHARE_BYTES], plain[shamir.SHARE_BYTES :]

    def _cipher(self, other: str) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(self._agree(self._channel, other, "channel", "shares"))

    def _nonce(self, sender: str) -> bytes:
        # A pair's key is used once in each direction.
        return self.terms.place(sender).to_bytes(12, "big")

    def _route(self, sender: str, to: str) -> bytes:
        return json.dumps([self.terms.id, sender, to]).encode()

    def _agree(self, exchange: Exchange, other: str, which: str, purpose: str) -> bytes:
        return self._agree_with(exchange, other, self._advertised[other].get(which, ""), purpose)

    def _agree_with(self, exchange: Exchange, other: str, public: str, purpose: str) -> bytes:
        try:
            return exchange.agree(bytes.fromhex(public), self.terms.id, purpose)
        except (ValueError, TypeError) as error:
            raise RejectedError(other, "advertised a key that is no X25519 public key") from error

    def _signed(self, kind: str, fields: dict) -> bytes:
        return signed_message(self._identity, self.terms.id, kind, fields)

    def _verified(self, raw: bytes, sender: str, kind: str) -> Message:
        return verified_message(raw, sender, self._roster[sender], self.terms.id, kind)


def self_mask(seed: bytes, terms: SumTerms) -> bytes:
    """The key of a client's own mask."""
    return derive(seed, terms.id, f"self {terms.bits}")


def sign(terms: SumTerms, client: str, other: str) -> int:
    """1 or -1: of a pair, the earlier adds the mask and the later takes it away."""
    return 1 if terms.place(client) < terms.place(other) else -1


def fingerprint(secret: bytes) -> str:
    """SHA-256 in hex of a secret or a share, both too random to be guessed from it."""
    return hashlib.sha256(secret).hexdigest()


def claimed_sender(raw: bytes) -> str:
    """Whom a message says it is from; to be verified.

    Raises:
        ValueError: the message can't be read.
    """
    size = int.from_bytes(raw[:4], "little")
    return parse_json(raw[4 : 4 + size])["sender"]
