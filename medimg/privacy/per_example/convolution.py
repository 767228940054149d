"""Conv2D: by products of positions, one example at a time, or one offset of the kernel at a time."""

import math
from dataclasses import dataclass

import tensorflow as tf

from medimg.privacy.per_example import linear
from medimg.privacy.per_example.contribution import Contribution, Kind, bias, kept, lost_norms, scaled
from medimg.privacy.per_example.units import BatchUnits

# Examples' gradients are kept for the weighted sum while they are at most this many times the layer's activations.
KEPT_SIZE = 4


@dataclass(frozen=True)
class Window:
    """Where the kernel reads.

    Attributes:
        kernel, strides, dilation: rows and columns.
        padding: `same` or `valid`.
        inputs, outputs: height and width.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: str
    inputs: tuple[int, int]
    outputs: tuple[int, int]

    @classmethod
    def of(cls, layer, x, g) -> "Window":
        """From a convolution layer, its input and its output's gradient, (B, H, W, C) both."""
        sizes = tuple(x.shape[1:3]), tuple(g.shape[1:3])
        return cls(layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding, *sizes)

    def pad(self, x) -> tf.Tensor:
        """The input with the zeros that the convolution assumes around it."""
        return tf.pad(x, [[0, 0], *(self._margins(axis) for axis in (0, 1)), [0, 0]])

    def offsets(self) -> list[tuple[slice, slice]]:
        """For each place in the kernel, row by row: the rows and columns of the padded input that it meets."""
        return [
            (self._reach(0, row), self._reach(1, column))
            for row in range(self.kernel[0])
            for column in range(self.kernel[1])
        ]

    def _margins(self, axis: int) -> list[int]:
        if self.padding == "valid":
            return [0, 0]
        extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1
        covered = (self.outputs[axis] - 1) * self.strides[axis] + extent
        total = max(covered - self.inputs[axis], 0)
        return [total // 2, total - total // 2]

    def _reach(self, axis: int, place: int) -> slice:
        start = place * self.dilation[axis]
        return slice(start, start + (self.outputs[axis] - 1) * self.strides[axis] + 1, self.strides[axis])


def contributions(layer, calls, units: BatchUnits) -> list[Contribution]:
    """Of the kernel (h, w, inputs per group, outputs) and the bias (outputs,)."""
    pairs = [(x, g) for x, (g,) in calls]
    result = [_kernel(layer, pairs, units)]
    if layer.use_bias:
        result.append(bias([g for _, g in pairs], units))
    return result


def _kernel(layer, calls: list, units: BatchUnits) -> Contribution:
    window = Window.of(layer, *calls[0])
    if layer.groups > 1 or max(layer.dilation_rate) > 1:
        return kept(tf.add_n([_by_offsets(layer, x, g) for x, g in calls]), units)
    if window.kernel == (1, 1):
        rows, columns = window.strides
        matrix = linear.matrix([(x[:, ::rows, ::columns], g) for x, g in calls], units)
        return matrix._replace(weighted_sum=lambda weights: matrix.weighted_sum(weights)[None, None])
    if len(calls) > 1 or not _by_products(window, layer):
        return kept(tf.add_n([_one_by_one(layer, x, g) for x, g in calls]), units)
    x, g = calls[0]
    return Contribution(_products(window, x, g, units), lambda weights: _filter_gradient(layer, x, scaled(g, weights)))


def _by_products(window: Window, layer) -> bool:
    """Whether inner products of positions cost less time, or keeping the examples' gradients too much memory."""
    inputs, outputs = layer.kernel.shape[2:]
    positions = window.outputs[0] * window.outputs[1]
    padded = window.pad(tf.zeros([1, *window.inputs, 1])).shape[1:3].num_elements()
    size = layer.kernel.shape.num_elements()
    if size > KEPT_SIZE * (padded * inputs + positions * outputs):
        return True
    direct = positions * size + 3 * linear.MEMORY * size
    area = window.kernel[0] * window.kernel[1]
    products = (
        positions * size + padded**2 * inputs + positions**2 * outputs + linear.MEMORY * (area + 1) * positions**2
    )
    return products < direct


def _products(window: Window, x, g, units: BatchUnits) -> tf.Tensor:
    """Squared norms from <x_p, x_q> <g_p, g_q> over positions p, q.

    The inner product of two patches is the sum, over the places in the kernel, of those of the pixels that they have
    there, so no patches are made: the products of all pixels are added up shifted.
    """
    padded = window.pad(x)
    # Known before any image is: TensorFlow's types allow None in every shape.
    grid: tuple[int, int] = tuple(padded.shape[1:3])  # pyright: ignore[reportAssignmentType]
    outputs = window.outputs

    def product(left, right):
        pixels = _gram(left(padded), right(padded), grid)
        patches = tf.add_n([pixels[:, rows, columns, rows, columns] for rows, columns in window.offsets()])
        return tf.reduce_sum(patches * _gram(left(g), right(g), outputs), axis=[1, 2, 3, 4])

    area, positions = math.prod(window.kernel), math.prod(outputs)
    lost = lost_norms(x, g, positions**2 * area * int(x.shape[-1]) * int(g.shape[-1]))
    return units.squared_norms_of_products(product, lost)


def _gram(left, right, grid: tuple[int, int]) -> tf.Tensor:
    """(n, H, W, C) twice -> inner products of their pixels (n, H, W, H, W)."""
    flat = [-1, grid[0] * grid[1], left.shape[-1]]
    products = tf.matmul(tf.reshape(left, flat), tf.reshape(right, flat), transpose_b=True)
    return tf.reshape(products, [-1, *grid, *grid])


def _one_by_one(layer, x, g) -> tf.Tensor:
    """Examples' gradients (B, h, w, m, n), each by the library's own kernel: as fast as that of the whole batch."""

    def one(pair):
        return _filter_gradient(layer, pair[0][None], pair[1][None])

    return tf.map_fn(one, (x, g), fn_output_signature=_specification(layer.kernel))


def _specification(kernel) -> tf.TensorSpec:
    return tf.TensorSpec(kernel.shape, kernel.dtype)


def _filter_gradient(layer, x, g) -> tf.Tensor:
    """The batch's gradient of an ungrouped, undilated kernel."""
    return tf.raw_ops.Conv2DBackpropFilter(
        input=x,
        filter_sizes=layer.kernel.shape,
        out_backprop=g,
        strides=[1, *layer.strides, 1],
        padding=layer.padding.upper(),
    )


def _by_offsets(layer, x, g) -> tf.Tensor:
    """Examples' gradients (B, h, w, m, n) for any dilation and number of groups.

    Args:
        layer: Conv2D.
        x: (B, H, W, m * groups).
        g: (B, H', W', n).
    """
    window, groups = Window.of(layer, x, g), layer.groups
    padded, shape = window.pad(x), layer.kernel.shape
    positions = window.outputs[0] * window.outputs[1]
    g = _split(tf.reshape(g, [-1, positions, g.shape[-1]]), groups)
    places = []
    for rows, columns in window.offsets():
        met = tf.reshape(padded[:, rows, columns], [-1, positions, x.shape[-1]])
        products = tf.matmul(_split(met, groups), g, transpose_a=True)
        # (B, groups, m, n / groups) -> (B, m, n): the outputs of a group lie side by side.
        places.append(tf.reshape(tf.transpose(products, [0, 2, 1, 3]), [-1, *shape[2:]]))
    return tf.reshape(tf.stack(places, axis=1), [-1, *shape])


def _split(tensor, groups: int) -> tf.Tensor:
    """(B, T, groups * C) -> (B, groups, T, C)."""
    shape = [-1, tensor.shape[1], groups, tensor.shape[2] // groups]
    return tf.transpose(tf.reshape(tensor, shape), [0, 2, 1, 3])


KIND = Kind(linear.forward, contributions)
