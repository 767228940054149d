"""Where a command's result goes: --out, --resume and --overwrite, and what a Run that is resumed goes on with."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import click

from medimg.commands.command_line import options_of, take
from medimg.errors import InputError
from medimg.lock import locked
from medimg.options import Config, flag


def out_option(what: str) -> Callable:
    """`--out`, the folder of a result that has no folder of its own otherwise.

    Args:
        what: the result, as the help calls it: `the Run`.
    """
    return click.option("--out", required=True, type=click.Path(), help=f"Folder of {what}.")


def overwrite_option(what: str) -> Callable:
    """`--overwrite`, of what is at `--out`."""
    return click.option("--overwrite", is_flag=True, help=f"Replace {what} at --out.")


def resumable(
    name: str, kind: type[Config], result: str = "the Run", short: str = "the Run", skip: tuple[str, ...] = ()
) -> Callable:
    """Decorate a command that leaves a Run: its options are those of `kind`, --out, --resume and --overwrite.

    The function is called with `out`, `config`, `resume` and `overwrite`; resumed, `config` is the Run's own.

    Args:
        name: of the command, as the Run's config.yaml has it.
        kind: its configuration.
        result: what is at --out, as the help of --out calls it.
        short: the same, as the other two options call it.
        skip: fields of `kind` that are no options of this command.
    """

    def decorate(function: Callable) -> Callable:
        @out_option(result)
        @click.option("--resume", is_flag=True, help=f"Go on with {short} at --out, with its own options.")
        @overwrite_option(short)
        @options_of(kind, skip)
        @click.pass_context
        @functools.wraps(function)
        def command(ctx: click.Context, out: str, resume: bool, overwrite: bool, **values):
            config = take(kind, values)
            if resume and overwrite:
                raise InputError("--resume and --overwrite exclude each other")
            # What is read of the Run must be of the one that goes on.
            with locked(Path(out)):
                if resume:
                    config = _own_options(ctx, name, out, config)
                return function(out=out, config=config, resume=resume, overwrite=overwrite, **values)

        return command

    return decorate


def _own_options(ctx: click.Context, name: str, out: str, config: Config) -> Config:
    """The Run's own options; one given anew that differs is refused rather than ignored."""
    from medimg.run import Run

    run = Run.load(Path(out))
    if run.config["command"] != name:
        raise InputError(f"--resume {out}: is a Run of 'medimg {run.config['command']}', which resumes it")
    own = type(config).from_dict(run.config["options"])
    for field in dataclasses.fields(config):
        given = ctx.get_parameter_source(field.name) is click.core.ParameterSource.COMMANDLINE
        if given and getattr(config, field.name) != getattr(own, field.name):
            raise InputError(
                f"{flag(field.name)} {getattr(config, field.name)}: the Run at {out} has "
                f"{getattr(own, field.name)}; leave it out to resume, or train anew"
            )
    return own
