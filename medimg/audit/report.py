"""What an audit leaves in the Run: figures, audit.html and audit.json."""

from pathlib import Path

from medimg import atomic
from medimg.audit.attacked import Attacked
from medimg.audit.figures import loss_figure, roc_figure
from medimg.privacy.recount import promised
from medimg.privacy.statement import summary
from medimg.run import Run
from medimg.style.figures import save
from medimg.style.pages import inlined, template
from medimg.style.words import interval

MEASURES = {
    "auc": ("AUC", "chance that a random member scores above a random non-member; 0.5 is none"),
    "advantage": (
        "Advantage",
        "largest TPR less FPR, its threshold from the rows measured on; never below 0, so luck alone gives some",
    ),
    "tpr_at_fpr_0.01": ("TPR at 1% FPR", "share of members found when 1% of others are accused"),
    "tpr_at_fpr_0.001": ("TPR at 0.1% FPR", "the same when 0.1% are: the attack that harms"),
}
FIGURES = {
    "audit_roc": "Attacks: members found against false alarms, both axes logarithmic",
    "audit_losses": "How sure the model is of the labels of members and of non-members",
}


def write(result: dict, attacked: Attacked, twin: Attacked | None) -> dict[str, Path]:
    """Write figures/audit_*.png, audit.html and audit.json into the Run, the last one last.

    Args:
        result: content of audit.json.
        attacked: the Run.
        twin: its twin, or None.

    Returns:
        Figure name -> PNG file.

    Raises:
        InputError: the folder can't be written.
    """
    run = attacked.subject.run
    drawn = {"audit_roc": roc_figure(attacked, twin, result["attacks"]), "audit_losses": loss_figure(attacked, twin)}
    folder = run.root / "figures"
    files = {name: save(figure, folder / f"{name}.png") for name, figure in drawn.items()}
    atomic.write_text(run.root / "audit.html", page(run, result, files, attacked.subject.dataset.unit))
    atomic.write_json(run.root / "audit.json", result)
    return files


def page(run: Run, result: dict, figures: dict[str, Path], unit: str) -> str:
    """The audit as HTML without any outside address.

    Args:
        run: the Run.
        result: content of audit.json.
        figures: name -> PNG file.
        unit: what a row of the Dataset is, `image` or `row`.
    """
    content = promised(run.root)
    return template("audit", "audit.html").render(
        result=result,
        run=run,
        measures=MEASURES,
        captions=FIGURES,
        images={name: inlined(path) for name, path in figures.items()},
        text=interval,
        promise=summary(content, unit) if content else None,
        assumptions=content["assumptions"] if content else [],
    )
