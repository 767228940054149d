"""How far the patients of two Datasets differ: images, metadata, class mix and the model's answers, one by one.

Patients are compared, not images: a patient counts once, with the first row.
Numbers: Kolmogorov-Smirnov and the standardised difference; categories: chi-squared and the multivariate standardised
difference (see `medimg.tables.shift`). Of so many tests some would come out by chance: p is Holm's (Scandinavian
Journal of Statistics 6, 1979), and a difference counts from a standardised 0.1 on (Austin 2009).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, ks_2samp

from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.evaluation.holm import holm
from medimg.pipeline.pixels import as_pixels, load_raw
from medimg.tables.metadata import ROLES
from medimg.tables.ordered import MOST_LEVELS, is_ordered, levels, ordered_values
from medimg.tables.shift import NEGLIGIBLE, category_difference, mean_difference

ALPHA = 0.05
# Of the image as the model sees it, grey levels 0 to 255; and of the file.
STATISTICS = {
    "mean": "mean grey level",
    "sd": "standard deviation of grey levels",
    "dark": "1st percentile of grey levels",
    "bright": "99th percentile of grey levels",
    "sharpness": "sharpness (log variance of the Laplacian)",
}
FORMS = {"width": "image width", "height": "image height", "form": "grey or colour, bits"}
_OF_SOURCE = {"source_width": FORMS["width"], "source_height": FORMS["height"]}


def image_statistics(dataset: Dataset, rows: pd.DataFrame, size: int, progress: Callable | None = None) -> pd.DataFrame:
    """One row an image: STATISTICS at the model's size, and FORMS.

    Args:
        dataset: where the images are.
        rows: of its manifest.
        size: width and height that the model takes.
        progress: called with images done and images in all.
    """
    with ThreadPoolExecutor() as pool:
        statistics = []
        for one in pool.map(lambda path: _statistics(path, size), dataset.paths(rows)):
            statistics.append(one)
            if progress:
                progress(len(statistics), len(rows))
    return pd.DataFrame(statistics, columns=[*STATISTICS, *FORMS], index=rows.index)


def _statistics(path: Path, size: int) -> tuple:
    image = read_image(path)
    grey = as_pixels(load_raw(path, size, 1))[..., 0]
    dark, bright = np.percentile(grey, [1, 99])
    sharpness = np.log1p(cv2.Laplacian(grey, cv2.CV_32F).var())
    kind = "grey" if image.ndim == 2 else "colour"
    form = f"{8 * image.dtype.itemsize}-bit {kind}"
    return grey.mean(), grey.std(), dark, bright, sharpness, float(image.shape[1]), float(image.shape[0]), form


def metadata(internal: Dataset, internal_rows: pd.DataFrame, rows: pd.DataFrame) -> dict[str, tuple]:
    """Columns that both have: name -> (values of own rows, values of theirs), numbers as float64, else text."""
    if internal.is_table:
        common = [f for f in internal.inputs if f.name in rows]
        return {f.name: _of_feature(f, internal_rows, rows) for f in common}
    names = [name for name in internal_rows if name in rows and name not in ROLES]
    columns = {}
    for name in names:
        both = pd.concat([internal_rows[name], rows[name]], ignore_index=True)
        filled = both.notna() & (both.astype(str).str.strip() != "")
        numbers = pd.to_numeric(both[filled], errors="coerce")
        if filled.any() and numbers.notna().all() and numbers.nunique() > 2:
            values = pd.to_numeric(both.where(filled), errors="coerce")
        else:
            values = both.where(filled, "").astype(str)
            # As many names as patients: whose they are, not what they are like.
            if values[filled].nunique() > min(MOST_LEVELS, max(2, filled.sum() // 2)):
                continue
        columns[_OF_SOURCE.get(name, name)] = (values[: len(internal_rows)], values[len(internal_rows) :])
    return columns


def _of_feature(feature, own_rows: pd.DataFrame, rows: pd.DataFrame) -> tuple:
    if is_ordered(feature):
        return tuple(pd.Series(ordered_values(frame, feature)) for frame in (own_rows, rows))
    return own_rows[feature.name], rows[feature.name]


def compare(kind: str, name: str, internal, external, internal_patients, patients) -> dict | None:
    """One quantity of two groups of patients.

    Args:
        kind: `image`, `metadata`, `class` or `prediction`.
        name: of the quantity.
        internal: values of the Run's own rows; numbers, or text with '' for missing.
        external: of the others'.
        internal_patients: whose each of `internal` is.
        patients: whose each of `external` is.

    Returns:
        `kind`, `name`, `test`, `p`, `effect` (None: no overlap at all), `own` and `here` (mean and sd, or shares) and
        the share that is `missing` in each; None where a side has fewer than two patients with a value.
    """
    first, second = _by_patient(internal, internal_patients), _by_patient(external, patients)
    is_number = pd.api.types.is_numeric_dtype(first) and pd.api.types.is_numeric_dtype(second)
    filled = [side.dropna() if is_number else side[side.notna() & (side != "")] for side in (first, second)]
    if min(map(len, filled)) < 2:
        return None
    missing = {
        key: float(1 - len(some) / len(side))
        for key, some, side in zip(("own", "here"), filled, (first, second), strict=True)
    }
    measure = _numbers if is_number else _categories
    return {"kind": kind, "name": name, **measure(*filled), "missing": missing}


def settle(differences: list[dict]) -> list[dict]:
    """With `p_holm` over all of them and whether each is `shifted`; the largest differences first."""
    if not differences:
        return []
    settled = []
    for one, p in zip(differences, holm([one["p"] for one in differences]), strict=True):
        large = one["effect"] is None or abs(one["effect"]) >= NEGLIGIBLE
        settled.append({**one, "p_holm": p, "shifted": bool(p < ALPHA and large)})
    return sorted(settled, key=lambda one: (not one["shifted"], -_size(one)))


def _size(one: dict) -> float:
    return np.inf if one["effect"] is None else abs(one["effect"])


def _by_patient(values, patients) -> pd.Series:
    """The first value of each patient: means of more images vary less, so sites with more a patient would differ."""
    return pd.Series(np.asarray(values))[~pd.Series(np.asarray(patients)).duplicated()]


def _numbers(internal: pd.Series, external: pd.Series) -> dict:
    effect = mean_difference(external.to_numpy(float)[:, None], internal.to_numpy(float)[:, None])[0]
    return {
        "test": "Kolmogorov-Smirnov",
        "p": float(ks_2samp(internal, external).pvalue),
        "effect": float(effect) if np.isfinite(effect) else None,
        "own": {"mean": float(internal.mean()), "sd": float(internal.std())},
        "here": {"mean": float(external.mean()), "sd": float(external.std())},
    }


def _categories(internal: pd.Series, external: pd.Series) -> dict:
    codes, names = levels(pd.concat([internal, external], ignore_index=True))
    first, second = (
        np.bincount(part, minlength=len(names)) for part in (codes[: len(internal)], codes[len(internal) :])
    )
    effect = category_difference(second, first)
    p = chi2_contingency(np.stack([first, second]))[1] if len(names) > 1 else 1.0
    return {
        "test": "chi-squared",
        "p": float(p),
        "effect": float(effect) if np.isfinite(effect) else None,
        "own": {name: float(n / len(internal)) for name, n in zip(names, first, strict=True)},
        "here": {name: float(n / len(external)) for name, n in zip(names, second, strict=True)},
    }
