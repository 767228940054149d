"""The clipped sum and its noise as a mechanism."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_privacy.privacy.dp_query.gaussian_query import GaussianSumQuery

from medimg.errors import InputError
from medimg.models.build import build
from medimg.privacy import tf_privacy
from medimg.privacy.clipping import add_noise, clipped_sum

pytestmark = pytest.mark.slow

CROSS_ENTROPY = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SIZE = 16


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(0)
    arguments = {"width": "4", "stages": "2"}
    return build("baseline_cnn", SIZE, 1, 3, norm="group", dropout=0.0, model_arg=arguments)


def examples(n, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.uniform(0, 255, (n, SIZE, SIZE, 1)).astype(np.float32)
    return tf.constant(x), tf.constant(draw.integers(0, 3, n))


def flat(gradients):
    return np.concatenate([np.ravel(g) for g in gradients]).astype(np.float64)


def generator(seed=0):
    return tf.random.Generator.from_seed(seed, alg="philox")


def test_an_infinite_clip_without_noise_is_the_gradient_of_the_mean_loss(model):
    x, y = examples(6)
    with tf.GradientTape() as tape:
        loss = CROSS_ENTROPY(y, model(x, training=True))
    expected = tape.gradient(loss, model.trainable_variables)
    clipped = clipped_sum(model, CROSS_ENTROPY, x, y, None, float("inf"))
    found = add_noise(clipped.gradients, float("inf"), 0.0, 6, generator())
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-4, atol=1e-6)
    assert float(clipped.loss) == pytest.approx(float(loss), rel=1e-5)


def test_clipping_is_that_of_tf_privacys_query(model):
    x, y = examples(4)
    clip = 0.5
    query = GaussianSumQuery(clip, 0.0)
    state = query.initial_global_state()
    records = []
    for i in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(CROSS_ENTROPY.call(y[i : i + 1], model(x[i : i + 1])))
        record = tape.gradient(loss, model.trainable_variables)
        records.append(query.preprocess_record(query.derive_sample_params(state), record))
    total = [sum(parts) for parts in zip(*records, strict=True)]
    expected, _, _ = query.get_noised_result(total, state)
    found = clipped_sum(model, CROSS_ENTROPY, x, y, None, clip)
    assert float(tf.reduce_min(found.norms)) > clip
    np.testing.assert_allclose(flat(found.gradients), flat(expected), rtol=1e-3, atol=1e-5)


def test_the_engine_of_tf_privacy_gives_the_same(model):
    x, y = examples(5)
    clip = float(np.median(clipped_sum(model, CROSS_ENTROPY, x, y, None, 1.0).norms))
    unit = tf.constant([3, 8, -1, 5, 0])
    theirs = tf.function(tf_privacy.clipped_sum)(model, CROSS_ENTROPY, x, y, unit, clip)
    ours = clipped_sum(model, CROSS_ENTROPY, x, y, unit, clip)
    np.testing.assert_allclose(flat(ours.gradients), flat(theirs.gradients), rtol=1e-3, atol=1e-5)
    assert float(ours.loss) == pytest.approx(float(theirs.loss), rel=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="--dp-engine medimg"):
        tf_privacy.clipped_sum(model, CROSS_ENTROPY, x, y, tf.constant([3, 8, 3, 5, 0]), clip)


def test_one_patient_changes_the_sum_by_at_most_the_clip(model):
    x, y = examples(8)
    patients = np.array([4, 4, 1, 4, 2, 2, 9, 4])
    for clip in (0.01, 1.0, 10.0):
        everyone = clipped_sum(model, CROSS_ENTROPY, x, y, tf.constant(patients), clip)
        for patient in (4, 1, 2, 9):
            kept = np.flatnonzero(patients != patient)
            rows = [tf.gather(v, kept) for v in (x, y, tf.constant(patients))]
            without = clipped_sum(model, CROSS_ENTROPY, *rows, clip)
            change = np.linalg.norm(flat(everyone.gradients) - flat(without.gradients))
            assert change <= clip * (1 + 1e-3)
            if clip == 0.01:
                assert change == pytest.approx(clip, rel=1e-2)


def test_padding_and_weights(model):
    x, y = examples(5)
    patients = tf.constant([3, 1, 3, 7, 1])
    expected = clipped_sum(model, CROSS_ENTROPY, x, y, patients, 1.0)
    padded = clipped_sum(
        model,
        CROSS_ENTROPY,
        tf.concat([tf.zeros([2, SIZE, SIZE, 1]), x], 0),
        tf.concat([[0, 0], y], 0),
        tf.concat([[-1, -1], patients], 0),
        1.0,
    )
    np.testing.assert_allclose(flat(padded.gradients), flat(expected.gradients), atol=1e-5)
    assert float(padded.loss) == pytest.approx(float(expected.loss), rel=1e-5)
    assert int(padded.units) == int(expected.units) == 3
    weighted = clipped_sum(model, CROSS_ENTROPY, x, y, patients, float("inf"), tf.constant([2.0, 0, 0, 0, 0]))
    alone = clipped_sum(model, CROSS_ENTROPY, x[:1], y[:1], None, float("inf"))
    np.testing.assert_allclose(flat(weighted.gradients), 2.0 * flat(alone.gradients), rtol=1e-3, atol=1e-5)


def test_parts_add_up(model):
    x, y = examples(6)
    patients = tf.constant([0, 0, 1, 2, 2, 2])
    whole = clipped_sum(model, CROSS_ENTROPY, x, y, patients, 0.7)
    parts = [
        clipped_sum(model, CROSS_ENTROPY, x[rows], y[rows], patients[rows], 0.7) for rows in (slice(0, 3), slice(3, 6))
    ]
    total = sum(flat(part.gradients) for part in parts)
    np.testing.assert_allclose(total, flat(whole.gradients), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 3])
def test_an_empty_batch_is_pure_noise(model, rows):
    x, y = examples(rows)
    nobody = tf.fill([rows], -1)
    clipped = tf.function(clipped_sum)(model, CROSS_ENTROPY, x, y, nobody, 2.0)
    found = add_noise(clipped.gradients, 2.0, 1.5, 10.0, generator(4))
    zeros = [tf.zeros_like(v) for v in model.trainable_variables]
    expected = add_noise(zeros, 2.0, 1.5, 10.0, generator(4))
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-6)
    assert float(clipped.loss) == 0.0


def test_the_noise_has_the_variance_of_the_mechanism():
    zeros = [tf.zeros([40, 50]), tf.zeros([3000])]
    source, clip, multiplier, expected_units = generator(1), 0.3, 1.7, 8.0
    draws = np.stack([flat(add_noise(zeros, clip, multiplier, expected_units, source)) for _ in range(4)])
    standard = draws * expected_units / (multiplier * clip)
    n = standard.size
    low, high = stats.chi2.ppf([0.005, 0.995], n)
    assert low < np.sum(standard**2) < high
    assert stats.kstest(standard.ravel(), "norm").pvalue > 0.01
    # Variables and steps have noise of their own.
    correlations = np.corrcoef(standard)[np.triu_indices(4, 1)]
    assert np.all(np.abs(correlations) < 4 / np.sqrt(standard.shape[1]))
    assert not np.isin(draws[0, :2000], draws[0, 2000:]).any()


@pytest.mark.parametrize(
    ("clip", "multiplier", "units", "message"),
    [
        (0.0, 1.0, 4, "--dp-clip 0.0"),
        (float("nan"), 1.0, 4, "--dp-clip nan"),
        (float("inf"), 1.0, 4, "finite clip"),
        (1.0, -1.0, 4, "noise multiplier -1.0"),
        (1.0, float("nan"), 4, "noise multiplier nan"),
        (1.0, 1.0, 0, "expected units 0"),
    ],
)
def test_numbers_out_of_range(clip, multiplier, units, message):
    with pytest.raises(InputError, match=message):
        add_noise([tf.zeros([2])], clip, multiplier, units, generator())


def test_a_loss_of_the_batch_is_refused(model):
    x, y = examples(2)
    with pytest.raises(InputError, match="one number for each example"):
        clipped_sum(model, lambda y, p: tf.reduce_mean(CROSS_ENTROPY.call(y, p)), x, y, None, 1.0)


@pytest.mark.parametrize("scale", [1.0, 300.0, 3e5])
@pytest.mark.parametrize("clip", [1.0, 1e-4])
def test_rows_that_nearly_cancel_hide_no_norm(scale, clip):
    """Two rows of one patient, of opposite labels: what is left of their sum is rounding."""
    tf.keras.utils.set_random_seed(0)
    given = tf.keras.Input((6,))
    model = tf.keras.Model(given, tf.keras.layers.Dense(2, kernel_initializer="zeros")(given))
    step = tf.function(lambda x, y, u: clipped_sum(model, CROSS_ENTROPY, x, y, u, clip).gradients)
    draw, worst = np.random.default_rng(0), 0.0
    for _ in range(60):
        row = draw.uniform(2, 10, 6) * scale
        x = np.zeros((8, 6), np.float32)
        x[:2] = row, row * (1 + draw.normal(size=6) * 10.0 ** draw.uniform(-7, -2))
        y, units = tf.constant([0, 1] + [0] * 6), tf.constant([0, 0] + [-1] * 6)
        moved = flat(step(tf.constant(x), y, units))
        worst = max(worst, float(np.linalg.norm(moved)) / clip)
    assert worst <= 1 + 1e-5
    # They do contribute where they do not cancel.
    alone = tf.constant([0, 1] + [-1] * 6)
    assert np.linalg.norm(flat(step(tf.constant(x), y, alone))) > 0.0


@pytest.mark.parametrize("clip", [1.0, 1e-2])
@pytest.mark.parametrize("units", [None, [0, 0]])
@pytest.mark.parametrize("kind", ["dense", "positions", "convolution"])
def test_weights_that_make_products_too_small_for_float32_hide_no_norm(kind, units, clip):
    """Inputs of 1e19 and output gradients of 1e-19, whose squares are 0: whoever sends the weights may choose so."""
    size = {"dense": (4,), "positions": (3, 4), "convolution": (3, 3, 4)}[kind]
    given = tf.keras.Input(size)
    layers = tf.keras.layers
    layer = layers.Conv2D(300, 2, name="layer") if kind == "convolution" else layers.Dense(300, name="layer")
    model = tf.keras.Model(given, layer(given))
    x = tf.fill([2, *size], np.float32(2e18))

    def loss(y, outputs):
        return tf.reduce_sum(outputs, axis=list(range(1, outputs.shape.rank))) * 5e-20

    step = tf.function(lambda x: clipped_sum(model, loss, x, tf.zeros([2]), units, clip).gradients)
    moved = np.linalg.norm(flat(step(x)))
    of_one = np.linalg.norm(np.full(4, 2e18)) * 5e-20 * np.sqrt(300)
    # It is one that has to be clipped, and a unit of each example may move the sum by as much.
    assert of_one > 1.0
    assert 0.0 < moved <= clip * (2 if units is None else 1) * (1 + 1e-5)
