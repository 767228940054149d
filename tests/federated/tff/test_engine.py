import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from federated.algorithms.plain import Plain
from federated.algorithms.strategy import KINDS, Strategy, StrategyKind
from federated.engine import local_training, records
from federated.engine.local_training import LocalTraining
from federated.engine.records import ClientData, Layout
from federated.engine.updates import Aggregate, named
from federated.tff import process
from federated.tff.engine import Engine
from federated.tff.local_model import LocalModel
from medimg.models.blocks import freeze
from medimg.models.build import build
from medimg.models.tabular import build_tabular
from medimg.training import features
from tests.federated.tff.conftest import max_difference, one_round

pytestmark = pytest.mark.slow

CROSS_ENTROPY = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def mlp(l2=0.01, dropout=0.0):
    tf.keras.utils.set_random_seed(3)
    return build_tabular("mlp", 6, 3, dropout, {"width": 5, "l2": l2})


def gradient(model, x, y):
    with tf.GradientTape() as tape:
        loss = tf.add_n([CROSS_ENTROPY(y, model(x, training=True)), *model.losses])
    return [np.asarray(g, np.float64) for g in tape.gradient(loss, model.trainable_variables)]


def locally_trained(model, weights, rows, x, y, rate, proximal=0.0):
    """Weights after plain SGD over the steps' rows."""
    model.set_weights(weights)
    for row in rows:
        chosen = row[row >= 0]
        now = model.get_weights()
        found = gradient(model, x[chosen], y[chosen])
        model.set_weights([w - rate * (g + proximal * (w - w0)) for w, g, w0 in zip(now, found, weights, strict=True)])
    return model.get_weights()


def test_one_client_one_step_is_central_sgd(execution, tmp_path):
    tf.keras.utils.set_random_seed(1)
    model = build("baseline_cnn", 16, 1, 2, norm="group", dropout=0.0, model_arg={"width": 8, "stages": 2})
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (24, 16, 16, 1), np.uint8)
    y = generator.integers(0, 2, 24)
    data = records.write(tmp_path, "only", x, y)
    local = LocalTraining(steps=1, batch_size=24, learning_rate=0.1)
    engine = Engine(execution, LocalModel(model, "binary"), Layout.of(x, y), Strategy(), local)
    start = engine.initialize()
    state, updates = one_round(engine, start, [data])
    model.compile(tf.keras.optimizers.SGD(0.1), CROSS_ENTROPY)
    loss = model.fit(x.astype(np.float32), y, batch_size=24, verbose=0).history["loss"][0]
    assert max_difference(state.weights, model.get_weights()) < 1e-5
    assert max_difference(state.weights, start.weights) > 1e-3
    told = updates["only"].measures
    assert told.examples == 24
    assert told.loss == pytest.approx(loss, abs=1e-5)
    assert told.bytes_up == 4 * model.count_params()


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fedadam"])
def test_three_rounds_of_five_clients_against_a_plain_loop(execution, federation, name):
    data, layout, arrays = federation()
    model = mlp()
    local = LocalTraining(epochs=2, batch_size=8, learning_rate=0.1)
    proximal = 0.5 if name == "fedprox" else 0.0
    engine = Engine(execution, LocalModel(model, "multiclass"), layout, Strategy(name, proximal=proximal), local, 7)
    state = engine.initialize()
    weights = model.get_weights()
    first = [np.zeros_like(w, np.float64) for w in weights]
    second = [np.zeros_like(w, np.float64) for w in weights]
    for number in (1, 2, 3):
        state, _ = one_round(engine, state, data)
        total = sum(len(y) for _, y in arrays.values())
        mean = [np.zeros_like(w, np.float64) for w in weights]
        for client, (x, y) in arrays.items():
            rows = local_training.steps(local, len(y), 7, number, client)
            after = locally_trained(model, weights, rows, x, y, 0.1, proximal)
            mean = [m + len(y) / total * (b.astype(float) - a) for m, b, a in zip(mean, weights, after, strict=True)]
        if name == "fedadam":
            first = [0.9 * f + 0.1 * m for f, m in zip(first, mean, strict=True)]
            second = [0.99 * s + 0.01 * m**2 for s, m in zip(second, mean, strict=True)]
            rate = 0.01 * np.sqrt(1 - 0.99**number) / (1 - 0.9**number)
            step = [rate * f / (np.sqrt(s) + 1e-3) for f, s in zip(first, second, strict=True)]
        else:
            step = mean
        weights = [(w - s).astype(np.float32) for w, s in zip(weights, step, strict=True)]
        assert max_difference(state.weights, weights) < 1e-4
    assert max_difference(state.weights, engine.initialize().weights) > 1e-2


