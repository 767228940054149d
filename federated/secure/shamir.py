"""Shamir's secret sharing over the integers modulo the Mersenne prime 2^521 - 1.

Source: Shamir, How to Share a Secret, CACM 1979. With fewer shares than the threshold every secret is equally likely.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping

PRIME = 2**521 - 1
SHARE_BYTES = 66
# A secret of 64 bytes is below the prime.
MOST_SECRET_BYTES = 64


def share(
    secret: bytes, threshold: int, places: Iterable[int], entropy: Callable[[int], bytes] = secrets.token_bytes
) -> dict[int, bytes]:
    """Split a secret: any `threshold` of the shares restore it.

    Args:
        secret: at most 64 bytes.
        threshold: 1 or more.
        places: distinct points of the polynomial, 1 or more (0 is the secret itself).
        entropy: number of bytes -> random bytes.

    Returns:
        Place -> share of 66 bytes.
    """
    places = list(places)
    if len(secret) > MOST_SECRET_BYTES or not 1 <= threshold <= len(places):
        raise ValueError("a secret of at most 64 bytes and a threshold within the number of shares")
    if min(places) < 1 or len(set(places)) != len(places):
        raise ValueError("places must be distinct and 1 or more")
    # 60 bits above the prime's leave a bias below 2^-60.
    drawn = [int.from_bytes(entropy(73), "big") % PRIME for _ in range(threshold - 1)]
    coefficients = [*drawn, int.from_bytes(secret, "big")]
    return {place: _value(coefficients, place).to_bytes(SHARE_BYTES, "big") for place in places}


def restore(shares: Mapping[int, bytes], length: int) -> bytes | None:
    """The secret of `length` bytes from exactly `threshold` shares (place -> share).

    Too few shares or false ones give an unrelated number: None where that is longer than `length` bytes, which it all
    but always is for 32 bytes. Callers compare what comes back with a commitment all the same.
    """
    total = 0
    for place, part in shares.items():
        numerator, denominator = 1, 1
        for other in shares:
            if other != place:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - place) % PRIME
        weight = numerator * pow(denominator, -1, PRIME)
        total = (total + weight * int.from_bytes(part, "big")) % PRIME
    return total.to_bytes(length, "big") if total < 256**length else None


def _value(coefficients: list[int], place: int) -> int:
    value = 0
    for coefficient in coefficients:
        value = (value * place + coefficient) % PRIME
    return value
