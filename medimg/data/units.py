"""Rows that must stay together: those that share a patient, or pixels, directly or by others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def units(table: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Number the rows so that rows with a value in common, in any of the columns, directly or by others, share one.

    Args:
        table: with those columns as text; '' is in common with nothing.
        columns: e.g. `patient` and `pixels`.

    Returns:
        int (N,).
    """
    rows, nodes, total = [], [], len(table)
    for column in columns:
        codes, values = pd.factorize(table[column].where(table[column] != ""))
        filled = np.flatnonzero(codes >= 0)
        rows.append(filled)
        nodes.append(codes[filled] + total)
        total += len(values)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_matrix((np.ones(len(row), bool), (row, node)), shape=(total, total))
    return connected_components(graph, directed=False)[1][: len(table)]
