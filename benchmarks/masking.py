"""Secure sums against the plain sum of the same vectors: 4 clients, a million parameters, all parties in one process.

Every way is timed in turn, round after round, and the medians are compared. The time of a secure sum is that of whole
rounds: keys, shares, encoding, masks, signatures, the server's sum and its unmasking, for all clients in turn. Time of
the processor is also given, since the masked sum takes one core and waits where others use it.
"""

import itertools
import statistics
import time

import numpy as np

from benchmarks.material import table
from federated.secure.ckks_keys import CkksKeys
from federated.secure.encrypted import ckks_sum
from federated.secure.keys import identities
from federated.secure.masking import masked_sum
from federated.secure.network import silent_from

CLIENTS, PARAMETERS, LIMIT, WEIGHT = 4, 1_000_000, 1024.0, 2.0**20
PLAIN = "plain sum"
# CKKS takes seconds.
ROUNDS, SLOW_ROUNDS = 15, 3


def ways(identities_of: dict, weights: dict) -> dict:
    """Name -> vectors to (sum, bytes a client sends)."""

    # Clients answer a round once.
    numbers = itertools.count()

    def masked(**options):
        def run(vectors):
            arguments = {"identities": identities_of, "round_number": next(numbers), **options}
            result = masked_sum(vectors, weights, **arguments)
            return result.total, result.bytes_up["site-1"]

        return run

    def ckks(weight):
        keys = CkksKeys.generate(CLIENTS, LIMIT, weight)

        def run(vectors):
            used_weights = weights if weight > 1 else None
            options = {"identities": identities_of, "keys": keys, "max_weight": weight}
            result = ckks_sum(vectors, used_weights, round_number=next(numbers), **options)
            return result.total, result.bytes_up["site-1"]

        return run

    def plain(vectors):
        return sum(vectors[name] * np.float32(weights[name]) for name in vectors), 4 * PARAMETERS

    network = silent_from({"site-3": "mask"})
    return {
        PLAIN: plain,
        "masking, 64 bits (< 100 ms)": masked(),
        "masking, 32 bits": masked(bits=32, limit=1.0, max_weight=1000.0),
        "masking, 64 bits, a client lost after sharing": masked(network=network),
        "CKKS, equal weights": ckks(1.0),
        "CKKS, weighted by examples": ckks(WEIGHT),
    }


def rows() -> list[list]:
    """A line for each way."""
    draw = np.random.default_rng(0)
    names = [f"site-{i}" for i in range(CLIENTS)]
    size = (CLIENTS, PARAMETERS)
    updates = draw.normal(scale=0.01, size=size).astype(np.float32)
    vectors = dict(zip(names, updates, strict=True))
    weights = {name: float(draw.integers(100, 1000)) for name in names}
    runs = ways(identities(names), weights)
    times = {name: [] for name in runs}
    bytes_sent = {}
    for number in range(ROUNDS + 1):
        for name, run in runs.items():
            if "CKKS" in name and number > SLOW_ROUNDS:
                continue
            started = time.perf_counter(), time.process_time()
            _, bytes_sent[name] = run(vectors)
            ended = time.perf_counter(), time.process_time()
            times[name].append([ended[0] - started[0], ended[1] - started[1]])
    # The first round loads libraries.
    wall, processor = (
        {name: 1000 * statistics.median(v[clock] for v in times[name][1:]) for name in runs} for clock in (0, 1)
    )
    return [
        [name, wall[name], wall[name] - wall[PLAIN], processor[name], bytes_sent[name] / (4 * PARAMETERS)]
        for name in runs
    ]


if __name__ == "__main__":
    columns = ["sum", "ms", "ms over the plain sum", "processor ms", "bytes sent / float32"]
    table(columns, rows())
