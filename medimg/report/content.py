"""report.json: everything that a report says, as one structure, of which the page and the model card are made."""

from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from medimg.comparison.reading import Evaluated, read
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.report import explained, measured, population, provenance
from medimg.report.checklists import filled
from medimg.run import Run
from medimg.tables.preprocessing import Preprocessing

_USE = (
    "Research on the classification of {what} like these. The Run is what one training found on one Dataset.",
    "This is not a medical device: it must not diagnose, treat or triage a patient.",
)
_LIMITS = (
    "The numbers hold for {units} like these: another {place}, hospital, population or prevalence changes them.",
    "Labels are taken as they are; their errors count as the model's, or hide them.",
    "The model knows these classes and no others: anything else gets one of them all the same.",
    "Intervals cover the choice of patients, not the choice of training data, of seed or of hospital.",
)


@dataclass(frozen=True)
class Sources:
    """What a report is made of.

    Attributes:
        run: the Run.
        folder: of the evaluation: the Run, or one of its `evaluations/`.
        evaluated: its metrics and predictions.
        own: the Run's Dataset; None: it is not here.
        measured: the Dataset that was evaluated; None: it is not here.
    """

    run: Run
    folder: Path
    evaluated: Evaluated
    own: Dataset | None
    measured: Dataset | None

    @classmethod
    def of(cls, run: Run, folder: Path) -> "Sources":
        """Read an evaluation of a Run.

        Raises:
            InputError: there is none, or its files can't be used.
        """
        evaluated = read(replace(run, root=folder))
        dataset = _loaded(run.dataset)
        place = evaluated.metrics.get("data")
        same = dataset is None or place in (None, str(dataset.root.resolve()))
        return cls(run, folder, evaluated, dataset, dataset if same else _loaded(lambda: Dataset.load(Path(place))))

    @property
    def metrics(self) -> dict:
        """Content of metrics.json."""
        return self.evaluated.metrics

    @property
    def is_table(self) -> bool:
        """Of rows of a table."""
        return self.evaluated.unit == "row"


def _loaded(load) -> Dataset | None:
    """The Dataset, or None where it is gone or was changed past reading: the report tells what the Run has."""
    try:
        return load()
    except InputError:
        return None


def content(sources: Sources) -> dict:
    """Content of report.json."""
    run, metrics, is_table = sources.run, sources.metrics, sources.is_table
    unit = sources.evaluated.unit
    words = {
        "what": provenance.modality(sources.own, is_table),
        "units": f"{unit}s",
        "place": "laboratory" if is_table else "scanner",
    }
    maps = explained.maps_of(run)
    report = {
        "about": _about(sources, words["what"]),
        "notes": metrics["notes"],
        "flow": population.flow(run, metrics, sources.own, sources.measured),
        "separation": population.separation(run, metrics, sources.own, sources.evaluated.rows),
        "discrimination": measured.discrimination(metrics),
        "threshold": measured.threshold(metrics, sources.measured is sources.own),
        "calibration": measured.calibration(metrics),
        "decision_curve": measured.decision_curve(metrics),
        "subgroups": measured.subgroups(metrics),
        "floors": measured.floors(metrics, is_table),
        "mistakes": explained.mistakes(sources.evaluated, sources.measured, maps),
        **of_run(run, is_table, metrics),
        "spread": provenance.spread(run, metrics),
        "use": {
            "intended": [sentence.format(**words) for sentence in _USE],
            "limits": [sentence.format(**words) for sentence in _LIMITS],
        },
    }
    return {**report, **filled(report)}


def of_run(run: Run, is_table: bool, metrics: dict | None = None) -> dict:
    """What report.json says of the Run, beside its evaluation's `metrics`.

    Raises:
        InputError: a file of the Run can't be used.
    """
    return {
        "shortcuts": explained.shortcuts(run, is_table),
        "explanations": explained.explanations(run, is_table),
        "privacy": provenance.privacy(run, "row" if is_table else "image"),
        "federation": provenance.federation(run),
        "validations": provenance.validations(run),
        "synthetic": provenance.synthetic(run),
        "training": provenance.training(run, metrics or {}, is_table),
    }


def _about(sources: Sources, what: str) -> dict:
    metrics, dataset = sources.metrics, sources.own
    source = sources.measured or dataset
    origin = {name: getattr(source, name, "") for name in ("source", "licence", "citation", "modality")}
    return {
        "run": sources.run.root.resolve().name,
        "model": metrics["model"],
        "task": metrics["task"],
        "what": what,
        "classes": metrics["classes"],
        "positive_class": metrics.get("positive_class"),
        "dataset": metrics["dataset"],
        "split": metrics["split"],
        "unit": sources.evaluated.unit,
        "n": metrics["n"],
        "patients": metrics["patients"],
        "own": sources.measured is dataset,
        "inputs": _inputs(sources),
        **origin,
        "software": f"medimg {metadata.version('medimg')}",
    }


def _inputs(sources: Sources) -> list[str]:
    """Columns that the model takes; of folds, whose choice may differ, those that they chose from."""
    run, dataset = sources.run, sources.own
    described = run.description() if (run.root / "model.json").is_file() else {}
    preprocessing = described.get("preprocessing") or described.get("metadata")
    if preprocessing:
        return list(Preprocessing.from_dict(preprocessing).inputs)
    return [feature.name for feature in dataset.inputs] if dataset is not None and dataset.is_table else []
