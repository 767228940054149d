"""Whether patients who are held back, by an audit or to judge an ensemble, have been learnt from in another way."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.holdout import HELD_OUT
from medimg.errors import InputError
from medimg.models.weights import is_run
from medimg.run import Run

LEARNT_FROM = ("train", "val")


def check(dataset: Dataset, config: TrainConfig) -> None:
    """Refuse a start from what may have seen the patients that are held out.

    Args:
        dataset: with its part HELD_OUT.
        config: options.

    Raises:
        InputError: names the option.
    """
    if config.extra:
        raise InputError(
            "--audit-holdout: not with --extra, whose synthetic rows were made from the whole training part, held-out "
            "patients as well"
        )
    held_out = set(dataset.rows(HELD_OUT)["patient"])
    for words, seen in behind(config.weights, f"--weights {config.weights}", "patients that --audit-holdout holds out"):
        both = sorted(held_out & set(seen.loc[seen["split"].isin(LEARNT_FROM), "patient"]))
        if both:
            raise InputError(
                f"--weights {config.weights}: {words} learnt from {len(both)} of the {len(held_out)} patients that "
                f"--audit-holdout holds out, e.g. '{both[0]}'; train that Run with the same --audit-holdout and "
                "--seed, or start from other weights"
            )


def behind(weights: str, option: str, whom: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The Runs that weights come from, nearest first: what they are called, and the manifest with their parts.

    Args:
        weights: of `--weights`.
        option: for messages.
        whom: who must not have been learnt from, for messages.

    Raises:
        InputError: the data of one are gone.
    """
    named = [weights]
    while is_run(weights):
        run = Run.load(Path(weights))
        try:
            seen = run.dataset().manifest
        except InputError as error:
            raise InputError(
                f"{option}: whether {run.root} has learnt from {whom} can't be told ({error}); put its data back, or "
                "start from other weights"
            ) from error
        yield " from ".join(named), seen
        weights = str(run.config["options"].get("weights") or "none")
        named.insert(0, weights)


def check_member(member: Run, dataset: Dataset) -> None:
    """Refuse a member of an ensemble whose first weights come from a Run that has learnt from what is held back here.

    Args:
        member: trained on the parts of `dataset` itself.
        dataset: of the ensemble.

    Raises:
        InputError: names the member.
    """
    option, weights = f"--member {member.root}", str(member.config["options"].get("weights") or "none")
    for words, seen in behind(weights, option, "patients of validation or test"):
        # Members themselves choose their epoch by validation.
        for part, learnt in (("test", LEARNT_FROM), ("val", ("train",))):
            held_back = set(dataset.rows(part)["patient"])
            both = sorted(held_back & set(seen.loc[seen["split"].isin(learnt), "patient"]))
            if both:
                raise InputError(
                    f"{option}: started from weights of which {words} learnt from {len(both)} of the {len(held_back)} "
                    f"patients of part {part}, e.g. '{both[0]}'; leave it out, or train it from other weights"
                )
