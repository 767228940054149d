"""Rows <-> the matrix that the networks see: mode-specific normalisation and one-hot, by the ctgan library."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import joblib
import numpy as np
import pandas as pd
from ctgan.data_transformer import DataTransformer

from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.privacy.draws.keyed import fold, uniform
from synthetic.tables import columns as learnt
from synthetic.tables import frames
from synthetic.tables.columns import GeneratorColumn

MODES, PUBLIC_MODES = 10, 5  # most of a column of numbers


@dataclass(frozen=True)
class Span:
    """Neighbouring columns of the matrix that belong together.

    Attributes:
        start, size: where.
        kind: `value` (one number in -1..1), `mode` (one-hot: which of a number's modes) or `category` (one-hot).
    """

    start: int
    size: int
    kind: str


class Code:
    """How rows become a matrix and a matrix rows; the label is left aside: it is given to a generator, not made by it.

    Args:
        columns: what was learnt of each.
        frame: in the form of `frames.to_frame`, what the normalisation is fitted to.
        modes: most of a column of numbers.

    Raises:
        InputError: nothing varies.
    """

    def __init__(self, columns: tuple[GeneratorColumn, ...], frame: pd.DataFrame, modes: int = MODES):
        if not len(frame.columns):
            raise InputError(
                "every column of the training rows is constant or missing: there is nothing to learn; "
                "leave such columns out or add rows"
            )
        self.columns = columns
        self._transformer = DataTransformer(max_clusters=modes)
        with warnings.catch_warnings():
            # Of modes that did not converge, which are good enough to split a column by.
            warnings.simplefilter("ignore")
            self._transformer.fit(frame, frames.discrete(frame))

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """The matrix's columns, in order."""
        spans, start = [], 0
        for parts in self._transformer.output_info_list:
            for part in parts:
                one_hot = "category" if len(parts) == 1 else "mode"
                kind = one_hot if part.activation_fn == "softmax" else "value"
                spans.append(Span(start, part.dim, kind))
                start += part.dim
        return tuple(spans)

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(span.size for span in self.spans)

    @cached_property
    def choices(self) -> tuple[np.ndarray, ...]:
        """Cells of the matrix of which a row has one, for each column: its categories, or a number's modes and last
        the cell that says it is missing, where it may be.
        """
        cells, missing, start = [], None, 0
        for info in self._transformer._column_transform_info_list:
            if info.column_type == "continuous":
                modes = np.arange(start + 1, start + info.output_dimensions)
                cells.append(modes if missing is None else np.append(modes, missing))
                missing = None
            elif info.column_name.startswith("missing"):
                known = list(info.transform.dummies)
                missing = start + known.index("1") if "1" in known else None
            else:
                cells.append(np.arange(start, start + info.output_dimensions))
            start += info.output_dimensions
        return tuple(cells)

    def encode(self, rows: pd.DataFrame, seed: int) -> np.ndarray:
        """Rows of a manifest as a matrix, float32 (N, width).

        Args:
            rows: holding nothing that was not learnt but for numbers beyond their bounds.
            seed: of the stand-ins for missing numbers; the library's own, which is of the frame that it was fitted to,
                draws the modes that rows are counted to.
        """
        return self.matrix_of(frames.to_frame(rows, self.columns, np.random.default_rng(seed)))

    def encode_apart(self, rows: pd.DataFrame, keys: np.ndarray) -> np.ndarray:
        """The same with each row by itself: whoever else is there, a row becomes the same.

        Args:
            rows: of a manifest; the columns are declared.
            keys: uint64 (N,), what each row draws its modes by (`medimg.privacy.draws.keyed`).
        """
        frame = frames.to_frame(rows, self.columns, None)
        matrix, start = np.zeros((len(frame), self.width), np.float32), 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for info in self._transformer._column_transform_info_list:
                cells = slice(start, start + info.output_dimensions)
                column = frame[[info.column_name]]
                if info.column_type == "continuous":
                    drawn = uniform(fold(keys, start), 1)[:, 0]
                    matrix[:, cells] = _in_modes(info.transform, column, drawn)
                else:
                    matrix[:, cells] = info.transform.transform(column).to_numpy()
                start += info.output_dimensions
        return matrix

    def matrix_of(self, frame: pd.DataFrame) -> np.ndarray:
        """The same of a frame."""
        for info in self._transformer._column_transform_info_list:
            if info.column_type == "continuous":
                # Else a client's rows would depend on whose were encoded before, and be others at a site of its own.
                info.transform.reset_randomization()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # In processes of its own the library would take longer to start than to work.
            with joblib.parallel_config(backend="sequential"):
                return self._transformer.transform(frame).astype(np.float32)

    def decode(self, matrix: np.ndarray) -> pd.DataFrame:
        """Rows as a manifest holds them.

        Args:
            matrix: float (N, width); of a one-hot span the largest counts.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = self._transformer.inverse_transform(matrix)
        return frames.from_frame(frame, self.columns, len(matrix))


@dataclass(frozen=True, eq=False)
class Encoding:
    """Training rows as a generator takes them.

    Attributes:
        code: that they are written in.
        matrix: float32 (N, columns of the matrix).
    """

    code: Code
    matrix: np.ndarray

    @classmethod
    def fit(
        cls,
        rows: pd.DataFrame,
        features: tuple[Feature, ...],
        seed: int,
        bounds: Mapping[str, tuple[float, float]] | None = None,
    ) -> "Encoding":
        """Learn a code of rows and write them in it.

        Args:
            rows: labelled training rows.
            features: columns to learn.
            seed: of the stand-ins for missing numbers.
            bounds: column -> lowest and highest value.

        Raises:
            InputError: nothing varies, or a column can't be learnt.
        """
        columns = learnt.learn(rows, features, bounds or {})
        frame = frames.to_frame(rows, columns, np.random.default_rng(seed))
        code = Code(columns, frame)
        return cls(code, code.matrix_of(frame))

    @classmethod
    def apart(cls, rows: pd.DataFrame, features: tuple[Feature, ...], keys: np.ndarray) -> "Encoding":
        """Write rows in a code of public statements alone, each by itself.

        Args:
            rows: labelled training rows.
            features: columns to learn, with what is stated of them.
            keys: uint64 (N,), of the rows.
        """
        code = public_code(learnt.declared(features))
        return cls(code, code.encode_apart(rows, keys))

    @property
    def spans(self) -> tuple[Span, ...]:
        """The matrix's columns, in order."""
        return self.code.spans


def public_code(columns: tuple[GeneratorColumn, ...]) -> Code:
    """The code that ranges and categories alone make."""
    # Each mode more is one more thing that noise must spare.
    return Code(columns, frames.public_frame(columns), PUBLIC_MODES)


def _in_modes(normalizer, column: pd.DataFrame, drawn: np.ndarray) -> np.ndarray:
    """As the library's transformer, which draws modes by place in the table: here each row has its own number.

    Args:
        normalizer: a fitted ClusterBasedNormalizer.
        column: of numbers (N, 1).
        drawn: float64 (N,) in [0, 1).

    Returns:
        float64 (N, 1 + modes): the value within its mode, and which it is.
    """
    mixture, valid = normalizer._bgm_transformer, normalizer.valid_component_indicator
    values = column.to_numpy(np.float64)
    # As the library: no chance is quite 0.
    chances = mixture.predict_proba(values)[:, valid] + 1e-6
    ends = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)
    mode = np.minimum((ends <= drawn[:, None]).sum(axis=1), valid.sum() - 1)
    means = mixture.means_.ravel()[valid][mode]
    deviations = np.sqrt(mixture.covariances_).ravel()[valid][mode]
    within = (values[:, 0] - means) / (normalizer.STD_MULTIPLIER * deviations)
    return np.column_stack([np.clip(within, -0.99, 0.99), np.eye(valid.sum())[mode]])