def tff_process(name, model_fn):
    """TFF's own algorithm with the settings that `Strategy` has."""
    make, algorithms = tff.learning.optimizers, tff.learning.algorithms
    client = make.build_sgdm(0.1)
    servers = {
        "fedavgm": lambda: make.build_sgdm(1.0, momentum=0.9),
        "fedadam": lambda: make.build_adam(0.01, beta_1=0.9, beta_2=0.99, epsilon=1e-3),
        "fedyogi": lambda: make.build_yogi(0.01, beta_1=0.9, beta_2=0.99, epsilon=1e-3),
        "fedadagrad": lambda: make.build_adagrad(0.1, initial_preconditioner_value=1e-6, epsilon=1e-3),
    }
    if name == "fedsgd":
        return algorithms.build_fed_sgd(model_fn, make.build_sgdm(0.1))
    if name == "mimelite":
        return algorithms.build_weighted_mime_lite(model_fn, make.build_sgdm(0.1, momentum=0.9))
    return algorithms.build_weighted_fed_avg(model_fn, client, servers[name]())


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "name", ["fedsgd", "mimelite", "fedyogi", slow("fedavgm"), slow("fedadam"), slow("fedadagrad")]
)
def test_equals_the_algorithm_of_tff(execution, federation, name):
    sizes = (10, 20, 30)
    data, layout, arrays = federation(sizes)
    model = mlp(l2=0.0)
    # Whole-batch steps: TFF's algorithms and ours then see the same batches in any order.
    local = LocalTraining(
        epochs=1 if name in ("fedsgd", "mimelite") else 3,
        batch_size=32,
        learning_rate=0.1,
        optimizer="momentum" if name == "mimelite" else "sgd",
    )
    engine = Engine(execution, LocalModel(model, "multiclass"), layout, Strategy(name), local)
    state = engine.initialize()
    spec = (tf.TensorSpec((None, 6), tf.float32), tf.TensorSpec((None,), tf.int64))

    def model_fn():
        return tff.learning.models.from_keras_model(mlp(l2=0.0), CROSS_ENTROPY, spec)

    with process.restored_parents():
        theirs = tff_process(name, model_fn)
    their_state = execution.run(theirs.initialize)
    initial = tff.learning.models.ModelWeights(tuple(state.weights), ())
    their_state = execution.run(theirs.set_model_weights, their_state, initial)
    sets = [tf.data.Dataset.from_tensor_slices(arrays[client.name]).batch(32).repeat(local.epochs) for client in data]
    for _ in range(2):
        state, _ = one_round(engine, state, data)
        their_state = execution.run(theirs.next, their_state, sets).state
    weights = execution.run(theirs.get_model_weights, their_state)
    assert max_difference(state.weights, list(weights.trainable)) < 1e-5
    assert max_difference(state.weights, engine.initialize().weights) > 1e-3


def quadratic(model, loss, inputs, targets, weights, key):
    """Gradient of |w - mean of the inputs|^2 / 2."""
    variable = model.trainable_variables[0]
    away = variable - tf.reduce_mean(inputs, axis=0)[:, None]
    return [away], tf.reduce_sum(away**2) / 2, model(inputs, training=True)


