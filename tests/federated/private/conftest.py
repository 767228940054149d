"""Private sites to train at, their rounds in this process, and what a round should come to."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

TRAINING = "00ff00ff00ff00ff"
RATE = 0.1


@dataclass(frozen=True, eq=False)
class Site:
    """Its records, and what is in them."""

    data: object
    layout: object
    x: np.ndarray
    y: np.ndarray
    owners: np.ndarray
    weights: np.ndarray


@pytest.fixture
def dataset(tmp_path):
    """A folder for the ledger of all Runs on it."""
    from medimg.data.dataset import Dataset

    folder = tmp_path / "data"
    rows = {"image": ["1.png", "2.png"], "label": ["p", "n"], "patient": ["1", "2"]}
    manifest = pd.DataFrame({**rows, "site": "", "split": "train"})
    found = Dataset(folder, "made up", "binary", ("n", "p"), manifest)
    found.save()
    return found


@pytest.fixture
def site(tmp_path):
    from federated.engine import records
    from federated.private import site_key

    def make(name="site", rows=90, patients=40, shape=(6,), fixed=None, seed=0, without=None):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(rows, *shape)).astype(np.float32)
        if len(shape) > 1:
            # A film's grey levels: noise around 0 would be a black one, of which nothing can be learnt.
            x = 128.0 + 60.0 * x
        y = generator.integers(0, 3 if len(shape) == 1 else 2, rows)
        # Every patient at least once, the others' rows anywhere.
        owners = np.concatenate([np.arange(patients), generator.integers(0, patients, rows)])[:rows]
        weights = generator.uniform(0.5, 2.0, rows).astype(np.float32)
        if without is not None:
            x, y, weights = (values[owners != without] for values in (x, y, weights))
            owners = owners[owners != without]
        # Padded, so that their order is that of the numbers.
        names = [f"patient {owner:03d}" for owner in owners]
        folder = tmp_path / (name if without is None else f"{name} without {without}")
        data = records.write(folder, name, x, y, weights, units=names)
        return Site(site_key.with_key(data, fixed), records.Layout.of(x, y), x, y, owners, weights)

    return make


class Bench:
    """A private round as a worker runs it, but in this process: one graph for all sites and mechanisms.

    Args:
        model: to train.
        layout: of the records.
        mechanisms: by name.
        clip: of all.
    """

    def __init__(self, model, layout, mechanisms, clip):
        from federated.algorithms.strategy import Strategy
        from federated.engine.local_training import LocalTraining
        from federated.private.steps import PatientSteps
        from federated.tff.client_work import ClientWork
        from federated.tff.local_model import LocalModel

        self.model, self.mechanisms, self.clip = model, mechanisms, clip
        steps = PatientSteps(mechanisms, clip, TRAINING)
        local = LocalTraining(learning_rate=RATE)
        local_model = LocalModel(model, "multiclass")
        self._round = ClientWork(local_model, layout, local, Strategy(), steps=steps).build()

    def update(self, site, mechanism, steps=1, seed=(1, 2), weights=None):
        """What the site sends, and its measures."""
        number = list(self.mechanisms).index(mechanism)
        vectors, _, measures = self._round(share(self.model, site, steps, seed, weights, number))
        return [v.numpy() for v in vectors], measures


def share(model, site, steps, seed=(1, 2), weights=None, number=0):
    """What a site is given at the start of a round."""
    from federated.engine.local_training import Share

    return Share(
        [tf.constant(w) for w in (model.get_weights() if weights is None else weights)],
        [tf.zeros(0)],
        [tf.zeros(0)],
        tf.constant(site.data.folder),
        tf.fill([steps, 1], tf.constant(number, tf.int64)),
        tf.constant(seed, tf.int32),
    )


def reference(model, site, mechanism, clip, steps, seed=(1, 2)):
    """Weights before less after, in Keras and NumPy, patient by patient, on the patients that the site draws.

    Returns:
        The difference, and the rows of every chunk.
    """
    from federated.private import draws, stream

    told, before = share(model, site, steps, seed), model.get_weights()
    key = stream.derive(stream.round_key(told, int(TRAINING, 16)), 0)
    q = tf.constant(mechanism.sampling_probability, tf.float64)
    total, sizes = [np.zeros_like(w) for w in before], []
    for rows, whose, last in draws.chunks(told.folder, q, key, tf.constant(steps, tf.int64)):
        real = rows.numpy()[whose.numpy() >= 0]
        for patient in np.unique(site.owners[real]):
            mine = _gradient(model, site, real[site.owners[real] == patient])
            norm = np.sqrt(sum((g**2).sum() for g in mine))
            total = [t + g / max(1.0, norm / clip) for t, g in zip(total, mine, strict=True)]
        sizes.append(len(real))
        if last:
            scale = RATE / mechanism.expected_patients
            now = model.get_weights()
            model.set_weights([w - scale * t for w, t in zip(now, total, strict=True)])
            total = [np.zeros_like(w) for w in before]
    after = model.get_weights()
    model.set_weights(before)
    return [a - b for a, b in zip(before, after, strict=True)], sizes


def _gradient(model, site, rows):
    entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    with tf.GradientTape() as tape:
        logits = model(site.x[rows], training=True)
        loss = tf.reduce_sum(entropy(site.y[rows], logits) * site.weights[rows])
    return [g.numpy() for g in tape.gradient(loss, model.trainable_variables)]


def difference(one, other) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
