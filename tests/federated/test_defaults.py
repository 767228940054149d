"""What clients do where nobody says: chosen on the first day of a Run, and kept."""

from dataclasses import replace

import pytest
import yaml

from federated.config import FederateConfig
from medimg.training.open_options import kept
from tests.datasets import write_table

BARE = FederateConfig(model="logistic", rounds=1, batch_size=16, comparison=False)


def test_clients_of_a_table_take_plain_steps():
    config, by_rule = BARE.settled(is_table=True)
    assert (config.optimizer_of_clients, config.client_learning_rate) == ("sgd", 0.1)
    assert by_rule["client_optimizer"][0] == "sgd"
    # Known from the options alone, so that nothing else is refused for having been given.
    assert config.with_given_names(()).names_given() == []


@pytest.mark.parametrize(
    "given",
    [
        {"client_optimizer": "momentum"},
        {"learning_rate": 0.01},
        {"strategy": "fedsgd"},
        {"strategy": "scaffold"},
        {"dp": "patient", "dp_epsilon": 3.0},
    ],
)
def test_what_is_given_stays(given):
    config = replace(BARE, **given)
    assert config.settled(is_table=True) == (config, {})


def test_clients_of_a_frozen_backbone_take_plain_steps():
    """Those of its last layer; a server of another kind was not looked at."""
    head = replace(BARE, model="mobilenet", freeze="backbone")
    config, by_rule = head.settled(is_table=False)
    assert (config.optimizer_of_clients, config.client_learning_rate) == ("sgd", 0.01)
    assert set(by_rule) == {"client_optimizer", "learning_rate"}
    for given in (
        {"client_optimizer": "adam"},
        {"learning_rate": 0.001},
        {"strategy": "fedadam"},
        {"freeze": "2"},
        {"model": "vgg16"},
    ):
        other = replace(head, **given)
        assert other.settled(is_table=False) == (other, {})


def test_images_and_older_runs_keep_adam():
    assert BARE.settled(is_table=False) == (BARE, {})
    # Of a Run that was made before there was a rule, which is asked when it goes on.
    assert BARE.optimizer_of_clients == "adam"


def test_a_table_is_for_logistic_where_no_model_is_named():
    unnamed = replace(BARE, model="baseline_cnn")
    for config in (unnamed, replace(unnamed, dp="patient", dp_epsilon=3.0), replace(unnamed, strategy="scaffold")):
        settled, by_rule = config.settled(is_table=True)
        assert settled.model == by_rule["model"][0] == "logistic"
        assert config.settled(is_table=False)[0].model == "baseline_cnn"
    named = unnamed.with_given_names(["model"])
    assert named.settled(is_table=True)[0].model == "baseline_cnn"


@pytest.mark.slow
def test_it_is_told_and_kept(tmp_path):
    from federated.federate import federate
    from medimg.listener import Listener

    notes, data = [], write_table(tmp_path / "data", n=120).root
    run = federate(data, tmp_path / "run", replace(BARE, model="baseline_cnn"), listener=Listener(note=notes.append))
    assert run.config["options"]["model"] == "logistic"
    assert "--model logistic: the data are a table" in notes
    assert run.config["options"]["client_optimizer"] == "sgd"
    assert yaml.safe_load((run.root / "plan.yaml").read_text())["client_optimizer"] == "sgd"
    assert any(note.startswith("--client-optimizer sgd: ") for note in notes)
    assert kept(BARE, run.root).client_optimizer == "sgd"
