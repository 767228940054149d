"""Does my site gain? Four models on the same test rows of each site, and the differences that matter to it.

A site may train on its own rows (`local`), take part (`federated`), or hand its rows over (`centralised`); always
giving the commonest answer (`majority`) is the floor. Each site is measured on its own test patients. All models
are measured on the same resamples of these patients, so that what is hard for one is hard for all, and the
interval of a difference is that of pairs.

The intervals speak of other patients of these sites, not of another training: a training with another seed moves
the values too, which a study over seeds shows.

Sources: see `medimg.evaluation.intervals` and `medimg.comparison.paired`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from federated.report.site_gain_words import notes, sentences, word
from medimg.comparison.paired import difference
from medimg.evaluation.exact import bounded
from medimg.evaluation.exact_differences import counted_for_difference
from medimg.evaluation.holm import holm
from medimg.evaluation.intervals import LEVEL, Measured, cluster_bootstrap, percentile_interval
from medimg.evaluation.metrics import LOWER_IS_BETTER, METRICS
from medimg.evaluation.mover import mean_of, with_parts
from medimg.evaluation.predictions import Predictions

FEDERATED = "federated"
POOLED, MEAN = "all rows", "mean of sites"
DRAWS_PER_SITE = 100


def site_gain(
    models: Mapping[str, Predictions],
    sites: Sequence[str],
    patients: Sequence[str],
    metric: str = "auroc",
    resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """Measure every model at every site, and the federated one against each other.

    Args:
        models: name -> predictions of the same N rows, `federated` among them and `local` for the site's word; of
            the local models each site's rows are predicted by its own, with its own threshold (one per row).
        sites: length N, the client of each row.
        patients: length N.
        metric: one of `medimg.evaluation.metrics.METRICS`.
        resamples: of a site's patients; at least 100 times the number of sites are drawn, 0 gives no intervals.
        seed: of the bootstrap.

    Returns:
        `metric`, `lower_is_better`, `models`, `resamples`, `seed`, `level`, `tested` (sites with a test against the
        local models), `places`, `sentences` and `notes`. `places` has an entry for each site, for `all rows` (local
        models side by side: what patients get when every hospital uses its own) and for `mean of sites` (every site
        counts alike; over the sites that have intervals). An entry has `name`, `kind` (site, pooled, mean), `n`,
        `patients`, `support` (class -> rows), `values` (model -> value, low, high), `differences` (other model ->
        federated less other: value, low, high, p, p_holm) and, with local models, `word`: gains, loses, no evidence,
        or too few rows. p_holm is corrected for the number of sites tested.

    Raises:
        ValueError: the models are not of the same rows, or `federated` is missing.
    """
    _check(models, sites, patients)
    sites, patients = np.asarray(sites), np.asarray(patients)
    column = METRICS.index(metric)
    # The smallest p-value is 2 / (resamples + 1): Holm's correction must leave it below 0.05.
    resamples = max(resamples, DRAWS_PER_SITE * len(set(sites.tolist()))) if resamples else 0
    places = _places(models, sites, patients, column, resamples, seed)
    result = {
        "metric": metric,
        "lower_is_better": metric in LOWER_IS_BETTER,
        "models": list(models),
        "resamples": resamples,
        "seed": seed,
        "level": LEVEL,
        "tested": _tested(places),
        "places": places,
    }
    if "local" in models:
        for place in places:
            place["word"] = word(place, result["lower_is_better"])
    return {**result, "sentences": sentences(result), "notes": notes(result)}


def _places(
    models: Mapping[str, Predictions], sites: np.ndarray, patients: np.ndarray, column: int, resamples: int, seed: int
) -> list[dict]:
    """The entries without their words."""
    entries, counted = [], []
    for i, name in enumerate(sorted(set(sites.tolist()))):
        of_site = sites == name
        # Sites of one size must not draw alike: their mean would seem less sure than it is.
        site_seed = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
        part = {model: predictions.take(of_site) for model, predictions in models.items()}
        entry, draws = _measured(part, patients[of_site], column, resamples, site_seed)
        entries.append(({"name": str(name), "kind": "site", **entry}, draws))
        counted.append(counted_for_difference(part[FEDERATED], patients[of_site], METRICS[column]))
    averaged = _mean_of_sites(*zip(*entries, strict=True))
    # Where the patients of all sites agree, no more is said of those of any than of the site with fewest.
    fewest = (
        min(n for (place, _), n in zip(entries, counted, strict=True) if place["name"] not in averaged[0]["left_out"])
        if averaged
        else 0
    )
    entry, draws = _measured(models, patients, column, resamples, seed)
    entries.append(({"name": POOLED, "kind": "pooled", **entry}, draws))
    counted.append(counted_for_difference(models[FEDERATED], patients, METRICS[column]))
    if averaged:
        entries.append(averaged)
        counted.append(fewest)
    for (place, draws), n in zip(entries, counted, strict=True):
        place["differences"] = _differences(place["values"], draws, n)
    places = [place for place, _ in entries]
    _correct(places)
    return places


def _check(models: Mapping[str, Predictions], sites: Sequence, patients: Sequence) -> None:
    if FEDERATED not in models:
        raise ValueError("the federated model's predictions are missing")
    federated = models[FEDERATED]
    for name, predictions in models.items():
        alike = (federated.task, federated.classes) == (predictions.task, predictions.classes)
        if not alike or not np.array_equal(federated.truth, predictions.truth):
            raise ValueError(f"the predictions of '{name}' are not of the federated model's rows")
    if not len(sites) == len(patients) == len(federated) > 0:
        raise ValueError(f"{len(sites)} sites and {len(patients)} patients for {len(federated)} rows")


def _measured(
    models: Mapping[str, Predictions], patients: np.ndarray, column: int, resamples: int, seed: int
) -> tuple[dict, dict[str, np.ndarray]]:
    """The entry of a place without its differences, and model -> the metric on each resample."""
    federated = models[FEDERATED]
    support = federated.truth.sum(axis=0)
    # Resamples would all hold the one row of a class; one patient alone is every resample.
    has_single_row = federated.task != "multilabel" and (support == 1).any()
    if has_single_row or len(set(patients.tolist())) < 2:
        resamples = 0
    everything = np.ones((1, len(federated)))
    values, resampled = {}, {}
    for name, predictions in models.items():
        draws = np.empty(0)
        if resamples:
            draws = cluster_bootstrap(
                lambda weights, p=predictions: p.measure(weights)[:, 0, column], patients, resamples, seed
            )
        value = float(predictions.measure(everything)[0, 0, column])
        resampled[name] = draws
        values[name] = bounded(percentile_interval(draws), value, predictions, patients, METRICS[column])
    entry = {
        "n": len(federated),
        "patients": len(set(patients.tolist())),
        "support": {c: int(k) for c, k in zip(federated.classes, support, strict=True)},
        "values": values,
    }
    return entry, resampled


def _mean_of_sites(
    places: Sequence[dict], resampled: Sequence[dict[str, np.ndarray]]
) -> tuple[dict, dict[str, np.ndarray]] | None:
    """Every site counts alike; each resample draws within every site. None with fewer than two sites to average."""
    measured_sites = [
        i
        for i, place in enumerate(places)
        # Of a site where all resamples agree they are still known.
        if all(m["low"] is not None or m.get("interval") == "none" for m in place["values"].values())
    ]
    if len(measured_sites) < 2:
        return None
    values, draws = {}, {}
    for model in places[0]["values"]:
        draws[model] = np.mean([resampled[i][model] for i in measured_sites], axis=0)
        value = float(np.mean([places[i]["values"][model]["value"] for i in measured_sites]))
        estimates = [places[i]["values"][model] for i in measured_sites]
        values[model] = with_parts(percentile_interval(draws[model]), estimates, mean_of).around(value)
    sites = [places[i] for i in measured_sites]
    entry = {
        "name": MEAN,
        "kind": "mean",
        "n": sum(place["n"] for place in sites),
        "patients": sum(place["patients"] for place in sites),
        "support": {c: sum(p["support"][c] for p in sites) for c in sites[0]["support"]},
        "values": values,
        "left_out": [place["name"] for i, place in enumerate(places) if i not in measured_sites],
    }
    return entry, draws


def _differences(values: dict[str, dict], draws: dict[str, np.ndarray], patients: int) -> dict[str, dict]:
    """Other model -> federated less other."""
    differences = {}
    for baseline in values:
        if baseline == FEDERATED:
            continue
        pair = [values[name]["value"] for name in (FEDERATED, baseline)]
        if None in pair:
            differences[baseline] = {**Measured()._asdict(), "p": None, "left_out": 0}
        else:
            differences[baseline] = asdict(difference(*pair, draws[FEDERATED], draws[baseline], patients))
    return differences


def _tested(places: list[dict]) -> int:
    local = [p["differences"].get("local") for p in places if p["kind"] == "site"]
    return sum(comparison is not None and comparison["p"] is not None for comparison in local)


def _correct(places: list[dict]) -> None:
    """Add `p_holm`: over the sites for each other model; all rows and the mean are one question each."""
    sites = [place for place in places if place["kind"] == "site"]
    for baseline in places[0]["differences"]:
        for place in places:
            place["differences"][baseline]["p_holm"] = place["differences"][baseline]["p"]
        corrected = holm([place["differences"][baseline]["p"] for place in sites])
        for place, p in zip(sites, corrected, strict=True):
            place["differences"][baseline]["p_holm"] = p
