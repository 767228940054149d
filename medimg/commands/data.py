"""`medimg data`: sources, preparation and inspection of data sets."""

import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import click

from medimg.commands import printing
from medimg.commands.command_line import Command, Group, options_of, take
from medimg.commands.console import progress_bars, say
from medimg.commands.output import out_option, overwrite_option
from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.phantom.config import PhantomConfig
from medimg.privacy.config import LedgerConfig


@click.group(cls=Group)
def data():
    """List sources, prepare and inspect data sets."""


@data.command("list")
def list_sources():
    """Sources that `prepare` reads: task, modality, licence, layout, how to get them."""
    from medimg.sources import SOURCES

    # Not a table, whose columns would cut an address in pieces.
    for source in SOURCES.values():
        say(source.name)
        for what in ("task", "modality", "licence", "layout", "how_to_get"):
            say(f"  {what.replace('_', ' ')}: {getattr(source, what)}")


# Key of the source that help is asked on: of one call of the command, not of the command itself.
_HELP_ON = "medimg.prepare.source"


class Prepare(Command):
    """`medimg data prepare`, whose help on a source shows the options that the source reads."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As Click does; help is answered on the way."""
        if {"--help", "-h"} & set(args):
            from medimg.sources import SOURCES

            ctx.meta[_HELP_ON] = next((SOURCES[word] for word in args if word in SOURCES), None)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Without those that the source does not read."""
        params = super().get_params(ctx)
        source = ctx.meta.get(_HELP_ON)
        if source is None:
            return params
        of_sources = {field.name for config in (PrepareConfig, PhantomConfig) for field in fields(config)}
        return [param for param in params if param.name not in of_sources - source.reads()]


@data.command(cls=Prepare)
@click.argument("source")
@click.argument("path", required=False, type=click.Path())
@out_option("the prepared Dataset")
@overwrite_option("the Dataset")
@options_of(PrepareConfig)
@options_of(PhantomConfig, skip=("seed",))
def prepare(source, path, out, overwrite, **values):
    """Turn files at PATH into a Dataset: decoded, split by patient, checked for leakage; 'data list' names SOURCEs."""
    from medimg.sources import source_named

    # Before what prepares is imported. A set of MedMNIST may be a name.
    if source_named(source).name != "medmnist" and path and not Path(path).exists():
        raise InputError(f"{path}: does not exist; 'medimg data list' says what source '{source}' needs")
    from medimg.preparation.prepare import prepare

    phantom = take(PhantomConfig, {**values, "seed": values["seed"]})
    config = take(PrepareConfig, values)
    description = Path(out) / "dataset.yaml"
    before = description.stat().st_mtime_ns if description.is_file() else None
    with progress_bars() as step:
        dataset = prepare(
            source, Path(path) if path else None, Path(out), config, phantom, partial(step, "prepare"), overwrite
        )
    printing.counts(dataset)
    printing.positive({"task": dataset.task, "classes": dataset.classes})
    for note in dataset.preparation.get("notes", []):
        say(f"note: {note}")
    outcome = (
        "prepared" if description.stat().st_mtime_ns != before else "already prepared, of the same files and options:"
    )
    click.echo(f"{outcome} {len(dataset.manifest)} {dataset.unit}s in {out}")


@data.command()
@click.argument("data_folder", metavar="DATA")
@click.option("--out", type=click.Path(), help="Folder of the figures (default: DATA/inspection).")
def inspect(data_folder, out):
    """Counts, leakage, duplicates, label conflicts, broken files and figures; exit code 1 on leakage."""
    from medimg.data.dataset import Dataset
    from medimg.inspection.inspect import inspect
    from medimg.preparation.builtin import resolve

    dataset = Dataset.load(resolve(data_folder))
    folder = Path(out) if out else dataset.root / "inspection"
    with progress_bars() as step:
        inspection = inspect(dataset, folder, partial(step, "inspect"))
    printing.counts(dataset)
    printing.positive({"task": dataset.task, "classes": dataset.classes})
    for note in inspection.notes:
        say(f"note: {note}")
    for problem in inspection.problems:
        say(f"problem: {problem}")
    click.echo(f"figures and page in {folder}")
    sys.exit(1 if inspection.problems else 0)


@data.command()
@click.argument("data_folder", metavar="DATA")
@options_of(LedgerConfig)
def ledger(data_folder, **values):
    """What private Runs on DATA have spent, and what unfinished ones hold in reserve."""
    from medimg.preparation.builtin import resolve
    from medimg.privacy.dataset_ledger import DatasetLedger

    config = take(LedgerConfig, values)
    shared = DatasetLedger(resolve(data_folder))
    if config.abandon:
        if config.abandon not in {segment.run for segment in shared.entries().all}:
            raise InputError(f"--abandon {config.abandon}: no such Run in {shared.path}; give its full id")
        click.echo(f"released {shared.release(config.abandon)} steps that were never run")
    printing.ledger(shared, config.delta)
