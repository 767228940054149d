"""The served table model: raw values to probabilities in TensorFlow operations alone.

It must read and compute what training did (`medimg.data.schema.as_text`, `medimg.tables.raw.read`,
`Preprocessing.encode`), a few operations on whole matrices whatever the number of columns.
"""

import re

import numpy as np
import tensorflow as tf

from medimg.data import schema
from medimg.data.dates import DATE, FORM, SECONDS_IN_DAY
from medimg.serving.answer import ServedAnswer
from medimg.serving.table_columns import ServedColumn, served_columns
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import UNSEEN

# What Python's str.strip takes away; RE2's \s and tf.strings.strip know only part of it.
_SPACE = r"[\t-\r\x1c-\x20\x{85}\p{Z}]+"
_MISSING = f"(?i)(?:{'|'.join(re.escape(token) for token in schema.MISSING)})"
_MIDNIGHT = "T00:00:00"
_DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class ServedTable(ServedAnswer):
    """A classifier of rows with signatures `serving_default` (raw columns) and `features` (preprocessed).

    `serving_default` takes numbers float32 (B,), NaN for missing, and text (B,), '' or any other of
    `medimg.data.schema.MISSING` for missing, by the names of `columns`. A row with a date that can't be read
    is answered with an error.

    Args:
        model: preprocessed columns float32 (B, F) in, logits out.
        description: the Run's description, with `preprocessing`.
        thresholds: per class.
    """

    def __init__(self, model: tf.keras.Model, description: dict, thresholds: list[float]):
        super().__init__(model, description, thresholds)
        preprocessing = Preprocessing.from_dict(description["preprocessing"])
        self.columns = served_columns(preprocessing)
        self._plan = preprocessing.plan
        # Numbers, categories and dates are computed as a matrix each; side by side, in this order.
        kinds = [_kind(column) for column in self.columns]
        self._order = np.argsort(kinds, kind="stable")
        self._counts = [kinds.count(kind) for kind in range(3)]
        self.codes = self._code_table()
        width = len(preprocessing.columns)
        self.from_features = tf.function(
            self.answer, input_signature=[tf.TensorSpec((None, width), tf.float32, name="features")]
        )
        self.from_raw = tf.function(self._from_raw).get_concrete_function(**self._specs())

    def signatures(self) -> dict:
        """For tf.saved_model.save."""
        return {"serving_default": self.from_raw, "features": self.from_features}

    def _specs(self) -> dict[str, tf.TensorSpec]:
        specs = {}
        for column in self.columns:
            shape = (None,) if column.position is None else (None, column.position + 1)
            dtype = tf.float32 if column.column.is_number else tf.string
            specs[column.input] = tf.TensorSpec(shape, dtype, name=column.input)
        return specs

    def _code_table(self):
        """One table for the categories of all columns: the column's number and the category -> code."""
        keys, codes = [], []
        texts = [c.column for c in self.columns if _kind(c) == 1]
        for number, column in enumerate(texts):
            keys += [f"{number}:{category}" for category in column.categories]
            codes += range(len(column.categories))
        if not keys:
            return None
        entries = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(codes, tf.int64))
        return tf.lookup.StaticHashTable(entries, int(UNSEEN))

    def _from_raw(self, **inputs):
        return self.answer(*self.features(inputs))

    def features(self, inputs: dict):
        """Raw columns by the names of `columns` -> preprocessed float32 (B, F), and errors string (B,) or None."""
        numbers, categories, dates = self._matrices(inputs)
        blocks, error = [], None
        if numbers is not None:
            values = tf.cast(numbers, tf.float64)
            blocks.append(tf.where(tf.math.is_finite(values), values, _nan()))
        if categories is not None:
            blocks.append(self._codes_of(canonical(categories)))
        if dates is not None:
            days, bad = days_since_1970(canonical(dates))
            blocks.append(days)
            error = tf.where(tf.reduce_any(bad, axis=1), f"a date is not {FORM}, or no such day", "")
        place = np.argsort(self._order)  # of each raw column among the matrices side by side
        return self.encoded(tf.gather(tf.concat(blocks, axis=1), place, axis=1)), error

    def _matrices(self, inputs: dict):
        """Numbers (B, n), categories (B, c) and dates (B, d); None where there are none."""
        if self.columns[0].position is None:
            values = [inputs[column.input] for column in self.columns]
            groups = np.split(self._order, np.cumsum(self._counts)[:-1])
            return [tf.stack([values[i] for i in group], 1) if len(group) else None for group in groups]
        matrices = []
        for group in np.split(self._order, np.cumsum(self._counts)[:-1]):
            chosen = [self.columns[i] for i in group]
            matrices.append(
                tf.gather(inputs[chosen[0].input], [c.position for c in chosen], axis=1) if chosen else None
            )
        return matrices

    def _codes_of(self, texts):
        prefix = tf.constant([f"{number}:" for number in range(self._counts[1])])
        codes = tf.cast(self.codes.lookup(prefix[None, :] + texts), tf.float64)
        return tf.where(tf.equal(texts, ""), _nan(), codes)

    def encoded(self, raw):
        """`Preprocessing.encode` of raw columns float64 (B, columns)."""
        plan = self._plan
        values = tf.gather(raw, plan.source, axis=1)
        same = tf.cast(tf.equal(values, plan.match), tf.float64)
        present = tf.where(plan.is_value, values, same)
        filled = tf.where(tf.math.is_nan(values), plan.fill, present)
        return tf.cast((filled - plan.offset) / plan.scale, tf.float32)


