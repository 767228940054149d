"""federated-hospitals: which algorithm serves hospitals best, after FLamby's Fed-Heart-Disease.

Protocol of the source: logistic regression, one client a hospital, batches of 4, 100 local updates a round, 15 rounds,
66% of each hospital's patients for training, accuracy and AUROC averaged over the hospitals' test parts, 5 seeds.

Source: Ogier du Terrail et al., FLamby, NeurIPS 2022, arXiv:2210.04620; its rates and rounds from owkin/FLamby,
`flamby/config_heart_disease.json` and `flamby/datasets/fed_heart_disease/{common,dataset}.py`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from federated.config import FederateConfig
from federated.studies.bench import Bench
from federated.studies.config import HospitalsConfig
from federated.studies.hospitals_report import write
from federated.tff.execution import Execution
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.splits import split_groups
from medimg.data.units import units
from medimg.errors import InputError
from medimg.lock import writes
from medimg.studies.folder import claim
from medimg.untrusted.csv_cells import read_csv

# FLamby's: 66% of every hospital's patients learn, 34% test. It has no validation part; ours is taken from the 66%.
TEST, VALIDATION = 0.34, 0.10

NAME = "federated-hospitals"
ROUNDS, SEEDS = 15, 5
# FLamby's client rates (1e-4 and 1e-3) are for columns as they come, where cholesterol counts in hundreds; ours are
# scaled to a deviation of 1. Chosen by the mean validation loss of seeds 0 to 4 on half of UCI Heart Disease, in NumPy:
# clients' rates from 0.0001 to 0.1 (fedavg: 0.01 gives 0.42, 0.003 and 0.1 0.45) and, at 0.01,
# servers' from 0.01 to 1 (fedadam, fedyogi: 0.03 gives 0.41, 0.01 0.52, 0.1 0.45; fedadagrad and fedavgm: 0.1). mu is
# FLamby's. MimeLite of plain SGD is FedAvg, and so is FedBN of a model without normalisation: neither is in the list.
RATES: dict[str, dict] = {
    "fedavg": {"learning_rate": 0.01},
    "fedprox": {"learning_rate": 0.01, "proximal": 0.01},
    "scaffold": {"learning_rate": 0.01},
    "fedavgm": {"learning_rate": 0.01, "server_learning_rate": 0.1},
    "fedadagrad": {"learning_rate": 0.01, "server_learning_rate": 0.1},
    "fedadam": {"learning_rate": 0.01, "server_learning_rate": 0.03},
    "fedyogi": {"learning_rate": 0.01, "server_learning_rate": 0.03},
}
# What `tune` tries in the place of those.
_CLIENT_RATES, _SERVER_RATES = (0.003, 0.01, 0.03), (0.03, 0.1, 0.3)
TRIED: dict[str, list[dict]] = {
    name: [{"server_learning_rate": rate} for rate in _SERVER_RATES]
    if "server_learning_rate" in rates
    else [{"learning_rate": rate} for rate in _CLIENT_RATES]
    for name, rates in RATES.items()
}
# Each site alone and all pooled: FLamby's 50 epochs of Adam, at its rate.
REFERENCE = {
    # One round, so that Adam keeps its moments as in any plain training.
    "rounds": 1,
    "local_steps": None,
    "local_epochs": 50,
    "client_optimizer": "adam",
    "learning_rate": 0.001,
    "strategy": "fedavg",
}
REFERENCES = ("local", "centralised")


@dataclass(frozen=True)
class Training:
    """One algorithm with one choice of rates.

    Attributes:
        model: algorithm; `references` stands for all of REFERENCES.
        variant: number of the choice.
        options: of it.
    """

    model: str
    variant: int
    options: dict

    def file(self, out: Path, seed: int) -> Path:
        """What it leaves."""
        return out / "trainings" / f"{self.model}-{self.variant}-seed-{seed}.csv"


@writes("out")
def federated_hospitals(
    data: Path, out: Path, study: HospitalsConfig, progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Train every algorithm over seeds, beside each hospital alone and all pooled.

    Every seed divides each hospital's patients anew, and the same for all algorithms. A training that is done is not
    done again, so a killed study goes on where it stopped.

    Args:
        data: a prepared table of a binary task with sites.
        out: gets `trainings/*.csv`, `sites.csv`, `results.csv`, `summary.csv`, `strategies.png` and `README.md`.
        study: `seeds`, `rounds`, `strategy` and `tune`.
        progress: called with trainings done and trainings in all.

    Returns:
        One row a model: `model`, `seeds` and, of `accuracy` and `auroc`, the mean over seeds of the mean over sites,
        with `_low` and `_high`, and their differences from `centralised`, seed by seed.

    Raises:
        InputError: the Dataset or an option doesn't fit.
    """
    dataset, out = Dataset.load(data), Path(out)
    if not dataset.is_table or dataset.task != "binary":
        raise InputError(f"{data}: {NAME} needs a table of a binary task with sites, such as heart")
    trainings = [Training("references", 0, REFERENCE), *_trainings(study)]
    rounds, seeds = study.rounds or ROUNDS, study.seeds or SEEDS
    claim(out, NAME, dataset, {"rounds": rounds, "tune": study.tune})
    with Execution() as execution:
        for seed in range(seeds):
            missing = [training for training in trainings if not training.file(out, seed).is_file()]
            finished = (seed + 1) * len(trainings) - len(missing)
            for count, _ in enumerate(_run(dataset, out, seed, rounds, missing, execution), start=1):
                if progress:
                    progress(finished + count, seeds * len(trainings))
    files = [training.file(out, seed) for seed in range(seeds) for training in trainings]
    sites = _chosen(pd.concat([read_csv(file, dtype={"site": str}) for file in files], ignore_index=True))
    return write(out, dataset, sites, {"rounds": rounds, "tune": study.tune})


