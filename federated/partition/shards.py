"""Clients of few classes each: rows sorted by class, cut into equal shards, some for each client.

Source: the pathological non-IID partition of McMahan et al., "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017, section 3 (two shards a client).
"""

import numpy as np
import pandas as pd

from federated.partition.patients import place_in_class
from medimg.errors import InputError


def shards(patients: pd.DataFrame, clients: int, each: int, seed: int) -> np.ndarray:
    """Sort by class, cut into `clients * each` shards of as many rows, and deal `each` to every client by lot.

    A client has shards of train, val and test alike: where it learns two classes it is tested on those two.

    Args:
        patients: of `patients_of`.
        clients: number of them.
        each: shards of a client, at least 1.
        seed: of the order within a class and of the lots.

    Returns:
        int (patients,), the client of each.

    Raises:
        InputError: `each` is below 1, or there are fewer patients than shards.
    """
    count = clients * each
    if each < 1:
        raise InputError(f"--shards {each}: at least 1 for each client")
    if count > len(patients):
        raise InputError(
            f"--partition shards: {clients} clients of {each} shards need {count} patients, there are {len(patients)}; "
            "lower --clients or --shards"
        )
    label = patients["label"].cat.codes.to_numpy()
    rows = np.bincount(label, weights=patients["rows"])
    starts = np.concatenate([[0.0], np.cumsum(rows)[:-1]])
    place = starts[label] + place_in_class(patients, seed) * rows[label]
    shard = np.minimum((place * count / rows.sum()).astype(np.int64), count - 1)
    # Not the stream of the order: shards and their owners are independent.
    owner = np.random.default_rng((seed, 1)).permutation(count) // each
    return owner[shard]
