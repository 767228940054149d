"""An epsilon that stands in a synthetic Dataset's files is told as its maker's claim."""

from types import SimpleNamespace

import pytest

from medimg import atomic
from synthetic.judge.verdict import NO_GUARANTEE, formal_guarantee


@pytest.mark.parametrize("claimed", [{"pld": 0.1, "rdp": 0.2}, 0.1])
def test_whose_claim_an_epsilon_is(tmp_path, claimed):
    content = {"run": "x", "events": [], "epsilon": claimed, "delta": 1e-5, "unit": "patient"}
    subject = SimpleNamespace(synthetic=SimpleNamespace(root=tmp_path), origin={})
    assert formal_guarantee(subject) == NO_GUARANTEE
    atomic.write_json(tmp_path / "privacy.json", content)
    told = formal_guarantee(subject)
    assert "as the synthetic Dataset's own files claim: (epsilon, delta) = (0.1, 1e-05)" in told
    assert "medimg has not verified it" in told
