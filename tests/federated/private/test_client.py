import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from federated.config import FederateConfig
from federated.private.client import ClientPrivacy, check, client_noise
from federated.rounds.participation import participants
from federated.tff.optimizers import aggregator
from medimg.errors import InputError
from medimg.privacy import ledger
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.statement import summary

NAMES = ["a", "b", "c", "d", "e"]
CONFIG = FederateConfig(dp="client", dp_epsilon=8.0, dp_delta=0.05, rounds=10, dp_clip=0.5)


def gaussian_epsilon(noise, rounds, delta):
    """Of that many Gaussian mechanisms (Balle and Wang 2018, theorem 8)."""
    sigma = noise / np.sqrt(rounds)

    def spent(epsilon):
        a, b = 1 / (2 * sigma), epsilon * sigma
        return norm.cdf(a - b) - np.exp(epsilon) * norm.cdf(-a - b) - delta

    return brentq(spent, 0, 500)


def make(tmp_path, dataset, config=CONFIG, **options):
    options = {"aggregator": aggregator, **options}
    return ClientPrivacy(tmp_path / "run", dataset, NAMES, config, config.rounds, **options)


def test_noise_and_epsilon_are_those_of_composed_gaussians():
    found = client_noise(10, 8.0, 0.05, None)
    assert gaussian_epsilon(found.noise_multiplier, 10, 0.05) == pytest.approx(8.0, rel=2e-3)
    assert found.rounds == 10
    given = client_noise(10, None, 0.01, 2.0)
    assert given.epsilon["pld"] == pytest.approx(gaussian_epsilon(2.0, 10, 0.01), rel=1e-3)
    assert given.epsilon["pld"] == given.epsilon["pld_without_amplification"]
    short = client_noise(50, 3.0, 0.01, 2.0)
    assert gaussian_epsilon(2.0, short.rounds, 0.01) <= 3.0 < gaussian_epsilon(2.0, short.rounds + 1, 0.01)


def test_what_it_means_for_so_few_is_said_before_training(tmp_path, dataset):
    private = make(tmp_path, dataset, parameters=10_000)
    noise = private.noise.noise_multiplier
    assert private.strategy() == {"aggregation": "dp-fixed", "noise_multiplier": noise, "clip": 0.5, "clients": 5}
    first, second, third = private.sentences()
    assert f"{noise / 5:.3g} times the clip in every coordinate" in first
    assert f"{noise / 5 * 100:,.3g} times the norm" in second
    assert "new each time" in third


def test_the_ledger_counts_the_rounds_of_each_client(tmp_path, dataset):
    private = make(tmp_path, dataset, replace(CONFIG, client_fraction=0.4))
    assert private.per_round == 2
    asked = {number: participants(NAMES, 0.4, number, 0) for number in (1, 2, 3, 4)}
    for number, names in asked.items():
        private.before_round(number, names, {"a": 0.5})
    private.before_round(4, asked[4], {})
    # What was not planned is in no reservation: no client does more than it was counted for.
    with pytest.raises(InputError, match="reserve"):
        private.before_round(5, [n for n in NAMES if n not in participants(NAMES, 0.4, 5, 0)], {})
    private.complete()
    told = ledger.read(tmp_path / "run")
    steps = [sum(name in names for names in asked.values()) for name in NAMES]
    assert [told["sites"][name]["steps"] for name in NAMES] == steps
    assert len(set(steps)) > 1
    noise = private.noise.noise_multiplier
    most = gaussian_epsilon(noise, max(steps), 0.05)
    assert told["epsilon"]["pld"] == pytest.approx(most, rel=1e-3)
    least = NAMES[int(np.argmin(steps))]
    assert told["sites"][least]["epsilon"]["pld"] < told["epsilon"]["pld"]
    text = summary(told)
    assert "for one client" in text
    assert "every one that takes part" in text
    assert not any("patient of split 'train'" in text for text in told["assumptions"])
    assert private.summary()["unit"] == "client"


def test_rounds_with_new_noise_are_not_made_twice(tmp_path, dataset):
    """TFF's noise is new each time: neither an older checkpoint nor a copy of the Run makes rounds again uncounted."""
    private = make(tmp_path, dataset)
    for number in (1, 2, 3):
        private.before_round(number, NAMES, {})
    again = make(tmp_path, dataset)
    again.require_counted(3, NAMES, {})
    with pytest.raises(InputError, match="checkpoint"):
        again.require_counted(4, NAMES, {})
    # Killed in its last round, which nobody has seen.
    again.before_round(3, NAMES, {})
    with pytest.raises(InputError, match="is at round 1, and 3 are recorded"):
        again.before_round(2, NAMES, {})
    shutil.copytree(tmp_path / "run", tmp_path / "copy" / "run")
    with pytest.raises(InputError, match=r"copy.run: is a copy of .*run"):
        make(tmp_path / "copy", dataset)
    # Moved, it is the only one.
    shutil.rmtree(tmp_path / "run")
    make(tmp_path / "copy", dataset).before_round(4, NAMES, {})


def test_its_patients_pay_from_the_start(tmp_path, dataset):
    """What protects clients is reserved too, and counts for whoever plans for their patients."""
    private = make(tmp_path, dataset)
    (event,) = DatasetLedger(dataset.root).events("patient")
    assert event.count == 10
    assert event.event.noise_multiplier == private.noise.noise_multiplier / 2
    with pytest.raises(InputError, match="--dp-budget dataset: counts patients"):
        check(replace(CONFIG, dp_budget="dataset"), 5)


def test_no_client_passes_the_budget(tmp_path, dataset):
    private = make(tmp_path, dataset, replace(CONFIG, dp_noise_multiplier=1.0, dp_epsilon=4.0))
    assert 1 <= private.rounds < 10
    for number in range(1, private.rounds + 1):
        private.before_round(number, NAMES, {})
    with pytest.raises(InputError, match=r"client a: round .* would pass its privacy budget"):
        private.before_round(private.rounds + 1, NAMES, {})


def test_an_adaptive_clip_that_tff_refuses_is_refused_by_option(tmp_path, dataset):
    adaptive = replace(CONFIG, dp_clipping="adaptive", dp_epsilon=None)
    with pytest.raises(InputError, match=r"--dp-clipping adaptive: .* 5 clients"):
        make(tmp_path, dataset, replace(adaptive, dp_noise_multiplier=0.6))
    private = make(tmp_path, dataset, replace(adaptive, dp_noise_multiplier=0.1))
    assert private.strategy()["aggregation"] == "dp-adaptive"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"strategy": "scaffold"}, "--strategy scaffold"),
        ({"strategy": "fedbn"}, "--strategy fedbn"),
        ({"aggregation": "median"}, "--aggregation median"),
        ({"secure": "masking"}, "--secure masking"),
        ({"weighting": "examples"}, "--weighting examples"),
        ({"dp_seed": 1}, "--dp-seed 1"),
        ({"dp_delta": 0.2}, "--dp-delta 0.2"),
        ({"dp_epsilon": None}, "--dp-epsilon"),
    ],
)
def test_options_against_privacy(options, named):
    with pytest.raises(InputError, match=named):
        check(replace(CONFIG, **options), 5)
