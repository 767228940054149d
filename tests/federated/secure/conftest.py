"""All parties of a masked round, stage by stage, so that a test can look between stages or play false."""

import numpy as np
import pytest

from federated.secure.client import STAGES, MaskingClient
from federated.secure.keys import Exchange, identities, roster
from federated.secure.messages import signed_message, verified_message
from federated.secure.server import MaskingServer
from federated.secure.terms import SumTerms, default_threshold


class Parties:
    def __init__(self, vectors, seed=0, **terms):
        count, length = len(vectors), len(next(iter(vectors.values())))
        terms = {"round": 1, "threshold": default_threshold(count)} | terms
        self.entropy = np.random.default_rng(seed).bytes
        exchange = Exchange.generate(self.entropy)
        terms |= {"clients": tuple(vectors), "length": length, "server": exchange.public.hex()}
        self.vectors, self.terms = vectors, SumTerms(**terms)
        self.identities = identities(vectors)
        self.roster = roster(self.identities)
        self.server = MaskingServer(self.terms, self.roster, exchange)
        self.clients = {name: self.client(name) for name in vectors}
        self.inbound = dict.fromkeys(vectors, b"")
        # Stage -> client -> message, as on the wire.
        self.sent = {}

    def client(self, name):
        opening = self.terms.to_bytes()
        return MaskingClient(self.identities[name], self.roster, opening, self.entropy)

    def act(self, stage, name):
        client, content = self.clients[name], self.inbound[name]
        if stage == "advertise":
            return client.advertise()
        if stage == "mask":
            return client.mask(content, self.vectors[name])
        return getattr(client, stage)(content)

    def signed(self, stage, name, fields, body=b""):
        """A message with a client's own keys, whatever it says."""
        key = self.server._tag_key(name) if stage == "mask" else None
        return signed_message(self.identities[name], self.terms.id, stage, fields, body, key)

    def verified(self, stage, name, raw):
        key = self.server._tag_key(name) if stage == "mask" else None
        return verified_message(raw, name, self.roster[name], self.terms.id, stage, key)

    def play(self, until="total", lost=()):
        """Honest stages up to, without, `until`; clients of `lost` are silent in them."""
        end = STAGES.index(until) if until in STAGES else len(STAGES)
        for stage in STAGES[len(self.sent) : end]:
            self.sent[stage] = {name: self.act(stage, name) for name in self.inbound if name not in lost}
            for name, message in self.sent[stage].items():
                self.server.receive(name, message)
            self.inbound = self.server.next_stage()
        return self


@pytest.fixture
def parties():
    return Parties


@pytest.fixture
def draw():
    return np.random.default_rng(0)


@pytest.fixture
def vectors_of(draw):
    """count, length -> seeded vectors by client."""

    def make(count, length=20, dtype=np.float32):
        return {f"site-{i}": draw.normal(size=length).astype(dtype) for i in range(count)}

    return make
