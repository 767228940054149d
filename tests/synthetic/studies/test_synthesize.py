"""The step of a study that makes synthetic data: what it tells a budget."""

from pathlib import Path

import pytest

from medimg.studies.steps import Inputs, Shared
from synthetic.studies import synthesize


def test_an_epoch_takes_what_its_training_took(monkeypatch):
    """Images are decoded before and made after it, faster or slower."""
    clock = [0.0]

    def told(data, folder, config, listener, **_):
        for stage, seconds, steps in (("decode", 0.1, 20), ("steps", 5.0, 10), ("images", 0.01, 50)):
            for number in range(steps):
                clock[0] += seconds
                listener(stage, number + 1, steps)

    monkeypatch.setattr(synthesize, "synthesize", told)
    monkeypatch.setattr(synthesize.time, "monotonic", lambda: clock[0])
    inputs = Inputs(Path("data"), (), {}, (), 20, Shared())
    found = synthesize.run(inputs, Path("nowhere"), {"model": "dcgan", "epochs": 2, "seed": 0})
    assert found == {"times": 2, "seconds_each": pytest.approx(25.0)}
