"""`medimg explain`: parse, call one function, print."""

from functools import partial
from pathlib import Path

import click

from explain.config import ExplainConfig, ReviewConfig
from medimg.commands import printing
from medimg.commands.command_line import Command, options_of, take
from medimg.commands.console import progress_bars
from medimg.style.words import interval


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@options_of(ExplainConfig)
def explain(run_folder, **values):
    """Grad-CAM, SHAP and kin on files or a split of RUN, judged by the pointing game where findings are known."""
    explain_run(run_folder, take(ExplainConfig, values))


def explain_run(run_folder, config: ExplainConfig) -> None:
    """Explain a Run and print the pointing game."""
    from explain.explain import explain
    from medimg.run import Run

    with progress_bars() as step:
        run = Run.load(Path(run_folder))
        result = explain(run, config, partial(step, "explain"))
    printing.positive(run.description())
    localisation(result)
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

    with bound(config.port) as found:
        study = ReaderStudy(Path(config.reader_study)) if config.reader_study else None
        reviewer, token = Reviewer(run, config), secrets.token_urlsafe(32)
        click.echo(f"http://127.0.0.1:{found.getsockname()[1]}/?token={token}")
        click.echo("research output, not for diagnosis; Ctrl-C ends it", err=True)
        serve(reviewer, found, token, study)


def map_saver(run, folder: Path):
    """What saves the Grad-CAM maps of a Run's predictions; see `medimg.prediction.predict`."""
    from explain.explainer import map_saver

    return map_saver(run, folder)


def heat_maps(run):
    """What makes the maps of a Run's predictions; see `medimg.prediction.dicom_out`."""
    from explain.explainer import heat_maps

    return heat_maps(run)


def localisation(result: dict) -> None:
    """The pointing game of each method."""
    for method, judged in result.get("localisation", {}).items():
        click.echo(
            f"{method}: pointing game {interval(judged['hit_rate'])} on {judged['n']} images; "
            f"random point {judged['random']:.3f}, image centre {judged['centre']:.3f}"
        )
