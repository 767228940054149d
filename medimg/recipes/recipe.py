"""by_recipe(): `medimg train DATA` without a model: candidates compete on hard validation, the best become one Run."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.calibrate import keep
from medimg.listener import Listener
from medimg.lock import writes
from medimg.models.saving import save_model
from medimg.models.weights import run_of
from medimg.options import flag, of_data
from medimg.recipes import plan, rules
from medimg.recipes.fingerprint import fingerprint, learnt_from
from medimg.recipes.judging import Tried, judged, together
from medimg.recipes.machine import machine
from medimg.recipes.operating_point import decide
from medimg.resuming import run_to_resume
from medimg.run import Run, environment
from medimg.training import data as data_material
from medimg.training.ensemble import Voter, combine_voters
from medimg.training.features import remembering
from medimg.training.train import built, kind_of, train, train_or_go_on

TIME = "10m"
FILE = "recipe.json"
CANDIDATES = "candidates"
SEED = "-seed-"
# Votes of more are no better than of three, and slower to serve.
_MOST = 3
# Of one network, whose answers differ by chance alone.
_SEEDS = 5
# What reading, judging and putting together leave of the time; they take so many seconds at least.
_SHARE, _ENDING = 0.85, 20.0
# What `train` leaves in the Run of a candidate, and the Run of a recipe whose best is a single one has itself; and what
# says that a Run is whole.
_ADOPTED = ("model.json", "history.csv")
_LAST = "model.keras"
# Options that a recipe leaves to the one who trains.
GIVEN = ("recipe", "time", "candidate", "weights", "seed")


def is_for(config: TrainConfig) -> bool:
    """Whether these options leave it to a recipe: it is asked for, or nothing else is."""
    if config.recipe:
        return config.recipe == "auto"
    place = Path(config.weights)
    at_hand = config.weights == "none" or (place.is_dir() and run_of(config.weights) is None)
    return at_hand and set(config.names_given()) <= set(GIVEN)


@writes("out")
def by_recipe(
    data: Path | Dataset,
    out: Path,
    config: TrainConfig,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Train what suits the data, the machine and the time, chosen on training and validation rows alone.

    The Run has `plan.yaml` (candidates and reasons), `recipe.json` (what each reached) and `candidates/`, a Run each.

    Args:
        data: a prepared Dataset folder, or one that is in memory.
        out: the Run folder.
        config: `recipe`, `time`, `weights` (a file or a folder of files), `seed`, and `candidate` for another plan.
        resume: go on with the Run at `out`: candidates that have ended are taken as they are.
        overwrite: replace the Run at `out`.
        listener: is told of the plan and of progress.

    Raises:
        InputError: an option that a recipe decides itself, weights that are not known, or as of `train`.
    """
    listener, out = listener or Listener(), Path(out)
    # A Run that is resumed may have the options of its best already.
    if not resume:
        _refuse_decided(config)
    limit = plan.seconds_of(config.time or TIME)
    started = time.monotonic()
    dataset = data if isinstance(data, Dataset) else Dataset.load(data)
    data_material.check(dataset)
    learn = learnt_from(dataset)
    facts = fingerprint(learn)
    if resume:
        run = run_to_resume(out, dataset)
        if (run.root / _LAST).is_file():
            return run
    planned = plan.kept(out) if resume else []
    settled = planned or [plan.parsed(words) for words in config.candidate]
    if not planned:
        _check(settled, dataset, config.seed)
    here = machine("none" if settled else config.weights)
    competing = rules.timed(settled, facts) if settled else rules.candidates(facts, here)
    if not resume:
        run = Run.create(out, dataset.root, "train", config.to_dict(), overwrite)
        atomic.write_json(run.root / "environment.json", environment(dataset, config.seed))
    lines = [f"data: {facts.words()}", f"machine: {here.words()}", f"time: {config.time or TIME}"]
    if not planned:
        atomic.write_text(run.root / plan.FILE, plan.written(competing, config.time or TIME, config.seed, lines))
    for line in (*lines, *(f"{one.name}: {one.reason}; predicted {one.seconds:.0f} s" for one in competing)):
        listener.note(line)
    with remembering() as features:
        contest = _Contest(run, dataset, learn, config, features, listener, started, limit)
        contest.hold(competing)
    _finish(run, contest, listener)
    return run


def _refuse_decided(config: TrainConfig) -> None:
    for name in config.names_given():
        if name not in GIVEN:
            raise InputError(f"{flag(name)}: a recipe decides it; leave it out, or give --model to decide all yourself")


def _check(candidates: Sequence[plan.PlannedModel], dataset: Dataset, seed: int) -> None:
    """Refuse, before a folder is made and the first is trained, what could not be."""
    kind = kind_of(dataset)
    for candidate in candidates:
        typed = candidate.config(seed)
        config = typed.resolved(dataset.unit)
        try:
            typed.require_effect(of_data(dataset.is_table), resolved=config)
            kind.check(config)
            built(kind, config, kind.describe(dataset, config))
        except InputError as error:
            raise InputError(f"--candidate '{candidate.words()}': {error}") from error


