"""`report.html`: one file that opens anywhere, of the content of report.json, with the figures inside."""

from medimg.report.checklists import CHECKLISTS
from medimg.report.content import Sources
from medimg.report.explained import SCORES, class_means, examples, maps_of, mistake_pictures
from medimg.report.measured import metric_names
from medimg.style.pages import inlined, template
from medimg.style.words import interval, listed, signed, signed_interval

CAPTIONS = {
    "roc": "Receiver operating characteristic",
    "precision_recall": "Precision and sensitivity over all thresholds",
    "confusion_matrix": "What was called what",
    "reliability": "Predicted probability against observed frequency",
    "decision_curve": "Decision curve",
    "training_curves": "The training",
}
SECTIONS = {
    "flow": "Population and flow",
    "separation": "Separation of the parts",
    "discrimination": "Discrimination",
    "threshold": "Threshold and decisions",
    "calibration": "Calibration",
    "decision_curve": "Decision curve",
    "subgroups": "Subgroups and sites",
    "floors": "Floors: what is told without the finding",
    "shortcuts": "Shortcuts: where the maps lie",
    "mistakes": "Mistakes",
    "explanations": "Explanations",
    "validations": "Other hospitals",
    "privacy": "Privacy",
    "federation": "Sites that trained together",
    "synthetic": "Synthetic rows used",
    "spread": "Spread over seeds and folds",
    "training": "Training and environment",
    "use": "Intended use and limits",
    **{key: name for key, (name, _, _) in CHECKLISTS.items()},
}
_FEW = ("auroc", "auprc", "sensitivity", "specificity", "precision", "f1")


def render(report: dict, sources: Sources) -> str:
    """The report as HTML without any outside address.

    Args:
        report: content of report.json.
        sources: what it was made of, for the pictures.
    """
    names = metric_names(report["about"]["task"])
    figures = {name: sources.folder / "figures" / f"{name}.png" for name in CAPTIONS}
    return template("report", "report.html").render(
        report=report,
        sections=SECTIONS,
        checklists=CHECKLISTS,
        metric_names=names,
        few={name: names[name] for name in _FEW},
        captions=CAPTIONS,
        images={name: inlined(path) for name, path in figures.items() if path.is_file()},
        pairs=mistake_pictures(report["mistakes"], sources.measured, maps_of(sources.run)),
        examples=[] if sources.is_table else examples(sources.run, (sources.own, sources.measured)),
        class_means=[inlined(path) for path in class_means(sources.run)],
        score_names=SCORES,
        text=lambda measured: interval(measured, missing="–"),
        listed=listed,
        signed=signed,
        signed_interval=signed_interval,
    )
