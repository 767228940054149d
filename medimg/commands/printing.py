"""Results as the command line prints them."""

from pathlib import Path

import click

from medimg.commands.console import say, table
from medimg.style.words import interval, number

METRICS = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "brier",
    "ece",
)
CLASS_METRICS = ("auroc", "auprc", "sensitivity", "specificity")
ATTACK_METRICS = ("advantage_held_out", "tpr_at_fpr_0.001", "tpr_at_fpr_0.01")


def counts(dataset) -> None:
    """Patients, rows and classes by part."""
    parts = {split: dataset.rows(split) for split in ("train", "val", "test")}
    labels = {s: rows["label"].str.split("|").explode().value_counts() for s, rows in parts.items()}
    names = [*dataset.classes, dataset.negative] if dataset.negative else dataset.classes
    rows = [["patients", *(part["patient"].nunique() for part in parts.values())]]
    rows += [[f"{dataset.unit}s", *(len(part) for part in parts.values())]]
    rows += [[name, *(int(labels[split].get(name, 0)) for split in parts)] for name in names]
    table(f"{dataset.name}: {dataset.task}", ["", *parts], rows)
    click.echo(in_parts(dataset))


def in_parts(dataset) -> str:
    """`318 of 455 patients are in training, 68 in validation, 69 in test; 318, 68 and 69 of 455 rows`."""
    parts = [dataset.rows(split) for split in ("train", "val", "test")]
    people, rows = [f"{part['patient'].nunique():,}" for part in parts], [f"{len(part):,}" for part in parts]
    everybody, all_rows = f"{dataset.manifest['patient'].nunique():,}", f"{len(dataset.manifest):,}"
    return (
        f"{people[0]} of {everybody} patients are in training, {people[1]} in validation, {people[2]} in test; "
        f"{rows[0]}, {rows[1]} and {rows[2]} of {all_rows} {dataset.unit}s"
    )


def positive(description: dict) -> None:
    """Of a binary task the class that probabilities, threshold, sensitivity and explanations speak of.

    Args:
        description: a Run's, a result, or any with `task` and `classes`.
    """
    from medimg.data.positive import positive_class

    name = positive_class(description["task"], description["classes"])
    if name:
        say(f"positive class: {name}")


def training(run) -> None:
    """The epoch of each phase whose weights were kept, and what privacy was spent."""
    from medimg.privacy.recount import promised
    from medimg.privacy.statement import summary

    description = run.description()
    positive(description)
    history, spent = run.history(), promised(run.root)
    if "members" in description:
        columns = ["run", "name", "weight", "val_loss"]
        table("Members", columns, [[one[name] for name in columns] for one in description["members"]])
    elif len(history):
        _best_epochs(history, spent is not None and not run.config["options"]["patience"])
    if spent:
        unit = "row" if "preprocessing" in description else "image"
        click.echo(summary(spent, unit))


def _best_epochs(history, keeps_last: bool) -> None:
    epochs = history if keeps_last else history[history["best"].astype(bool)]
    best = epochs.groupby("phase", sort=False).tail(1)
    columns = ["phase", "epoch", "loss", "val_loss", "val_accuracy", "val_auroc", "learning_rate"]
    # Of private training nothing is told that carries no noise.
    columns = [name for name in columns if best[name].notna().any()]
    title = "Last epoch of each phase" if keeps_last else "Best epoch of each phase"
    table(title, columns, best[columns].values.tolist())


def promises(run) -> None:
    """What a Run that leaves its folder promises, in the words of its report and of its model card."""
    from medimg.evaluation.operating_point import metrics_of, threshold_statement
    from medimg.privacy.recount import promise_of
    from medimg.privacy.statement import NO_PRIVACY, summary

    description = run.description()
    positive(description)
    content = promise_of(run.root, run.config["options"])
    unit = "row" if "preprocessing" in description else "image"
    click.echo(summary(content, unit) if content else NO_PRIVACY)
    click.echo(threshold_statement(metrics_of(run), description))


def folds(result: dict, root) -> None:
    """A cross-validation's metrics over folds and pooled, and what privacy all of it has spent.

    Args:
        result: content of metrics.json.
        root: the cross-validation's folder.
    """
    from medimg.evaluation.copied_rows import copies_note
    from medimg.privacy.recount import promised
    from medimg.privacy.statement import summary

    rows = []
    for name in METRICS:
        over = result["folds"][name]
        mean = {"value": over["mean"], "low": over["low"], "high": over["high"]}
        rows.append([name, interval(mean), number(over["sd"]), interval(result["metrics"][name])])
    positive(result)
    title = f"{result['n_folds']} folds, {result['n']} tested of {result['patients']} patients"
    table(title, ["metric", "mean over folds [95%]", "sd", "pooled [95%]"], rows)
    for note in copies_note(result.get("copies"), result["n"]):
        say(f"note: {note}")
    _sites(result)
    spent = promised(Path(root))
    if spent:
        click.echo(summary(spent))


