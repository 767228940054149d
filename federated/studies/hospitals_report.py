"""What the study federated-hospitals leaves: tables, a figure, and a page that says how it was done."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from federated.references import CENTRALISED
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.studies.over_seeds import summary, value
from medimg.style.figures import BLUE, GREY, VERMILION, save, styled

METRICS = ("accuracy", "auroc")


def write(out: Path, dataset: Dataset, sites: pd.DataFrame, options: dict) -> pd.DataFrame:
    """Write `sites.csv`, `results.csv`, `summary.csv`, `strategies.png` and `README.md`.

    Args:
        out: folder of the study.
        dataset: it is about.
        sites: one row a model, seed and site, with `accuracy`, `auroc` (NaN where undefined), `n`, `val_loss`.
        options: of the study.

    Returns:
        summary.csv.
    """
    # A site with one class in test has no AUROC: the mean is over the others.
    results = sites.groupby(["model", "seed"], sort=False)[[*METRICS, "val_loss"]].mean()
    results = results.reset_index()
    table = summary(results, ["model"], METRICS, CENTRALISED)
    losses = results.groupby("model")["val_loss"].mean()
    table["val_loss"] = table["model"].map(losses)
    atomic.write_csv(out / "sites.csv", sites)
    atomic.write_csv(out / "results.csv", results)
    atomic.write_csv(out / "summary.csv", table)
    save(_figure(table, results, dataset.name), out / "strategies.png")
    atomic.write_text(out / "README.md", _page(dataset, sites, table, options))
    return table


def _figure(table: pd.DataFrame, results: pd.DataFrame, name: str) -> Figure:
    order = table["model"].tolist()[::-1]
    with styled():
        figure = Figure(figsize=(8.6, 1.4 + 0.36 * len(order)))
        for axes, metric in zip(figure.subplots(1, 2, sharey=True), METRICS, strict=True):
            for place, model in enumerate(order):
                row = table[table["model"] == model].iloc[0]
                colour = VERMILION if model in ("local", CENTRALISED) else BLUE
                by_seed = results.loc[results["model"] == model, metric]
                axes.scatter(by_seed, [place] * len(by_seed), s=12, color=GREY, zorder=2)
                axes.hlines(place, row[f"{metric}_low"], row[f"{metric}_high"], color=colour)
                axes.plot(row[metric], place, "o", color=colour, zorder=3)
            axes.set_yticks(range(len(order)), order)
            label = "AUROC" if metric == "auroc" else metric
            axes.set_xlabel(f"{label}, mean over sites")
        seeds = int(table["seeds"].max())
        figure.suptitle(f"{name}: {seeds} seeds, mean and 95% interval; grey: each seed")
    return figure


def _page(dataset: Dataset, sites: pd.DataFrame, table: pd.DataFrame, options: dict) -> str:
    sizes = sites[["site", "seed", "n"]].drop_duplicates().groupby("site")["n"].mean()
    tested = ", ".join(f"{site} {n:.0f}" for site, n in sizes.items())
    undefined = sites.loc[sites["auroc"].isna(), ["site", "seed"]].drop_duplicates()
    lines = [
        f"# federated-hospitals on {dataset.name}",
        "",
        "Accuracy (cut at 0.5) and AUROC on each site's test patients, averaged over sites, then over seeds, with the "
        "95% interval of Student's t over seeds. Less centralised: seed by seed.",
        "",
        "| model | seeds | accuracy | less centralised | AUROC | less centralised | validation loss |",
        "|---|---|---|---|---|---|---|",
        *(_line(row) for _, row in table.iterrows()),
        "",
        f"Test rows of a seed, on average: {tested}. AUROC is undefined, and left out of the mean, in {len(undefined)} "
        f"of {len(sites[['site', 'seed']].drop_duplicates())} test parts that hold one class.",
        "",
        "## Protocol",
        "",
        "FLamby (Ogier du Terrail et al. 2022, arXiv:2210.04620), Fed-Heart-Disease: logistic regression, one client a "
        f"site, batches of 4, 100 local updates of plain SGD a round, {options['rounds']} rounds, 34% of each site's "
        "patients for testing. `local` and `centralised` train for 50 epochs of Adam at 0.001.",
        "",
        "What is different here: FLamby has one fixed division of the patients, here every seed divides them anew, "
        "because a test part of a few patients is mostly luck. 10% of the patients are set aside for validation. "
        "FLamby drops three columns (slope, ca, thal) and every row with a missing value; here all columns and rows "
        "stay, missing values are imputed and marked, and numbers are scaled to a deviation of 1, all of it learnt on "
        "the training parts. So FLamby's learning rates, made for unscaled columns, do not carry over. Server "
        "optimizers have beta 0.9 and 0.99 and tau 0.001 (Reddi et al. 2021); FLamby's have 0.9, 0.999 and 1e-8.",
        "",
        "Learning rates: "
        + (
            "of three for each algorithm the one with the lowest loss on the seed's own validation part."
            if options["tune"]
            else "fixed for all seeds; chosen by validation loss on UCI Heart Disease over five seeds, where one "
            "seed's validation patients are another's test patients. `tune` chooses within each seed."
        ),
        "",
    ]
    return "\n".join(lines)


def _line(row: pd.Series) -> str:
    cells = [row["model"], str(row["seeds"])]
    for metric in METRICS:
        cells += [value(row, metric), value(row, f"{metric}_less_{CENTRALISED}", signed=True)]
    return "| " + " | ".join([*cells, value(row, "val_loss")]) + " |"