def test_scaffold_follows_its_paper_on_a_quadratic(execution, tmp_path):
    centres = {"a": [1.0, -2.0], "b": [3.0, 0.5], "c": [-4.0, 2.0]}
    clients = []
    for name, centre in centres.items():
        x = np.asarray([centre], np.float32)
        clients.append(records.write(tmp_path / name, name, x, np.zeros(1, np.int64)))
    columns = tf.keras.Input((2,))
    model = tf.keras.Model(columns, tf.keras.layers.Dense(1, use_bias=False)(columns))
    model.set_weights([np.zeros((2, 1), np.float32)])
    local = LocalTraining(steps=4, batch_size=1, learning_rate=0.2)
    strategy = Strategy("scaffold", server_learning_rate=0.8, clients=3)
    layout = Layout((2,), "float32", (), "int64")
    engine = Engine(execution, LocalModel(model, "binary"), layout, strategy, local, gradient=quadratic)
    state = engine.initialize()
    x, c = np.zeros(2), np.zeros(2)
    own = {name: np.zeros(2) for name in centres}
    for drawn in (("a", "b"), ("b", "c"), ("a", "c"), ("a", "b", "c")):
        state, _ = one_round(engine, state, [k for k in clients if k.name in drawn])
        moves, changes = [], []
        for name in drawn:
            y = x.copy()
            for _ in range(4):
                y = y - 0.2 * ((y - centres[name]) - own[name] + c)
            new = own[name] - c + (x - y) / (4 * 0.2)
            moves.append(y - x)
            changes.append(new - own[name])
            own[name] = new
        x = x + 0.8 * np.mean(moves, axis=0)
        c = c + len(drawn) / 3 * np.mean(changes, axis=0)
        assert np.allclose(state.weights[0][:, 0], x, atol=1e-5)
        assert np.allclose(state.shared[0][:, 0], c, atol=1e-5)
    assert np.allclose(state.clients["a"][0][:, 0], own["a"], atol=1e-5)


@pytest.mark.parametrize("name", ["fedavg", slow("scaffold"), "mimelite"])
def test_aggregation_outside_equals_that_inside(execution, federation, name):
    # More clients than are in the worker at once.
    data, layout, _ = federation(sizes=(5, 9, 4, 8, 3, 7, 6, 5, 4, 9, 8, 6))
    optimizer = "momentum" if name == "mimelite" else "sgd"
    local = LocalTraining(batch_size=4, optimizer=optimizer)
    model = LocalModel(mlp(), "multiclass")
    engine = Engine(execution, model, layout, Strategy(name, clients=12), local)
    inside = outside = engine.initialize()
    for _ in range(2):
        inside, _ = one_round(engine, inside, data)
        updates = engine.client_updates(outside, data)
        total = sum(update.weight for update in updates.values())
        mean = [
            sum(u.vectors[i].astype(float) * u.weight for u in updates.values()) / total
            for i in range(len(next(iter(updates.values())).vectors))
        ]
        outside = engine.apply(outside, Aggregate(mean, updates))
    for part in ("weights", "server", "shared"):
        for one, other in zip(getattr(inside, part), getattr(outside, part), strict=True):
            assert np.allclose(one, other, rtol=0, atol=1e-6)
    assert inside.round == outside.round == 2


def test_resumed_rounds_repeat_exactly(execution, federation, tmp_path):
    data, layout, _ = federation()
    local = LocalTraining(epochs=2, batch_size=8)

    def engine(seed):
        # Dropout draws random numbers too.
        model = LocalModel(mlp(dropout=0.5), "multiclass")
        return Engine(execution, model, layout, Strategy("scaffold"), local, seed)

    straight = engine(5)
    state, _ = one_round(straight, straight.initialize(), data[:3])
    state.save(tmp_path / "state.npz")
    state, updates = one_round(straight, state, data)
    resumed = engine(5)
    loaded = resumed.initialize().load(tmp_path / "state.npz")
    again, told = one_round(resumed, loaded, data)
    for one, other in zip(state.weights + state.shared, again.weights + again.shared, strict=True):
        assert np.array_equal(one, other)
    assert sorted(again.clients) == sorted(state.clients) == [d.name for d in data]
    assert updates["site0"].measures.loss == told["site0"].measures.loss
    elsewhere, _ = one_round(engine(6), loaded, data)
    assert max_difference(elsewhere.weights, state.weights) > 1e-4


