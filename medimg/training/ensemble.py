"""ensemble(): Runs on the same parts of a Dataset, given or trained here by their seeds, voting as one Run."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.parts import parts_of
from medimg.errors import InputError
from medimg.evaluation.answers import Answers
from medimg.evaluation.calibrate import fit_on_validation, keep, require_validation
from medimg.evaluation.classes import match_classes, targets_in_order
from medimg.evaluation.prediction import probabilities
from medimg.evaluation.predictions import Predictions
from medimg.listener import Listener
from medimg.lock import writes
from medimg.models.ensemble import Member, combine, fitted_weights, members_of
from medimg.models.saving import save_model
from medimg.options import flag, of_data
from medimg.privacy import ledger
from medimg.privacy.folds import composed
from medimg.privacy.recount import promise_of
from medimg.resuming import run_to_resume
from medimg.run import Run, environment
from medimg.style.words import listed
from medimg.training import unseen
from medimg.training.ancestors import behind_weights
from medimg.training.lineage import Lineage
from medimg.training.longer import longer
from medimg.training.open_options import settled, tell
from medimg.training.train import train_or_go_on

# Options that an ensemble takes over from its members, since they say which rows are in which part.
_PARTS = ("folds", "fold", "audit_holdout", "labelled_fraction", "seed")
# Options of a vote of finished Runs.
_OF_VOTE = ("model", "member", "vote", "calibrate", "batch_size", *_PARTS)
# What members must agree on, and what is said of it.
_SAME = {
    "task": "task",
    "classes": "classes",
    "negative": "negative class",
    "preprocessing": "columns",
    "white": "white",
}
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class Voter:
    """A member: its Run and its description."""

    run: Run
    description: dict


@writes("out")
def ensemble(
    data: Path | Dataset,
    out: Path,
    config: TrainConfig,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Combine finished Runs, or train `seeds` of them in `out` and combine these, into a Run whose model is their vote.

    Args:
        data: the Dataset that the members were trained on, or are.
        out: the Run folder; with `seeds` it holds the members as `member-1` and so on.
        config: options: `member` with model `ensemble`, or `seeds`; `vote`, `calibrate`.
        resume: go on with the Run at `out`.
        overwrite: replace the Run at `out`.
        listener: is told of progress.

    Raises:
        InputError: members that don't go together, an option that does not fit, or of `train`.
    """
    listener, out = listener or Listener(), Path(out)
    _check_options(config, resume)
    config_given = config.with_given_names(()) if resume else config
    voters = [] if config.seeds else [_voter(path) for path in config.member]
    if voters:
        config = _as_members(config, voters)
    if not isinstance(data, Dataset):
        data = Dataset.load(data, joins_copies=not config.is_private)
    config, by_rule = settled(config, data)
    config_given.require_effect(of_data(data.is_table), resolved=config)
    dataset = parts_of(data, config.to_dict())
    if config.calibrate != "none" or config.vote != "mean":
        require_validation(config.calibrate, dataset)
    _check(voters, dataset)
    if resume:
        run = run_to_resume(out, dataset)
        for name in longer(run, config):
            raise InputError(f"{flag(name)} {getattr(config, name)}: members have ended with their own; train anew")
        if (run.root / "model.keras").is_file():
            return run
    else:
        run = Run.create(out, dataset.root, "train", config.to_dict(), overwrite)
        described = environment(dataset, config.seed)
        atomic.write_json(
            run.root / "environment.json", described | ({"data_fingerprint": None} if config.is_private else {})
        )
    if config.seeds:
        if not resume:
            tell(run, config_given, by_rule, listener)
        voters = [_trained(data, run, config, number, listener) for number in range(1, config.seeds + 1)]
    save_model(combine_voters(run, voters, dataset, config, listener), run.root / "model.keras")
    return run


