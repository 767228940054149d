"""write(): an evaluated Run to report.json, report.html and model_card.md."""

from pathlib import Path

from medimg import atomic
from medimg.evaluation.decision_curve_figure import decision_curve_figure
from medimg.lock import writes
from medimg.report.content import Sources, content, of_run
from medimg.report.page import render
from medimg.run import Run
from medimg.serving.model_card import model_card
from medimg.style.figures import save


def require_readable(run: Run, is_evaluated: bool = True) -> None:
    """See that the files of a report can be read, before a command that ends with it begins.

    Args:
        run: the Run.
        is_evaluated: False: an evaluation is to be made, in the place of one that is there.

    Raises:
        InputError: one can't be used.
    """
    if not is_evaluated:
        of_run(run, (run.root / "model.json").is_file() and "preprocessing" in run.description())
    elif (run.root / "metrics.json").is_file():
        content(Sources.of(run, run.root))


@writes("run")
def write(run: Run, folder: Path | None = None) -> Path | None:
    """Write the report of an evaluation, anew where there is one; every command that adds to a Run ends with it.

    Args:
        run: the Run.
        folder: of the evaluation, one of `RUN/evaluations/` (default: the Run's own).

    Returns:
        The page; None where the Run has not been evaluated.

    Raises:
        InputError: the evaluation's files can't be read, or the folder can't be written.
    """
    folder = run.root if folder is None else Path(folder)
    if not (folder / "metrics.json").is_file():
        return None
    sources = Sources.of(run, folder)
    report = content(sources)
    page, curve = folder / "report.html", folder / "figures" / "decision_curve.png"
    if (figure := decision_curve_figure(report["decision_curve"].get("classes", {}))) is not None:
        save(figure, curve)
    else:
        curve.unlink(missing_ok=True)
    if folder == run.root and sources.own is not None and (folder / "model.json").is_file():
        atomic.write_text(folder / "model_card.md", model_card(run, sources.own))
    atomic.write_text(page, render(report, sources))
    atomic.write_json(folder / "report.json", report)
    return page