def test_dropout_drops_by_seed(execution, federation):
    data, layout, _ = federation(sizes=(20,))
    local = LocalTraining(steps=1, batch_size=20)
    losses = []
    for dropout in (0.0, 0.5):
        model = LocalModel(mlp(dropout=dropout), "multiclass")
        engine = Engine(execution, model, layout, Strategy(), local)
        updates = engine.client_updates(engine.initialize(), data)
        losses.append(updates["site0"].measures.loss)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("aggregation", ["robust-clip", slow("compress"), "dp-fixed", slow("dp-adaptive")])
def test_aggregations_of_tff(execution, federation, aggregation):
    data, layout, _ = federation()
    strategy = Strategy(aggregation=aggregation, clip=1e6, noise_multiplier=1e-12)
    model = LocalModel(mlp(), "multiclass")
    engine = Engine(execution, model, layout, strategy, LocalTraining(batch_size=8))
    state = start = engine.initialize()
    for _ in range(2):
        before = state
        state, updates = one_round(engine, state, data)
    assert len(updates) == 5
    assert max_difference(state.weights, start.weights) > 1e-3
    if aggregation == "dp-fixed":
        # Neither clip nor noise to speak of: the plain mean over clients.
        updates = engine.client_updates(before, data).values()
        mean = [np.mean(v, axis=0) for v in zip(*(u.vectors for u in updates), strict=True)]
        expected = [w - m for w, m in zip(before.weights, mean, strict=True)]
        assert max_difference(state.weights, expected) < 1e-4
    if aggregation in ("robust-clip", "dp-adaptive"):
        # Their clip moved, and the move is part of the state.
        assert any(not np.array_equal(a, b) for a, b in zip(state.aggregator, start.aggregator, strict=True))


def cnn():
    tf.keras.utils.set_random_seed(2)
    return build("baseline_cnn", 16, 1, 2, norm="batch", model_arg={"width": 8, "stages": 2})


def images(folder, name, n=12):
    generator = np.random.default_rng(len(name))
    x = generator.integers(0, 256, (n, 16, 16, 1), np.uint8)
    return records.write(folder / name, name, x, np.arange(n) % 2)


def test_fedbn_keeps_normalisation_at_the_client(execution, tmp_path):
    model = cnn()
    data = [images(tmp_path, "a"), images(tmp_path, "bb")]
    layout = Layout((16, 16, 1), "uint8", (), "int64")
    local = LocalTraining(steps=3, batch_size=6)
    engine = Engine(execution, LocalModel(model, "binary"), layout, Strategy("fedbn"), local)
    start = engine.initialize()
    state, _ = one_round(engine, start, data)
    state, _ = one_round(engine, state, data)
    at = [i for i, w in enumerate(model.weights) if "_norm/" in w.name]
    assert at
    assert all(np.array_equal(state.weights[i], start.weights[i]) for i in at)
    a, b = engine.weights(state, "a"), engine.weights(state, "bb")
    names = [model.weights[i].name for i in at]
    assert any("moving_mean" in name for name in names)
    assert all(not np.array_equal(a[i], b[i]) for i in at)
    others = [i for i in range(len(a)) if i not in at]
    assert all(np.array_equal(a[i], b[i]) for i in others)
    assert any(not np.array_equal(a[i], start.weights[i]) for i in others)
    # The live model still works after its copy was traced in TFF's graph, in inference with a client's statistics.
    model.set_weights(a)
    assert np.isfinite(model(np.zeros((1, 16, 16, 1), np.float32)).numpy()).all()


def test_head_of_a_frozen_backbone_trains_on_its_features(execution, tmp_path):
    model = cnn()
    freeze(model, None)
    small = features.head(model)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(12, *small.input_shape[1:])).astype(np.float32)
    y = generator.integers(0, 2, 12)
    data = records.write(tmp_path, "site", x, y)
    local = LocalTraining(steps=2, batch_size=12)
    strategy = Strategy("fedadam")
    engine = Engine(execution, LocalModel(small, "binary"), Layout.of(x, y), strategy, local)
    before = model.get_weights()
    state, _ = one_round(engine, engine.initialize(), [data])
    small.set_weights(engine.weights(state))
    changed = [w.name for w, b in zip(model.weights, before, strict=True) if not np.array_equal(w, b)]
    assert changed == ["logits/kernel:0", "logits/bias:0"]


