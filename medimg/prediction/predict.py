"""predict(): a Run and files without labels -> a CSV of probabilities, decisions and warnings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.dicom.results import RESEARCH
from medimg.dicom.sending import Pacs
from medimg.evaluation.prediction import probabilities
from medimg.evaluation.predictions import as_written
from medimg.options import of_data
from medimg.prediction import tables
from medimg.prediction.config import PredictConfig
from medimg.prediction.decision import Decision, decision_of
from medimg.prediction.dicom_out import HeatMaps, Reports, algorithm_of
from medimg.prediction.familiarity import Familiarity, Forward, familiarity
from medimg.prediction.images import Batch, Reader, protected_images, reader_of
from medimg.prediction.inputs import existing, images_of, of_dataset
from medimg.prediction.output import alone, replacing, require_free
from medimg.privacy.ledger import is_private
from medimg.run import Run
from medimg.tables.preprocessing import Preprocessing
from medimg.untrusted.csv_cells import quoted

# Of some images: their rows' numbers in the CSV, names, inputs, probabilities, and the classes that they are called.
SaveMaps = Callable[[list[int], list[str], list[np.ndarray], np.ndarray, np.ndarray], None]


@dataclass
class Predicted:
    """What was done.

    Attributes:
        unit: `image` or `row`.
        notes: sentences on how.
        rows: in the CSV.
        warned: of them used, with a warning.
        broken: (name, reason) of what could not be used, which the CSV has too.
        unreported: (name, reason) of what was used and has no DICOM result.
    """

    unit: str
    notes: list[str]
    rows: int = 0
    warned: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    unreported: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class PredictInput:
    """What is predicted, and how rows of the Run's own Dataset are read for comparison.

    Attributes:
        count: rows in all.
        batches: of them.
        of_dataset: rows of the Run's Dataset -> batches of them.
        notes: sentences on what was left out.
        reader: of images.
    """

    count: int
    batches: Iterable[Batch]
    of_dataset: Callable[[Dataset, pd.DataFrame], Iterable[Batch]]
    notes: list[str]
    reader: Reader | None = None


def predict(
    run: Run,
    paths: tuple[str, ...],
    out: Path,
    config: PredictConfig,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    maps: Callable[[Run, Path], SaveMaps] | None = None,
    heat: Callable[[Run], tuple[str, HeatMaps]] | None = None,
) -> Predicted:
    """Write `out`: image (of a table: row), p_<class>..., decision, threshold, positive_class and warnings.

    Images are read as the preparation of the Run's Dataset and its training read them, a few at a time; rows of a table
    as source `table` reads them. What can't be used is a row without probabilities, whose warnings say why.

    Args:
        run: the Run.
        paths: image files, folders, Datasets or CSVs of paths; for a table CSVs, Parquet files or Datasets.
        out: the CSV, which gets its name when it is whole.
        config: options.
        overwrite: replace `out`.
        progress: called with rows done and in all.
        maps: of a Run and a folder makes what saves heat maps there, for `--save-maps`.
        heat: of a Run the method of heat maps and what makes them, for `--dicom-out`.

    Raises:
        InputError: a path, an option or the Run can't be used, `out` is there already, or the PACS refuses what it is
            sent, which stays in its folder then.
    """
    description, places = run.description(), existing(paths)
    config.require_effect(of_data("preprocessing" in description))
    folder = out.with_name(f"{out.stem}-maps") if config.save_maps else None
    reported = Path(config.dicom_out) if config.dicom_out else None
    require_free(out, folder, reported, overwrite)
    pacs = _answering(config.send) if config.send else None
    dataset = run.dataset_here()
    read = _table if "preprocessing" in description else _images
    source = read(run, description, places, config, dataset)
    model = run.model()
    decision = decision_of(run, model, description, dataset, config.batch_size)
    forward = forward_of(model)
    familiar = familiarity(run, dataset, forward, source.of_dataset)
    unit = "row" if "preprocessing" in description else "image"
    result = Predicted(unit, [*source.notes, decision.statement, *_basis_of_warnings(run, dataset, familiar, unit)])
    # The CSV gets its name last: where it is, the folders beside it are whole, and of the same predict.
    with (
        alone(out, folder, reported, overwrite),
        atomic.replacing(out) as temporary,
        replacing(folder) as place,
        replacing(reported) as dicom,
    ):
        save = maps(run, place) if place and maps else None
        reports = None
        if dicom and heat:
            made_by = algorithm_of(run, description, decision.statement)
            method, heat_of = heat(run)
            reports = Reports(dicom, decision, made_by, source.reader, heat_of, method)
        for batch in source.batches:
            table = _answered(batch, forward, decision, familiar, result, save, reports)
            quoted(table).to_csv(temporary, mode="a", header=not result.rows, index=False)
            result.rows += len(table)
            if progress:
                progress(result.rows, source.count)
        if reports:
            reports.close()
        if folder or reported:
            out.unlink(missing_ok=True)
    if reported:
        result.notes += _delivered(reported, pacs, config.send)
    return result


def _answering(text: str) -> Pacs:
    pacs = Pacs.parse(text)
    pacs.echo()
    return pacs


def _delivered(folder: Path, pacs: Pacs | None, address: str | None) -> list[str]:
    """Send the results to the PACS, if there is one; sentences on where they are."""
    files = sorted(folder.iterdir())
    notes = [f"{len(files)} DICOM files in {folder}: {RESEARCH.lower()}"]
    if pacs and files:
        pacs.store(files)
        notes.append(f"{len(files)} sent to {address}")
    return notes


def forward_of(model) -> Forward:
    """From inputs to what the last layer is given and to logits: one graph for any batch size."""
    import tensorflow as tf

    from medimg.models.ensemble import features_of

    both = tf.keras.Model(model.input, [features_of(model), model.output])
    signature = [tf.TensorSpec((None, *one.shape[1:]), tf.float32) for one in model.inputs]
    graph = tf.function(lambda *inputs: both(list(inputs), training=False), input_signature=signature)
    return lambda inputs: tuple(each.numpy() for each in graph(*inputs))


def _answered(
    batch: Batch,
    forward: Forward,
    decision: Decision,
    familiar: Familiarity | None,
    result: Predicted,
    save: SaveMaps | None,
    reports: Reports | None,
) -> pd.DataFrame:
    """The CSV's rows of a batch, counted in `result`; its maps are saved."""
    good = np.flatnonzero([not why for why in batch.broken])
    chances = np.zeros((0, len(decision.classes)))
    if len(good):
        chances, called, _ = answers(batch, forward, decision, familiar)
        numbers = [result.rows + int(i) for i in good]
        if save:
            save(numbers, [batch.names[i] for i in good], batch.inputs, chances, called)
        if reports:
            images, warned = [batch.images[i] for i in good], [batch.warnings[i] for i in good]
            result.unreported += reports.add(numbers, images, batch.inputs, chances, called, warned)
    result.warned += sum(bool(batch.warnings[i]) for i in good)
    result.broken += [(name, why) for name, why in zip(batch.names, batch.broken, strict=True) if why]
    warnings = [why or "; ".join(reasons) for why, reasons in zip(batch.broken, batch.warnings, strict=True)]
    return decision.table(result.unit, batch, chances, warnings)


