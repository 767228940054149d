"""A patient more or less moves a private step's sum by the clip at most, whatever the step draws."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from medimg.data.schema import Feature
from medimg.privacy import ledger
from medimg.privacy.defaults import coarse
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.sampling import sampling
from medimg.privacy.units import Units
from medimg.tables.public import public_of
from synthetic.config import SynthesizeConfig
from synthetic.federation.tables.privacy import ClientsPrivacy
from synthetic.synthesize import synthesize
from synthetic.tables.columns import declared
from synthetic.tables.encoding import Encoding, public_code
from synthetic.tables.fitting import MODELS
from synthetic.tables.generator_inputs import GeneratorInputs, targets_of
from synthetic.tables.mix import votes
from synthetic.tables.private_step import PrivateSteps, clipped_sum
from synthetic.tables.settings import PRIVATE, Settings
from synthetic.tables.training import randomness
from tests.synthetic.tables.conftest import BOUNDS, CATEGORIES

CLASSES = ("well", "ill")
CLIP = 0.05
SECRET = Secret.fixed(3, {})
# First, middle and last of the manifest; p0 and p45 have two rows.
PATIENTS = ("p0", "p1", "p45", "p75", "p78")


@pytest.fixture(scope="module")
def rows(small_clinic):
    return small_clinic.rows("train", labelled=True).sort_values("patient", kind="stable")


@pytest.fixture(scope="module")
def code(small_clinic):
    return public_code(declared(public_of(small_clinic.inputs, BOUNDS, CATEGORIES)))


def built(code, rows, private, name):
    settings = Settings(20, 1, 1, **{"width": 16, "latent_size": 4, **PRIVATE.get(name, {})})
    encoding = Encoding(code, code.encode_apart(rows, private.keys))
    with randomness(0, "networks"):
        return MODELS[name](GeneratorInputs(encoding, targets_of(rows, CLASSES), 2, settings, private))


def private_steps(rows, kind, expected, most):
    patients = rows["patient"].to_numpy()
    units = Units.of(patients)
    drawn = sampling(kind, units, expected or len(units), SECRET, most)
    return PrivateSteps(drawn, CLIP, 1.0, SECRET, 1.0, SECRET.row_keys(patients))


def flat(model, number) -> np.ndarray:
    return np.asarray(model.clipped_sum(number)).ravel()


def without(rows, patient):
    return rows[rows["patient"] != patient]


@pytest.mark.parametrize("name", ["ctgan", "tvae", "marginals"])
@pytest.mark.parametrize(
    ("kind", "expected", "most"), [("poisson", 0, 0), ("poisson", 20, 0), ("poisson", 20, 1), ("shuffle", 20, 1)]
)
def test_a_patient_moves_the_sum_by_the_clip_at_most(code, rows, name, kind, expected, most):
    model = built(code, rows, private_steps(rows, kind, expected, most), name)
    clip = model.norm if name == "marginals" else CLIP
    # At q < 1 a patient is in some of the steps only: in those that they are in, and in one that they are not.
    sums = {number: flat(model, number) for number in range(1 if not expected else 6)}
    for patient in PATIENTS:
        fewer = without(rows, patient)
        assert 0 < len(rows) - len(fewer) <= 2
        other = built(code, fewer, private_steps(fewer, kind, expected, most), name)
        moved = [np.linalg.norm(found - flat(other, number)) for number, found in sums.items()]
        assert max(moved) <= clip * (1 + 1e-5)
        # They were in it, and their gradient was clipped.
        assert max(moved) > (0.7 if name == "marginals" else 0.999) * clip


def test_a_patient_whose_gradient_is_not_finite_is_absent():
    weight = {"w": torch.nn.Parameter(torch.ones(3))}

    def loss(parameters, row):
        return (parameters["w"] * row).sum()

    values = torch.tensor([[1.0, 0, 0], [torch.inf, 0, 0], [torch.nan, 1, 1], [0, 3e38, 3e38]])
    found = clipped_sum(weight, loss, (values,), np.arange(4), 2.0)
    # The third is not a number; the fourth overflows in 32 bits and not in 64.
    np.testing.assert_allclose(found, [1.0, 2**0.5, 2**0.5], rtol=1e-6)


@pytest.mark.parametrize("name", ["ctgan", "tvae", "marginals"])
def test_the_same_at_a_site_of_a_federation(small_clinic, code, rows, tmp_path, name):
    config = SynthesizeConfig(model=name, partition="site", dp_noise_multiplier=1.0, dp_clip=CLIP, dp_seed=3)

    def site_of(rows):
        sites = {key: own.reset_index(drop=True) for key, own in rows.groupby("site")}
        privacy = ClientsPrivacy(small_clinic, sites, tmp_path, config, 20, 2, 2)
        # What a client weighs and divides by is the same with one patient more.
        assert privacy.sizes == {"north": 20, "south": 20}
        private = privacy.private["south"]
        return built(code, sites["south"], private, name), privacy

    (model, privacy), (other, fewer) = site_of(rows), site_of(without(rows, "p0"))
    assert privacy.private["south"].divisor == fewer.private["south"].divisor
    clip = model.norm if name == "marginals" else CLIP
    moved = [np.linalg.norm(flat(model, n) - flat(other, n)) for n in range(5)]
    assert 0.7 * clip < max(moved) <= clip * (1 + 1e-5)


def test_a_patient_has_one_vote(rows):
    def counted(rows):
        return votes(targets_of(rows, CLASSES), rows["patient"].to_numpy(), 2)

    for patient in PATIENTS:
        assert np.linalg.norm(counted(rows) - counted(without(rows, patient))) <= 1 + 1e-9


def test_draws_are_of_more_than_32_bits():
    # 64 of a key alone would repeat among 2^32 draws; a step's noise has 128 bits of its own.
    first, second = (SECRET.stream("noise", n)[:16] for n in (0, 1))
    assert len(first) == 16
    assert first != second
    steps = PrivateSteps(None, 1.0, 1.0, SECRET, 1.0, np.zeros(0, np.uint64))
    found = [steps.noise(n, 5) for n in (0, 0, 1)]
    assert np.array_equal(found[0], found[1])
    assert not np.intersect1d(found[0], found[2]).size
    assert found[0].dtype == np.float64


# Columns of one cell alone, ranges of fractions, and whatever a stranger's rows may hold.
ODD = (
    Feature("age", "continuous", bound=(0.0, 120.0)),
    Feature("grade", "integer", bound=(0.5, 4.5)),
    Feature("pain", "categorical", categories=("a", "b")),
    Feature("day", "date", bound=(0.0, 400.0)),
)
CELLS = {
    "age": [math.nan, -1e9, 0.0, 50.0, 1e300, math.inf],
    "grade": [math.nan, 0.5, 1.0, 2.5, 99.0],
    "pain": ["a", "b", "", "unheard of"],
    "day": ["", "1970-02-01", "1999-01-01"],
}


@pytest.mark.parametrize("seed", range(3))
def test_marginals_of_any_rows_move_by_their_norm_at_most(seed):
    """Every patient of tiny tables, of one row and of several, in one class and in several."""
    draw, code = np.random.default_rng(seed), public_code(declared(ODD))
    cells = {name: draw.choice(np.array(values, object), 9) for name, values in CELLS.items()}
    rows = pd.DataFrame({**cells, "label": draw.choice(CLASSES, 9), "patient": draw.choice(["a", "b", "c", "d"], 9)})
    rows = rows.astype({"age": float, "grade": float})
    for most in (0, 1):
        model = built(code, rows, private_steps(rows, "poisson", 0, most), "marginals")
        for patient in rows["patient"].unique():
            fewer = without(rows, patient).reset_index(drop=True)
            other = built(code, fewer, private_steps(fewer, "poisson", 0, most), "marginals")
            assert np.linalg.norm(flat(model, 0) - flat(other, 0)) <= model.norm * (1 + 1e-12)


def test_the_noise_of_marginals_is_what_the_ledger_counts(code, rows, small_clinic, tmp_path):
    """Drawn, in units of a row's norm; and epsilon of the ledger's events by the formula of one Gaussian."""
    private = replace(private_steps(rows, "poisson", 0, 0), noise_multiplier=2.5)
    model = built(code, rows, private, "marginals")
    drawn = []
    for seed in range(200):
        model.private = replace(private, secret=Secret.fixed(seed, {}))
        drawn.append(model._noisy(0) - flat(model, 0))
    # Of some 10,000 numbers, whose deviation is known to 0.7%.
    assert np.std(drawn) == pytest.approx(2.5 * model.norm, rel=0.03)

    stated = {"bound": BOUNDS, "categories": CATEGORIES}
    config = SynthesizeConfig(model="marginals", dp_epsilon=1.0, dp_delta=1e-3, **stated)
    content = ledger.read(synthesize(small_clinic.root, tmp_path / "made", config))
    assert len(content["events"]) == 2
    mu = math.sqrt(sum(event["mechanism"]["noise_multiplier"] ** -2 for event in content["events"]))

    def beyond(epsilon: float) -> float:
        # Balle and Wang 2018, theorem 8; Dong, Roth and Su 2022: Gaussians compose by the root of their squares.
        passed = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
        return passed - content["delta"]

    assert content["epsilon"]["pld"] == pytest.approx(brentq(beyond, 0.0, 50.0), rel=1e-3)
    assert content["epsilon"]["pld"] <= 1.0
    # What its folder tells of the number of patients, and that it does.
    assert content["expected_units"] == coarse(rows["patient"].nunique())
    assert any("1, 2 or 5 times a power of ten" in text for text in content["assumptions"])