def ledger(shared, delta: float) -> None:
    """What every private Run on a Dataset has spent and holds in reserve, and all together."""
    from medimg.privacy.accounting import pld_epsilon
    from medimg.privacy.segments import events_of

    entries = shared.entries()
    rows = []
    for run in dict.fromkeys(segment.run for segment in entries.all):
        recorded = [s for s in entries.recorded if s.run == run]
        whole = [s for s in entries.all if s.run == run]
        steps = sum(segment.steps for segment in recorded)
        epsilon = [f"{pld_epsilon(events_of(s, 'patient'), delta):.3g}" for s in (recorded, whole)]
        reserved = sum(segment.steps for segment in whole) - steps
        rows.append([run, entries.folders[run], whole[0].unit, steps, epsilon[0], reserved, epsilon[1]])
    columns = ["run", "folder", "protects", "steps", "epsilon", "steps in reserve", "epsilon with them"]
    table(f"Private Runs, of a patient at delta {delta:g}", columns, rows)
    together = pld_epsilon(shared.events(), delta)
    click.echo(f"all together, with what is in reserve: epsilon {together:.4g}")


def evaluation(result: dict) -> None:
    """Metrics with intervals, by class and by site, what decides, and what has to be known to read them."""
    from medimg.evaluation.operating_point import threshold_statement
    from medimg.evaluation.recalibration import calibration_words

    positive(result)
    title = f"{result['split']}: {result['n']} of {result['patients']} patients"
    rows = [[name, interval(result["metrics"][name])] for name in METRICS if name in result["metrics"]]
    if "at_prevalence" in result:
        there = result["at_prevalence"]
        rows += [[f"{name} at prevalence {there['prevalence']:g}", interval(there[name])] for name in ("ppv", "npv")]
    table(title, ["metric", "value [95% interval]"], rows)
    if len(result["per_class"]) > 2:
        rows = [
            [name, *(interval(values.get(metric)) for metric in CLASS_METRICS)]
            for name, values in result["per_class"].items()
        ]
        table("Each class against the rest", ["class", *CLASS_METRICS], rows)
    _sites(result)
    say(threshold_statement(result, result))
    say(calibration_words(result["calibration"]))
    for note in result["notes"]:
        say(f"note: {note}")


def _sites(result: dict) -> None:
    subgroups = result.get("subgroups", {})
    if "site" not in subgroups:
        _groups("Each site alone", "site", result.get("sites", {}))
    for column, subgroup in subgroups.items():
        _groups(f"By {column}", column, subgroup["groups"])
        for metric, gap in subgroup["gap"].items():
            say(f"largest gap in {metric}: {interval(gap)}, between {gap['best']} and {gap['worst']}")


def _groups(title: str, column: str, groups: dict) -> None:
    rows = [
        [name, values["n"], min(values["support"].values()), *(interval(values[metric]) for metric in CLASS_METRICS)]
        for name, values in groups.items()
    ]
    if rows:
        table(title, [column, "n", "rarest class", *CLASS_METRICS], rows)


def validation(result: dict) -> None:
    """The verdict on other patients, its reasons and what has to be read first."""
    positive(result)
    say(f"verdict: {result['verdict']}")
    for reason in result["reasons"]:
        say(f"- {reason}")
    for note in result["notes"]:
        say(f"note: {note}")


def comparison(result: dict) -> None:
    """Models side by side, and the verdict in words."""
    metrics = list(dict.fromkeys([result["metric"], "auroc", "balanced_accuracy", "brier"]))
    rows = [
        [model["name"], model["kind"], *(interval(model["metrics"].get(name)) for name in metrics)]
        for model in result["models"]
    ]
    table("Models on the same rows", ["model", "kind", *metrics], rows)
    for sentence in result["verdict"]:
        say(sentence)


def attacks(result: dict) -> None:
    """Membership inference beside the claim."""
    rows = [
        [
            name,
            interval(attack["auc"]),
            interval(attack["pooled"]["within_class"]),
            *(interval(attack[metric]) for metric in ATTACK_METRICS),
        ]
        for name, attack in result["attacks"].items()
    ]
    others = {"test": "of test", "audit": "held out"}[result["non_members_from"]]
    members = f"{result['members']} members, {result['non_members']} non-members {others}"
    heads = ["attack", "auc, raw", "auc, in class", "advantage", *ATTACK_METRICS[1:]]
    table(f"Membership inference: {members}", heads, rows)
    claimed = result.get("claimed_epsilon")
    claim = "nothing is claimed" if claimed is None else f"claimed {claimed}"
    sure = f"{result['bound']['confidence']:.1%} sure"
    lower = result["epsilon_lower_bound"]
    if lower is None:
        click.echo(f"no lower bound of epsilon; {claim}")
    else:
        click.echo(f"epsilon is at least {lower:.3f} ({sure}); {claim}")
    for sentence in [result["verdict"]] if isinstance(result["verdict"], str) else result["verdict"]:
        say(sentence)
