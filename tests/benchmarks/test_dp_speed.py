"""Every engine that the table of private training's speed compares takes a step."""

import pytest

from benchmarks import dp_speed


@pytest.mark.slow
@pytest.mark.parametrize("engine", [dp_speed.PLAIN, dp_speed.STRICT, dp_speed.OURS, dp_speed.PATIENTS])
def test_an_engine_takes_a_step(engine, monkeypatch):
    monkeypatch.setattr(dp_speed, "SIZE", 16)
    monkeypatch.setattr(dp_speed, "BATCH", 2)
    monkeypatch.setattr(dp_speed, "FEWER", {})
    dp_speed.step_of(engine, dp_speed._build("baseline_cnn"))()
