"""Whatever the vectors, weights and losses: the masked sum is the plain one of those in it, or there is none."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from federated.secure.client import STAGES
from federated.secure.errors import TooFewClientsError
from federated.secure.fixed_point import FixedPoint
from federated.secure.keys import identities
from federated.secure.masking import masked_sum
from federated.secure.network import silent_from

# Public bounds of values and weights that the modular sum of so many bits holds.
BOUNDS = {32: (8.0, 128), 64: (1024.0, 2**20)}


@st.composite
def rounds(draw):
    """Vectors and weights by client, and the stage from which each lost one is silent."""
    names = [f"site-{i}" for i in range(draw(st.integers(2, 4)))]
    length, bits = draw(st.integers(1, 5)), draw(st.sampled_from(list(BOUNDS)))
    limit, most = BOUNDS[bits]
    values = hnp.arrays(np.float32, length, elements=st.floats(-limit, limit, width=32))
    vectors = {name: draw(values) for name in names}
    weights = {name: float(draw(st.integers(1, most))) for name in names}
    lost = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(STAGES), max_size=len(names)))
    return vectors, weights, lost, bits


@settings(max_examples=40, deadline=None)
@given(rounds())
def test_the_masked_sum_is_the_plain_one_or_none(made):
    vectors, weights, lost, bits = made
    limit, most = BOUNDS[bits]
    terms = {"bits": bits, "limit": limit, "max_weight": float(most)}
    threshold = len(vectors) // 2 + 1
    staying = [name for name in vectors if lost.get(name) in (None, "confirm", "reveal")]
    try:
        result = masked_sum(vectors, weights, identities=identities(vectors), **terms, network=silent_from(lost))
    except TooFewClientsError:
        assert len(vectors) - len(lost) < threshold
        return
    assert len(vectors) - len(lost) >= threshold
    assert result.included == tuple(staying)
    assert result.weight == sum(weights[name] for name in staying)
    code = FixedPoint(limit, float(most), len(vectors), bits)
    total = np.zeros(len(result.total) + 1, code.dtype)
    for name in staying:
        total += code.encode(vectors[name], weights[name])
    assert np.array_equal(result.total, code.decode(total)[0])
