"""The server's side of pairwise masking: signed messages in, lists and the sum out.

It never holds an unmasked vector: each masked one is added to a running modular sum as it arrives and not kept, and
what `total` removes from that sum are the masks of all. The counterpart is `client.MaskingClient`, the source the same.
"""

import json
from collections.abc import Mapping

import numpy as np

from federated.secure import shamir
from federated.secure.client import STAGES, TAG, fingerprint, self_mask, sign
from federated.secure.errors import RejectedError, TooFewClientsError, require
from federated.secure.keys import KEY_BYTES, Exchange
from federated.secure.messages import Message, pack, verified_message
from federated.secure.stream import add_mask
from federated.secure.terms import SumTerms
from medimg.errors import InputError


class MaskingServer:
    """One round: `receive` takes the messages of a stage, `next_stage` closes it or fails closed, `total` ends.

    Args:
        terms: the round's terms.
        roster: client -> public identity key.
        exchange: the pair whose public key the terms state.

    Attributes:
        included: names in the sum.
        rejected: name -> why its last refused message was refused.
    """

    def __init__(self, terms: SumTerms, roster: Mapping[str, bytes], exchange: Exchange):
        self.terms, self._exchange = terms, exchange
        self._roster = roster
        self._stage = 0
        self._messages: dict[str, dict[str, Message]] = {stage: {} for stage in STAGES}
        self._sum = np.zeros(terms.length + 1, dtype=terms.fixed_point.dtype)
        self.rejected: dict[str, str] = {}

    @property
    def stage(self) -> str:
        """The stage whose messages are received now; `total` once all are in."""
        return STAGES[self._stage] if self._stage < len(STAGES) else "total"

    @property
    def included(self) -> tuple[str, ...]:
        """Clients whose masked vectors are in the sum, in the terms' order."""
        return tuple(name for name in self.terms.clients if name in self._messages["mask"])

    def receive(self, sender: str, raw: bytes) -> None:
        """Verify and take a message of the current stage.

        Raises:
            RejectedError: names the sender; its signature, round, kind, order or shape is wrong; the round goes on.
        """
        try:
            self._take(sender, raw)
        except RejectedError as error:
            self.rejected[sender] = error.reason
            raise

    def _take(self, sender: str, raw: bytes) -> None:
        if sender not in self.terms.clients:
            raise RejectedError(sender, "is not one of this round's clients")
        key = self._tag_key(sender) if self.stage == "mask" else None
        message = verified_message(raw, sender, self._roster[sender], self.terms.id, self.stage, key)
        if sender in self._messages[self.stage]:
            raise RejectedError(sender, f"sent '{self.stage}' twice (a replay?)")
        if self._stage and sender not in self._messages[STAGES[self._stage - 1]]:
            raise RejectedError(sender, f"sent '{self.stage}' without having sent '{STAGES[self._stage - 1]}'")
        try:
            kept = getattr(self, f"_check_{self.stage}")(message)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise RejectedError(sender, f"its message '{self.stage}' has missing or malformed fields") from error
        self._messages[self.stage][sender] = kept

    def _tag_key(self, sender: str) -> bytes:
        if sender not in self._messages["share"]:
            raise RejectedError(sender, "sent 'mask' without having sent 'share'")
        channel = self._messages["advertise"][sender].fields["channel"]
        return self._exchange.agree(bytes.fromhex(channel), self.terms.id, TAG)

    def _check_advertise(self, message: Message) -> Message:
        for which in ("masking", "channel"):
            public = bytes.fromhex(message.fields[which])
            if len(public) != KEY_BYTES:
                raise RejectedError(message.sender, f"its {which} key is not 32 bytes")
            # Fails for a key of low order: refused here, it costs the round one client and not all.
            self._exchange.agree(public, self.terms.id, TAG)
        return message

    def _check_share(self, message: Message) -> Message:
        others = set(self._messages["advertise"])
        if set(message.fields["to"]) != others - {message.sender}:
            raise RejectedError(message.sender, "did not share with exactly the clients of the round")
        if set(message.fields["prints"]) != others:
            raise RejectedError(message.sender, "its shares have no fingerprints")
        return message

    def _check_mask(self, message: Message) -> Message:
        words = len(message.body) / self._sum.itemsize
        if words != len(self._sum):
            raise RejectedError(
                message.sender, f"its masked vector has {words:g} words, this round's have {len(self._sum)}"
            )
        masked = np.frombuffer(message.body, dtype=self._sum.dtype)
        np.add(self._sum, masked, out=self._sum)
        # The body is not kept: memory is that of one vector, however many clients there are.
        return Message("mask", message.sender, {}, memoryview(b""), b"")

    def _check_confirm(self, message: Message) -> Message:
        if message.fields["survivors"] != list(self.included):
            raise RejectedError(message.sender, "confirmed another list of the sum")
        return message

    def _check_reveal(self, message: Message) -> Message:
        asked = {"seeds": (0, self.included), "keys": (1, self._lost())}
        for which, (number, names) in asked.items():
            if set(message.fields[which]) != set(names):
                raise RejectedError(message.sender, f"did not reveal the {which} that were asked for")
            for name, part in message.fields[which].items():
                known = self._messages["share"][name].fields["prints"][message.sender][number]
                if fingerprint(bytes.fromhex(part)) != known:
                    raise RejectedError(message.sender, f"revealed a false share of {name!r}")
        return message

    def next_stage(self) -> dict[str, bytes]:
        """Close the stage; what to send to each client that is still there.

        Raises:
            TooFewClientsError: below the threshold; the running sum is destroyed.
        """
        stage, present = self.stage, self._messages[self.stage]
        try:
            require(len(present), self.terms.threshold, stage, self.rejected)
        except TooFewClientsError:
            self._forget()
            raise
        self._stage += 1
        if stage == "share":
            # Each gets its own shares and no one else's.
            return {
                name: json.dumps(
                    {other: present[other].fields["to"][name] for other in present if other != name}
                ).encode()
                for name in present
            }
        if stage == "advertise":
            content = pack(message.raw for message in present.values())
        elif stage == "mask":
            content = json.dumps(list(self.included)).encode()
        elif stage == "confirm":
            content = self._request()
        else:
            content = b""
        return dict.fromkeys(present, content)

    def _request(self) -> bytes:
        confirmed = self._messages["confirm"]
        asked = {"survivors": self.included, "dropped": self._lost(), "confirmed": list(confirmed)}
        return pack([json.dumps(asked).encode(), *(one.raw for one in confirmed.values())])

    def _lost(self) -> list[str]:
        """Clients whose pairwise masks are in others' vectors while their own vector never came."""
        return [name for name in self._messages["share"] if name not in self._messages["mask"]]

    def total(self) -> tuple[np.ndarray, float]:
        """Take all masks off the sum.

        Returns:
            The (length,) float64 weighted sum of the included clients and the sum of their weights.

        Raises:
            RejectedError: what was restored of a client is not what it committed to; there is no sum.
        """
        if self.stage != "total":
            raise InputError(f"secure aggregation: no sum before the stage '{self.stage}' is closed")
        try:
            for name in self.included:
                add_mask(self._sum, self_mask(self._restore(name, "seeds"), self.terms), -1)
            for name in self._lost():
                self._cancel(name)
            return self.terms.fixed_point.decode(self._sum)
        finally:
            self._forget()

    def _cancel(self, lost: str) -> None:
        """Undo the pairwise masks that the included share with a lost client."""
        exchange = Exchange.from_private(self._restore(lost, "keys"))
        for name in self.included:
            public = bytes.fromhex(self._messages["advertise"][name].fields["masking"])
            key = exchange.agree(public, self.terms.id, f"mask {self.terms.bits}")
            add_mask(self._sum, key, -sign(self.terms, name, lost))

    def _restore(self, name: str, which: str) -> bytes:
        revealed = list(self._messages["reveal"].values())[: self.terms.threshold]
        shares = {self.terms.place(message.sender): bytes.fromhex(message.fields[which][name]) for message in revealed}
        secret = shamir.restore(shares, KEY_BYTES)
        if secret is not None and self._committed(name, which, secret):
            return secret
        raise RejectedError(name, "its shares do not restore the secret that it committed to; repeat without it")

    def _committed(self, name: str, which: str, secret: bytes) -> bool:
        if which == "seeds":
            return fingerprint(secret) == self._messages["share"][name].fields["seed"]
        advertised = self._messages["advertise"][name].fields["masking"]
        return Exchange.from_private(secret).public.hex() == advertised

    def _forget(self) -> None:
        self._sum = np.zeros(0, dtype=self._sum.dtype)
        self._messages["reveal"] = {}
        self._stage = len(STAGES) + 1
