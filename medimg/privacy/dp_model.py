"""A functional model whose `fit` is private, with any Keras optimizer."""

import tensorflow as tf

from medimg.errors import InputError
from medimg.privacy import tf_privacy
from medimg.privacy.clipping import add_noise, check_mechanism, clipped_sum
from medimg.privacy.per_example.forward import kinds
from medimg.privacy.per_example.kinds import check

ENGINES = ("medimg", "tf-privacy")


def make_private(
    model: tf.keras.Model,
    l2_norm_clip: float,
    noise_multiplier: float,
    expected_units: float,
    seed: int,
    engine: str = "medimg",
    accumulation_steps: int = 1,
) -> "PrivateModel":
    """A model over the same layers and weights that trains by DP-SGD; save and use `model` itself afterwards.

    `fit` takes a tf.data of (x, y) or (x, y, extra), where `extra` is a dict with any of
        "unit": integer (B,), the patient of each example; negative rows are padding, so that all batches may have
            one static size. Without it every example is a unit.
        "weight": float (B,), multiplies the losses.
        "key": uint64 (B,), what each example's dropout is drawn by (`privacy.draws.keyed`); needed where there is any.
        "noise": int64 (3,), state of the generator for this step's noise (`Secret.state`); without it the noise goes
            on from `seed`.
        "last": bool scalar; only with accumulation_steps=0.
    The loss and metrics that `fit` reports are those of the training examples, without noise: not for release.

    Args:
        model: functional, one output; its layers' `trainable` must be set before.
        l2_norm_clip: largest norm of a unit's gradient.
        noise_multiplier: standard deviation of the noise over the clip.
        expected_units: units in a logical batch on average, the fixed divisor of the sum.
        seed: of the noise, at most 192 bits.
        engine: `medimg`, or `tf-privacy` (slow; units of one example; needs a finite clip).
        accumulation_steps: batches that make one logical batch, which gets noise and an optimizer step; each unit
            must be wholly in one of them. 0: as many as it takes until a batch has "last", as Poisson sampling needs.

    Raises:
        InputError: a layer or option that can't be private.

    Example:
        >>> private = make_private(model, 1.0, 1.1, expected_units=64, seed=0)
        >>> private.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> private.fit(batches)
    """
    if engine not in ENGINES:
        raise InputError(f"--dp-engine {engine}: must be {' or '.join(ENGINES)}")
    if engine == "tf-privacy" and accumulation_steps != 1:
        raise InputError("--dp-engine tf-privacy: can't accumulate; use --dp-engine medimg")
    if engine == "tf-privacy" and l2_norm_clip == float("inf"):
        raise InputError("--dp-clip inf: --dp-engine tf-privacy needs a finite clip")
    check_mechanism(l2_norm_clip, noise_multiplier, expected_units)
    check(model)
    kinds(model)
    # Keras' types have `__new__` make a plain Model.
    private: PrivateModel = PrivateModel(  # pyright: ignore[reportAssignmentType]
        model.inputs, model.outputs, name=model.name
    )
    private.l2_norm_clip, private.noise_multiplier = l2_norm_clip, noise_multiplier
    private.expected_units, private.engine = expected_units, engine
    private.accumulation_steps = accumulation_steps
    private.private_state = PrivateState(seed, model.trainable_variables if accumulation_steps != 1 else [])
    return private


class PrivateState(tf.__internal__.tracking.AutoTrackable):
    """What a resumed training needs besides weights and optimizer; part of the model's checkpoints, not of its weights.

    Attributes:
        generator: of the noise.
        sums: clipped sums of the logical batch so far, empty without accumulation.
        batches: batches in them.
        mean_loss: of the epoch's examples so far.
    """

    def __init__(self, seed: int, variables: list):
        self.generator = tf.random.Generator.from_seed(seed, alg="philox")
        self.sums = [tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False) for v in variables]
        self.batches = tf.Variable(tf.constant(0), trainable=False)
        self.mean_loss = tf.keras.metrics.Mean(name="loss")


class PrivateModel(tf.keras.Model):
    """Of `make_private`; compiled before it trains."""

    optimizer: tf.keras.optimizers.Optimizer

    def train_step(self, data):
        """One batch: clip and sum; add noise and step when the logical batch is complete."""
        x, y, extra = tf.keras.utils.unpack_x_y_sample_weight(data)
        if extra is not None and not isinstance(extra, dict):
            extra = {"weight": extra}
        extra = extra or {}
        loss = tf.keras.losses.get(self.loss)
        compute = tf_privacy.clipped_sum if self.engine == "tf-privacy" else clipped_sum
        unit, weight = extra.get("unit"), extra.get("weight")
        clipped = compute(self, loss, x, y, unit, self.l2_norm_clip, weight, extra.get("key"))
        if "noise" in extra:
            self.private_state.generator.state.assign(tf.ensure_shape(extra["noise"], [3]))
        if self.accumulation_steps == 1:
            self._step(clipped.gradients)
        else:
            self._accumulate(clipped.gradients, extra)
        present = None if unit is None else tf.cast(unit >= 0, tf.float32)
        self.compiled_metrics.update_state(y, clipped.outputs, present)
        examples = tf.shape(y)[0] if present is None else tf.reduce_sum(present)
        self.private_state.mean_loss.update_state(clipped.loss, examples)
        return {**{m.name: m.result() for m in self.metrics}, "loss": self.private_state.mean_loss.result()}

    @property
    def metrics(self):
        """What `fit` reports and resets at every epoch."""
        # First, because evaluate() has a "loss" of its own, and the last of a name counts.
        return [self.private_state.mean_loss, *super().metrics]

    def _step(self, sums: list) -> None:
        gradients = add_noise(
            sums, self.l2_norm_clip, self.noise_multiplier, self.expected_units, self.private_state.generator
        )
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))

    def _accumulate(self, sums: list, extra: dict) -> None:
        state = self.private_state
        if len(state.sums) != len(sums):
            raise InputError("layers were frozen or freed after make_private; call it again")
        for total, part in zip(state.sums, sums, strict=True):
            total.assign_add(part)
        state.batches.assign_add(1)
        if self.accumulation_steps == 0:
            if "last" not in extra:
                raise InputError('accumulation_steps=0: the batches must tell which is the "last"')
            complete = tf.reshape(extra["last"], [])
        else:
            complete = state.batches >= self.accumulation_steps
        # Its variables can't be made inside a condition.
        self.optimizer.build(self.trainable_variables)

        def finish():
            self._step([tf.identity(total) for total in state.sums])
            for variable in (*state.sums, state.batches):
                variable.assign(tf.zeros_like(variable))
            return True

        tf.cond(complete, finish, lambda: False)