def canonical(texts):
    """`medimg.data.schema.as_text` of a string tensor."""
    stripped = tf.strings.regex_replace(texts, f"^{_SPACE}|{_SPACE}$", "")
    missing = tf.strings.regex_full_match(stripped, _MISSING)
    whole = tf.strings.regex_replace(stripped, schema.WHOLE_NUMBER, r"\1")
    return tf.where(missing, "", whole)


def days_since_1970(texts):
    """`medimg.data.dates.days_since_1970` of canonical text, float64; '' is NaN, and so is what is no date.

    Days of the civil calendar after Hinnant, "chrono-compatible low-level date algorithms" (days_from_civil): years
    begin in March, so that the leap day is a year's last.

    Returns:
        Days, and where the text is no date.
    """
    missing = tf.equal(texts, "")
    formed = tf.strings.regex_full_match(texts, DATE)
    safe = tf.where(formed, texts, "1970-01-01")
    safe = tf.where(tf.equal(tf.strings.length(safe), 10), safe + _MIDNIGHT, safe)
    year, month, day, hour, minute, second = (
        tf.strings.to_number(tf.strings.substr(safe, start, length), tf.int64)
        for start, length in ((0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2))
    )
    exists = _exists(year, month, day, hour, minute, second)
    shifted = year - tf.cast(month <= 2, tf.int64)
    era, of_era = shifted // 400, shifted % 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    seconds = days * SECONDS_IN_DAY + hour * 3600 + minute * 60 + second
    good = formed & exists
    return tf.where(good, tf.cast(seconds, tf.float64) / SECONDS_IN_DAY, _nan()), ~(missing | good)


def _exists(year, month, day, hour, minute, second):
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    months = tf.constant(_DAYS_IN_MONTH, tf.int64)
    length = tf.gather(months, tf.clip_by_value(month, 1, 12) - 1)
    length += tf.cast((month == 2) & leap, tf.int64)
    of_calendar = (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
    return of_calendar & (hour < 24) & (minute < 60) & (second < 60)


def _kind(column: ServedColumn) -> int:
    """0: a number, 1: a category, 2: a date."""
    if column.column.is_number:
        return 0
    return 2 if column.column.type == "date" else 1


def _nan():
    return tf.constant(np.nan, tf.float64)
