from itertools import combinations

import numpy as np
import pytest

from federated.secure.shamir import PRIME, restore, share

SECRET = bytes(range(224, 256))


def test_every_subset_of_the_threshold_restores_and_smaller_ones_do_not():
    shares = share(SECRET, 3, range(1, 7))
    for places in combinations(shares, 3):
        assert restore({place: shares[place] for place in places}, 32) == SECRET
    for places in combinations(shares, 2):
        assert restore({place: shares[place] for place in places}, 32) != SECRET


def test_shares_are_the_values_of_the_polynomial():
    class Fixed:
        numbers = iter([3, 5])

        def __call__(self, count):
            return next(self.numbers).to_bytes(count, "big")

    shares = share(b"\x07", 3, [1, 2, 10], Fixed())
    values = {place: int.from_bytes(part, "big") for place, part in shares.items()}
    assert values == {place: 3 * place**2 + 5 * place + 7 for place in (1, 2, 10)}


def test_fewer_shares_fit_every_secret():
    # Shares at 1 and 2 of a threshold of 3: for any other secret there is a third share that restores it.
    shares = share(SECRET, 3, [1, 2, 3])
    one, two = (int.from_bytes(shares[place], "big") for place in (1, 2))
    for other in (b"\x00" * 32, b"\xff" * 32):
        third = (int.from_bytes(other, "big") - 3 * one + 3 * two) % PRIME
        forged = {1: shares[1], 2: shares[2], 3: third.to_bytes(66, "big")}
        assert restore(forged, 32) == other


def test_a_share_alone_is_uniform():
    stream = np.random.default_rng(0)
    shares = [share(bytes(32), 2, [1, 2], stream.bytes)[1] for _ in range(2000)]
    # The first byte holds 9 bits less 8: 521 bits are 65 whole bytes and one bit.
    counts = np.bincount(np.frombuffer(b"".join(part[2:] for part in shares), np.uint8), minlength=256)
    expected = counts.sum() / 256
    # 255 degrees of freedom: 330 is the 0.1% point.
    assert ((counts - expected) ** 2 / expected).sum() < 330


@pytest.mark.parametrize(
    ("secret", "threshold", "places"), [(bytes(65), 2, [1, 2]), (b"x", 3, [1, 2]), (b"x", 1, [0, 1]), (b"x", 2, [1, 1])]
)
def test_impossible_sharings_are_refused(secret, threshold, places):
    with pytest.raises(ValueError, match=r"a threshold within the number of shares|places must be distinct"):
        share(secret, threshold, places)
