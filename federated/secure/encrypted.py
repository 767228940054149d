"""All parties of the CKKS sum in one process: the clients and the server meet only in bytes."""

from collections.abc import Mapping

import numpy as np

from federated.secure.ckks_client import CkksClient
from federated.secure.ckks_keys import CkksKeys
from federated.secure.ckks_server import CkksServer
from federated.secure.keys import Identity, roster
from federated.secure.network import Ask, Network, Traffic, deliver, in_process
from federated.secure.result import SecureSum
from federated.secure.terms import SumTerms


def ckks_sum(
    vectors: Mapping[str, np.ndarray],
    weights: Mapping[str, float] | None = None,
    *,
    identities: Mapping[str, Identity],
    keys: CkksKeys,
    threshold: int | None = None,
    round_number: int = 0,
    session: str = "",
    limit: float = 1024.0,
    max_weight: float = 1.0,
    network: Network = deliver,
) -> SecureSum:
    """Sum weight x vector over the clients so that the server sees ciphertexts and the sum.

    Args:
        vectors: client -> (length,) float32 or float64.
        weights: client -> number of examples; 1 for all unless given.
        identities: signing keys of at least these clients, and what these have answered.
        keys: of this run, generated for at least as many clients and the same bounds.
        threshold: clients needed for a sum; a strict majority unless given.
        round_number: the training round.
        session: of the coordinator's process; a new one unless given.
        limit: public bound of absolute values; a vector beyond it is rejected by name.
        max_weight: public bound of weights; above 1 ciphertexts may grow from 8 to 14 times float32.
        network: what happens to messages on their way.

    Returns:
        The sum, within half a step of `ckks_keys.grid_of` per client, who is in it, and why others are not.

    Raises:
        TooFewClientsError: below the threshold, or nobody left to decrypt.
        InputError: the options contradict each other.
    """
    terms = SumTerms.over(vectors, threshold, session, round=round_number, limit=limit, max_weight=max_weight)
    keys.check(terms)
    known = roster({name: identities[name] for name in vectors})
    opening = terms.to_bytes()
    clients = {name: CkksClient(identities[name], known, opening, keys) for name in vectors}
    weight_of = weights or dict.fromkeys(vectors, 1.0)
    work = {
        "encrypt": lambda name, content: clients[name].encrypt(vectors[name], weight_of[name]),
        "confirm": lambda name, content: clients[name].confirm(content),
        "decrypt": lambda name, content: clients[name].decrypt(content),
    }
    return summed(terms, known, keys.public, in_process(work), network)


def summed(
    terms: SumTerms, known: Mapping[str, bytes], public: bytes, ask: Ask, network: Network = deliver
) -> SecureSum:
    """The server's part of a round, whoever and wherever the clients are.

    Args:
        terms: of the round.
        known: client -> public identity key.
        public: `CkksKeys.public`.
        ask: the clients.
        network: what happens to messages on their way.

    Raises:
        TooFewClientsError: as `ckks_sum`.
    """
    server = CkksServer(terms, known, public)
    traffic = Traffic(terms.clients, network)
    traffic.stage("encrypt", dict.fromkeys(terms.clients, terms.to_bytes()), ask, server.receive)
    traffic.stage("confirm", dict.fromkeys(terms.clients, server.listed(traffic.rejected)), ask, server.confirmed)
    request = server.request(traffic.rejected)
    # One decryption is enough; the next client is asked where it gets lost.
    for name in list(traffic.present):
        traffic.present = [name]
        traffic.stage("decrypt", {name: request}, ask, server.answered)
        if traffic.present:
            break
    total, weight = server.total(traffic.rejected)
    return SecureSum(total, weight, server.included, traffic.dropped, traffic.rejected, traffic.up, traffic.down)
