"""Would a group comparison on private synthetic rows find a difference where none is?

Noise that protects patients is drawn once and then repeated in every row that is made: a test that takes the rows for
patients counts it as evidence. Perez et al., "Does differentially private synthetic data lead to synthetic
discoveries?", Methods of Information in Medicine 63, 2024: of Mann and Whitney's test most private generators had far
too many errors of the first kind, of few patients above all.

How many is measured: the labels of the training patients are shuffled among them, so that no column differs between
classes; noisy marginals at the same epsilon are learnt from these, which takes no time, and make as many rows; every
column is compared between the two largest classes. Of patients one comparison in twenty has p < 0.05. Of made rows
without any noise more have, since they are a sample of a sample: a difference has the variance of both.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, mannwhitneyu, norm

from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.evaluation.exact import bounded_share
from medimg.evaluation.few_faults import any_of_few
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.style.words import interval
from synthetic.judge import thresholds as limits
from synthetic.judge.findings import Finding
from synthetic.judge.rows import Subject
from synthetic.tables.columns import numbers_of

# Deals of the labels.
DEALS = 20
# Columns that are compared.
MOST_COLUMNS = 40


def measure(subject: Subject, privacy: dict | None, seed: int) -> dict | None:
    """The share of comparisons with p < 0.05 where no column differs between classes.

    Args:
        subject: a table.
        privacy: `epsilon` and `delta` of the synthetic rows; None: they are not private, and nothing is measured.
        seed: of the deals.

    Returns:
        `rows` and `training_rows`; `without_noise`: the share were there no noise; `synthetic` and `real` (the training
        rows themselves with shuffled labels): each `value`, `low`, `high`, None where nothing can be measured;
        `comparisons`.
    """
    if privacy is None:
        return None
    measures = {"rows": len(subject.made), "training_rows": len(subject.train), "epsilon": privacy["epsilon"]}
    measures["without_noise"] = without_noise(measures["rows"], measures["training_rows"])
    p_values_of = _compared(subject, privacy, seed)
    comparisons = sum(map(len, p_values_of["real"]))
    return measures | {name: _share(values) for name, values in p_values_of.items()} | {"comparisons": comparisons}


def findings(measures: dict | None) -> Iterator[Finding]:
    """Of few rows, or where noise beyond doubt makes more errors than there would be without."""
    if measures is None:
        return
    few = min(measures["rows"], measures["training_rows"]) < limits.FEW_PRIVATE_ROWS
    synthetic = measures["synthetic"]
    inflated = synthetic is not None and synthetic["low"] > measures["without_noise"]
    if not few and not inflated:
        return
    rates = "how often was not measured"
    if synthetic is not None:
        rates = (
            f"where no column differs (shuffled labels; noisy marginals at epsilon {measures['epsilon']:.3g}, "
            f"{measures['rows']} rows of {measures['training_rows']}) {interval(synthetic)} of the comparisons of two "
            f"classes have p < {limits.SIGNIFICANT}, of real rows {interval(measures['real'])}, of made rows without "
            f"noise about {measures['without_noise']:.2f}"
        )
    yield Finding(
        "utility",
        "care",
        "don't test hypotheses on these private rows: noise is taken for a difference between groups, the more the "
        f"fewer rows they come from (here {measures['training_rows']}; few: under {limits.FEW_PRIVATE_ROWS}); {rates}.",
    )


def without_noise(rows: int, training_rows: int) -> float:
    """Share of comparisons with p < SIGNIFICANT of rows drawn from the exact shares of patients who don't differ.

    Args:
        rows: made.
        training_rows: learnt from.
    """
    return float(2 * norm.sf(norm.isf(limits.SIGNIFICANT / 2) / np.sqrt(1 + rows / training_rows)))


def p_values(rows: pd.DataFrame, labels: np.ndarray, features: tuple[Feature, ...]) -> list[float]:
    """The comparison of each column that varies between the two largest classes: Mann-Whitney, of categories chi².

    Args:
        rows: N, of a manifest.
        labels: (N,).
        features: columns.
    """
    names = pd.Series(labels).value_counts().index[:2]
    ps = []
    for feature in features[:MOST_COLUMNS]:
        values = rows[feature.name]
        if feature.is_number or feature.type == "date":
            numbers = numbers_of(values, feature.type)
            parts = [numbers[~np.isnan(numbers) & (labels == name)] for name in names]
            if all(map(len, parts)) and np.ptp(np.concatenate(parts)):
                ps.append(float(mannwhitneyu(*parts, method="asymptotic").pvalue))
        else:
            of_two = (values != "").to_numpy() & np.isin(labels, names)
            counts = pd.crosstab(values[of_two], labels[of_two])
            if min(counts.shape, default=0) > 1:
                ps.append(float(chi2_contingency(counts, correction=False)[1]))
    return ps


def _compared(subject: Subject, privacy: dict, seed: int) -> dict[str, list[list[float]]]:
    """p of the comparisons of each deal."""
    # Lazily: the code of a table needs torch.
    from synthetic.tables.rehearsal import Rehearsal

    p_values_of: dict[str, list[list[float]]] = {"synthetic": [], "real": []}
    train, features = subject.train, subject.real.inputs
    classes = tuple(sorted(set(train["label"])))
    counts = subject.made["label"].value_counts().reindex(classes, fill_value=0)
    if (counts > 0).sum() < 2:
        return p_values_of
    try:
        rehearsal = Rehearsal(train, features, classes, privacy["epsilon"], privacy["delta"])
    except InputError:
        # Nothing varies, or no noise keeps this epsilon.
        return p_values_of
    for deal in range(DEALS):
        labels = _shuffled(train, np.random.default_rng([seed, 8, deal]))
        made = rehearsal.made(labels, counts.to_dict(), deal)
        p_values_of["synthetic"].append(p_values(made, made["label"].to_numpy(), features))
        p_values_of["real"].append(p_values(train, labels, features))
    return p_values_of


def _shuffled(rows: pd.DataFrame, draw: np.random.Generator) -> np.ndarray:
    """Every patient gets the label of another one's first row: (N,)."""
    first = rows.groupby("patient", sort=False)["label"].first()
    dealt = pd.Series(draw.permutation(first.to_numpy()), index=first.index)
    return rows["patient"].map(dealt).to_numpy()


def _share(deals: list[list[float]]) -> dict | None:
    """How many are significant, with its interval over deals: columns that go together err together."""
    p = np.concatenate([[], *deals])
    if not len(p):
        return None
    wrong, deal = p < limits.SIGNIFICANT, np.repeat(np.arange(len(deals)), list(map(len, deals)))
    replicates = cluster_bootstrap(lambda weights: weights @ wrong / weights.sum(axis=1), deal)
    interval, share = percentile_interval(replicates), float(wrong.mean())
    few = any_of_few((wrong, ~wrong), deal)
    return bounded_share(interval, share, len(deals), few).around(share)
