"""All parties of the CKKS sum in one process: the clients and the server meet only in bytes."""

import json
import secrets
from collections.abc import Mapping

import numpy as np

from federated.secure.ckks import CkksClient, CkksKeys, CkksServer
from federated.secure.keys import Identity, roster
from federated.secure.network import Network, Traffic, deliver, in_process
from federated.secure.result import SecureSum
from federated.secure.terms import Terms, default_threshold


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
        The sum, within 4.8e-7 per client of the real one, who is in it, and why others are not.

    Raises:
        TooFewClientsError: below the threshold, or nobody left to decrypt.
        InputError: the options contradict each other.
    """
    terms = Terms(
        round=round_number,
        session=session or secrets.token_hex(16),
        clients=tuple(vectors),
        threshold=default_threshold(len(vectors)) if threshold is None else threshold,
        length=len(next(iter(vectors.values()))) if len(vectors) else 0,
        limit=limit,
        max_weight=max_weight,
    )
    keys.check(terms)
    opening = terms.to_bytes()
    server = CkksServer(terms, roster({name: identities[name] for name in vectors}), keys.public)
    clients = {name: CkksClient(identities[name], opening, keys.secret) for name in vectors}
    weight_of = weights or dict.fromkeys(vectors, 1.0)
    traffic = Traffic(vectors, network)
    ask = in_process(
        {
            "encrypt": lambda name, content: clients[name].encrypt(vectors[name], weight_of[name]),
            "confirm": lambda name, content: clients[name].confirm(content),
            "decrypt": lambda name, content: clients[name].decrypt(content),
        }
    )
    traffic.stage("encrypt", dict.fromkeys(vectors, opening), ask, server.receive)
    ciphertexts = server.ciphertexts(traffic.rejected)
    listed = json.dumps(server.included).encode()
    traffic.stage("confirm", dict.fromkeys(vectors, listed), ask, server.confirmed)
    server.require_confirmed(traffic.rejected)
    # One decryption is enough; the next client is asked where it gets lost.
    for name in list(traffic.present):
        traffic.present = [name]
        traffic.stage("decrypt", {name: ciphertexts}, ask, server.answered)
        if traffic.present:
            break
    total, weight = server.total()
    return SecureSum(total, weight, server.included, traffic.dropped, traffic.rejected, traffic.up, traffic.down)
