"""Run: the folder that every training leaves behind.

`config.yaml` (data and options), `environment.json` (versions, data fingerprint, seed), `model.keras`,
`history.csv`, `checkpoints/`, `calibration.json` where probabilities are calibrated; evaluate adds `metrics.json`,
`predictions.csv` and `figures/`, of which `medimg.report` makes `report.html`, `report.json` and `model_card.md`.
"""

import platform
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Self

import pandas as pd
import yaml

from medimg import atomic, lock
from medimg.data.dataset import SPLITS, TASKS, Dataset
from medimg.data.parts import parts_of
from medimg.errors import InputError
from medimg.options import flag
from medimg.privacy import ledger
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.untrusted.csv_cells import read_csv
from medimg.untrusted.inside import require_own_files
from medimg.untrusted.json_file import AGAIN, read_json
from medimg.untrusted.printable import printable
from medimg.untrusted.yaml_file import read_yaml

# What makes calibrated probabilities of the model's logits; part of `description()`.
CALIBRATOR = "calibration.json"
PACKAGES = ("medimg", "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "opencv-python-headless")
# The last two say that a training has ended.
MADE_OF_MODEL = (
    "metrics.json",
    "predictions.csv",
    "report.html",
    "report.json",
    "model_card.md",
    "figures",
    "evaluations",
    "explanations",
    "audit.json",
)
MADE_OF_MODEL += ("audit.html", "audit", "sites", "federation.html", "model.keras", "federation.json")


@dataclass(frozen=True)
class Run:
    """A Run folder.

    Attributes:
        root: the folder.
        config: content of `config.yaml`: `data`, `command` and `options`.
    """

    root: Path
    config: dict

    @classmethod
    def create(cls, root: Path, data: Path, command: str, options: dict, overwrite: bool = False, **more) -> Self:
        """Make the folder and write `config.yaml`, with `more` beside the options; its caller has locked it.

        Raises:
            InputError: the folder holds something and `overwrite` is not given, or it can't be written.
        """
        root = Path(root)
        if require_free(root, overwrite):
            _give_up(root)
            lock.empty(root, last=["config.yaml"])
        config = {"command": command, "data": str(Path(data).resolve()), "options": options, **more}
        atomic.write_text(root / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        return cls(root, config)

    @classmethod
    def load(cls, root: Path) -> Self:
        """Open an existing Run.

        Raises:
            InputError: the folder is not a Run, is damaged, or holds a link that leads out of it.
        """
        path = Path(root) / "config.yaml"
        if not path.is_file():
            raise InputError(f"{root}: not a Run (no config.yaml); 'medimg train' makes one")
        require_own_files(Path(root))
        config = read_yaml(path)
        for name, kind in (("data", str), ("command", str), ("options", dict)):
            if not isinstance(config, dict) or not isinstance(config.get(name), kind):
                raise InputError(f"{path}: '{name}' is missing, or of another kind; restore it, or make the Run anew")
        return cls(Path(root), config)

    def dataset(self) -> Dataset:
        """The Dataset that the Run was trained on, with the Run's own parts where they are not the Dataset's."""
        options, place = self.config["options"], Path(self.config["data"])
        if not place.exists():
            raise InputError(
                f"{place}: the Dataset of {self.root} is not there; put it back, or give its place as --data to a "
                "command that has it"
            )
        # As the training read it: whom private training protects does not depend on the others' rows.
        data = Dataset.load(place, joins_copies=not ledger.is_private(options))
        dataset = parts_of(data, options)
        moved = self.root / "parts.csv"
        if moved.is_file():
            return self._moved(dataset, read_csv(moved))
        return dataset

    def dataset_here(self) -> Dataset | None:
        """The same; None where it is not on this machine."""
        return self.dataset() if Path(self.config["data"]).exists() else None

    def with_data_at(self, data: str | None) -> Self:
        """The Run with its Dataset, which was moved, at another place; None: it is where it was.

        Raises:
            InputError: it is not the Dataset that the Run was trained on.
        """
        if data is None:
            return self
        run = replace(self, config={**self.config, "data": str(Path(data).resolve())})
        fingerprint = self.environment().get("data_fingerprint")
        # Of a private Run nothing is kept by which it would be known.
        dataset = run.dataset()
        if fingerprint and dataset.fingerprint() != fingerprint:
            raise InputError(f"--data {data}: is not the Dataset that {self.root} was trained on, or has changed since")
        return run

    def require_extendable(self, name: str, value: int, kept_nothing: bool = False) -> None:
        """Refuse a longer training of a private Run, whose noise was drawn and paid for the length that it has.

        Args:
            name: of the option that is larger.
            value: of it.
            kept_nothing: it has ended without a state to go on from.

        Raises:
            InputError: it is private, or kept nothing.
        """
        if ledger.is_private(self.config["options"]):
            raise InputError(
                f"{flag(name)} {value}: {self.root} is private, and its noise and its ledger are of "
                f"{self.config['options'][name]}; train anew from it by --weights {self.root}: the ledger counts both"
            )

        if kept_nothing:
            raise InputError(
                f"{flag(name)} {value}: {self.root} has ended and kept nothing to go on from, as Runs of earlier "
                f"versions; train anew from its weights by --weights {self.root}"
            )

    def extend(self, name: str, options: dict) -> None:
        """Put aside what was made of the model that it had so far, into `earlier/`, and write the new options.

        Args:
            name: of the one that says how long it was, and is.
            options: all of them.
        """
        aside = self.root / "earlier" / f"{name}-{self.config['options'][name]}"
        aside.mkdir(parents=True, exist_ok=True)
        for made in MADE_OF_MODEL:
            if (self.root / made).exists():
                (self.root / made).rename(aside / made)
        self.config["options"].update(options)
        atomic.write_text(self.root / "config.yaml", yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True))

    def settle(self, options: dict) -> None:
        """Write the options by which it was trained in the end, where they were not known as it began."""
        self.config["options"] = options
        atomic.write_text(self.root / "config.yaml", yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True))

    def _moved(self, dataset: Dataset, parts: pd.DataFrame) -> Dataset:
        manifest = dataset.manifest.copy()
        fits = {"position", "split"} <= set(parts) and set(parts["split"]) <= {*SPLITS, ""}
        if not fits or not parts["position"].isin(manifest.index).all():
            raise InputError(
                f"{self.root / 'parts.csv'}: names rows or parts that {dataset.root} does not have; put back the "
                "Run's own Dataset"
            )
        manifest.loc[parts["position"], "split"] = parts["split"].to_numpy()
        return replace(dataset, manifest=manifest)

    def keep_parts(self, dataset: Dataset, used: Dataset) -> None:
        """Remember which rows the Run has in another part than the Dataset.

        Args:
            dataset: as it is on disk.
            used: the same rows.
        """
        moved = dataset.manifest["split"] != used.manifest["split"]
        if moved.any():
            parts = used.manifest.loc[moved, ["split"]].rename_axis("position").reset_index()
            atomic.write_csv(self.root / "parts.csv", parts)

    def description(self, calibrated: bool = True) -> dict:
        """`model.json`: name, task, classes, image_size, channels and the like: what a user of the model must know.

        Args:
            calibrated: with `calibrator`, the content of `calibration.json`, where the Run has one; False: of the
                model's own probabilities.

        Raises:
            InputError: it is missing, damaged, or of no task or classes.
        """
        place = self._existing("model.json")
        description = read_json(place, needed=("task", "classes"))
        _require_classes(place, description["task"], description["classes"])
        path = self.root / CALIBRATOR
        if calibrated and path.is_file():
            description["calibrator"] = read_json(path)
        return description

    def environment(self) -> dict:
        """`environment.json`: versions, the data's fingerprint, the seed."""
        return read_json(self._existing("environment.json"))

    def model(self):
        """The trained Keras model: raw pixels 0..255 (of a table: preprocessed columns) in, logits out."""
        from medimg.models.saving import load_model

        return load_model(self._existing("model.keras"))

    def history(self) -> pd.DataFrame:
        """One row an epoch: epoch, phase, loss, val_loss, val_auroc, learning_rate, seconds and more."""
        path = self.root / "history.csv"
        # Earlier versions wrote an empty one of no epochs.
        written = path.is_file() and path.read_bytes().strip()
        return read_csv(path, keep_default_na=True) if written else pd.DataFrame()

    def _existing(self, name: str) -> Path:
        path = self.root / name
        if path.is_file():
            return path
        options = self.config["options"]
        if options.get("folds") and not options.get("fold"):
            raise InputError(
                f"{self.root}: is a cross-validation, whose folds are Runs: use {self.root / 'fold-1'} and so on"
            )
        if self.config.get("command") == "synthesize":
            raise InputError(f"{self.root}: makes patients, no predictions; give a Run of 'medimg train' or 'federate'")
        raise InputError(
            f"{path}: missing; the training has not finished: go on with --resume, or begin anew by --overwrite"
        )


