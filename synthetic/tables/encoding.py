"""Rows <-> the matrix that the networks see: mode-specific normalisation and one-hot, by the ctgan library."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import joblib
import numpy as np
import pandas as pd
from ctgan.data_transformer import DataTransformer

from medimg.errors import InputError
from medimg.tables.schema import Feature
from synthetic.tables import columns as learnt

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


class Encoding:
    """What was learnt of the training rows, the label left aside: that is given to a generator, not made by it.

    Args:
        rows: labelled training rows.
        features: columns to learn.
        seed: of the stand-ins for missing numbers and of the modes that rows are counted to.
        bounds: column -> lowest and highest value.
        public: the normalisation is fitted to ranges and categories alone, not to the rows.

    Raises:
        InputError: nothing varies, or a column can't be learnt.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        features: tuple[Feature, ...],
        seed: int,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        public: bool = False,
    ):
        self.columns = learnt.learn(rows, features, bounds or {})
        frame = learnt.to_frame(rows, self.columns, np.random.default_rng(seed))
        if frame.empty:
            raise InputError(
                "every column of the training rows is constant or missing: there is nothing to learn; "
                "leave such columns out or add rows"
            )
        fitted_on = learnt.public_frame(self.columns) if public else frame
        # Each mode more is one more thing that noise must spare.
        self._transformer = DataTransformer(max_clusters=PUBLIC_MODES if public else MODES)
        with warnings.catch_warnings():
            # Of modes that did not converge, which are good enough to split a column by.
            warnings.simplefilter("ignore")
            self._transformer.fit(fitted_on, learnt.discrete(frame))
            # In processes of its own the library would take longer to start than to work.
            with joblib.parallel_config(backend="sequential"):
                matrix = self._transformer.transform(frame)
        self.matrix = matrix.astype(np.float32)

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

    def decode(self, matrix: np.ndarray) -> pd.DataFrame:
        """Rows as a manifest holds them.

        Args:
            matrix: float (N, columns of the matrix); of a one-hot span the largest counts.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = self._transformer.inverse_transform(matrix)
        return learnt.from_frame(frame, self.columns, len(matrix))
