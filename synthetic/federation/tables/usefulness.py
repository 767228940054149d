"""Is it trained? Made rows against the clients' real rows: AUROC where those are, columns by what was counted."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from federated.clients.client import Client
from medimg.data.dataset import Dataset
from synthetic.federation.tables.agreement import Agreement
from synthetic.tables.frames import from_frame
from synthetic.tables.usefulness import Usefulness, auroc, drift, taught


def usefulness_at_sites(
    dataset: Dataset, clients: Sequence[Client], made: pd.DataFrame, agreement: Agreement, seed: int
) -> Usefulness:
    """Means over the clients, by rows, of what each finds on its own rows of train and val.

    A client gets the made rows, trains a classifier on them, and tells its AUROC on its own rows beside that of one
    cross-validated on these; one with too few rows or one class tells nothing.

    Args:
        dataset: classes and features.
        clients: all.
        made: `label` and the columns.
        agreement: of the clients.
        seed: of folds and samples.
    """
    answers = []
    for client in clients:
        rows = client.dataset.rows("train", labelled=True)
        real = pd.concat([rows, client.dataset.rows("val", labelled=True)])
        answers.append((len(real), *taught(dataset, made, real, seed)))
    counted = from_frame(agreement.stand_ins, agreement.columns, len(agreement.stand_ins))
    return Usefulness(*_means(answers), *drift(dataset, counted, made))


def private_usefulness_at_sites(dataset: Dataset, clients: Sequence[Client], made: pd.DataFrame) -> Usefulness:
    """The same by the rows of val alone: what training rows tell would cost privacy."""
    validation = [client.dataset.rows("val", labelled=True) for client in clients]
    answers = [(len(real), auroc(dataset, made, real)) for real in validation if len(real)]
    return Usefulness(*_means(answers))


def _means(answers: list[tuple]) -> list[float | None]:
    """Of (rows, score, ...) the mean of each score by rows, of clients that told them all."""
    known = [one for one in answers if None not in one]
    if not known:
        return [None]
    rows, *scores = np.array(known, float).T
    return [float(np.average(score, weights=rows)) for score in scores]
