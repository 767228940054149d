"""Sampling against closed forms: binomials, chi-square, and who is in which chunk."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom, chi2

from medimg.errors import InputError
from medimg.privacy.chunks import chunks
from medimg.privacy.draws.noise_seed import Secret, secret_of
from medimg.privacy.sampling import PoissonSampling, ShuffledSampling, sampling
from medimg.privacy.units import Units

SIGNIFICANCE = 1e-3


def secret(seed: int) -> Secret:
    return Secret.fixed(seed, {})


def mixed_units(count: int = 60, most: int = 7, seed: int = 0) -> tuple[np.ndarray, Units]:
    """Patients of 1..most images whose rows lie scattered."""
    draw = np.random.default_rng(seed)
    patients = np.repeat([f"p{i:03d}" for i in range(count)], draw.integers(1, most + 1, count))
    draw.shuffle(patients)
    return patients, Units.of(patients)


def test_units_hold_all_rows_of_a_patient():
    patients, units = mixed_units()
    assert sorted(units.rows) == list(range(len(patients)))
    chosen = np.array([41, 3, 17])
    rows, groups = units.rows_of(chosen)
    for position, unit in enumerate(chosen):
        wanted = np.flatnonzero(patients == units.names[unit])
        assert sorted(rows[groups == position]) == list(wanted)
    assert list(units.names) == list(dict.fromkeys(patients))
    assert units.rows_of(np.array([], int))[0].size == 0
    with pytest.raises(InputError, match="no labelled image"):
        Units.of([])


def test_real_manifest_by_patient(medical_data):
    import pandas as pd

    table = next(medical_data.rglob("Data_Entry*.csv"), None)
    if table is None:
        pytest.skip("no Data_Entry table in the samples")
    patients = pd.read_csv(table, dtype=str)["Patient ID"]
    units = Units.of(patients)
    counts = patients.value_counts()
    assert dict(zip(units.names, units.sizes, strict=True)) == counts.to_dict()


def test_poisson_inclusion_is_independent_with_probability_q():
    units, steps, expected = Units.of([f"p{i}" for i in range(80)]), 4000, 20
    poisson = PoissonSampling(units, expected, secret(5))
    q = poisson.probability
    included = np.zeros((steps, len(units)), bool)
    for step in poisson.steps(0, steps):
        included[step.number, step.units] = True
    # Each patient's count is binomial(steps, q): a chi-square over patients.
    spread = steps * q * (1 - q)
    statistic = ((included.sum(axis=0) - steps * q) ** 2).sum() / spread
    assert chi2.cdf(statistic, len(units)) == pytest.approx(0.5, abs=0.5 - SIGNIFICANCE)
    # The size of a step is binomial(units, q), not fixed.
    sizes = included.sum(axis=1)
    edges = [-1, 14, 16, 18, 20, 22, 24, 26, len(units)]
    observed = np.histogram(sizes, bins=np.array(edges) + 0.5)[0]
    wanted = steps * np.diff(binom.cdf(edges, len(units), q))
    assert chi2.sf(((observed - wanted) ** 2 / wanted).sum(), len(wanted) - 1) > SIGNIFICANCE
    # Neighbours in the list and steps in a row are drawn apart.
    for one, other in ((included[:, :-1], included[:, 1:]), (included[:-1], included[1:])):
        both = (one & other).mean()
        error = np.sqrt(q**2 * (1 - q**2) / one.size)
        assert abs(both - q**2) < 4 * error


def test_a_step_depends_on_its_number_alone():
    units = mixed_units()[1]
    for kind in ("poisson", "shuffle"):
        first = sampling(kind, units, 10, secret(1), rows_per_unit=2)
        again = sampling(kind, units, 10, secret(1), rows_per_unit=2)
        through = {step.number: step for step in first.steps(0, 20)}
        for number in (17, 3, 11):
            replayed = again.step(number)
            np.testing.assert_array_equal(replayed.rows, through[number].rows)
            np.testing.assert_array_equal(replayed.groups, through[number].groups)
        others = (
            sampling(kind, units, 10, secret(2), rows_per_unit=2),
            sampling(kind, units, 10, secret(1), rows_per_unit=2, phase=1),
        )
        for other in others:
            assert any(not np.array_equal(other.step(n).units, through[n].units) for n in range(20))


def test_a_shuffled_pass_uses_everyone_once():
    units = Units.of([f"p{i}" for i in range(23)])
    shuffled = ShuffledSampling(units, 5, secret(3))
    assert shuffled.steps_per_pass == 5
    batches = np.zeros((400, 23), int)
    for passed in range(400):
        steps = list(shuffled.steps(5 * passed, 5 * passed + 5))
        assert sorted(np.concatenate([step.units for step in steps])) == list(range(23))
        for step in steps:
            batches[passed, step.units] = step.number % 5
    # Every unit is in each batch of a pass as often, whatever the others do.
    counts = np.stack([(batches == number).sum(axis=0) for number in range(5)])
    assert chi2.sf(((counts - 80) ** 2 / 80).sum(), 23 * 4) > SIGNIFICANCE
    together = (batches[:, :1] == batches[:, 1:]).mean()
    assert abs(together - 0.2) < 4 * np.sqrt(0.16 / (400 * 22))
    mechanism = shuffled.mechanism(2.0)
    assert (mechanism.steps_per_pass, mechanism.event([(0, 6)]).count) == (5, 2)


@pytest.mark.parametrize("kind", ["poisson", "shuffle"])
@pytest.mark.parametrize("left_out", ["p000", "p031", "p059"])
def test_without_a_patient_the_others_are_drawn_as_before(kind, left_out):
    patients, units = mixed_units()
    rest = patients[patients != left_out]
    drawn = sampling(kind, units, 16, secret(4), rows_per_unit=2)
    without = sampling(kind, Units.of(rest), 16, secret(4), rows_per_unit=2)
    assert drawn.steps_per_pass == without.steps_per_pass
    assert drawn.mechanism(1.0) == without.mechanism(1.0)
    # Rows by patient and place among the patient's own: their numbers in the manifest shift.
    places, places_without = row_names(patients), row_names(rest)
    involved = 0
    for step, other in zip(drawn.steps(0, 40), without.steps(0, 40), strict=True):
        with_them = {name for name in places[step.rows] if name[0] != left_out}
        assert with_them == set(places_without[other.rows])
        involved += len(with_them) < len(step.rows)
    assert involved


def row_names(patients: np.ndarray) -> np.ndarray:
    seen: dict = {}
    names = np.empty(len(patients), object)
    for i, patient in enumerate(patients):
        seen[patient] = seen.get(patient, -1) + 1
        names[i] = (patient, seen[patient])
    return names


def test_rows_per_unit_are_drawn_uniformly_and_anew():
    patients = ["a"] * 6 + ["b"] * 2 + ["c"]
    units = Units.of(patients)
    everyone = PoissonSampling(units, 3, secret(0), rows_per_unit=3)
    assert everyone.most_rows_per_unit == 3
    steps = 3000
    counts = np.zeros(len(patients))
    for step in everyone.steps(0, steps):
        assert list(np.bincount(step.groups)) == [3, 2, 1]
        assert len(set(step.rows)) == 6
        counts[step.rows] += 1
    assert (counts[6:] == steps).all()
    # Three of six without replacement: variance of a count is steps/4, covariances make it 5 degrees.
    statistic = ((counts[:6] - steps / 2) ** 2).sum() / (steps / 4) * 5 / 6
    assert chi2.cdf(statistic, 5) == pytest.approx(0.5, abs=0.5 - SIGNIFICANCE)


def test_chunks_never_split_a_patient_and_lose_none():
    patients, units = mixed_units()
    for step in PoissonSampling(units, 20, secret(9)).steps(0, 30):
        pieces = list(chunks(step, 16, units))
        seen = np.concatenate([piece.rows[piece.groups >= 0] for piece in pieces])
        np.testing.assert_array_equal(seen, step.rows)
        owners = [set(patients[piece.rows[piece.groups >= 0]]) for piece in pieces]
        assert sum(map(len, owners)) == len(set().union(*owners)) == len(step.units)
        assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        for piece, names in zip(pieces, owners, strict=True):
            assert piece.rows.shape == piece.groups.shape == (16,)
            real = piece.groups[piece.groups >= 0]
            assert piece.units == len(names) == len(set(real))
            assert sorted(set(real)) == list(range(piece.units))
            # One group, one patient.
            pairs = set(zip(real, patients[piece.rows[piece.groups >= 0]], strict=True))
            assert len(pairs) == piece.units
        # Greedy: a chunk's first patient would not have fitted into the one before.
        for before, after in pairwise(pieces):
            assert (before.groups >= 0).sum() + (after.groups == 0).sum() > 16


def test_an_empty_step_is_one_chunk_of_padding():
    units = Units.of(["a", "b", "c"])
    poisson = PoissonSampling(units, 1, secret(0))
    empty = next(step for step in poisson.steps(0, 100) if not len(step.units))
    (piece,) = chunks(empty, 4, units)
    assert (piece.units, piece.last, set(piece.groups)) == (0, True, {-1})


def test_what_does_not_fit_is_named():
    units = Units.of(["small", "large", "large", "large"])
    step = PoissonSampling(units, 2, secret(0)).step(0)
    with pytest.raises(InputError, match=r"patient 'large': 3 images .* --dp-images-per-patient"):
        list(chunks(step, 2, units))
    with pytest.raises(InputError, match="--batch-size 3: split 'train' has 2 patients"):
        PoissonSampling(units, 3, secret(0))
    with pytest.raises(InputError, match="--batch-size 0"):
        ShuffledSampling(units, 0, secret(0))
    with pytest.raises(InputError, match="--dp-sampling none"):
        sampling("none", units, 1, secret(0))


def test_the_secret_is_kept_for_resuming_and_bound_to_options_and_data(tmp_path):
    options = {"learning_rate": 0.1}
    kept = secret_of(tmp_path / "a", options, "data")
    assert secret_of(tmp_path / "a", options, "data") == kept
    assert secret_of(tmp_path / "b", options, "data").seed != kept.seed
    assert (tmp_path / "a" / "noise_seed.json").stat().st_mode & 0o077 == 0
    fixed = secret_of(tmp_path / "c", options, "data", fixed=1)
    assert fixed == secret_of(tmp_path / "d", options, "data", fixed=1)
    # Two trainings that differ in an option must not share noise: nor a copied one that goes on with another.
    for one in (kept, fixed):
        edited = Secret(one.seed, {"learning_rate": 0.2})
        assert edited.stream("noise", 0) != one.stream("noise", 0)
        assert not set(edited.state("noise", 0)) & set(one.state("noise", 0))
        assert edited.draw() != one.draw()
        assert (edited.unit_keys("units", ["p"]) != one.unit_keys("units", ["p"])).all()
        # What a patient's dropout is drawn by hides nothing, and may not change with the rest.
        assert (edited.row_keys(["p"]) == one.row_keys(["p"])).all()
    streams = [kept.stream(purpose, n) for purpose in ("noise", "units") for n in range(50)]
    assert len(set(streams)) == 100
    # Nor may it meet other data.
    with pytest.raises(InputError, match="have changed since it began"):
        secret_of(tmp_path / "a", options, "other data")
    (tmp_path / "a" / "noise_seed.json").write_text("{}")
    with pytest.raises(InputError, match=r"noise_seed\.json: not readable"):
        secret_of(tmp_path / "a", options, "data")
