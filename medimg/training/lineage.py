"""Whose data the first weights, or the rows, of a training come from: what a private one must count, or refuse.

Weights remember. A private training that starts from weights that were learnt without privacy on its own patients gives
those patients away, whatever noise follows; started from private ones, it has cost its patients both. So the trainings
behind `--weights RUN` are looked at, and those behind them, and behind a synthetic Dataset the making of its rows.
Every Run keeps what it descends from in `environment.json`: folders, fingerprints and private steps, never patients.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.privacy.segments import Segment, united
from medimg.run import Run
from medimg.training.ancestors import ANCESTORS, NOTHING, Ancestor, behind_data, behind_weights, restored

OTHERS = "others"


@dataclass(frozen=True)
class Lineage:
    """What a private training brings along.

    Attributes:
        ancestors: nearest first.
        imagenet: the weights are ImageNet's.
    """

    ancestors: tuple[Ancestor, ...] = ()
    imagenet: bool = False

    @classmethod
    def kept(cls, environment: dict, weights: str) -> "Lineage | None":
        """Of a Run that has begun; None: it is from before Runs kept theirs.

        Args:
            environment: of the Run.
            weights: its `--weights`.
        """
        if ANCESTORS not in environment:
            return None
        return cls(restored(environment), weights == "imagenet")

    def to_dict(self) -> dict:
        """For the Run's environment.json."""
        return {ANCESTORS: [asdict(ancestor) for ancestor in self.ancestors]}

    @property
    def inherited(self) -> tuple[Segment, ...]:
        """Private steps that this training's patients have paid for already, or may have."""
        counted = [a for a in self.ancestors if a.same in ("yes", "unknown")]
        return united(segment for ancestor in counted for segment in ancestor.segments)

    @property
    def others(self) -> bool:
        """Something was learnt from other patients, whom this training does not protect."""
        return self.imagenet or any(a.same in ("no", "vouched") for a in self.ancestors)

    @property
    def unknown(self) -> bool:
        """A weights FILE, of which nothing is known, is among them."""
        return any(ancestor.is_file for ancestor in self.ancestors)

    @property
    def vouched(self) -> bool:
        """That they are other patients is the user's word."""
        return any(ancestor.same == "vouched" for ancestor in self.ancestors)


NONE = Lineage()


def lineage_of(dataset: Dataset, config, unit: str = "", elsewhere: bool = False) -> Lineage:
    """What a training descends from; of a private one it is settled what that has cost its patients.

    Args:
        dataset: to be trained on, in the parts that are used.
        config: options with `weights` and `weights_patients`, and `extra` where there is one.
        unit: whom the training protects, `patient` or `client`; empty: nobody.
        elsewhere: it learns at sites whose patients are not in the Dataset.

    Raises:
        InputError: weights or rows were made without privacy from patients whom this training is to protect, or it
            can't be told whether they were.
    """
    patients = config.weights_patients
    if patients and (not unit or config.weights in NOTHING):
        raise InputError(f"--weights-patients {patients}: is for a private training from --weights RUN; leave it out")
    ancestors = behind_data(dataset) + behind_weights(config.weights, set())
    if getattr(config, "extra", None):
        ancestors += behind_data(Dataset.load(Path(config.extra)))
    if unit and ancestors:
        _require_found(ancestors, patients)
        people = _People.of(dataset, elsewhere)
        ancestors = [_settled(ancestor, people, patients, unit, config.weights) for ancestor in ancestors]
    return Lineage(tuple(ancestors), config.weights == "imagenet")


@dataclass(frozen=True)
class _People:
    """Whom a training is to protect.

    Attributes:
        fingerprints: of the Dataset, as it is and as it is used, and of what a synthetic one was made from.
        patients: of split train.
        elsewhere: there are others, who are not known here.
    """

    fingerprints: frozenset[str]
    patients: frozenset[str]
    elsewhere: bool = False

    @classmethod
    def of(cls, dataset: Dataset, elsewhere: bool = False) -> "_People":
        fingerprints = {dataset.fingerprint(), Dataset.load(dataset.root).fingerprint()}
        patients = set(dataset.rows("train")["patient"])
        if dataset.synthetic:
            fingerprints.add(dataset.preparation.get("source_fingerprint"))
            # Where it is gone, by its fingerprint alone.
            with suppress(InputError):
                source = Dataset.load(Path(dataset.preparation.get("source") or "."))
                patients |= set(source.rows("train")["patient"])
        return cls(frozenset(fingerprints - {None, ""}), frozenset(patients), elsewhere)


