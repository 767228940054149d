"""An epsilon that stands in a synthetic Dataset's files is told as its maker's claim, as far as its events give it."""

from types import SimpleNamespace

import pytest

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.assumptions import Circumstances
from medimg.privacy.ledger import Ledger, read
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.terms import Terms
from synthetic.judge.verdict import NO_GUARANTEE, formal_guarantee


def subject(folder, **origin):
    return SimpleNamespace(synthetic=SimpleNamespace(root=folder), origin=origin)


def test_whose_claim_an_epsilon_is(tmp_path):
    assert formal_guarantee(subject(tmp_path)) == NO_GUARANTEE
    told = formal_guarantee(subject(tmp_path, privacy={"epsilon": 0.1, "delta": 1e-5}))
    assert "as the synthetic Dataset's own files claim: (epsilon, delta) = (0.1, 1e-05) for one patient; medimg" in told
    assert "medimg has not verified, who made the rows answers for it" in told


def test_what_events_give_is_said_to_be_counted_and_what_they_do_not_is_refused(tmp_path):
    ledger = Ledger.of(tmp_path, Terms(1e-5, 3.0, 1.0, 10, "draw"), Circumstances(), None)
    ledger.record("train", 0, 5, Mechanism.shuffle(1, 4.0))
    epsilon = ledger.complete()["pld"]
    told = formal_guarantee(subject(tmp_path, privacy={"epsilon": 0.1, "delta": 1e-5}))
    assert f"claim: (epsilon, delta) = ({epsilon:.3g}, 1e-05)" in told
    assert "its events give it; that they are all that was done medimg has not verified" in told
    content = read(tmp_path)
    atomic.write_json(tmp_path / "privacy.json", content | {"epsilon": content["epsilon"] | {"pld": 0.1}})
    with pytest.raises(InputError, match=r"privacy.json: epsilon 0.1 \(pld\) is less than the"):
        formal_guarantee(subject(tmp_path))
