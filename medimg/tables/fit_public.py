"""fit_public(): what is publicly known of a table's columns -> Preprocessing; no row is looked at."""

from medimg.data.schema import Feature
from medimg.tables.fit import Learnt, preprocessing_of
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import Input

# A range holds about four standard deviations of what it is the range of.
_DEVIATIONS = 4.0


def fit_public(features: tuple[Feature, ...], config, where: str) -> Preprocessing:
    """Imputation, scaling and encoding for private training.

    A missing number becomes the middle of its range (0 with `--impute constant`, or without a range, which
    `--scale none` does not need), a missing category none of them.
    Every column gets a second one that tells what is missing, whether any row lacks it or not.

    Args:
        features: that a model learns from, all publicly stated (`medimg.tables.public.require_public`).
        config: `impute`, `missing_indicators`, `scale`, `encode`.
        where: the Dataset, for messages.
    """
    learnt = ((_input(feature), _learnt(feature, config)) for feature in features)
    return preprocessing_of(learnt, {}, config, where)


def _input(feature: Feature) -> Input:
    return Input(feature.name, feature.type, feature.order or feature.categories)


def _learnt(feature: Feature, config) -> Learnt:
    if feature.type == "categorical":
        # One code past the last: equal to no category.
        count = len(feature.categories)
        ends, fill = (0.0, count - 1.0), float(count)
    elif feature.type == "ordinal":
        ends = (0.0, len(feature.order) - 1.0)
        fill = 0.0 if config.impute == "constant" else sum(ends) / 2
    else:
        ends = feature.bound or (0.0, 0.0)
        fill = 0.0 if config.impute == "constant" else sum(ends) / 2
    low, high = ends
    width = max(high - low, 1.0) if feature.type in ("ordinal", "categorical") else high - low
    offset, scale = {"none": (0.0, 1.0), "min-max": (low, width), "standard": ((low + high) / 2, width / _DEVIATIONS)}[
        config.scale
    ]
    return Learnt(fill, lacking=True, varies=True, offset=offset, scale=scale)