def _check_options(config: TrainConfig, resume: bool) -> None:
    if config.seeds:
        if config.seeds == 1 or config.member or config.model == "ensemble":
            raise InputError(
                f"--seeds {config.seeds}: trains that many members, 2 or more, of one --model; leave out --member and "
                "--model ensemble"
            )
        if config.metadata:
            raise InputError(f"--metadata {config.metadata}: not with --seeds, whose vote is given pixels alone")
        for name in _PARTS[:-1]:
            if getattr(config, name) != getattr(TrainConfig(), name):
                raise InputError(
                    f"{flag(name)}: not with --seeds, since each seed draws other patients; train the "
                    "members one by one, and combine them by --model ensemble --member RUN"
                )
    elif len(config.member) < 2:
        raise InputError("--model ensemble: needs --member RUN twice or more, finished Runs that are to vote")
    # The Run's own options have its members' privacy.
    for name in () if config.seeds or resume else config.names_given():
        if name not in _OF_VOTE:
            raise InputError(f"{flag(name)}: not with --model ensemble, which trains nothing; leave it out")


def _voter(path: str) -> Voter:
    run = Run.load(Path(path))
    try:
        description = run.description()
    except InputError as error:
        raise InputError(f"--member {path}: {error}") from error
    if not (run.root / "model.keras").is_file():
        raise InputError(f"--member {path}: its training has not ended; go on with --resume")
    if description["name"] == "ensemble":
        raise InputError(f"--member {path}: is an ensemble itself; name its members instead")
    if "metadata" in description:
        raise InputError(f"--member {path}: learns from --metadata beside pixels, which an ensemble is not given")
    return Voter(run, description)


def _as_members(config: TrainConfig, voters: Sequence[Voter]) -> TrainConfig:
    """With the members' parts, and what they promise together: of whom a private Run protects nothing is told."""
    options = [voter.run.config["options"] for voter in voters]
    shared = {name: options[0].get(name) or getattr(TrainConfig(), name) for name in _PARTS}
    for name in _PARTS[:-1]:
        if getattr(config, name) not in (getattr(TrainConfig(), name), shared[name]):
            raise InputError(f"{flag(name)} {getattr(config, name)}: the members have {shared[name]}; leave it out")
    private = [ledger.is_private(one) for one in options]
    if any(private):
        if not all(private):
            other = voters[private.index(False)].run.root
            raise InputError(
                f"--member {other}: was trained without privacy and other members with it: together they protect "
                "nobody; leave out the ones or the others"
            )
        claim = _claim(voters)
        epsilon = claim["epsilon"]["pld"]
        # "infinite": of so little noise there is none to name.
        little = min(one["dp_noise_multiplier"] or math.inf for one in options)
        shared |= {"dp_noise_multiplier": little} if isinstance(epsilon, str) else {"dp_epsilon": epsilon}
        shared |= {"dp_delta": claim["delta"]}
    return dataclasses.replace(config, **shared)


def _claim(voters: Sequence[Voter]) -> dict:
    try:
        return composed([promise_of(voter.run.root, voter.run.config["options"]) for voter in voters])
    except ValueError as error:
        raise InputError(f"--member: {error}, so nothing can be said of all together; leave out the ones") from error


def _check(voters: Sequence[Voter], dataset: Dataset) -> None:
    """Refuse members that differ, or that have learnt from what is held back."""
    for voter in voters:
        root, first = voter.run.root, voters[0]
        for key, words in _SAME.items():
            if voter.description.get(key) != first.description.get(key):
                raise InputError(
                    f"--member {root}: has another {words} than {first.run.root}; members vote on the same question"
                )
        # A private Run does not tell, so its Dataset is read.
        fingerprint = voter.run.environment().get("data_fingerprint") or voter.run.dataset().fingerprint()
        if fingerprint != dataset.fingerprint():
            raise InputError(
                f"--member {root}: was trained on other rows or parts than {dataset.root} has for "
                f"{first.run.root}, so it may have learnt from patients who are validation or test here; give the "
                "members' Dataset and Runs of the same --folds, --fold, --audit-holdout and parts"
            )
        unseen.check_member(voter.run, dataset)


def _trained(data: Dataset, run: Run, config: TrainConfig, number: int, listener: Listener) -> Voter:
    config_of_member = dataclasses.replace(config, seeds=0, vote="mean", seed=config.seed + number - 1)
    member = train_or_go_on(data, run.root / f"member-{number}", config_of_member.with_given_names(()), listener)
    return Voter(member, member.description())


