"""`medimg study`: the group, and the studies of this package; `federated.commands` adds its own."""

from functools import partial
from pathlib import Path

import click

from medimg.commands import printing
from medimg.commands.command_line import Group, options_of, take
from medimg.commands.console import progress_bars
from medimg.commands.output import out_option
from medimg.config import StudyConfig, TrainConfig


@click.group(cls=Group)
def study():
    """A study of the source papers on DATA, as a table and a figure."""


@study.command("privacy-utility")
@click.argument("data_folder", metavar="DATA")
@out_option("the study")
@options_of(StudyConfig)
@options_of(TrainConfig, skip=("dp_epsilon", "seed", "seeds", "member", "vote", "folds", "fold"))
def privacy_utility(data_folder, out, **values):
    """What differential privacy costs, by epsilon and over seeds."""
    from medimg.preparation.builtin import resolve

    config, training = take(StudyConfig, values), take(TrainConfig, values)
    from medimg.studies.privacy_utility import privacy_utility

    with progress_bars() as step:
        summary = privacy_utility(resolve(data_folder), Path(out), config, training, partial(step, "trainings"))
    printing.privacy_utility(summary)
    click.echo(f"figure and tables in {out}")
