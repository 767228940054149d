"""How clients differ: counts, class mixes, their distance from the pooled mix, and what chance alone would make of it.

Sources: total variation of label distributions as the measure of non-IID data, Zhao et al., "Federated Learning with
Non-IID Data", 2018 (their earth mover's distance is twice it); Jensen-Shannon distance, Endres and Schindelin 2003;
effective number of classes = exp(entropy), Jost, "Entropy and diversity", Oikos 2006; effective number of clients, Kish
1965.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.spatial.distance import jensenshannon

from federated.clients.client import Client
from medimg.data.dataset import SEPARATOR, SPLITS, Dataset
from medimg.inspection.counts import UNLABELLED
from medimg.tables.shift import site_shift

POOLED = "(pooled)"
_PERMUTATIONS = 200
_UNPROTECTED = ("val", "test")
_COLUMNS = (
    "client",
    "patients",
    *SPLITS,
    "unlabelled",
    "classes_present",
    "effective_classes",
    "total_variation",
    "jensen_shannon",
)


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """How the clients of a federation differ.

    Class mixes are of labelled training rows, which is what clients learn from; of a multilabel task they are shares of
    all labels given, the negative one included.

    Attributes:
        unit: `image` or `row`.
        classes: of the mixes, in order.
        counts: `client`, `split`, `class`, `rows`, `patients`; one row for each client, part and class.
        clients: one row a client and POOLED last: `client`, `patients`, `train`, `val`, `test` (labelled rows),
            `unlabelled`, `classes_present`, `effective_classes` (1 to the number of classes), `total_variation` and
            `jensen_shannon` (distance of its mix from the pooled one, 0 = the same to 1 = nothing in common).
        mixes: float (clients, classes), shares that sum to 1.
        total_variation, jensen_shannon: means over clients, weighted by training rows (multilabel: labels).
        by_chance: mean total variation if the same patients were dealt at random to clients of the same numbers of
            patients; the difference from it is what the partition makes.
        by_chance_high: its 95th percentile.
        effective_clients: 1 / sum of squared shares of training rows; the number of clients where all are of one size.
        feature_shift: of a table, standardised difference of each input feature between a client and all others (see
            `medimg.tables.shift`); else None.
    """

    unit: str
    classes: tuple[str, ...]
    counts: pd.DataFrame
    clients: pd.DataFrame
    mixes: np.ndarray
    total_variation: float
    jensen_shannon: float
    by_chance: float
    by_chance_high: float
    effective_clients: float
    feature_shift: pd.DataFrame | None

    def summary(self) -> dict:
        """The numbers of the federation as a whole, for JSON."""
        names = ("total_variation", "jensen_shannon", "by_chance", "by_chance_high", "effective_clients")
        return {"clients": len(self.mixes), **{name: getattr(self, name) for name in names}}


def heterogeneity(clients: Sequence[Client], seed: int = 0) -> Heterogeneity:
    """Measure how clients differ.

    Args:
        clients: of one partition, each with labelled training rows.
        seed: of the permutations that tell what chance would make.
    """
    dataset = clients[0].dataset
    classes = (*dataset.classes, *([dataset.negative] if dataset.negative else []))
    labels = _labels(clients)
    counts = _counts(clients, labels, classes)
    training = labels[(labels["split"] == "train") & labels["class"].isin(classes)]
    per_patient, owner = _by_patient(training, classes)
    by_class = _summed(owner, per_patient, len(clients))
    mixes, pooled = _shares(by_class), _shares(by_class.sum(axis=0))
    sizes = by_class.sum(axis=1)
    variation = total_variation(mixes, pooled)
    divergence = np.array([jensenshannon(mix, pooled, base=2) for mix in mixes])
    chance = _by_chance(per_patient, owner, len(clients), seed)
    return Heterogeneity(
        unit=dataset.unit,
        classes=classes,
        counts=counts,
        clients=_table(clients, np.vstack([mixes, pooled]), variation, divergence),
        mixes=mixes,
        total_variation=float(np.average(variation, weights=sizes)),
        jensen_shannon=float(np.average(divergence, weights=sizes)),
        by_chance=float(chance.mean()),
        by_chance_high=float(np.quantile(chance, 0.95)),
        effective_clients=float(sizes.sum() ** 2 / (sizes**2).sum()),
        feature_shift=_feature_shift(clients) if dataset.is_table else None,
    )


def unprotected(clients: Sequence[Client]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of a private training: counts by client, part and class of val and test alone, and the table of clients, in
    which what is of training patients has empty cells: it carries no noise. How clients differ is not measured.
    """
    dataset = clients[0].dataset
    classes = (*dataset.classes, *([dataset.negative] if dataset.negative else []))
    labels = _labels(clients)
    counts = _counts(clients, labels[labels["split"].isin(_UNPROTECTED)], classes)
    rows = {client.name: {p: len(client.dataset.rows(p, labelled=True)) for p in _UNPROTECTED} for client in clients}
    return counts[counts["split"].isin(_UNPROTECTED)], withheld_table(rows)


