"""The networks' losses against the ctgan library's own, private gradients against loops, counts against counting."""

import math

import numpy as np
import pytest
import torch
from ctgan.data_transformer import SpanInfo
from ctgan.synthesizers.tvae import _loss_function

from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.sampling import PoissonSampling
from medimg.privacy.units import Units
from synthetic.tables.ctgan import PENALTY, Ctgan
from synthetic.tables.encoding import Encoding
from synthetic.tables.generator_inputs import GeneratorInputs
from synthetic.tables.marginals import Marginals
from synthetic.tables.mix import largest_remainder, votes
from synthetic.tables.private_step import PrivateSteps, clipped_sum, set_gradients
from synthetic.tables.settings import Settings, settings_for
from synthetic.tables.tvae import Tvae

SMALL = Settings(20, 1, 1, width=16, latent_size=4)


@pytest.fixture(scope="module")
def rows(small_clinic):
    return small_clinic.rows("train", labelled=True)


@pytest.fixture(scope="module")
def encoding(small_clinic, rows):
    return Encoding.fit(rows, small_clinic.inputs, seed=0)


@pytest.fixture(scope="module")
def targets(small_clinic, rows):
    return small_clinic.targets(rows)


def private(rows, clip=1.0, noise=0.0, expected=None):
    units = Units.of(rows["patient"].to_numpy())
    secret = Secret.fixed(5, {})
    drawn = PoissonSampling(units, expected or len(units), secret)
    keys = secret.row_keys(rows["patient"])
    return PrivateSteps(drawn, clip, noise, secret, drawn.expected_units, keys)


def test_tvae_loss_is_the_librarys(encoding, targets):
    torch.manual_seed(0)
    model = Tvae(GeneratorInputs(encoding, targets, 2, SMALL))
    rows, told, noise = model._inputs(np.arange(12), torch.randn(12, SMALL.latent_size))
    mean, deviation, log_variance = model.encoder(torch.cat([rows, told], 1))
    output, sigma = model.decoder(torch.cat([mean + noise * deviation, told], 1))
    info = [[SpanInfo(s.size, "tanh" if s.kind == "value" else "softmax")] for s in encoding.spans]
    parts = _loss_function(output, rows, sigma, mean, log_variance, info, 2)
    ours = model._loss(model._parameters(), rows, told, noise).mean()
    torch.testing.assert_close(ours, sum(parts))


def test_critics_row_loss_is_the_librarys(encoding, rows, targets):
    torch.manual_seed(0)
    model = Ctgan(GeneratorInputs(encoding, targets, 2, SMALL, private(rows)))
    real = torch.from_numpy(encoding.matrix[:9])
    fake = torch.rand_like(real)
    told = torch.from_numpy(model.conditions.class_only(targets[:9]))
    parameters = dict(model.critic.named_parameters())
    torch.manual_seed(1)
    mix = torch.rand(9, 1)
    ours = torch.stack([model._row_loss(parameters, *one) for one in zip(real, fake, told, mix, strict=True)])
    torch.manual_seed(1)
    real, fake = torch.cat([real, told], 1), torch.cat([fake, told], 1).requires_grad_()
    penalty = model.critic.calc_gradient_penalty(real, fake, pac=1, lambda_=PENALTY)
    library = penalty - model.critic(real).mean() + model.critic(fake).mean()
    torch.testing.assert_close(ours.mean(), library)


@pytest.mark.parametrize("clip", [math.inf, 0.3])
def test_private_gradient_is_that_of_a_loop(encoding, rows, targets, clip):
    torch.manual_seed(0)
    steps = private(rows, clip=1e9 if clip == math.inf else clip)
    model = Tvae(GeneratorInputs(encoding, targets, 2, SMALL, steps))
    step = steps.sampling.step(0)
    noise = steps.normal(step.rows, SMALL.latent_size, 0)
    inputs, parameters = model._inputs(step.rows, noise), model._parameters()
    set_gradients(parameters, model.clipped_sum(0), steps, 0)
    found = torch.cat([p.grad.flatten() for p in parameters.values()])
    total = 0
    for patient in range(len(step.units)):
        own = step.groups == patient
        loss = model._loss(parameters, *(values[own] for values in inputs)).sum()
        flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters.values()))])
        total = total + flat * min(1.0, clip / flat.norm().item())
    assert len(step.units) < len(step.rows)
    torch.testing.assert_close(found, total / len(step.units), atol=1e-4, rtol=1e-3)


