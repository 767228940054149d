"""`medimg study`: the group, the studies that their files declare, and privacy-utility; other rooms add their own."""

import dataclasses
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from medimg.commands.command_line import Command, Group, options_of, take
from medimg.commands.console import progress_bars, say, table
from medimg.commands.output import out_option
from medimg.config import TrainConfig
from medimg.studies.config import PrivacyUtilityConfig, StudyConfig, StudyRunConfig
from medimg.studies.declared import names, question

PRIVACY = "privacy-utility"
_SECRET = "--dp-seed"


@click.group(cls=Group)
def study():
    """A study of the source papers on DATA: a page, a table, a figure, and whether its claim holds."""


@click.command(PRIVACY, cls=Command, help=question(PRIVACY))
@click.argument("data_folder", metavar="DATA")
@out_option("the study")
@options_of(PrivacyUtilityConfig)
@options_of(StudyRunConfig)
@options_of(TrainConfig, skip=("dp_epsilon", "seed", "seeds", "member", "vote", "folds", "fold"))
def privacy_utility(data_folder, out, **values):
    """Cells by epsilon, all with these options of training."""
    epsilons, config, training = (take(kind, values) for kind in (PrivacyUtilityConfig, StudyRunConfig, TrainConfig))
    from medimg.studies.privacy_utility import with_epsilons

    run_study(
        PRIVACY,
        [data_folder],
        out,
        of_trainings(config, training),
        lambda it, data: with_epsilons(it, data[0], epsilons, training),
    )


def of_trainings(config: StudyRunConfig, training: TrainConfig) -> StudyConfig:
    """Options of a study whose trainings' are given: of these it is Keras' to find the weights, as of any other."""
    return StudyConfig(**dataclasses.asdict(config), weights=("imagenet",) if training.weights == "imagenet" else ())


def _declared(name: str) -> click.Command:
    @click.command(name, cls=Command, help=question(name))
    @click.argument("data_folders", metavar="DATA...", nargs=-1, required=True)
    @out_option("the study")
    @options_of(StudyConfig)
    def command(data_folders, out, **values):
        run_study(name, data_folders, out, take(StudyConfig, values))

    return command


def run_study(name: str, data_folders, out: str, config: StudyConfig, adapt: Callable | None = None) -> None:
    """Run a study, print its table and say what it found.

    Args:
        name: of its file.
        data_folders: as they were typed.
        out: folder of the study.
        config: options.
        adapt: gives a study whose cells are options the cells.
    """
    from medimg.preparation.builtin import resolve
    from medimg.studies.page import failures, worded
    from medimg.studies.study import run

    words = shlex.join(["medimg", *_without_secret(sys.argv[1:])])
    with progress_bars() as step:
        data = [resolve(folder) for folder in data_folders]
        content = run(name, data, Path(out), config, words, partial(step, "cells"), adapt)
    metrics = list(dict.fromkeys(title for row in content["rows"] for title in row["metrics"]))
    rows = [[row["label"], *(worded(row["metrics"].get(title)) for title in metrics)] for row in content["rows"]]
    table(content["question"], ["", *metrics], rows)
    for sentence in content["cuts"]:
        say(f"cut: {sentence}")
    for sentence in failures(content["failed"]):
        say(f"could not be run: {sentence}")
    say(content["conclusion"])
    click.echo(f"page: {Path(out) / 'study.html'}")


def _without_secret(words: list[str]) -> list[str]:
    """The page is for others, and who has the seed of the noise can take it off."""
    pairs = zip(["", *words], words, strict=False)
    return [word for before, word in pairs if before != _SECRET and word.partition("=")[0] != _SECRET]


for _name in names():
    study.add_command(_declared(_name))
# Whose options make its cells; other rooms put theirs in the place of a declared one likewise.
study.add_command(privacy_utility)
