"""A step of the study federated-hospitals: one algorithm, or each site alone and all pooled, measured site by site."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from federated.config import FederateConfig
from federated.studies.bench import Bench
from federated.tff.execution import Execution
from medimg.data.dataset import Dataset
from medimg.evaluation.exact import bounded
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.mover import mean_of, with_parts
from medimg.evaluation.predictions import Predictions
from medimg.studies.steps import Inputs

_MEASURED = ("accuracy", "auroc")
# Each site alone and all pooled: epochs of Adam, at FLamby's rate. One round, so that Adam keeps its moments as in any
# plain training.
_REFERENCE = {
    "rounds": 1,
    "local_steps": None,
    "client_optimizer": "adam",
    "learning_rate": 0.001,
    "strategy": "fedavg",
}


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Train, and measure the test rows of every site.

    Args:
        inputs: the cell's; the Dataset has sites.
        folder: for records while it trains.
        options: of `federate`; `references`: each site alone and all pooled in the place of an algorithm, for `epochs`,
            which a budget cuts as it cuts the rounds of those that are held against them; `tried`: options of which
            those with the lowest loss on validation count.

    Returns:
        Model (the strategy; `local` and `centralised`) -> `accuracy` and `auroc`, means over sites with intervals over
        their test patients, `sites`, `val_loss`; `times` and `seconds_each` of the rounds.
    """
    references, tried, epochs = options.pop("references", False), options.pop("tried", [{}]), options.pop("epochs", 0)
    config = FederateConfig.from_dict(options).with_given_names(())
    with Bench(Dataset.load(inputs.data), config, folder, inputs.shared.of(Execution)) as bench:
        if references:
            predicted = bench.references(replace(config, **_REFERENCE, local_epochs=epochs))
            return {name: measured(bench, one, inputs.bootstrap) for name, one in predicted.items()}
        trainings = [(one, *bench.train(replace(config, **one))) for one in tried]
        chosen, best, history = min(trainings, key=lambda training: training[2][-1]["val_loss"])
        result = {**measured(bench, best, inputs.bootstrap), "val_loss": history[-1]["val_loss"], "chosen": chosen}
        seconds = [row["seconds"] for _, _, rows in trainings for row in rows]
    return {config.strategy: result, "times": len(seconds), "seconds_each": float(np.mean(seconds))}


def measured(bench: Bench, decided: Predictions, resamples: int) -> dict:
    """Accuracy and AUROC of each site's test rows, and their means over sites.

    A site whose rows are of one class has no AUROC, and is left out of its mean. Intervals are by resampling the
    patients of each site.

    Args:
        bench: that predicted.
        decided: its test rows.
        resamples: of each site's patients.
    """
    columns = [METRICS.index(name) for name in _MEASURED]
    sites, values, draws, own = {}, [], [], {metric: [] for metric in _MEASURED}
    for number, name in enumerate(dict.fromkeys(bench.test.owners)):
        of_site = bench.test.owners == name
        its, patients = decided.take(of_site), bench.test.rows.loc[of_site, "patient"]
        values.append(its.measure(np.ones((1, len(patients))))[0, 0, columns])
        draws.append(cluster_bootstrap(its.measure, patients, resamples, seed=number)[:, 0, columns])
        for column, metric in enumerate(_MEASURED):
            if not np.isnan(values[-1][column]):
                drawn = percentile_interval(draws[-1][:, column])
                own[metric].append(bounded(drawn, values[-1][column], its, patients, metric))
        pairs = zip(_MEASURED, values[-1], strict=True)
        sites[name] = {"n": len(patients), **{metric: None if np.isnan(v) else float(v) for metric, v in pairs}}
    means, drawn = _mean_over_sites(values), _mean_over_sites(draws)
    content = {
        metric: with_parts(percentile_interval(drawn[:, column]), own[metric], mean_of).around(means[column])
        for column, metric in enumerate(_MEASURED)
    }
    return {**content, "sites": sites}


def _mean_over_sites(values: Sequence[np.ndarray]) -> np.ndarray:
    """Of those that have a value; NaN where none has."""
    defined = np.ma.masked_invalid(np.stack(values))
    return np.ma.filled(defined.mean(axis=0), np.nan)
