"""All parties of pairwise masking in one process: the clients and the server meet only in bytes."""

import secrets
from collections.abc import Mapping

import numpy as np

from federated.secure.client import STAGES, MaskingClient
from federated.secure.keys import Exchange, Identity, roster
from federated.secure.network import Ask, Network, Traffic, deliver, in_process
from federated.secure.result import SecureSum
from federated.secure.server import MaskingServer
from federated.secure.terms import SumTerms


def masked_sum(
    vectors: Mapping[str, np.ndarray],
    weights: Mapping[str, float] | None = None,
    *,
    identities: Mapping[str, Identity],
    threshold: int | None = None,
    round_number: int = 0,
    session: str = "",
    limit: float = 1024.0,
    max_weight: float = 2.0**20,
    bits: int = 64,
    whole: bool = False,
    network: Network = deliver,
) -> SecureSum:
    """Sum weight x vector over the clients so that the server sees masked vectors and the sum.

    The result depends on the vectors and on who is included, not on random keys: a repeated round gives the same bits.
    The clients of `identities` refuse a round of a session again, and in a new session another sum of it than before.

    Args:
        vectors: client -> (length,) float32 or float64.
        weights: client -> number of examples; 1 for all unless given.
        identities: signing keys of at least these clients, and what these have answered.
        threshold: clients needed for a sum; a strict majority unless given.
        round_number: the training round.
        session: of the coordinator's process; a new one unless given.
        limit: public bound of absolute values; a vector beyond it is rejected by name.
        max_weight: public bound of weights.
        bits: 32 (as many bytes as float32, coarser) or 64.
        whole: clients agree to the sum of all of them alone.
        network: what happens to messages on their way.

    Returns:
        The sum, who is in it, and why others are not.

    Raises:
        TooFewClientsError: below the threshold at some stage.
        RejectedError: a client's shares restore another secret than it committed to.
        InputError: the options contradict each other.
    """
    exchange = Exchange.generate(secrets.token_bytes)
    fields = {"round": round_number, "limit": limit, "max_weight": max_weight, "bits": bits}
    terms = SumTerms.over(vectors, threshold, session, server=exchange.public.hex(), **fields)
    known = roster({name: identities[name] for name in vectors})
    opening = terms.to_bytes()
    clients = {name: MaskingClient(identities[name], known, opening, whole=whole) for name in vectors}
    weight_of = weights or dict.fromkeys(vectors, 1.0)
    work = {
        "advertise": lambda name, content: clients[name].advertise(),
        "share": lambda name, content: clients[name].share(content),
        "mask": lambda name, content: clients[name].mask(content, vectors[name], weight_of[name]),
        "confirm": lambda name, content: clients[name].confirm(content),
        "reveal": lambda name, content: clients[name].reveal(content),
    }
    return summed(terms, known, exchange, in_process(work), network)


def summed(
    terms: SumTerms, known: Mapping[str, bytes], exchange: Exchange, ask: Ask, network: Network = deliver
) -> SecureSum:
    """The server's part of a round, whoever and wherever the clients are.

    Args:
        terms: of the round.
        known: client -> public identity key.
        exchange: the pair whose public key the terms state.
        ask: the clients.
        network: what happens to messages on their way.

    Raises:
        TooFewClientsError, RejectedError: as `masked_sum`.
    """
    server = MaskingServer(terms, known, exchange)
    traffic = Traffic(terms.clients, network)
    inbound = dict.fromkeys(terms.clients, terms.to_bytes())
    for stage in STAGES:
        traffic.stage(stage, inbound, ask, server.receive)
        # Why a client refuses belongs into the message where too few are left.
        server.rejected.update(traffic.rejected)
        inbound = server.next_stage()
    included = server.included
    total, weight = server.total()
    return SecureSum(total, weight, included, traffic.dropped, traffic.rejected, traffic.up, traffic.down)
