"""answer(): what a site says of its own data to one request of the coordinator."""

from federated.statistics import pixels, table_answers
from medimg.dataset import Dataset
from medimg.errors import InputError

_KINDS = {**table_answers.KINDS, "pixels": pixels.pixels}


def answer(dataset: Dataset, request: dict) -> dict:
    """Counts and sums over the labelled training rows or images of a site; run where its data are.

    Args:
        dataset: the site's own.
        request: plain values with a `kind`, as `fit` and `pixel_whitening` ask.

    Returns:
        Plain values, fit for JSON.

    Raises:
        InputError: an unknown kind, or data that do not fit the federation.
    """
    kind = request.get("kind")
    if kind not in _KINDS:
        raise InputError(
            f"statistics '{kind}' are not known here; run the same version of medimg everywhere"
        )
    return _KINDS[kind](dataset, request)
