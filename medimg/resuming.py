"""A Run that goes on: by its own options, on the Dataset that it began with."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.options import Config, flag
from medimg.run import Run

Options = TypeVar("Options", bound=Config)


def options_to_resume(
    root: Path, command: str, config: Options, names_given: Iterable[str], longer: Iterable[str] = ()
) -> Options:
    """The options that a Run goes on with: its own; one given anew that differs is refused rather than ignored.

    Args:
        root: the Run.
        command: that resumes it.
        config: options as they were given.
        names_given: names of those that were.
        longer: names of options that may be more than the Run's own.

    Raises:
        InputError: not a Run of this command, or another option.
    """
    run = Run.load(root)
    if run.config["command"] != command:
        raise InputError(f"--resume {root}: is a Run of 'medimg {run.config['command']}', which resumes it")
    settled = type(config).from_dict(run.config["options"])
    for name in names_given:
        value, had = getattr(config, name), getattr(settled, name)
        if name in longer and value is not None and had is not None and value > had:
            settled = replace(settled, **{name: value})
        elif value != had:
            raise InputError(
                f"{flag(name)} {value}: the Run at {root} has {had}; leave it out to resume, or train anew"
            )
    # What an earlier version took is not refused now.
    return settled.with_given_names(())


def run_to_resume(root: Path, dataset: Dataset) -> Run:
    """The Run at `root`, if its data are still what it began with.

    Raises:
        InputError: not a Run, or the Dataset has changed.
    """
    run = Run.load(root)
    fingerprint = run.environment().get("data_fingerprint")
    # A private training keeps it beside its noise (`privacy.draws.noise_seed`), which is asked for when it goes on.
    if fingerprint and fingerprint != dataset.fingerprint():
        raise InputError(
            f"{root}: the Dataset at {dataset.root} has changed since this Run began; train anew with --overwrite"
        )
    return run