def withheld_table(rows: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """partition.csv with empty cells for what is of protected patients.

    Args:
        rows: client -> labelled rows in `val` and `test`.
    """
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc[POOLED] = table.sum()
    return table.astype(int).rename_axis("client").reset_index().reindex(columns=_COLUMNS)


def total_variation(mixes: np.ndarray, pooled: np.ndarray) -> np.ndarray:
    """Half the sum of absolute differences of shares, (..., classes) against (classes,)."""
    return np.abs(mixes - pooled).sum(axis=-1) / 2


def effective_classes(mixes: np.ndarray) -> np.ndarray:
    """exp(entropy): the number of equally common classes that are as diverse; (..., classes) -> (...)."""
    logs = np.log(mixes, out=np.zeros_like(mixes), where=mixes > 0)
    return np.exp(-(mixes * logs).sum(axis=-1))


def _labels(clients: Sequence[Client]) -> pd.DataFrame:
    """`client` (position), `patient`, `split`, `class`: a row for every label of every row."""
    parts = []
    for i, client in enumerate(clients):
        rows = client.dataset.manifest[["patient", "split", "label"]].assign(client=i)
        parts.append(rows.rename(columns={"label": "class"}))
    labels = pd.concat(parts, ignore_index=True)
    if clients[0].dataset.task == "multilabel":
        labels = labels.assign(**{"class": labels["class"].str.split(SEPARATOR)}).explode("class")
    return labels.assign(**{"class": labels["class"].replace("", UNLABELLED)})


def _counts(clients, labels: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    names = [*classes, *([UNLABELLED] if (labels["class"] == UNLABELLED).any() else [])]
    keys = ["client", "split", "class"]
    cells = pd.MultiIndex.from_product([range(len(clients)), SPLITS, names], names=keys)
    grouped = labels.groupby(keys)["patient"].agg(["size", "nunique"]).reindex(cells, fill_value=0)
    table = grouped.reset_index().rename(columns={"size": "rows", "nunique": "patients"})
    return table.assign(client=table["client"].map(lambda i: clients[i].name))


def _by_patient(training: pd.DataFrame, classes) -> tuple[csr_matrix, np.ndarray]:
    """Labels of each patient at its client by class, sparse (patients, classes), and the patient's client."""
    groups = training.groupby(["client", "patient"], sort=True)
    number = groups.ngroup().to_numpy()
    column = pd.Categorical(training["class"], categories=classes).codes
    shape = (groups.ngroups, len(classes))
    matrix = csr_matrix((np.ones(len(training)), (number, column)), shape=shape)
    owner = np.zeros(groups.ngroups, np.int64)
    owner[number] = training["client"]
    return matrix, owner


def _summed(owner: np.ndarray, per_patient: csr_matrix, clients: int) -> np.ndarray:
    """Labels by client and class, float (clients, classes)."""
    n = len(owner)
    membership = csr_matrix((np.ones(n), (owner, np.arange(n))), shape=(clients, n))
    return (membership @ per_patient).toarray()


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)


def _by_chance(per_patient, owner: np.ndarray, clients: int, seed: int) -> np.ndarray:
    """Weighted mean total variation of each of _PERMUTATIONS random dealings of the same patients."""
    draw = np.random.default_rng(seed)
    result = []
    for _ in range(_PERMUTATIONS):
        by_class = _summed(draw.permutation(owner), per_patient, clients)
        variation = total_variation(_shares(by_class), _shares(by_class.sum(axis=0)))
        result.append(np.average(variation, weights=by_class.sum(axis=1)))
    return np.array(result)


def _table(clients: Sequence[Client], mixes: np.ndarray, variation, divergence) -> pd.DataFrame:
    rows = [_numbers(client.name, [client.dataset]) for client in clients]
    rows.append(_numbers(POOLED, [client.dataset for client in clients]))
    return pd.DataFrame(rows).assign(
        classes_present=(mixes > 0).sum(axis=1),
        effective_classes=effective_classes(mixes),
        total_variation=[*variation, 0.0],
        jensen_shannon=[*divergence, 0.0],
    )


def _numbers(name: str, datasets: Sequence[Dataset]) -> dict:
    return {
        "client": name,
        "patients": sum(dataset.manifest["patient"].nunique() for dataset in datasets),
        **{p: sum(len(dataset.rows(p, labelled=True)) for dataset in datasets) for p in SPLITS},
        "unlabelled": sum(int((dataset.manifest["label"] == "").sum()) for dataset in datasets),
    }


def _feature_shift(clients: Sequence[Client]) -> pd.DataFrame:
    train = [client.dataset.rows("train").assign(site=client.name) for client in clients]
    inputs = clients[0].dataset.inputs
    return site_shift(pd.concat(train), inputs, [client.name for client in clients])
