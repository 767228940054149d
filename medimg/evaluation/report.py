"""`report.html`: one file that opens anywhere, with the figures inside."""

import json
from dataclasses import fields
from pathlib import Path

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.evaluation.metrics import METRIC_NAMES, METRICS
from medimg.evaluation.operating_point import threshold_statement
from medimg.options import of_data
from medimg.privacy.ledger import is_private
from medimg.privacy.ledger import read as read_ledger
from medimg.privacy.statement import WITHHELD
from medimg.privacy.statement import summary as privacy_summary
from medimg.run import Run
from medimg.style.pages import inlined, template
from medimg.style.words import interval

CAPTIONS = {
    "roc": "Receiver operating characteristic",
    "precision_recall": "Precision and sensitivity over all thresholds",
    "confusion_matrix": "What was called what",
    "reliability": "Predicted probability against observed frequency",
    "training_curves": "The training",
    "worst_mistakes": "The most confident mistakes",
}


def render(run: Run, dataset: Dataset, metrics: dict, figures: dict[str, Path]) -> str:
    """The report as HTML without any outside address.

    Args:
        run: the Run that was evaluated.
        dataset: what it was evaluated on.
        metrics: content of metrics.json.
        figures: name -> PNG file.
    """
    names = dict(METRIC_NAMES)
    if metrics["task"] == "multiclass":
        names["balanced_accuracy"] = ("Balanced accuracy", "mean sensitivity over classes")
    return template("evaluation", "report.html").render(
        metrics=metrics,
        dataset=dataset,
        options=applying(run.config, dataset.is_table),
        environment=_environment(run),
        metric_names={name: names[name] for name in METRICS},
        captions=CAPTIONS,
        images={name: inlined(path) for name, path in figures.items()},
        text=interval,
        threshold=threshold_statement(metrics, metrics),
        privacy=_privacy(run, dataset),
    )


def applying(config: dict, is_table: bool) -> dict:
    """Of a Run's options (its config.yaml) those that its training read, `acting` where its command wrote that down."""
    options, known = config["options"], {field.name for field in fields(TrainConfig)}
    acting = config.get("acting")
    if acting is None:
        train = TrainConfig.from_dict({name: options[name] for name in known & options.keys()})
        acting = {*train.acting(of_data(is_table)), *(options.keys() - known)}
    return {k: v for k, v in options.items() if k in acting and v not in (None, [], {})}


def _environment(run: Run) -> dict:
    path = run.root / "environment.json"
    told = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    private = is_private(run.config["options"]) or read_ledger(run.root) is not None
    if private and "data_fingerprint" in told:
        # By a hash of the manifest a guess at a patient's row can be checked.
        told["data_fingerprint"] = WITHHELD
    return told


def _privacy(run: Run, dataset: Dataset) -> dict | None:
    ledger = read_ledger(run.root)
    if ledger is None:
        return None
    summary = privacy_summary(ledger, dataset.unit)
    return {"summary": summary, "assumptions": ledger["assumptions"]}
