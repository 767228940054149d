"""Statistics of all clients from sums of what they count, so that nothing is pooled before the first round.

`answer` runs at a site, on its own Dataset; `fit` and `pixel_whitening` run at the coordinator, which is given the sum
of the answers to each question, and no rows and no single answer.
"""

from federated.statistics.disclosure import counts_disclosed, disclosed, pixels_disclosed
from federated.statistics.fitting import fit
from federated.statistics.pixels import pixel_whitening
from federated.statistics.schema import Schema, agreed, require_inputs
from federated.statistics.table_answers import answer, training_rows

__all__ = [
    "Schema",
    "agreed",
    "answer",
    "counts_disclosed",
    "disclosed",
    "fit",
    "pixel_whitening",
    "pixels_disclosed",
    "require_inputs",
    "training_rows",
]
