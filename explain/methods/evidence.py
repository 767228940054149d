"""A model's evidence for classes and its gradients, of any number of images: compiled once, in batches that fit."""

from functools import cached_property

import numpy as np
import tensorflow as tf

from explain.methods.score import class_score, last_map

# Inputs of the model at once: forward, and with all that a gradient keeps.
_BATCH, _GRADIENT_BATCH = 64, 16


class Evidence:
    """What explanation methods ask of a model.

    `inputs` are what the model takes of N images: pixels float32 (N, S, S, C) in 0..255, and where it takes any columns
    float32 (N, F); `targets` int (N,) the class of each that is explained.

    Args:
        model: raw pixels in, logits out; its weights are read at every call.
        task: `binary`, `multiclass` or `multilabel`.
    """

    def __init__(self, model: tf.keras.Model, task: str):
        self.model, self.task = model, task

    def scores(self, inputs: list[np.ndarray], targets: np.ndarray) -> np.ndarray:
        """float32 (N,): `class_score`."""
        return self._batched(self._scores, _BATCH, inputs, targets)[0]

    def probabilities(self, inputs: list[np.ndarray], targets: np.ndarray) -> np.ndarray:
        """float32 (N,), not calibrated."""
        return self._batched(self._probabilities, _BATCH, inputs, targets)[0]

    def gradients(self, inputs: list[np.ndarray], targets: np.ndarray) -> np.ndarray:
        """float32 (N, S, S, C), of the score by the pixels."""
        return self._batched(self._gradients, _GRADIENT_BATCH, inputs, targets)[0]

    def last_maps(self, inputs: list[np.ndarray], targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps that are pooled and the score's gradient by them, each float32 (N, h, w, K)."""
        maps, gradients = self._batched(self._last_maps, _GRADIENT_BATCH, inputs, targets)
        return maps, gradients

    @cached_property
    def cell(self) -> float:
        """Side of a cell of the last maps in pixels of the image."""
        size = self.model.inputs[0].shape[1]
        return size / self.model.get_layer(last_map(self.model)).output.shape[1]

    def _batched(self, ask, batch: int, inputs, targets) -> list[np.ndarray]:
        targets = np.asarray(targets, np.int32)
        parts = []
        for start in range(0, len(targets), batch):
            some = slice(start, start + batch)
            answers = ask([tf.constant(array[some], tf.float32) for array in inputs], tf.constant(targets[some]))
            parts.append([answer.numpy() for answer in answers])
        return [np.concatenate(answers) for answers in zip(*parts, strict=True)]

    def _compiled(self, ask):
        shapes = [tf.TensorSpec((None, *tensor.shape[1:]), tf.float32) for tensor in self.model.inputs]
        return tf.function(ask).get_concrete_function(shapes, tf.TensorSpec((None,), tf.int32))

    def _logits(self, inputs, model=None):
        return (model or self.model)(inputs if len(inputs) > 1 else inputs[0], training=False)

    @cached_property
    def _scores(self):
        return self._compiled(lambda inputs, targets: [class_score(self._logits(inputs), targets, self.task)])

    @cached_property
    def _probabilities(self):
        def ask(inputs, targets):
            logits = self._logits(inputs)
            chances = tf.sigmoid(logits) if self.task == "multilabel" else tf.nn.softmax(logits)
            return [tf.gather(chances, targets, batch_dims=1)]

        return self._compiled(ask)

    @cached_property
    def _gradients(self):
        def ask(inputs, targets):
            with tf.GradientTape() as tape:
                tape.watch(inputs[0])
                score = class_score(self._logits(inputs), targets, self.task)
            return [tape.gradient(score, inputs[0])]

        return self._compiled(ask)

    @cached_property
    def _last_maps(self):
        inner = tf.keras.Model(
            self.model.inputs, [self.model.get_layer(last_map(self.model)).output, self.model.output]
        )

        def ask(inputs, targets):
            with tf.GradientTape() as tape:
                maps, logits = self._logits(inputs, inner)
                tape.watch(maps)
                score = class_score(logits, targets, self.task)
            return [maps, tape.gradient(score, maps)]

        return self._compiled(ask)


def blurred(pixels: np.ndarray) -> np.ndarray:
    """The image without findings that methods and scores hide regions by: the mean over half a side around a pixel.

    Args:
        pixels: float32 (N, S, S, C).
    """
    import cv2

    kernel = max(2, pixels.shape[1] // 2)
    return np.stack([cv2.blur(image, (kernel, kernel)).reshape(image.shape) for image in pixels])


def repeated(inputs: list[np.ndarray], row: int, count: int) -> list[np.ndarray]:
    """One image's inputs `count` times, (count, ...)."""
    return [np.repeat(array[row : row + 1], count, axis=0) for array in inputs]


def stretched(maps: np.ndarray, size: int) -> np.ndarray:
    """(N, h, w) -> (N, size, size), a map's cell over the pixels it stands for."""
    import cv2

    if maps.shape[1:] == (size, size):
        return maps
    return np.stack([cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in maps])


def smoothed(maps: np.ndarray, sigma: float) -> np.ndarray:
    """Maps (N, S, S) through a Gaussian of sigma pixels; their sums stay."""
    import cv2

    if not sigma:
        return maps
    return np.stack([cv2.GaussianBlur(m, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for m in maps])
