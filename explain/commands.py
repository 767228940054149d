"""`medimg explain`: parse, call one function, print."""

from functools import partial
from pathlib import Path

import click

from explain.config import ExplainConfig
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
    from medimg.report.write import write

    write(run)
    printing.positive(run.description())
    localisation(result)
    click.echo(f"explanations in {result['folder']}")


def map_saver(run, folder: Path):
    """What saves the Grad-CAM maps of a Run's predictions; see `medimg.prediction.predict`."""
    from explain.explainer import map_saver

    return map_saver(run, folder)


def localisation(result: dict) -> None:
    """The pointing game of each method."""
    for method, judged in result.get("localisation", {}).items():
        click.echo(
            f"{method}: pointing game {interval(judged['hit_rate'])} on {judged['n']} images; "
            f"random point {judged['random']:.3f}, image centre {judged['centre']:.3f}"
        )
