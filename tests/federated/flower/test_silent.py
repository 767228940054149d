"""A site that is connected and does not answer in time is lost for what it was asked, and asked nothing twice."""

from dataclasses import replace

import pytest

from medimg.errors import InputError
from tests.federated.flower.conftest import MASKED, QUICK, AwayError, SilentError, rounds

TIMED = {"site_timeout": 7.0}
WORDS = "site s1: connected, but without an answer for 7 s (--site-timeout)"


def lost_at(there, at, error=SilentError):
    """The link on which s1 does not answer what `at` says of a request's kind and fields."""
    asked = []

    def wire(name, head, deliver):
        if name == "s1" and at(head["kind"], head["fields"]):
            asked.append(head)
            raise error
        return deliver()

    there.link.wire = wire
    return asked


@pytest.mark.parametrize("config", [QUICK, MASKED], ids=["plain", "masked"])
def test_the_round_goes_on_without_it(apart, execution, tmp_path, config):
    there = apart(config)
    asked = lost_at(there, lambda kind, fields: kind == "train" and fields["round"] == 1)
    run = there.federate(tmp_path / "run", replace(config, rounds=2, **TIMED), execution)
    assert list(run.history()["participants"]) == [2, 3]
    assert rounds(run, "s1")[1] == f"lost: {WORDS}"
    assert len(asked) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["advertise", "share", "mask", "confirm", "reveal"])
def test_a_sum_goes_on_without_it(apart, execution, tmp_path, stage):
    there = apart(MASKED)
    asked = lost_at(there, lambda kind, fields: kind == "mask" and (fields["round"], fields["stage"]) == (1, stage))
    run = there.federate(tmp_path / "run", replace(MASKED, rounds=2, **TIMED), execution)
    # In the sum it is once its masked vector has arrived.
    assert list(run.history()["participants"]) == [3 if stage in ("confirm", "reveal") else 2, 3]
    assert len(asked) == 1


def test_who_waits_goes_on_with_resume(apart, execution, tmp_path):
    there, config = apart(QUICK), replace(QUICK, rounds=2, when_lost="wait", **TIMED)
    lost_at(there, lambda kind, fields: kind == "train" and fields["round"] == 2)
    with pytest.raises(InputError, match=r"^site s1: connected, but without an answer for 7 s .*--resume"):
        there.federate(tmp_path / "run", config, execution)
    lost_at(there, lambda kind, fields: False)
    run = there.federate(tmp_path / "run", config, execution, resume=True)
    assert list(run.history()["participants"]) == [3, 3]


@pytest.mark.parametrize("error", [AwayError, SilentError])
@pytest.mark.parametrize("stage", ["advertise", "share", "mask"])
def test_who_waits_does_so_at_every_stage_of_a_sum(apart, execution, tmp_path, stage, error):
    there, config = apart(MASKED), replace(MASKED, rounds=2, when_lost="wait", **TIMED)
    lost_at(there, lambda kind, fields: kind == "mask" and (fields["round"], fields["stage"]) == (2, stage), error)
    with pytest.raises(InputError, match=r"^site s1: .*; start it again and resume with --resume, or use --when-lost"):
        there.federate(tmp_path / "run", config, execution)
    lost_at(there, lambda kind, fields: False)
    run = there.federate(tmp_path / "run", config, execution, resume=True)
    assert list(run.history()["participants"]) == [3, 3]


@pytest.mark.parametrize("kind", ["describe", "statistics", "plan"])
def test_before_the_first_round_it_ends_the_training_in_one_line(apart, execution, tmp_path, kind):
    there = apart(QUICK)
    asked = lost_at(there, lambda of, fields: of == kind)
    with pytest.raises(InputError) as error:
        there.federate(tmp_path / "run", replace(QUICK, **TIMED), execution)
    assert WORDS in str(error.value)
    assert "\n" not in str(error.value)
    assert len(asked) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["advertise", "share", "mask", "confirm", "reveal"])
def test_of_a_masked_question_it_may_be_lost_once_its_numbers_are_in(apart, execution, tmp_path, stage):
    there, config = apart(MASKED), replace(MASKED, rounds=1, **TIMED)
    asked = lost_at(there, lambda of, fields: (fields.get("question"), fields.get("stage")) == (2, stage))
    if stage in ("confirm", "reveal"):
        there.federate(tmp_path / "run", config, execution)
    else:
        with pytest.raises(InputError, match="connected, but without an answer for 7 s"):
            there.federate(tmp_path / "run", config, execution)
    assert len(asked) == 1


@pytest.mark.parametrize("kind", ["evaluate", "finish"])
def test_after_the_last_round_the_run_is_whole_without_it(apart, execution, tmp_path, kind):
    there = apart(QUICK)
    asked = lost_at(there, lambda of, fields: of == kind)
    run = there.federate(tmp_path / "run", replace(QUICK, rounds=1, **TIMED), execution)
    assert len(run.history()) == 1
    assert len(asked) == 1
