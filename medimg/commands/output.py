"""Where a command's result goes: --out, --resume and --overwrite, and what a Run that is resumed goes on with."""

import functools
from collections.abc import Callable
from pathlib import Path

import click

from medimg.commands.command_line import options_of, take
from medimg.commands.console import say
from medimg.errors import InputError
from medimg.lock import locked
from medimg.options import Config, flag
from medimg.training.cluster import out_of


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
    name: str,
    kind: type[Config],
    ended: Callable[[Path, Config], bool],
    result: str = "the Run",
    short: str = "the Run",
    skip: tuple[str, ...] = (),
    longer: tuple[str, ...] = (),
) -> Callable:
    """Decorate a command that leaves a Run: its options are those of `kind`, --out, --resume and --overwrite.

    The function is called with `out`, `config`, `resume` and `overwrite`; resumed, `config` is the Run's own.

    Args:
        name: of the command, as the Run's config.yaml has it.
        kind: its configuration.
        ended: whether nothing is left to do of what is at --out, which has these options.
        result: what is at --out, as the help of --out calls it.
        short: the same, as the other two options call it.
        skip: fields of `kind` that are no options of this command.
        longer: options of which one that is resumed may have more than it had.
    """

    def decorate(function: Callable) -> Callable:
        @out_option(result)
        @click.option("--resume", is_flag=True, help=f"Go on with {short} at --out, with its own options.")
        @overwrite_option(short)
        @options_of(kind, skip)
        @functools.wraps(function)
        def command(out: str, resume: bool, overwrite: bool, **values):
            config = take(kind, values)
            if resume and overwrite:
                raise InputError("--resume and --overwrite exclude each other")
            out = out_of(out, getattr(config, "distribute", ""))
            # What is read of the Run must be of the one that goes on.
            with locked(Path(out)):
                if resume:
                    from medimg.resuming import options_to_resume

                    names_given = set(config.names_given())
                    config = options_to_resume(Path(out), name, config, names_given, longer)
                    if ended(Path(out), config) and not names_given & set(longer):
                        more = f"; to go on, give more: {' or '.join(map(flag, longer))}" if longer else ""
                        say(f"{out}: had ended already, nothing is left to resume{more}")
                        return None
                return function(out=out, config=config, resume=resume, overwrite=overwrite, **values)

        return command

    return decorate
