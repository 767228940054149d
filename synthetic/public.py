"""What a private synthesis takes as public beside its options: statements of columns, and the size in coarse steps."""

from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.tables.public import public_of
from synthetic.config import SynthesizeConfig

SITE = Feature("site", "categorical")


def stated(dataset: Dataset, config: SynthesizeConfig) -> tuple[Feature, ...]:
    """The table's columns, then the site, with what `--bound`, `--categories` and dataset.yaml state of them.

    Raises:
        InputError: an option states nothing of a column of this table.
    """
    return public_of((*dataset.features, SITE), config.bound, config.categories)


def bounds_of(features: tuple[Feature, ...]) -> dict[str, tuple[float, float]]:
    """Column -> lowest and highest value, of those with a stated range."""
    return {f.name: f.bound for f in features if f.bound is not None}
