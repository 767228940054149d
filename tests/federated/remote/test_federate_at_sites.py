"""medimg federate with workers of its own sites: the same model as in one process, and what it can't do refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from federated.config import FederateConfig
from federated.federate import federate
from medimg.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_resamples")]

CONFIG = FederateConfig(model="logistic", rounds=2, batch_size=16, comparison=False)


def test_two_workers_give_the_model_of_one_process(serve, table_data, tmp_path, execution):
    sites = [serve(sites=("s0", "s2")), serve(sites=("s1",))]
    config = replace(CONFIG, worker=tuple(site.address for site in sites))
    run = federate(table_data, tmp_path / "apart", config)
    together = federate(table_data, tmp_path / "together", CONFIG, execution=execution)
    for a, b in zip(run.model().get_weights(), together.model().get_weights(), strict=True):
        assert np.abs(a - b).max() < 1e-4
    told = json.loads((run.root / "federation.json").read_text())
    assert [client["name"] for client in told["clients"]] == ["s0", "s1", "s2"]
    assert told["comparison"]["left_out"]["local"] == "the training rows stay at the sites"
    assert not any("one process" in sentence for sentence in told["secure"]["sentences"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"secure": "masking"}, "--secure masking"),
        ({"partition": "iid"}, "--partition"),
        ({"dp": "patient", "dp_epsilon": 3.0}, "--dp patient"),
    ],
)
def test_what_workers_do_not_do_is_refused_without_asking_them(table_data, tmp_path, given, told):
    config = replace(CONFIG, worker=("127.0.0.1:1",), **given)
    with pytest.raises(InputError, match=told):
        federate(table_data, tmp_path / "run", config)
