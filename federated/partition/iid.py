"""Clients alike: every class and part spread equally over them."""

import heapq

import numpy as np
import pandas as pd


def iid(patients: pd.DataFrame, clients: int, seed: int) -> np.ndarray:
    """Deal whole patients so that every client has as many rows of each class in each part as any other.

    Each patient, those of many rows first, goes to the client with the fewest rows of its class and part; between
    equals, of its class, then in all, then by lot. Where every patient has one row, clients differ by one patient at
    most in each class and part and in each class.

    Args:
        patients: of `patients_of`.
        clients: number of them.
        seed: of the lots.

    Returns:
        int (patients,), the client of each.
    """
    draw = np.random.default_rng(seed)
    where = np.empty(len(patients), np.int64)
    shuffled = draw.permutation(len(patients))
    sizes = patients["rows"].to_numpy()
    large_first = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    cell = patients.groupby(["label", "split"], observed=True).ngroup().to_numpy()
    label = patients["label"].cat.codes.to_numpy()
    of_class = np.zeros((label.max() + 1, clients), np.int64)
    in_all = np.zeros(clients, np.int64)
    for number in range(cell.max() + 1):
        members = large_first[cell[large_first] == number]
        of_this_class = of_class[label[members[0]]]
        lots = draw.permutation(clients)
        # Rows of the cell, of the class, in all, lot, client: only the client that is drawn changes.
        heap = [(0, int(of_this_class[k]), int(in_all[k]), int(lots[k]), k) for k in range(clients)]
        heapq.heapify(heap)
        for member in members:
            rows, of_label, total, lot, client = heap[0]
            size = int(sizes[member])
            heapq.heapreplace(heap, (rows + size, of_label + size, total + size, lot, client))
            where[member] = client
            of_this_class[client] += size
            in_all[client] += size
    return where