class _Contest:
    """Candidates that are trained and judged while there is time."""

    def __init__(self, run, dataset, learn, config, features, listener, started, limit):
        self.run, self.dataset, self.learn, self.config, self.features = run, dataset, learn, config, features
        self.listener, self.started, self.limit = listener, started, limit
        self.tried: list[Tried] = []
        self.left_out: list[dict] = []
        # How long things take beside what was predicted: learnt from the first.
        self.slowness = 1.0

    def hold(self, candidates: Sequence[plan.PlannedModel]) -> None:
        """Try all for which there is time, the first in any case; then more seeds of a network that is best."""
        names = [candidate.name for candidate in candidates]
        for place, candidate in enumerate(candidates):
            before = names[:place].count(candidate.name)
            self._try(candidate, f"-{before + 1}" if before else "")
        best = self.chosen()[0]
        if best.candidate.is_probe or self.dataset.is_table:
            return
        for number in range(1, _SEEDS):
            again = {**best.candidate.options, "seed": self.config.seed + number}
            reason = "networks that differ in their seed alone vote better than each decides"
            if not self._try(plan.PlannedModel(again, reason, best.seconds / self.slowness), f"{SEED}{number + 1}"):
                return

    def _try(self, candidate: plan.PlannedModel, more: str = "") -> bool:
        left = min(_SHARE * self.limit, self.limit - _ENDING) - (time.monotonic() - self.started)
        folder = self.run.root / CANDIDATES / (candidate.name + more)
        # Of a recipe that is resumed.
        before = Run.load(folder).config["options"]["epochs"] if (folder / "config.yaml").is_file() else None
        expected = 0.0 if (folder / _LAST).is_file() else candidate.seconds * self.slowness
        if self.tried and expected > max(left, 0.0):
            self.left_out.append(
                {"name": candidate.name + more, "predicted_seconds": round(expected), "left": max(0, round(left))}
            )
            self.listener.note(
                f"{candidate.name}{more}: left out, {expected:.0f} s predicted and {max(left, 0.0):.0f} s left"
            )
            return False
        epochs = candidate.config(self.config.seed).resolved(self.dataset.unit).epochs
        fewer = before
        if fewer is None and epochs > 1 and expected > left:
            fewer = min(epochs, max(3, int(epochs * left / expected)))
            self.listener.note(f"{candidate.name}: {fewer} epochs at most, of {epochs}, for want of time")
        if fewer not in (None, epochs):
            candidate = dataclasses.replace(candidate, options={**candidate.options, "epochs": fewer})
        begun = time.monotonic()
        trained = train_or_go_on(self.dataset, folder, candidate.config(self.config.seed), self.listener)
        tried = judged(candidate, trained, self.learn, self.config.seed, self.features, self._fitted, self.listener)
        took = time.monotonic() - begun
        if before is None and not self.tried:
            self.slowness = max(0.3, took / max(candidate.seconds, 1.0))
        tried = dataclasses.replace(tried, name=candidate.name + more, seconds=took)
        self.tried.append(tried)
        self.listener.note(f"{tried.name}: {tried.score.words()}, log loss {tried.score.loss:.3f}; {took:.0f} s")
        return True

    def _fitted(self, candidate: plan.PlannedModel, run: Run) -> Run:
        """The same with options that judging has settled; features are there already."""
        return train(self.dataset, run.root, candidate.config(self.config.seed), overwrite=True)

    def chosen(self) -> list[Tried]:
        """The best, and others as long as their vote with it is better."""
        order: list[Tried] = []
        for one in (tried for tried in self.tried if SEED not in tried.name):
            place = next((i for i, other in enumerate(order) if one.score.beats(other.score)), len(order))
            order.insert(place, one)
        # Which seed validation likes best is chance: all of them vote.
        voters = [order[0], *(one for one in self.tried if one.name.startswith(order[0].name + SEED))]
        score = together(voters).score
        for one in order[1:]:
            voted = together([*voters, one]).score
            if len(voters) < _MOST and voted.beats(score):
                voters, score = [*voters, one], voted
        return voters


def _finish(run: Run, contest: _Contest, listener: Listener) -> None:
    """The chosen as one Run, with calibration and threshold of hard validation."""
    chosen = contest.chosen()
    recipe_options = {name: run.config["options"][name] for name in ("recipe", "time", "candidate")}
    if len(chosen) == 1:
        member = chosen[0].run
        for name in _ADOPTED:
            if (member.root / name).is_file():
                atomic.copy(member.root / name, run.root / name)
        described = member.environment()
        options = member.config["options"] | recipe_options
    else:
        voters = [Voter(one.run, one.run.description(calibrated=False)) for one in chosen]
        members = [str(one.run.root.resolve()) for one in chosen]
        config = TrainConfig(model="ensemble", seed=contest.config.seed).resolved(contest.dataset.unit)
        options = config.to_dict() | {"member": members} | recipe_options
        model = combine_voters(run, voters, contest.dataset, config, listener)
        described = run.environment()
    atomic.write_json(run.root / "environment.json", described)
    whole = together(chosen)
    description = run.description(calibrated=False)
    decided = decide(whole, description)
    keep(run.root, description | ({"calibrator": decided.calibrator} if decided.calibrator else {}))
    decided.write(run.root)
    atomic.write_json(
        run.root / FILE,
        {
            "tried": [one.to_dict(one in chosen) for one in contest.tried],
            "left_out": contest.left_out,
            "chosen": [one.name for one in chosen],
            "score": dataclasses.asdict(whole.score),
            "seconds": round(time.monotonic() - contest.started, 1),
        },
    )
    run.settle(options)
    if len(chosen) == 1:
        atomic.copy(member.root / _LAST, run.root / _LAST)
    else:
        save_model(model, run.root / _LAST)
    names = " and ".join(one.name for one in chosen)
    listener.note(f"chosen: {names}, {whole.score.words()}, by which it was chosen; {decided.words}")
