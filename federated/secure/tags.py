"""Tags that let whoever opens a sum see that it is of the listed clients' vectors, each as sent and each once.

A vector x of client i has tags <r, x> + k_i, each modulo a prime of its own; r and k_i are made from a key that the
clients share and the server lacks. They add up as the vectors do, so that of all that the server can add, scale or mask
under the encryption only the sum of the whole list has tags that fit (Agrawal and Boneh, Homomorphic MACs, ACNS 2009).
A tag does not see multiples of its prime, whatever multiplied them; no two primes have one in common that a sum within
`ckks_keys.largest_of` could hold, so that of any other sum three tags at least do not fit.
"""

from collections.abc import Iterable

import numpy as np

from federated.secure.keys import derive
from federated.secure.stream import add_mask

# Products of two residues are exact in 64 bits. One tag is guessed once in 2^26 times, three of them once in 2^78.
PRIMES = np.array([2**26 - 5, 2**26 - 27, 2**26 - 45, 2**26 - 87])
COUNT = len(PRIMES)


def tags(key: bytes, round_id: str, values: np.ndarray, clients: Iterable[str]) -> np.ndarray:
    """Of a vector, or of the sum of the clients' vectors.

    Args:
        key: 32 bytes that the clients share.
        round_id: of the round, in hex; each has tags of its own.
        values: (length,) int64.
        clients: in the sum; of a vector its own client alone.

    Returns:
        (COUNT,) int64 from 0 to PRIMES.
    """
    residues = np.empty(COUNT, np.int64)
    for place, prime in enumerate(PRIMES):
        factors = _residues(derive(key, round_id, f"tag {place}"), len(values), prime)
        residues[place] = np.mod(factors * np.mod(values, prime), prime).sum()
    for name in clients:
        residues += _residues(derive(key, round_id, f"tag of {name}"), COUNT, PRIMES)
    return np.mod(residues, PRIMES)


def _residues(key: bytes, count: int, primes: np.ndarray) -> np.ndarray:
    # Of 64 bits, so that none is more frequent than another by more than 2^-38.
    words = np.zeros(count, "<u8")
    add_mask(words, key, 1)
    return (words % primes.astype(np.uint64)).astype(np.int64)