def test_frozen_normalisation_stays_as_it_is(execution, tmp_path):
    model = cnn()
    freeze(model, 1)
    engine = Engine(
        execution,
        LocalModel(model, "binary"),
        Layout((16, 16, 1), "uint8", (), "int64"),
        Strategy(),
        LocalTraining(steps=2, batch_size=6, learning_rate=0.01),
    )
    start = engine.initialize()
    state, _ = one_round(engine, start, [images(tmp_path, "a")])
    trainable = {w.name for w in model.trainable_weights}
    for weight, old, new in zip(model.weights, start.weights, state.weights, strict=True):
        assert np.array_equal(old, new) != (weight.name in trainable), weight.name


def test_personalised_weights_are_the_clients_own_training(execution, federation):
    data, layout, arrays = federation(sizes=(12, 20))
    model = mlp()
    local = LocalTraining(epochs=2, batch_size=8)
    engine = Engine(execution, LocalModel(model, "multiclass"), layout, Strategy(), local, 4)
    state = engine.initialize()
    tuned = engine.local_weights(state, data)
    for name, (x, y) in arrays.items():
        rows = local_training.steps(local, len(y), 4, 1, name)
        after = locally_trained(model, state.weights, rows, x, y, 0.1)
        assert max_difference(tuned[name], after) < 1e-5


def test_example_weights_multiply_the_losses(execution, federation, tmp_path):
    _, layout, arrays = federation(sizes=(12,))
    x, y = arrays["site0"]
    weights = np.where(np.arange(12) < 6, 2.0, 0.0)
    weighted = records.write(tmp_path / "weighted", "site0", x, y, weights)
    half = records.write(tmp_path / "half", "site0", x[:6], y[:6])
    local = LocalTraining(steps=1, batch_size=12)
    model = LocalModel(mlp(), "multiclass")
    engine = Engine(execution, model, layout, Strategy(), local)
    start = engine.initialize()
    one, other = (one_round(engine, start, [client])[0].weights for client in (weighted, half))
    assert max_difference(one, other) < 1e-6


def test_multilabel(execution, tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(16, 6)).astype(np.float32)
    y = generator.integers(0, 2, (16, 3)).astype(np.float32)
    data = records.write(tmp_path, "site", x, y)
    model = mlp()
    local = LocalTraining(steps=1, batch_size=16)
    engine = Engine(execution, LocalModel(model, "multilabel"), Layout.of(x, y), Strategy(), local)
    state, updates = one_round(engine, engine.initialize(), [data])
    logits = model(x).numpy()
    assert updates["site"].measures.accuracy == pytest.approx(np.mean((logits > 0) == (y > 0.5)))
    model.compile(tf.keras.optimizers.SGD(0.1), tf.keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=16, verbose=0)
    assert max_difference(state.weights, model.get_weights()) < 1e-5


def test_a_new_strategy_is_one_class_and_one_line_of_the_table(execution, federation, monkeypatch):
    class Halves(Plain):
        """Clients send half their update, and remember the other half for their next round."""

        keeps = True

        def client_state(self, weights, federated, local):
            return [np.zeros(np.shape(weights[i]), np.float32) for i in federated]

        def train(self, client):
            measures = client.steps()
            whole = [new + old for new, old in zip(client.sent(), client.share.client_state, strict=True)]
            half = [0.5 * change for change in whole]
            return half, half, *measures

    monkeypatch.setitem(KINDS, "fedhalf", StrategyKind(client=Halves(), source="this test"))
    data, layout, arrays = federation(sizes=(12, 12))
    local, model = LocalTraining(steps=2, batch_size=12), mlp()
    engine = Engine(execution, LocalModel(model, "multiclass"), layout, Strategy("fedhalf", clients=2), local, 4)
    state = engine.initialize()
    weights, own = state.weights, {name: [np.zeros_like(w) for w in state.weights] for name in arrays}
    for number in (1, 2):
        state, _ = one_round(engine, state, data)
        for name, (x, y) in arrays.items():
            rows = local_training.steps(local, 12, 4, number, name)
            after = locally_trained(model, weights, rows, x, y, 0.1)
            own[name] = [0.5 * (b - a + old) for b, a, old in zip(weights, after, own[name], strict=True)]
        weights = [w - np.mean(changes, axis=0) for w, *changes in zip(weights, *own.values(), strict=True)]
        assert max_difference(state.weights, weights) < 1e-5
        assert all(max_difference(state.clients[name], own[name]) < 1e-5 for name in arrays)


