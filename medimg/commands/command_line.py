"""Configurations as Click options, and errors as one line."""

import contextlib
import dataclasses
import difflib
import errno
import os
import sys
import traceback
import typing
from pathlib import Path

import click

from medimg.commands.places import name_places, places_in, require_places
from medimg.errors import InputError
from medimg.options import Config, flag
from medimg.untrusted.json_file import AGAIN
from medimg.untrusted.origin import forget, origins
from medimg.untrusted.printable import printable

# Of a line that nobody foresaw.
AT_FAULT = "medimg is at fault"
_FULL = os.strerror(errno.ENOSPC)
_ROOT = Path(__file__).parents[2]
_ROOMS = (
    *(f"{_ROOT / room}{os.sep}" for room in ("medimg", "explain", "federated", "synthetic")),
    f"{_ROOT / 'cli.py'}",
)
# Characters of an error, which may quote a stranger's file.
_LONGEST = 2000
# What YAML calls no value.
_NULL = ("", "~", "null", "Null", "NULL")


class UsageRefused(click.ClickException):
    """What Click says of words that it can't parse, in one line."""

    exit_code = 2

    def show(self, file=None) -> None:
        """As other errors are shown."""
        click.echo(f"medimg: error: {_one_line(self)}", err=True)


@contextlib.contextmanager
def _usage_in_one_line():
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        help = f" ('{error.ctx.command_path} --help' tells more)" if error.ctx else ""
        raise UsageRefused(error.format_message() + help) from error


class Command(click.Command):
    """A command whose user errors are one line and exit code 2, and Ctrl-C exits 130."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        name_places(self.params)
        self.params.append(click.Option(["--config"], type=click.Path(), help="YAML file of options; flags win."))
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."))

    def make_context(self, *args, **kwargs) -> click.Context:
        """Parse the words."""
        with _usage_in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context):
        """Run the command; an InputError becomes one line."""
        debug = ctx.params.pop("debug", False)
        file = ctx.params.pop("config", None)
        forget()
        try:
            if file:
                _merge_file(ctx, self, file)
            require_places(self.params, ctx.params)
            return super().invoke(ctx)
        except KeyboardInterrupt:
            goes_on = ", and --resume goes on with it" if "resume" in ctx.params else ""
            click.echo(f"medimg: interrupted; what was written stays{goes_on}", err=True)
            sys.exit(130)
        except (InputError, OSError) as error:
            if debug:
                raise
            click.echo(f"medimg: error: {_one_line(error)}", err=True)
            sys.exit(2)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if debug:
                raise
            click.echo(f"medimg: error: {_unforeseen(error, self.params, ctx.params)}", err=True)
            sys.exit(2)


def _unforeseen(error: Exception, params: list[click.Parameter], values: dict) -> str:
    """What no reader of files has foreseen: in what, where in medimg, and what may be the matter."""
    frames = traceback.extract_tb(error.__traceback__)
    # Where medimg is installed, libraries lie beside its rooms.
    of_medimg = [frame for frame in frames if frame.filename.startswith(_ROOMS)] or frames
    where = f"{Path(of_medimg[-1].filename).name}:{of_medimg[-1].lineno}"
    message = f"{type(error).__name__} {error}"
    if _FULL in message:
        # Libraries that write by themselves say so in errors of their own.
        return f"{values.get('out') or ''}: {_FULL}; choose another --out or free space".removeprefix(": ")
    files = " or ".join(str(path) for path in origins(error)[:3])
    named = files or ", ".join(places_in(params, values)) or "medimg"
    damaged = f"{'it' if files else 'a file in it'} may be damaged or of another version"
    why = f"{damaged}{f' ({AGAIN})' if files else ''}, or {AT_FAULT}; --debug shows the traceback"
    return printable(f"{named}: {' '.join(message.split())[:300]} ({where}): {why}", None)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, InputError) and error.filename:
        return printable(f"{error.filename}: {error.strerror}", _LONGEST)
    return printable(" ".join(str(error).split()), _LONGEST)


def _merge_file(ctx: click.Context, command: click.Command, file: str) -> None:
    """Options of the YAML file, for those that the command line leaves at their defaults."""
    from medimg.untrusted.yaml_file import read_yaml

    # As text: of an option, not of YAML, it depends what `no`, 1.50 and 007 are.
    values = read_yaml(Path(file), f"--config {file}", as_text=True) or {}
    if not isinstance(values, dict):
        raise InputError(f"--config {file}: not a mapping of option names to values")
    options = {p.name: p for p in command.params if isinstance(p, click.Option)}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in options:
            raise InputError(f"--config {file}: option '{key}' is not known to this command")
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE or value in _NULL:
            continue
        try:
            ctx.params[name] = options[name].process_value(ctx, _as_given(options[name], value))
            ctx.set_parameter_source(name, click.core.ParameterSource.DEFAULT_MAP)
        except click.BadParameter as error:
            raise InputError(f"--config {file}: {key}: {error.format_message()}") from error


def _as_given(option: click.Option, value):
    """A YAML value in the form in which the command line would give it."""
    if isinstance(value, list | dict) and not option.multiple:
        raise click.BadParameter("one value is needed")
    if isinstance(value, dict):
        return [f"{k}={v}" for k, v in value.items()]
    return [value] if option.multiple and not isinstance(value, list) else value


class Group(click.Group):
    """A group whose commands are all `Command`s."""

    command_class = Command

    def make_context(self, *args, **kwargs) -> click.Context:
        """Parse the words up to the command."""
        with _usage_in_one_line():
            return super().make_context(*args, **kwargs)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        """The command and its arguments."""
        with _usage_in_one_line():
            return super().resolve_command(ctx, args)


Group.group_class = type


class _Unnamed(click.Context):
    """The context of a group's default command: usage and errors call it by the group's name."""

    @property
    def command_path(self) -> str:
        """As the user wrote it."""
        return self.parent.command_path


class DefaultCommand(Command):
    """What a `GroupWithDefault` does without a command."""

    context_class = _Unnamed


class GroupWithDefault(Group):
    """A group that is a command as well: what is not the name of one of its commands goes to `default`.

    Its commands' names can't be arguments of the default one, unless written otherwise, as `./verify` for a folder.
    """

    default = "run"
    # What lies below it has no default.
    group_class = Group

    def __init__(self, *args, **kwargs):
        settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
        super().__init__(*args, add_help_option=False, context_settings=settings, no_args_is_help=False, **kwargs)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        """The commands, and what the default one takes first."""
        first = self.commands[self.default].params[0]
        return super().shell_complete(ctx, incomplete) + first.shell_complete(ctx, incomplete)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without arguments the default command says what it lacks."""
        return super().parse_args(ctx, args or ([] if ctx.resilient_parsing else ["--help"]))

    def resolve_command(self, ctx: click.Context, args: list[str]):
        """The command and its arguments; the default one has no name of its own in usage and errors."""
        if args[0] in self.commands and args[0] != self.default:
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(args[0], [name for name in self.commands if name != self.default], 1, 0.8)
        if near and not args[0].startswith("-") and not Path(args[0]).exists():
            with _usage_in_one_line():
                ctx.fail(f"'{args[0]}' is neither a command nor a folder; did you mean '{near[0]}'?")
        return "", self.commands[self.default], args