def divided(dataset: Dataset, seed: int) -> Dataset:
    """The Dataset with parts drawn anew, classes alike in all parts of every site.

    Args:
        dataset: with sites; patients, and rows that are identical, stay together.
        seed: of the draw.

    Raises:
        InputError: a row without site or without label.
    """
    rows = dataset.manifest
    for column in ("site", "label"):
        empty = rows[column] == ""
        if empty.any():
            name = rows.loc[empty, dataset.unit].iloc[0]
            raise InputError(
                f"{dataset.root / 'manifest.csv'}: {dataset.unit} '{name}' has no {column}; federated-hospitals needs "
                "one for every row"
            )
    strata = rows["site"] + "\n" + rows["label"]
    unit_of = units(
        pd.DataFrame({"patient": rows["patient"].astype(str), "copy": _copies(dataset)}), ["patient", "copy"]
    )
    fractions = (1 - TEST - VALIDATION, VALIDATION, TEST)
    parts = split_groups(strata, unit_of, fractions, seed)
    return replace(dataset, manifest=rows.assign(split=parts))


def _trainings(study: HospitalsConfig) -> list[Training]:
    for name in study.strategy:
        if name not in RATES:
            raise InputError(f"--strategy {name}: {NAME} has {', '.join(RATES)}")
    return [
        Training(name, variant, RATES[name] | tried)
        for name in study.strategy or RATES
        for variant, tried in enumerate(TRIED[name] if study.tune else [{}])
    ]


def _run(
    dataset: Dataset, out: Path, seed: int, rounds: int, trainings: list[Training], execution: Execution
) -> Iterator[Training]:
    """Do a seed's trainings, each whole when it is given back."""
    if not trainings:
        return
    base = FederateConfig(
        model="logistic",
        partition="site",
        rounds=rounds,
        local_steps=100,
        batch_size=4,
        client_optimizer="sgd",
        seed=seed,
    )
    with Bench(divided(dataset, seed), base, out / "records", execution) as bench:
        for training in trainings:
            if training.model == "references":
                predictions = bench.references(replace(base, **training.options))
                results = {name: (predictions[name], math.nan) for name in REFERENCES}
            else:
                config = replace(base, strategy=training.model, **training.options)
                results = {training.model: bench.train(config)}
            rows = [
                {"model": name, "seed": seed, "variant": training.variant, "val_loss": loss, **row}
                for name, (predicted, loss) in results.items()
                for row in bench.by_site(predicted)
            ]
            atomic.write_csv(training.file(out, seed), pd.DataFrame(rows))
            yield training


def _chosen(sites: pd.DataFrame) -> pd.DataFrame:
    """Of each model and seed the variant of the lowest loss on the seed's own validation part."""
    least = sites.groupby(["model", "seed"])["val_loss"].transform("min")
    return sites[least.isna() | (sites["val_loss"] == least)].reset_index(drop=True)


def _copies(dataset: Dataset) -> pd.Series:
    """What identical rows share."""
    if "pixels" in dataset.manifest:
        return dataset.manifest["pixels"].astype(str)
    content = dataset.manifest[["label", *(f.name for f in dataset.inputs)]]
    return pd.util.hash_pandas_object(content, index=False).astype(str)