def test_models_that_cannot_be_federated(execution, federation):
    with pytest.raises(ValueError, match="--norm batch"):
        LocalModel(cnn(), "binary").check()
    with pytest.raises(ValueError, match="fedbn"):
        LocalModel(mlp(), "multiclass", local_norm=True).check()
    with pytest.raises(ValueError, match="--client-optimizer adam"):
        Strategy("scaffold").check(LocalTraining(optimizer="adam"))
    data, layout, _ = federation()
    engine = Engine(execution, LocalModel(mlp(), "multiclass"), layout, Strategy(), LocalTraining())
    with pytest.raises(ValueError, match="client empty: has no training examples"):
        one_round(engine, engine.initialize(), [ClientData("empty", "/nowhere", 0)])
    updates = engine.client_updates(engine.initialize(), data[:1])
    wrong = [np.full_like(v, np.nan) for v in updates["site0"].vectors]
    with pytest.raises(ValueError, match="NaN"):
        engine.apply(engine.initialize(), Aggregate(wrong, updates))


def in_one_computation(execution, engine, state, clients):
    """Work and aggregation by TFF without a stop at the server: the aggregation's state, mean and measurements."""
    steps = engine._process
    sent = steps.aggregate.type_signature.parameter[1].member

    @tff.tensorflow.computation(steps.updates.type_signature.result.member)
    def chosen(trained):
        return collections.OrderedDict(vectors=trained["vectors"], weight=trained["weight"])

    assert chosen.type_signature.result.is_equivalent_to(sent)

    @tff.federated_computation(steps.aggregate.type_signature.parameter[0], *steps.updates.type_signature.parameter)
    def whole(kept, weights, shared, given):
        return steps.aggregate(kept, tff.federated_map(chosen, steps.updates(weights, shared, given)))

    given = [engine._argument(state, client, 1) for client in clients]
    kept = tf.nest.pack_sequence_as(engine._aggregator_template, state.aggregator)
    return execution.run(whole, kept, tuple(state.weights), tuple(state.shared), given)


def test_updates_aggregated_after_they_arrived_give_the_round(execution, federation):
    data, layout, _ = federation(sizes=(6, 9, 7, 5, 8, 6, 9, 7, 5, 8, 6, 9))
    for strategy in (Strategy("fedadam"), Strategy(aggregation="robust-clip", clients=12)):
        engine = Engine(execution, LocalModel(mlp(), "multiclass"), layout, strategy, LocalTraining(steps=2))
        start = engine.initialize()
        whole = in_one_computation(execution, engine, start, data)
        mean, kept, measurements = engine.aggregate(start, engine.client_updates(start, data))
        assert max_difference(mean, whole["mean"]) < 1e-6
        assert max(np.abs(m).max() for m in mean) > 1e-3
        assert measurements == named(whole["measurements"])
        assert all(np.array_equal(a, b) for a, b in zip(kept, tf.nest.flatten(whole["state"]), strict=True))


def test_a_straggler_does_the_first_part_of_its_steps(execution, federation):
    data, layout, _ = federation()
    model = LocalModel(mlp(), "multiclass")
    engine = Engine(execution, model, layout, Strategy(), LocalTraining(steps=4))
    half = Engine(execution, model, layout, Strategy(), LocalTraining(steps=2))
    start = engine.initialize()
    slow = engine.client_updates(start, data, work={"site1": 0.5})
    whole, short = engine.client_updates(start, data), half.client_updates(start, data)
    assert max_difference(slow["site1"].vectors, short["site1"].vectors) == 0
    assert max_difference(slow["site1"].vectors, whole["site1"].vectors) > 0
    assert max_difference(slow["site2"].vectors, whole["site2"].vectors) == 0
