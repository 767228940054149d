"""`medimg train`: a classifier, or one for each fold, each a Run."""

from dataclasses import replace
from pathlib import Path

import click

from medimg.commands import printing
from medimg.commands.command_line import Command
from medimg.commands.console import progress_bars, say, tell_progress
from medimg.commands.output import resumable
from medimg.config import PIXELS_ALONE, TrainConfig
from medimg.style.words import interval


def _ended(out: Path, config: TrainConfig) -> bool:
    last = out / PIXELS_ALONE if config.metadata and not config.folds else out
    return (last / ("metrics.json" if config.folds and not config.fold else "model.keras")).is_file()


@click.command(cls=Command)
@click.argument("data_folder", metavar="DATA")
@resumable("train", TrainConfig, _ended, longer=("epochs", "fine_tune_epochs"))
def train(data_folder, out, config, resume, overwrite):
    """Train a classifier on DATA and leave a Run; without options of training the data decide (--recipe)."""
    if config.folds and not config.fold:
        _cross_validate(data_folder, out, config, resume, overwrite)
        return
    run = train_run(data_folder, out, config, resume, overwrite)
    if "members" in run.description():
        click.echo(f"{len(run.description()['members'])} members vote; Run in {out}")
        return
    history = run.history()
    click.echo(f"trained {len(history)} epochs; Run in {out}" if len(history) else f"Run in {out}")


def train_run(data_folder, out, config: TrainConfig, resume=False, overwrite=False):
    """Train once, print what came of it, and return the Run."""
    from medimg.preparation.builtin import resolve
    from medimg.recipes.recipe import by_recipe, is_for
    from medimg.training.any_model import train_any

    method = train_any
    if config.recipe == "auto" or (not resume and is_for(config)):
        method, config = by_recipe, replace(config, recipe="auto").with_given_names({*config.names_given(), "recipe"})
    with progress_bars() as step:
        run = method(resolve(data_folder), Path(out), config, resume, overwrite, _listener(step))
    printing.training(run)
    # Of whom a private training saw, the ledger says what may be told.
    if not config.is_private:
        click.echo(printing.in_parts(run.dataset()))
    return run


def _listener(step):
    """Tells of epochs by progress bars, or by lines where there is no terminal."""
    from medimg.listener import Listener

    def epoch(row):
        tell_progress(f"{row['phase']} epoch {row['epoch']}", row)

    return Listener(step, epoch, note=lambda sentence: say(f"note: {sentence}"))


def _cross_validate(data_folder, out, config, resume, overwrite):
    from medimg.listener import Listener
    from medimg.preparation.builtin import resolve
    from medimg.training.cross_validation import cross_validate

    def told(fold, metrics):
        click.echo(f"fold {fold}: AUROC {interval(metrics['metrics']['auroc'])}", err=True)

    with progress_bars() as step:
        result = cross_validate(
            # A line per fold is enough where there is no terminal.
            resolve(data_folder),
            Path(out),
            config,
            resume,
            overwrite,
            Listener(step),
            told,
        )
    from medimg.report.write import write
    from medimg.run import Run

    for folder in (Path(out), *(Path(out) / f"fold-{number}" for number in range(1, config.folds + 1))):
        write(Run.load(folder))
    printing.folds(result, out)
    click.echo(f"report: {Path(out) / 'report.html'}; each fold is a Run in {out}/fold-1 and so on")
