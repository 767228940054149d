"""Uniform integers of a site's secret key: those of a round are the same when it is repeated, and nobody else's.

A round that is repeated after a crash with other noise would be a second release that no ledger counts. So the noise is
a function of the key, of the options and of what the round starts from, by BLAKE2 and ChaCha20.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from federated.private.site_key import FILE

_BLOCK = 1 << 14


def round_key(folder: str, training: str, client: str, number: int, arrays: Iterable[np.ndarray]) -> bytes:
    """The key of a site for the noise of one round, 32 bytes.

    Args:
        folder: of the site's records, with its key.
        training: names the options.
        client: name of the site.
        number: of the round.
        arrays: that the round starts from: the same noise under other weights would let the difference of two sums
            show the gradients bare.
    """
    machine = hashlib.blake2b(key=(Path(folder) / FILE).read_bytes(), digest_size=32, person=b"medimg shares")
    for part in (training.encode(), client.encode(), str(number).encode(), *map(_digest, arrays)):
        machine.update(len(part).to_bytes(8, "little") + part)
    return machine.digest()


class KeyStream:
    """Uniform integers of one key, as `random.Random` gives them.

    Args:
        key: 32 bytes, used for this stream alone.
    """

    def __init__(self, key: bytes):
        # As of `federated.secure.stream`: the nonce may be constant.
        self._stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
        self._block, self._at = b"", 0

    def getrandbits(self, bits: int) -> int:
        """0 .. 2^bits - 1."""
        size = (bits + 7) // 8
        if self._at + size > len(self._block):
            self._block, self._at = self._stream.update(bytes(max(_BLOCK, size))), 0
        drawn = int.from_bytes(self._block[self._at : self._at + size], "little")
        self._at += size
        return drawn >> (8 * size - bits)

    def randrange(self, most: int) -> int:
        """0 .. most - 1, each alike."""
        bits = (most - 1).bit_length()
        while True:
            drawn = self.getrandbits(bits)
            if drawn < most:
                return drawn


def _digest(array: np.ndarray) -> bytes:
    array = np.ascontiguousarray(array)
    return hashlib.blake2b(repr((array.dtype.str, array.shape)).encode() + array.tobytes(), digest_size=32).digest()
