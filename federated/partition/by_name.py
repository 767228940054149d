"""Clients of a private simulation: whom a patient goes to is a function of the seed and the patient alone.

Dealt evenly, the absence of one patient moves others to another client, and two or more clients' sums change by more
than one contribution each: neither parallel composition nor the clip would bound what that tells. So each patient has
a number of its own, and sizes and class mixes come out as they fall.
"""

import numpy as np
import pandas as pd

from federated.partition.dirichlet import check_alpha
from medimg.data.dataset import SEPARATOR, Dataset
from medimg.errors import InputError
from medimg.privacy.draws.keyed import uniform, unit_keys


def by_name(dataset: Dataset, config) -> np.ndarray:
    """The client of each row of the manifest: int (N,).

    Args:
        dataset: to be divided.
        config: `partition` (`iid`: each client is as likely as any other; `dirichlet`: as likely as the proportions
            that are drawn for the class of the patient), `clients`, `alpha` and `seed`.

    Raises:
        InputError: another partition, or an alpha that is not above 0.
    """
    names = dataset.manifest["patient"].astype(str)
    patients = pd.Index(names.unique())
    number = uniform(unit_keys(f"partition {config.seed}".encode(), patients), 1)[:, 0]
    if config.partition == "iid":
        where = (number * config.clients).astype(np.int64)
    elif config.partition == "dirichlet":
        where = _by_class(dataset, patients, number, config)
    else:
        raise InputError(
            f"--partition {config.partition}: deals shards of equal numbers of rows, so that the absence of one "
            "patient moves others to another client, against which --dp protects nobody; use site, iid or dirichlet"
        )
    return pd.Series(where, index=patients)[names].to_numpy()


def _by_class(dataset: Dataset, patients: pd.Index, number: np.ndarray, config) -> np.ndarray:
    check_alpha(config.alpha)
    order = [*dataset.classes, *([dataset.negative] if dataset.negative else []), ""]
    draw = np.random.default_rng((config.seed, 1))
    # Of every class that dataset.yaml names, whoever has it.
    shares = draw.dirichlet(np.full(config.clients, config.alpha), len(order))
    labels = dataset.manifest[["patient", "label"]].astype(str)
    labels = labels.assign(label=labels["label"].str.split(SEPARATOR)).explode("label")
    place = {name: i for i, name in enumerate(order)}
    # Of several classes the first in dataset.yaml: the rarest depends on the others' classes.
    class_of = labels["label"].map(place).groupby(labels["patient"]).min()[patients].to_numpy()
    # The last bound is 1 by definition; a number beyond it would be a rounding error.
    bounds = np.cumsum(shares, axis=1)[:, :-1]
    return (number[:, None] >= bounds[class_of]).sum(axis=1)
