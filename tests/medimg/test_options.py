"""Options as a class: what a later version's new options leave as it was."""

from dataclasses import dataclass

import pytest

from explain.config import ExplainConfig
from federated.config import FederateConfig
from medimg.audit.config import AuditConfig
from medimg.comparison.config import CompareConfig
from medimg.config import PrepareConfig, TrainConfig
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.options import option
from medimg.phantom.config import PhantomConfig
from medimg.privacy.draws.noise_seed import Secret, fingerprint
from medimg.validation.config import ValidateConfig
from synthetic.config import SynthesizeConfig
from synthetic.judge.config import JudgeConfig


@dataclass(frozen=True)
class LaterConfig(TrainConfig):
    one_more: tuple = option((), "An option that did not exist before.")
    another: dict = option({}, "And another.")


def test_given_are_those_that_differ_from_their_defaults():
    assert TrainConfig().given() == {}
    config = TrainConfig(epochs=3, learning_rate=0.5, model_arg={"stages": "3"})
    assert config.given() == {"epochs": 3, "learning_rate": 0.5, "model_arg": {"stages": "3"}}
    assert TrainConfig.from_dict(config.given()) == config


def test_new_options_at_their_defaults_leave_a_fixed_seeds_draws_alone():
    before, later = TrainConfig(epochs=3), LaterConfig(epochs=3)
    assert fingerprint(before.to_dict()) != fingerprint(later.to_dict())
    streams = [Secret.fixed(1, config.given()).stream("noise", 0) for config in (before, later)]
    assert streams[0] == streams[1]
    other = LaterConfig(epochs=3, one_more=("x",)).given()
    assert streams[0] != Secret.fixed(1, other).stream("noise", 0)


@pytest.mark.parametrize("given", [{"dp_delta": 1e-4}, {"dp_clip": 0.5}, {"dp_seed": 1}])
def test_privacy_options_without_a_budget_protect_nobody(given):
    with pytest.raises(InputError, match="is for --dp-epsilon or --dp-noise-multiplier; leave it out"):
        TrainConfig(**given).require_effect()
    TrainConfig(**given, dp_epsilon=3.0).require_effect()
    TrainConfig(**given, dp_noise_multiplier=1.0).require_effect()


@pytest.mark.parametrize(
    "config",
    [
        PrepareConfig,
        PhantomConfig,
        TrainConfig,
        EvaluateConfig,
        ValidateConfig,
        CompareConfig,
        AuditConfig,
        ExplainConfig,
        FederateConfig,
        SynthesizeConfig,
        JudgeConfig,
    ],
)
def test_every_seed_is_one_that_numpy_takes(config):
    with pytest.raises(InputError, match="--seed"):
        config(seed=2**32)
