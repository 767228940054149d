"""A private federation that is exported: its card has the ledger's numbers and withholds what any private card does."""

import json
import re

import pytest

from federated.config import FederateConfig
from medimg.privacy.statement import WITHHELD, summary
from medimg.serving.config import ExportConfig
from medimg.serving.export import export
from tests.datasets import write_table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_resamples")]

PRIVATE = {"dp_epsilon": 4.0, "dp_delta": 1e-3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("sites") / "data", n=160)


@pytest.mark.parametrize("unit", ["patient", "client"])
def test_the_card_of_a_private_federation(unit, data, tmp_path, execution):
    from federated.federate import federate

    delta = {"dp_delta": 0.05} if unit == "client" else {}
    batch = {"batch_size": 8} if unit == "patient" else {}
    config = FederateConfig(model="logistic", rounds=1, dp=unit, **{**PRIVATE, **delta}, **batch, comparison=False)
    run = federate(data.root, tmp_path / "run", config, execution=execution)
    folder = export(run, tmp_path / "served", ExportConfig(samples=3))
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    told = json.loads((run.root / "privacy.json").read_text(encoding="utf-8"))
    assert told["unit"] == unit
    assert set(told["sites"]) == {"s0", "s1", "s2"}
    assert summary(told, "row") in card
    assert told["composition"] in card
    assert f"- Epsilon: {told['epsilon']['pld']}, by privacy loss" in card
    assert f"- Unit: one {unit} of the training part" in card
    for event in told["events"]:
        assert f"| {event['site']} | " in card
        assert f"| {event['mechanism']['noise_multiplier']} |" in card
    assert run.environment()["data_fingerprint"] is None
    assert data.fingerprint() not in card
    assert f"- Data fingerprint {WITHHELD}, seed" in card
    assert re.findall(r"^- (?:train|val|test): ", card, re.MULTILINE) == []
    value = json.loads((run.root / "metrics.json").read_text())["threshold"]["value"]
    assert f"| disease | {value} | youden | the validation part |" in card