def _settled(ancestor: Ancestor, people: _People, patients: str | None, unit: str, weights: str) -> Ancestor:
    """With `same`, or refused."""
    if ancestor.is_file:
        return ancestor
    same = _same(ancestor, people, patients)
    if patients == OTHERS and same != "no":
        if ancestor.fingerprint in people.fingerprints:
            raise InputError(
                f"--weights-patients others: {ancestor.run} was trained on this very Dataset; leave it out"
            )
        same = "vouched"
    if same in ("yes", "unknown"):
        _require_countable(ancestor, same, unit, weights)
    return replace(ancestor, same=same)


def _require_countable(ancestor: Ancestor, same: str, unit: str, weights: str) -> None:
    start = f"--weights {weights}: " if weights not in NOTHING else ""
    if ancestor.events is None and same == "yes":
        raise InputError(
            f"{start}{ancestor.run} was made without privacy from patients of this Dataset, and what it remembers of "
            "them no --dp-epsilon covers; start from imagenet or none, or make it again with --dp-epsilon"
        )
    if ancestor.events is None:
        raise InputError(
            f"{start}{ancestor.run} was made without privacy from {ancestor.data or 'data that are not known'}, which "
            "is not there as it was, so it can't be told whether these patients were among them; give the Dataset's "
            "folder by --weights-patients DATA, or --weights-patients others if you know that none was"
        )
    if unit == "client" and any(segment.unit != "client" for segment in ancestor.segments):
        raise InputError(
            f"{start}{ancestor.run} protects patients, which --dp client can't count in clients; use --dp patient, or "
            "start from imagenet or none"
        )


def _same(ancestor: Ancestor, people: _People, patients: str | None) -> str:
    """Whether it learnt from some of these people: `yes`, `no` or `unknown`."""
    if ancestor.fingerprint and ancestor.fingerprint in people.fingerprints:
        return "yes"
    if ancestor.elsewhere:
        return "unknown"
    folders = [ancestor.data, *([patients] if patients and patients != OTHERS else [])]
    answers = [_shares(ancestor, folder, people) for folder in folders if folder]
    if "yes" in answers:
        return "yes"
    return "no" if "no" in answers and not people.elsewhere else "unknown"


def _shares(ancestor: Ancestor, folder: str, people: _People) -> str:
    """By the Dataset in a folder, which may have changed since."""
    try:
        dataset = _used(ancestor, folder)
    except InputError:
        return "unknown"
    intact = dataset.fingerprint() == ancestor.fingerprint
    if not intact and folder != ancestor.data:
        # Another Dataset than the one that was asked for.
        return "unknown"
    rows = dataset.manifest
    # Validation patients decide when a training stops.
    if people.patients & set(rows.loc[rows["split"] != "test", "patient"]):
        return "yes"
    return "no" if intact else "unknown"


def _used(ancestor: Ancestor, folder: str) -> Dataset:
    """The Dataset in the folder, in the parts that the ancestor used where these are known."""
    run = Path(ancestor.run)
    if not (run / "config.yaml").is_file():
        return Dataset.load(Path(folder))
    opened = Run.load(run)
    return replace(opened, config={**opened.config, "data": folder}).dataset()


def _require_found(ancestors: Iterable[Ancestor], patients: str | None) -> None:
    """Refuse a folder by --weights-patients that no ancestor was made from."""
    if patients in (None, OTHERS):
        return
    here = Dataset.load(Path(patients))
    for ancestor in ancestors:
        try:
            used = _used(ancestor, patients)
        except InputError:
            used = here
        if ancestor.fingerprint in (here.fingerprint(), used.fingerprint()):
            return
    raise InputError(
        f"--weights-patients {patients}: is not the Dataset that the weights were trained on, or has changed since"
    )
