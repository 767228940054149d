"""Clients of different class mixes: each class is divided among them in proportions drawn from a Dirichlet.

Source: Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks", ICML 2019, section 4, as used
by Li et al., "Federated Learning on Non-IID Data Silos", ICDE 2022. Both classes and sizes of clients come out unequal.
(Hsu et al. 2019 draw each client's class mix instead, of clients of one size: that needs sampling with replacement, or
leaves rows over.)
"""

import numpy as np
import pandas as pd

from federated.partition.patients import place_in_class
from medimg.errors import InputError

# After this many draws without success another one will hardly help.
MOST_DRAWS = 1000


def dirichlet(patients: pd.DataFrame, clients: int, alpha: float, min_size: int, seed: int) -> np.ndarray:
    """Divide every class among the clients in proportions drawn from Dirichlet(alpha, ..., alpha).

    A client has the same share of a class in train, val and test, as nearly as whole patients allow. The proportions
    are drawn anew until every client has `min_size` training rows, so with a high `min_size` they are milder than
    alpha says.

    Args:
        patients: of `patients_of`.
        clients: number of them.
        alpha: concentration, above 0: near 0 a class is at one client, at 100 clients are alike.
        min_size: least number of labelled training rows of a client; at least 1.
        seed: of the proportions and of the order of patients.

    Returns:
        int (patients,), the client of each.

    Raises:
        InputError: alpha is not above 0, or no draw gave each client `min_size` rows.
    """
    check_alpha(alpha)
    least = max(min_size, 1)
    rows = patients["train"].to_numpy()
    if clients * least > rows.sum():
        raise InputError(
            f"--min-size {least}: {clients} clients need {clients * least} labelled training rows, there are "
            f"{rows.sum()}; lower --min-size or --clients"
        )
    place = place_in_class(patients, seed)
    label = patients["label"].cat.codes.to_numpy()
    # Not the stream of the order: place and proportions are independent.
    draw = np.random.default_rng((seed, 1))
    fewest = 0
    for _ in range(MOST_DRAWS):
        where = _cut(place, label, clients, alpha, draw)
        sizes = np.bincount(where, weights=rows, minlength=clients)
        if sizes.min() >= least:
            return where
        fewest = max(fewest, int(sizes.min()))
    raise InputError(
        f"--partition dirichlet --alpha {alpha:g}: in {MOST_DRAWS} draws the smallest of {clients} clients never had "
        f"{least} labelled training rows (at best {fewest}); raise --alpha, or lower --min-size or --clients"
    )


def check_alpha(alpha: float) -> None:
    """Refuse a concentration that no proportions can be drawn with.

    Raises:
        InputError: it is not a number above 0.
    """
    if not (np.isfinite(alpha) and alpha > 0):
        raise InputError(f"--alpha {alpha}: must be a number above 0")


def _cut(place, label, clients: int, alpha: float, draw: np.random.Generator) -> np.ndarray:
    where = np.empty(len(place), np.int64)
    for code in np.unique(label):
        members = label == code
        # The last bound is 1 by definition; a place beyond it would be a rounding error.
        bounds = np.cumsum(draw.dirichlet(np.full(clients, alpha)))[:-1]
        where[members] = np.searchsorted(bounds, place[members], side="right")
    return where
