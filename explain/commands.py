"""`medimg explain`: parse, call one function, print."""

from functools import partial
from pathlib import Path

import click

from explain.config import ExplainConfig, InterpretabilityConfig, ReviewConfig
from medimg.commands import printing
from medimg.commands.command_line import Command, options_of, take
from medimg.commands.console import progress_bars, say, table
from medimg.commands.output import out_option
from medimg.commands.study import of_trainings, run_study
from medimg.config import TrainConfig
from medimg.studies.config import StudyRunConfig
from medimg.studies.declared import question
from medimg.style.words import interval

_INTERPRETABILITY = "interpretability"


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@options_of(ExplainConfig)
def explain(run_folder, **values):
    """Grad-CAM, SHAP and kin on files or a split of RUN, scored beside controls and searched for shortcuts."""
    explain_run(run_folder, take(ExplainConfig, values))


def explain_run(run_folder, config: ExplainConfig) -> None:
    """Explain a Run and print the scores."""
    from explain.explain import explain
    from medimg.report.write import require_readable, write
    from medimg.run import Run

    run = Run.load(Path(run_folder))
    require_readable(run)
    with progress_bars() as step:
        result = explain(run, config, partial(step, "explain"))
    write(run)
    printing.positive(run.description())
    scores(result)
    appearance(result.get("appearance"))
    click.echo(f"explanations in {result['folder']}")


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@options_of(ReviewConfig)
def review(run_folder, **values):
    """A page on 127.0.0.1: drop an image or DICOM file, see what RUN says of it and where; Ctrl-C ends it."""
    from medimg.run import Run

    config, run = take(ReviewConfig, values), Run.load(Path(run_folder))
    import secrets

    from explain.review.reviewer import Reviewer
    from explain.review.server import bound, serve
    from explain.review.study import ReaderStudy

    with bound(config.port) as listening:
        study = ReaderStudy(Path(config.reader_study)) if config.reader_study else None
        reviewer, token = Reviewer(run, config), secrets.token_urlsafe(32)
        click.echo(f"http://127.0.0.1:{listening.getsockname()[1]}/?token={token}")
        click.echo("research output, not for diagnosis; Ctrl-C ends it", err=True)
        serve(reviewer, listening, token, study)


@click.command(_INTERPRETABILITY, cls=Command, help=question(_INTERPRETABILITY))
@click.argument("data_folder", metavar="DATA")
@out_option("the study")
@options_of(InterpretabilityConfig)
@options_of(StudyRunConfig, skip=("bootstrap",))
@options_of(TrainConfig, skip=("model", "member", "vote", "folds", "fold", "seed", "seeds", "metadata"))
def interpretability(data_folder, out, **values):
    """Cells by model and method, all with these options of training."""
    methods, config, training = (take(kind, values) for kind in (InterpretabilityConfig, StudyRunConfig, TrainConfig))

    def adapt(study, datasets):
        from explain.studies.interpretability import with_methods

        return with_methods(study, datasets[0], methods, training)

    run_study(_INTERPRETABILITY, [data_folder], out, of_trainings(config, training), adapt)


def map_saver(run, folder: Path):
    """What saves the Grad-CAM maps of a Run's predictions; see `medimg.prediction.predict`."""
    from explain.explainer import map_saver

    return map_saver(run, folder)


def heat_maps(run):
    """What makes the maps of a Run's predictions; see `medimg.prediction.dicom_out`."""
    from explain.explainer import heat_of_run

    return heat_of_run(run)


def scores(result: dict) -> None:
    """A table of each method and the controls beside it, and what stands out."""
    columns = ("pointing_game", "deletion", "insertion", "faithfulness", "randomisation", "stability")
    rows, of = [], result.get("scores", {})
    columns = [name for name in columns if any(its.get(name) for its in of.values())]
    for method, its in of.items():
        rows.append([method, *(interval(its.get(name), 2) for name in columns)])
    for name, its in next(iter(of.values()), {}).get("controls", {}).items():
        rows.append([f"({name})", *(interval(its.get(name), 2) for name in columns)])
    if rows:
        title = "Scores, and which end is good; in brackets maps that know nothing of the model"
        table(title, ["method", *map(_heading, columns)], rows)
    warnings = [text for its in of.values() for text in its["warnings"]]
    for text in [*warnings, *result.get("shortcuts", {}).get("findings", ())]:
        say(f"warning: {text}")


def appearance(shared: dict | None) -> None:
    """A table of each class's shares of brightness, texture and shape, or the line that says why there are none."""
    if not shared:
        return
    of = {name: entry for name, entry in shared["of"].items() if "shares" in entry}
    if of:
        groups = list(next(iter(of.values()))["shares"])
        rows = [
            [name, *(interval(m, 2) for m in (entry["r2"], *entry["shares"].values()))] for name, entry in of.items()
        ]
        table("What foretells the answers, as far as R² says", ["evidence for", "R²", *groups], rows)
    for name, entry in shared["of"].items():
        if "not_available" in entry:
            say(f"evidence for {name} is not shared out to brightness, texture and shape: {entry['not_available']}")


def _heading(name: str) -> str:
    lower = name in ("deletion", "randomisation")
    return f"{name.replace('_', ' ')} ({'low' if lower else 'high'})"
