"""`medimg study`: the group, and the studies of this package; `federated.commands` adds its own."""

import shlex
import sys
from functools import partial
from pathlib import Path

import click

from medimg.commands import printing
from medimg.commands.command_line import Command, Group, options_of, take
from medimg.commands.console import progress_bars, say, table
from medimg.commands.output import out_option
from medimg.config import PrivacyUtilityConfig, StudyConfig, TrainConfig
from medimg.studies.declared import names, question
from medimg.style.words import interval


@click.group(cls=Group)
def study():
    """A study of the source papers on DATA, as a table and a figure."""


@study.command("privacy-utility")
@click.argument("data_folder", metavar="DATA")
@out_option("the study")
@options_of(PrivacyUtilityConfig)
@options_of(TrainConfig, skip=("dp_epsilon", "seed", "seeds", "member", "vote", "folds", "fold"))
def privacy_utility(data_folder, out, **values):
    """What differential privacy costs, by epsilon and over seeds."""
    from medimg.preparation.builtin import resolve

    config, training = take(PrivacyUtilityConfig, values), take(TrainConfig, values)
    from medimg.studies.privacy_utility import privacy_utility

    with progress_bars() as step:
        summary = privacy_utility(resolve(data_folder), Path(out), config, training, partial(step, "trainings"))
    printing.privacy_utility(summary)
    click.echo(f"figure and tables in {out}")


def _declared(name: str) -> click.Command:
    @click.command(name, cls=Command, help=question(name))
    @click.argument("data_folders", metavar="DATA...", nargs=-1, required=True)
    @out_option("the study")
    @options_of(StudyConfig)
    def command(data_folders, out, **values):
        config = take(StudyConfig, values)
        from medimg.preparation.builtin import resolve
        from medimg.studies.study import run

        words = shlex.join(["medimg", *sys.argv[1:]])
        with progress_bars() as step:
            data = [resolve(folder) for folder in data_folders]
            content = run(name, data, Path(out), config, words, partial(step, "cells"))
        metrics = list(dict.fromkeys(title for row in content["rows"] for title in row["metrics"]))
        rows = [[row["label"], *(interval(row["metrics"].get(title)) for title in metrics)] for row in content["rows"]]
        table(content["question"], ["", *metrics], rows)
        for sentence in content["cuts"]:
            say(f"cut: {sentence}")
        say(content["conclusion"])
        click.echo(f"page: {Path(out) / 'study.html'}")

    return command


for _name in names():
    study.add_command(_declared(_name))
