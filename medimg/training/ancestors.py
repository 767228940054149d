"""The trainings behind weights or rows, as their Runs and synthetic Datasets tell of them."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.models.weights import run_of
from medimg.privacy import ledger
from medimg.privacy.segments import Segment
from medimg.run import Run

# Of environment.json.
ANCESTORS = "ancestors"
# Of --weights: nobody's data, or public ones.
NOTHING = ("none", "imagenet", None)


@dataclass(frozen=True)
class Ancestor:
    """A training that the weights or the rows come from.

    Attributes:
        run: its folder, or a weights FILE of which nothing is known.
        data: folder of its Dataset; empty: not known.
        fingerprint: of that Dataset, in the parts that it used.
        events: `events` of its privacy.json; None: trained without privacy.
        is_file: `run` is a FILE.
        elsewhere: it learnt at sites whose patients are not in its Dataset.
        same: `yes` (it learnt from patients of this training), `no`, `unknown`, `vouched` (no, by the user's word);
            empty: not looked at, since this training is not private.
    """

    run: str
    data: str = ""
    fingerprint: str = ""
    events: list | None = None
    is_file: bool = False
    elsewhere: bool = False
    same: str = ""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Its private steps, with those that it has inherited itself."""
        return tuple(Segment.from_dict(event) for event in self.events or ())


def behind_weights(weights: str | None, seen: set[Path]) -> list[Ancestor]:
    """The training that made these weights, and those before it.

    Args:
        weights: of `--weights`.
        seen: Runs that were met on the way; gets those that are met.
    """
    if weights in NOTHING:
        return []
    root = run_of(weights)
    if root is not None:
        return _behind_run(root.resolve(), seen)
    return [Ancestor(str(Path(weights).resolve()), is_file=Path(weights).suffix != "")]


def _behind_run(root: Path, seen: set[Path]) -> list[Ancestor]:
    if root in seen:
        return []
    seen.add(root)
    run = Run.load(root)
    options = run.config["options"]
    environment = run.environment() if (root / "environment.json").is_file() else {}
    content = ledger.read(root)
    itself = Ancestor(
        str(root),
        str(run.config["data"]),
        environment.get("data_fingerprint") or "",
        content["events"] if content else None,
        elsewhere=bool(options.get("worker")),
    )
    if ANCESTORS in environment:
        return [itself, *(replace(a, same="") for a in restored(environment))]
    ancestors = [itself, *behind_weights(options.get("weights"), seen)]
    for folder in (run.config["data"], (environment.get("extra") or {}).get("data")):
        # Where its Dataset is gone, what that was made from is as unknown as the Dataset itself.
        with suppress(InputError):
            ancestors += behind_data(Dataset.load(Path(folder))) if folder else []
    return ancestors


def behind_data(dataset: Dataset) -> list[Ancestor]:
    """The making of a synthetic Dataset's rows."""
    if not dataset.synthetic:
        return []
    content, preparation = ledger.read(dataset.root), dataset.preparation
    return [
        Ancestor(
            str(dataset.root.resolve()),
            str(preparation.get("source") or ""),
            preparation.get("source_fingerprint") or "",
            content["events"] if content else None,
        )
    ]


def restored(environment: dict) -> tuple[Ancestor, ...]:
    """Those that a Run keeps in its environment.json."""
    return tuple(Ancestor(**values) for values in environment[ANCESTORS])
