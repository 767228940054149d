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
from statsmodels.stats.multitest import multipletests

from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
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
        found = []
        for one in pool.map(lambda path: _statistics(path, size), dataset.paths(rows)):
            found.append(one)
            if progress:
                progress(len(found), len(rows))
    return pd.DataFrame(found, columns=[*STATISTICS, *FORMS], index=rows.index)


def _statistics(path: Path, size: int) -> tuple:
    image = read_image(path)
    grey = as_pixels(load_raw(path, size, 1))[..., 0]
    dark, bright = np.percentile(grey, [1, 99])
    sharpness = np.log1p(cv2.Laplacian(grey, cv2.CV_32F).var())
    kind = "grey" if image.ndim == 2 else "colour"
    form = f"{8 * image.dtype.itemsize}-bit {kind}"
    return grey.mean(), grey.std(), dark, bright, sharpness, float(image.shape[1]), float(image.shape[0]), form


def metadata(own: Dataset, own_rows: pd.DataFrame, here: Dataset, rows: pd.DataFrame) -> dict[str, tuple]:
    """Columns that both have: name -> (values of own rows, values of theirs), numbers as float64, else text."""
    if own.is_table:
        common = [f for f in own.inputs if f.name in rows]
        return {f.name: _of_feature(f, own_rows, rows) for f in common}
    names = [name for name in own_rows if name in rows and name not in ROLES]
    found = {}
    for name in names:
        both = pd.concat([own_rows[name], rows[name]], ignore_index=True)
        known = both.notna() & (both.astype(str).str.strip() != "")
        numbers = pd.to_numeric(both[known], errors="coerce")
        if known.any() and numbers.notna().all() and numbers.nunique() > 2:
            values = pd.to_numeric(both.where(known), errors="coerce")
        else:
            values = both.where(known, "").astype(str)
            # As many names as patients: whose they are, not what they are like.
            if values[known].nunique() > min(MOST_LEVELS, max(2, known.sum() // 2)):
                continue
        found[_OF_SOURCE.get(name, name)] = (values[: len(own_rows)], values[len(own_rows) :])
    return found


def _of_feature(feature, own_rows: pd.DataFrame, rows: pd.DataFrame) -> tuple:
    if is_ordered(feature):
        return tuple(pd.Series(ordered_values(frame, feature)) for frame in (own_rows, rows))
    return own_rows[feature.name], rows[feature.name]


def compare(kind: str, name: str, own, here, own_patients, patients) -> dict | None:
    """One quantity of two groups of patients.

    Args:
        kind: `image`, `metadata`, `class` or `prediction`.
        name: of the quantity.
        own: values of the Run's own rows; numbers, or text with '' for missing.
        here: of the others'.
        own_patients: whose each of `own` is.
        patients: whose each of `here` is.

    Returns:
        `kind`, `name`, `test`, `p`, `effect` (None: no overlap at all), `own` and `here` (mean and sd, or shares) and
        the share that is `missing` in each; None where a side has fewer than two patients with a value.
    """
    first, second = _by_patient(own, own_patients), _by_patient(here, patients)
    is_number = pd.api.types.is_numeric_dtype(first) and pd.api.types.is_numeric_dtype(second)
    known = [side.dropna() if is_number else side[side.notna() & (side != "")] for side in (first, second)]
    if min(map(len, known)) < 2:
        return None
    missing = {
        key: float(1 - len(some) / len(side))
        for key, some, side in zip(("own", "here"), known, (first, second), strict=True)
    }
    measure = _numbers if is_number else _categories
    return {"kind": kind, "name": name, **measure(*known), "missing": missing}


def settle(found: list[dict]) -> list[dict]:
    """With `p_holm` over all of them and whether each is `shifted`; the largest differences first."""
    if not found:
        return []
    adjusted = multipletests([one["p"] for one in found], ALPHA, "holm")[1]
    settled = []
    for one, p in zip(found, adjusted, strict=True):
        large = one["effect"] is None or abs(one["effect"]) >= NEGLIGIBLE
        settled.append({**one, "p_holm": float(p), "shifted": bool(p < ALPHA and large)})
    return sorted(settled, key=lambda one: (not one["shifted"], -_size(one)))


def _size(one: dict) -> float:
    return np.inf if one["effect"] is None else abs(one["effect"])


def _by_patient(values, patients) -> pd.Series:
    """The first value of each patient: means of more images vary less, so sites with more a patient would differ."""
    return pd.Series(np.asarray(values))[~pd.Series(np.asarray(patients)).duplicated()]


def _numbers(own: pd.Series, here: pd.Series) -> dict:
    effect = mean_difference(here.to_numpy(float)[:, None], own.to_numpy(float)[:, None])[0]
    return {
        "test": "Kolmogorov-Smirnov",
        "p": float(ks_2samp(own, here).pvalue),
        "effect": float(effect) if np.isfinite(effect) else None,
        "own": {"mean": float(own.mean()), "sd": float(own.std())},
        "here": {"mean": float(here.mean()), "sd": float(here.std())},
    }


def _categories(own: pd.Series, here: pd.Series) -> dict:
    codes, names = levels(pd.concat([own, here], ignore_index=True))
    first, second = (np.bincount(part, minlength=len(names)) for part in (codes[: len(own)], codes[len(own) :]))
    effect = category_difference(second, first)
    p = chi2_contingency(np.stack([first, second]))[1] if len(names) > 1 else 1.0
    return {
        "test": "chi-squared",
        "p": float(p),
        "effect": float(effect) if np.isfinite(effect) else None,
        "own": {name: float(n / len(own)) for name, n in zip(names, first, strict=True)},
        "here": {name: float(n / len(here)) for name, n in zip(names, second, strict=True)},
    }