def options_of(config: type[Config], skip: tuple[str, ...] = ()):
    """Click options from the fields of a configuration."""

    def decorate(function):
        for field in reversed(dataclasses.fields(config)):
            if field.name not in skip:
                function = _option(field, config.conditions(field))(function)
        return function

    return decorate


def _option(field: dataclasses.Field, conditions: list[str]):
    rules = field.metadata
    default = field.default_factory() if field.default is dataclasses.MISSING else field.default
    kind = typing.get_args(field.type)[0] if typing.get_args(field.type) else field.type
    text = rules["help"] + (f" [for {'; '.join(conditions)}]" if conditions else "")
    settings = {"help": text, "metavar": rules["metavar"], "show_default": default not in (None, ())}
    if kind is dict:
        return click.option(flag(field.name), multiple=True, callback=_pairs, **{**settings, "show_default": False})
    if kind is tuple:
        return click.option(flag(field.name), multiple=True, default=default, **settings)
    if kind is bool:
        name = field.name.replace("_", "-")
        return click.option(f"--{name}/--no-{name}", default=default, **settings)
    if rules["choices"] and kind is str:
        return click.option(flag(field.name), type=click.Choice(rules["choices"]), default=default, **settings)
    return click.option(flag(field.name), type=kind, default=default, **settings)


def _pairs(ctx, param, values) -> dict:
    pairs = {}
    for value in values:
        key, equals, content = value.partition("=")
        if not equals:
            raise click.BadParameter(f"'{value}' is not k=v", ctx, param)
        pairs[key] = content
    return pairs


def take(kind: type[Config], values: dict) -> Config:
    """Take the fields of a configuration out of a command's values; it knows which were given."""
    source, default = click.get_current_context().get_parameter_source, click.core.ParameterSource.DEFAULT
    names = [field.name for field in dataclasses.fields(kind) if field.name in values]
    config = kind(**{name: values.pop(name) for name in names})
    return config.with_given_names(name for name in names if source(name) is not default)
