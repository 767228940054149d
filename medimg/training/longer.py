"""A Run that has ended, or is about to, and is to have more epochs than it was given."""

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.listener import Listener
from medimg.options import flag
from medimg.run import Run
from medimg.training.checkpoint import Checkpoints

LENGTHS = ("epochs", "fine_tune_epochs")


def longer(run: Run, config: TrainConfig) -> list[str]:
    """Names of the options by which a training is to be longer than the Run is."""
    had = {name: run.config["options"].get(name) for name in LENGTHS}
    return [name for name, value in had.items() if value is not None and getattr(config, name) > value]


def goes_on(run: Run, config: TrainConfig, listener: Listener) -> bool:
    """Whether a Run that is resumed has epochs before it; as many as it had, or more.

    With more it ends with the same weights as if it had been given them at once.

    Args:
        run: to be resumed.
        config: its options, perhaps with more epochs.
        listener: is told why more epochs change nothing.

    Raises:
        InputError: it can't have more.
    """
    options, ended = run.config["options"], (run.root / "model.keras").is_file()
    last = "fine_tune_epochs" if options.get("freeze") == "backbone" and options.get("fine_tune_epochs") else "epochs"
    lengthened = longer(run, config)
    if not lengthened:
        return not ended
    run.require_extendable(lengthened[0], getattr(config, lengthened[0]))
    if config.is_semi_supervised:
        raise InputError(
            f"{flag(lengthened[0])}: a Run by --paradigm {config.paradigm} can't have more epochs; train anew"
        )
    if lengthened != [last]:
        raise InputError(
            f"{flag(lengthened[0])} {getattr(config, lengthened[0])}: only the last phase of {run.root} can go on, by "
            f"{flag(last)}; train anew"
        )
    if ended and Checkpoints(run.root / "checkpoints").state() is None:
        history = run.history()
        if len(history) and (history["phase"] == history["phase"].iloc[-1]).sum() < options[last]:
            listener.note(
                f"{run.root}: had stopped early, after {len(history)} epochs, and would again: more epochs change "
                "nothing; train anew with another --patience"
            )
            return False
        run.require_extendable(last, getattr(config, last), kept_nothing=True)
    return True