def combine_voters(
    run: Run, voters: Sequence[Voter], dataset: Dataset, config: TrainConfig, listener: Listener
) -> tf.keras.Model:
    """The model of their vote; all but the model itself is written into the Run, whose environment is known."""
    members = [Member(v.run.model(), v.description.get("calibrator")) for v in voters]
    description = _description(voters, listener)
    task = description["task"]
    shape = members[0].model.input_shape[1:]
    if "image_size" in description:
        shape = (description["image_size"], description["image_size"], description["channels"])
    weights, losses = np.full(len(members), 1 / len(members)), [None] * len(members)
    model = combine(members, task, weights, shape)
    if len(dataset.rows("val", labelled=True)):
        right = _right(model, voters, dataset, description, config, listener)
        losses = [-float(np.log(of_member).mean()) for of_member in right]
        if config.vote == "log-loss":
            weights = fitted_weights(right)
            model = combine(members, task, weights, shape)
    description["members"] = [_entry(*member) for member in zip(voters, weights, losses, strict=True)]
    description["vote"] = config.vote
    if config.is_private:
        atomic.write_json(run.root / ledger.FILE, _claim(voters))
    seen: set[Path] = set()
    behind = tuple(a for v in voters for a in behind_weights(str(v.run.root), seen))
    atomic.write_json(run.root / "environment.json", run.environment() | Lineage(behind).to_dict())
    atomic.write_json(run.root / "model.json", description)
    answers = Answers(model, description, config.images_at_once)
    if config.calibrate != "none":
        fit_on_validation(config.calibrate, dataset, answers)
    keep(run.root, answers.description)
    return model


def _entry(voter: Voter, weight: float, loss: float | None) -> dict:
    """A member in model.json."""
    return {
        "run": str(voter.run.root.resolve()),
        "name": voter.description["name"],
        "weight": float(weight),
        "val_loss": loss,
        "calibrator": voter.description.get("calibrator"),
    }


def _description(voters: Sequence[Voter], listener: Listener) -> dict:
    """What model.json says: as of a member, at a size at which every member can be given what it was trained on."""
    first = {k: v for k, v in voters[0].description.items() if k not in ("calibrator", "norm", "normalize")}
    first |= {"name": "ensemble", "model_arg": {}}
    if "image_size" not in first:
        return first
    forms = {(voter.description["image_size"], voter.description["channels"]) for voter in voters}
    largest = max(size for size, _ in forms)
    # Images all prepared at one size hold the pixels that each member's own are made of.
    common_size = first.get("prepared_size") if len(forms) > 1 else largest
    if not common_size:
        listener.note(
            f"members take images of {listed(f'{size} px x {depth}' for size, depth in sorted(forms))} and the Dataset "
            f"has no one size: all are made of {largest} px, so a member's answers may differ a little from its Run's"
        )
    return first | {
        "image_size": common_size or largest,
        "channels": max(channels for _, channels in forms),
    }


def _right(model, voters, dataset: Dataset, description: dict, config: TrainConfig, listener: Listener) -> np.ndarray:
    """Each member's probability of what is true of each labelled row of validation: float64 (M, rows or labels)."""
    rows, task = dataset.rows("val", labelled=True), description["task"]
    classes = tuple(description["classes"])
    targets = targets_in_order(dataset, rows, match_classes(dataset, task, classes))
    of_members = []
    for number, (member, voter) in enumerate(zip(members_of(model), voters, strict=True), 1):
        logits = Answers(member, description, config.images_at_once).logits(dataset, rows)
        chances = probabilities(logits, task, voter.description.get("calibrator")).astype(np.float64)
        truth = Predictions(task, classes, targets, chances).truth
        right = np.where(truth, chances, 1 - chances).ravel() if task == "multilabel" else chances[truth]
        of_members.append(np.clip(right, _LEAST, 1.0))
        listener.step("members", number, len(voters))
    return np.stack(of_members)
