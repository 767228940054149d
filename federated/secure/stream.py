"""A key expanded to a mask: ChaCha20's key stream read as little-endian integers."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

# Stays in the second-level cache, and memory doesn't grow with the model.
_BLOCK_BYTES = 1 << 18
_ZEROS = bytes(_BLOCK_BYTES)


def add_mask(vector: np.ndarray, key: bytes, sign: int) -> None:
    """Add (sign 1) or take away (sign -1) the mask of a key, in place and modulo the vector's type.

    Args:
        vector: (length,) little-endian uint32 or uint64.
        key: 32 bytes used for this one mask; the nonce is therefore constant.
        sign: 1 or -1.
    """
    # RFC 8439's cipher; a 16-byte zero is counter and nonce. 2^32 blocks of 64 bytes: 256 GiB, more than any model.
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    buffer = np.empty(_BLOCK_BYTES, dtype=np.uint8)
    change = np.add if sign > 0 else np.subtract
    each = _BLOCK_BYTES // vector.itemsize
    for start in range(0, len(vector), each):
        part = vector[start : start + each]
        size = part.nbytes
        stream.update_into(memoryview(_ZEROS)[:size], memoryview(buffer)[:size])
        change(part, buffer[:size].view(vector.dtype), out=part)