def test_noise_is_of_the_stated_size_and_repeats():
    parameter = torch.nn.Parameter(torch.zeros(40_000))
    secret = Secret.fixed(5, {})
    drawn = PoissonSampling(Units.of(["a", "b"]), 2, secret)
    steps = PrivateSteps(drawn, 0.5, 3.0, secret, 2, secret.row_keys(["a", "b"]))

    def gradient(number):
        nothing = (torch.zeros(0, 1),), np.zeros(0, int)
        sums = clipped_sum({"p": parameter}, lambda p, x: x.sum(), *nothing, 0.5)
        set_gradients({"p": parameter}, sums, steps, number)
        return parameter.grad

    first = gradient(0)
    assert first.std().item() == pytest.approx(0.5 * 3.0 / 2, rel=0.02)
    assert torch.equal(gradient(0), first)
    assert not torch.equal(gradient(1), first)


def test_marginals_count(encoding, targets):
    model = Marginals(GeneratorInputs(encoding, targets, 2, SMALL))
    model.step(0, np.random.default_rng(0))
    span = next(s for s in encoding.spans if s.kind == "category")
    own = slice(span.start, span.start + span.size)
    share = encoding.matrix[targets == 1][:, own].mean(axis=0)
    made = model.sample(np.ones(20_000, int), np.random.default_rng(1))
    np.testing.assert_allclose(made[:, own].mean(axis=0), share, atol=0.015)


def test_private_marginals_without_noise_are_the_shares(encoding, rows, targets):
    """Each patient once: what a row of a patient with two counts is a half."""
    model = Marginals(GeneratorInputs(encoding, targets, 2, SMALL, private(rows)))
    model.step(0, np.random.default_rng(0))
    shares = model.networks["counted"].shares.numpy()
    patients = rows["patient"].to_numpy()
    weight = 1 / rows.groupby("patient")["patient"].transform("size").to_numpy() / len(set(patients))
    for cells in encoding.code.choices:
        np.testing.assert_allclose(shares[:, cells].sum(axis=1), np.bincount(targets, weight), atol=1e-9)
    whole = {(s.start, s.size) for s in encoding.spans if s.kind == "category"}
    # Of a category; of the cells that say whether a number is missing one is counted.
    own = next(cells for cells in encoding.code.choices if (cells[0], len(cells)) in whole)
    for k in (0, 1):
        wanted = (weight * (targets == k)) @ encoding.matrix[:, own]
        np.testing.assert_allclose(shares[k, own], wanted, atol=1e-6)


def test_votes():
    found = votes(np.array([0, 1, 1, 1]), np.array(["a", "a", "b", "c"]), 2)
    np.testing.assert_allclose(found, [0.5, 2.5])


@pytest.mark.parametrize(
    ("weights", "count", "expected"),
    [((1, 1), 5, [3, 2]), ((99, 1), 10, [9, 1]), ((3, 0, 1), 8, [6, 0, 2]), ((5, 5, 1), 2, [1, 1, 0])],
)
def test_largest_remainder(weights, count, expected):
    assert largest_remainder(np.array(weights), count).tolist() == expected


def test_settings_follow_the_rows():
    small, large = settings_for("ctgan", 100), settings_for("ctgan", 100_000)
    assert small.batch_size == 50
    assert small.steps >= 1500
    assert large.batch_size == 500
    assert large.steps <= 20_000
    assert settings_for("ctgan", 12).batch_size == 10
    assert settings_for("tvae", 100, batch_size=30, epochs=7).steps == 21
    assert settings_for("tvae", 100, private=True).batch_size == 100
    assert settings_for("marginals", 100).steps == 1
