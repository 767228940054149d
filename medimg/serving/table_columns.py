"""How a served table model is asked: the inputs of its signature, and rows as such inputs."""

import keyword
import re
import unicodedata
import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import Input, read_numbers

# A signature with more inputs than this takes one matrix of numbers and one of texts instead: TensorFlow needs
# seconds to trace and load thousands of arguments.
MOST_INPUTS = 1000
# What a signature of TensorFlow keeps as it is; `self` collides with Python's own.
_SAFE = r"[A-Za-z][A-Za-z0-9_]*"
# Nor may a column that goes beside an image have the image's name.
_RESERVED = {*keyword.kwlist, "self", "image_bytes"}
# Of every date that is made up.
NEUTRAL_DATE = "2000-01-01"


@dataclass(frozen=True)
class ServedColumn:
    """Where a raw column goes in a request.

    Attributes:
        column: the raw column.
        input: name of the signature's input.
        position: its place in the second axis of that input, None when the input is this column alone, (B,).
    """

    column: Input
    input: str
    position: int | None

    def to_dict(self) -> dict:
        """For columns.json."""
        described = {
            "column": self.column.name,
            "type": self.column.type,
            "input": self.input,
            "dtype": "float32" if self.column.is_number else "string",
        }
        if self.position is not None:
            described["position"] = self.position
        if self.column.categories:
            described["categories"] = list(self.column.categories)
        return described


def served_columns(preprocessing: Preprocessing) -> tuple[ServedColumn, ...]:
    """The raw columns in their order, each with its input of `serving_default`.

    By the column's own name where TensorFlow allows it, else by the nearest that it allows; of more than MOST_INPUTS
    columns, by position in `numbers` (B, n) and `texts` (B, m).
    """
    raw = preprocessing.raw
    if len(raw) <= MOST_INPUTS:
        names = _safe_names([column.name for column in raw])
        return tuple(ServedColumn(c, n, None) for c, n in zip(raw, names, strict=True))
    counts = {"numbers": 0, "texts": 0}
    placed = []
    for column in raw:
        matrix = "numbers" if column.is_number else "texts"
        placed.append(ServedColumn(column, matrix, counts[matrix]))
        counts[matrix] += 1
    return tuple(placed)


def _safe_names(names: list[str]) -> list[str]:
    """Distinct, also when case is ignored, as TensorFlow compares them; names that are safe already come first."""
    used: set[str] = set()
    safe: dict[str, str] = {}
    for name in sorted(names, key=lambda n: not re.fullmatch(_SAFE, n)):
        base = unicodedata.normalize("NFKD", name)
        base = "".join(letter for letter in base if not unicodedata.combining(letter))
        base = re.sub(r"[^A-Za-z0-9_]+", "_", base)
        if not re.fullmatch(_SAFE, base):
            base = f"column_{base.strip('_')}".rstrip("_")
        chosen, number = base, 2
        while chosen.lower() in used or chosen in _RESERVED:
            chosen, number = f"{base}_{number}", number + 1
        used.add(chosen.lower())
        safe[name] = chosen
    return [safe[name] for name in names]


def inputs_of(frame: pd.DataFrame, columns: tuple[ServedColumn, ...]) -> dict[str, np.ndarray]:
    """Rows as the inputs of `serving_default`.

    Args:
        frame: has the raw columns by name.
        columns: from `served_columns`.

    Returns:
        per input, float32 or text (N,), or (N, n) where columns go by position.
    """
    numbers = [column for column in columns if column.column.is_number]
    texts = [column for column in columns if not column.column.is_number]
    matrix = read_numbers(frame, [c.column.name for c in numbers]).astype(np.float32)
    text = frame[[c.column.name for c in texts]].fillna("").astype(str).to_numpy(object)
    inputs: dict[str, np.ndarray] = {}
    for group, values in ((numbers, matrix), (texts, text)):
        if group and group[0].position is not None:
            inputs[group[0].input] = values
        else:
            inputs.update({column.input: values[:, i] for i, column in enumerate(group)})
    return inputs


def example_row(preprocessing: Preprocessing, seed: int = 0) -> pd.DataFrame:
    """One drawn row: it is of the table's form, and no value in it comes from a patient's.

    Only the columns' names, types and categories, which say how the model is asked, decide it. What was learnt of
    numbers and dates does not: a median can be one patient's own value.

    Args:
        preprocessing: of the Run.
        seed: of the draws; each column has its own, so that a column more or less changes no other's.
    """
    row: dict[str, list] = {}
    for column in preprocessing.raw:
        draw = np.random.default_rng((seed, zlib.crc32(column.name.encode())))
        if column.type == "date":
            row[column.name] = [NEUTRAL_DATE]
        elif column.type == "integer":
            row[column.name] = [float(draw.integers(10))]
        elif column.is_number:
            row[column.name] = [round(float(draw.uniform(0.0, 10.0)), 3)]
        else:
            row[column.name] = [column.categories[draw.integers(len(column.categories))]]
    return pd.DataFrame(row)


def hard_rows(preprocessing: Preprocessing, seed: int = 0) -> pd.DataFrame:
    """Rows that preprocessing finds hard: all missing; categories never seen; untidy text of known categories.

    Args:
        preprocessing: of the Run.
        seed: of the values that are not missing, as in `example_row`.
    """
    example = example_row(preprocessing, seed)
    rows: dict[str, list] = {}
    for column in preprocessing.raw:
        value = example.at[0, column.name]
        if column.is_number:
            rows[column.name] = [np.nan, value, value]
            continue
        unseen = value if column.type == "date" else _unlike(column.categories)
        # A whole number may come with a fraction of zero: 7 and 7.0 are one category.
        untidy = f"\t{value}.0 " if value.isdecimal() else f" {value}\n"
        rows[column.name] = [" N/A ", unseen, untidy]
    return pd.DataFrame(rows)


def _unlike(categories: tuple[str, ...]) -> str:
    name = "never seen"
    while name in categories:
        name += "!"
    return name