def _require_classes(path: Path, task: object, classes: object) -> None:
    if task not in TASKS:
        raise InputError(f"{path}: task '{printable(task)}' is not one of {', '.join(TASKS)}; {AGAIN}")
    names = [name for name in classes if isinstance(name, str) and name] if isinstance(classes, list) else []
    if not names or len(set(names)) != len(names) or names != classes:
        raise InputError(f"{path}: its classes are no list of names, each once; {AGAIN}")
    if task == "binary" and len(names) != 2:
        raise InputError(f"{path}: names {len(names)} classes, a binary model has 2; {AGAIN}")


def require_free(root: Path, overwrite: bool) -> bool:
    """Refuse a folder that a new Run can't take; whether it holds one to replace.

    Raises:
        InputError: it holds something and `overwrite` is not given, or no Run.
    """
    # Killed as it began, a Run is nothing yet.
    if not any(not item.match(".config-*.yaml") for item in lock.content(root)):
        return False
    if not overwrite:
        raise InputError(f"--out {root}: already holds files; give another folder, --resume or --overwrite")
    if not (root / "config.yaml").is_file():
        raise InputError(f"--out {root}: is not a Run, so --overwrite leaves it alone; give another folder")
    return True


def _give_up(root: Path) -> None:
    """Release what an unfinished private Run, or a fold in it, has reserved in its Dataset's ledger.

    Only steps that were never recorded, and so never run, are released; should a copy of the Run go on, its next step
    is refused until it has reserved anew.
    """
    for path in root.rglob(ledger.FILE):
        # What can't be read or written there stays reserved, which overstates.
        with suppress(InputError, OSError):
            data = Path(Run.load(path.parent).config["data"])
            if data.is_dir():
                DatasetLedger(data).release(ledger.read(path.parent)["run"])


def environment(dataset: Dataset, seed: int) -> dict:
    """Versions of Python and the packages, the data's fingerprint and the seed."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "data_fingerprint": dataset.fingerprint(),
        "seed": seed,
    }