def answers(
    batch: Batch, forward: Forward, decision: Decision, familiar: Familiarity | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a Run says of the G inputs of a batch that can be used; what of them is unlike training joins its warnings.

    Returns:
        Probabilities float64 (G, classes), the classes that they are called int (G,), of a multilabel row without any
        class the likeliest, and features (G, F).
    """
    features, logits = forward(batch.inputs)
    chances = as_written(probabilities(logits, decision.task, decision.calibrator))
    good = np.flatnonzero([not why for why in batch.broken])
    for place, i in enumerate(good if familiar else ()):
        batch.warnings[i].extend(familiar.of_form(batch.forms[place]) if batch.forms else ())
    for i, far in zip(good, familiar.of_features(features) if familiar else [], strict=bool(familiar)):
        batch.warnings[i].extend([far] if far else ())
    return chances, np.where(decision.predictions(chances).decisions, 1 + chances, chances).argmax(axis=1), features


def _images(
    run: Run, description: dict, paths: list[Path], config: PredictConfig, dataset: Dataset | None
) -> PredictInput:
    reader = reader_of(description, dataset, config.max_megapixels)
    beside = reader.columns.inputs if reader.columns else ()
    images, notes = images_of(paths, config.image_column, reader.look, beside)
    unprotected = replace(reader, protected=protected_images(run))

    def read(data: Dataset, rows: pd.DataFrame) -> Iterable[Batch]:
        return reader.batches(of_dataset(data, beside, rows), config.batch_size)

    return PredictInput(len(images), unprotected.batches(images, config.batch_size), read, notes, unprotected)


def _table(
    run: Run, description: dict, paths: list[Path], config: PredictConfig, dataset: Dataset | None
) -> PredictInput:
    preprocessing = Preprocessing.from_dict(description["preprocessing"])
    files = tables.tables_of(paths, preprocessing)

    def of_dataset(_: Dataset, rows: pd.DataFrame) -> Iterable[Batch]:
        return tables.batches([tables.TableRows(len(rows), frame=rows)], preprocessing, frozenset())

    streamed = tables.batches(files, preprocessing, tables.protected_rows(run, preprocessing))
    notes = [f"{t.file.path}: {note}" for t in files if t.file for note in t.file.notes]
    return PredictInput(sum(table.count for table in files), streamed, of_dataset, notes)


def _basis_of_warnings(run: Run, dataset: Dataset | None, familiar: Familiarity | None, unit: str) -> list[str]:
    """What warnings are based on, or why there are none."""
    private = is_private(run.config["options"])
    notes = []
    if private and dataset is None:
        notes.append(f"whether {unit}s are of patients whom the Run protects is not checked: its data are not here")
    if familiar is None:
        notes.append(f"not compared with training: the Run's data are not at {run.config['data']}, nor can be read")
        return notes
    facts = familiar.facts
    if np.isinf(facts.limit):
        notes.append("distance from training not judged: too few rows in the Run's data, or features that don't vary")
    else:
        rows = "training" if facts.part == "train" else "validation (the Run protects those of training)"
        notes.append(
            f"far from training: farther than {facts.limit:.3g} from the mean of {facts.rows} {unit}s of {rows}, as 1% "
            f"of {facts.calibrated_on} {unit}s of validation at most are"
        )
    if unit == "image" and facts.widths is None:
        notes.append("sizes not compared: the Run's Dataset does not tell its sources' sizes")
    return notes
