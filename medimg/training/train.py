"""train(): a Dataset and options -> a Run."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import tensorflow as tf

from medimg import atomic
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.holdout import HELD_OUT
from medimg.data.leakage import require_no_leakage
from medimg.data.parts import parts_of
from medimg.data.synthetic_rows import with_extra
from medimg.errors import InputError
from medimg.evaluation.answers import Answers
from medimg.evaluation.calibrate import fit_on_validation, keep, require_validation
from medimg.listener import Listener
from medimg.lock import writes
from medimg.models.known_weights import identify, words
from medimg.models.saving import save_model
from medimg.models.weights import is_run
from medimg.options import of_data
from medimg.resuming import options_to_resume, run_to_resume
from medimg.run import Run, environment
from medimg.training import adaptation, few_labels, images, open_options, private, table, unseen
from medimg.training import data as data_material
from medimg.training.ancestors import NOTHING
from medimg.training.checkpoint import Checkpoints
from medimg.training.distribution import distributed
from medimg.training.lineage import Lineage, lineage_of
from medimg.training.longer import goes_on, longer
from medimg.training.loop import Epochs
from medimg.training.precision import FULL, computing_in
from medimg.training.progress import Progress
from medimg.training.randomness import use_generators
from medimg.training.start import FIELD as START
from medimg.training.start import require_same_start, start_of


@writes("out")
def train(
    data: Path | Dataset,
    out: Path,
    config: TrainConfig,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Train a classifier; the Run is resumable at any moment.

    Args:
        data: a prepared Dataset folder, or one that is in memory.
        out: the Run folder.
        config: options.
        resume: go on with the Run at `out`, with its own data and options.
        overwrite: replace the Run at `out`.
        listener: is told of progress.

    Raises:
        InputError: the data leak, can't be read or have one class, an option doesn't fit, or `out` is taken.
    """
    with distributed(config.distribute, resume):
        return _trained(data, out, config, resume, overwrite, listener or Listener())


def _trained(
    data: Path | Dataset, out: Path, config: TrainConfig, resume: bool, overwrite: bool, listener: Listener
) -> Run:
    _check_options(config)
    dataset = data if isinstance(data, Dataset) else Dataset.load(data, joins_copies=not config.is_private)
    config_given = config.with_given_names(()) if resume else config
    config, by_rule = open_options.settled(open_options.kept(config, out) if resume else config, dataset)
    config_given.require_effect(of_data(dataset.is_table), resolved=config)
    real = dataset = parts_of(dataset, config.to_dict())
    if config.audit_holdout:
        unseen.check(real, config)
    extra = None
    if config.extra:
        dataset, extra = with_extra(real, Path(config.extra))
    other = _checked(dataset, config, listener)
    kind = kind_of(dataset)
    if resume:
        run = run_to_resume(out, real)
        _check_same(run, extra)
        if not goes_on(run, config, listener):
            return run
        lineage = Lineage.kept(run.environment(), config.weights) or _lineage(real, config)
        description = run.description(calibrated=False)
        model = built(kind, config, description)
        start = start_of(model.get_weights(), description)
        require_same_start(run, start)
        for name in longer(run, config):
            run.extend(name, config.to_dict())
    else:
        lineage = _lineage(real, config)
        description = kind.describe(dataset, config)
        # Built before the folder is made: a wrong option leaves nothing behind.
        model = built(kind, config, description)
        if config.is_private:
            private.check_model(kind, model, config)
        start = start_of(model.get_weights(), description)
        run = Run.create(out, dataset.root, "train", config.to_dict(), overwrite)
        described = _environment(real, config, extra) | adaptation.record(other, config)
        described |= {START: start, **lineage.to_dict(), **_weights_file(config.weights, listener)}
        atomic.write_json(run.root / "environment.json", described)
        open_options.tell(run, config_given, by_rule, listener)
        atomic.write_json(run.root / "model.json", description)
    with computing_in(config.precision):
        _train(run, model, dataset, config, lineage, start, other, listener)
    return run


def _checked(dataset: Dataset, config: TrainConfig, listener: Listener) -> Dataset | None:
    """See that data and options go together, before a model is built; the other source of `--adapt`, if any."""
    data_material.check(dataset)
    kind_of(dataset).check(config)
    few_labels.check(dataset, config, listener)
    other = adaptation.other_source(dataset, config)
    if config.calibrate != "none":
        require_validation(config.calibrate, dataset)
    if config.is_private:
        private.check(dataset, config)
    require_no_leakage(_before_holdout(dataset) if config.audit_holdout else dataset)
    return other


def train_or_go_on(data: Path | Dataset, out: Path, config: TrainConfig, listener: Listener | None = None) -> Run:
    """`train` of a Run inside another: begun, gone on with where it was killed, or as it is when it has ended."""
    begun = (out / "config.yaml").is_file() and (out / "model.json").is_file()
    # Killed before its description was written, it has nothing to go on with.
    return train(data, out, config, begun, not begun and (out / "config.yaml").is_file(), listener)


def train_the_same(data: Path, folder: Path, config: TrainConfig) -> Run:
    """A training of a study: begun, or gone on with where the study was killed.

    Raises:
        InputError: it was begun with other options; or of `train`.
    """
    begun = (folder / "model.json").is_file()
    if begun:
        options_to_resume(folder, "train", config, config.to_dict())
    return train(data, folder, config, resume=begun, overwrite=not begun and folder.exists())


def _before_holdout(dataset: Dataset) -> Dataset:
    """Held-out patients in train again: an image that both have is no leak, and the audit leaves such patients out."""
    split = dataset.manifest["split"].replace(HELD_OUT, "train")
    return replace(dataset, manifest=dataset.manifest.assign(split=split))


def _environment(dataset: Dataset, config: TrainConfig, extra: dict | None) -> dict:
    described = {**environment(dataset, config.seed), **({"extra": extra} if extra else {})}
    # By a hash of the manifest a guess at its rows could be checked; `secret_of` keeps it while it is needed.
    return described | ({"data_fingerprint": None} if config.is_private else {})


def _lineage(dataset: Dataset, config: TrainConfig) -> Lineage:
    return lineage_of(dataset, config, "patient" if config.is_private else "")


def _weights_file(weights: str, listener: Listener) -> dict:
    """What is known of `--weights FILE`, told and for environment.json."""
    if weights in NOTHING or is_run(weights):
        return {}
    identity = identify(Path(weights))
    listener.note(words(weights, identity))
    return {"weights": identity}


def _check_options(config: TrainConfig) -> None:
    if config.seeds:
        raise InputError("--seeds: is of an ensemble, and this is one model; leave it out")
    if config.extra and config.folds:
        raise InputError(
            "--extra: not with --folds, whose test patients were in the part that the synthetic rows were made from"
        )
    if config.extra and config.is_private:
        raise InputError(
            "--extra: not with --dp-epsilon, whose ledger counts patients; what was made privately needs no more noise"
        )


def _check_same(run: Run, extra: dict | None) -> None:
    began_with = run.environment().get("extra")
    if extra and began_with and extra["fingerprint"] != began_with["fingerprint"]:
        raise InputError(
            f"--extra {extra['data']}: has changed since the Run at {run.root} began; train anew with --overwrite"
        )


def kind_of(dataset: Dataset):
    """The module that knows how to train on such data."""
    return table if dataset.is_table else images


def built(kind, config: TrainConfig, description: dict) -> tf.keras.Model:
    """The model with its first weights, which depend on the seed alone."""
    use_generators()
    tf.keras.utils.set_random_seed(config.seed)
    with computing_in(config.precision):
        return kind.build_model(config, description)


def _train(
    run: Run,
    model: tf.keras.Model,
    dataset: Dataset,
    config: TrainConfig,
    lineage: Lineage,
    start: str,
    other: Dataset | None,
    listener: Listener,
) -> None:
    kind, description = kind_of(dataset), run.description(calibrated=False)
    material = kind.gather(dataset, config, description, run.root / "cache", listener.step)
    material.others = adaptation.pixels_of(other, config, description, run.root / "cache")
    checkpoints = Checkpoints(run.root / "checkpoints")
    progress, history = checkpoints.state() or (Progress(), [])
    planned = kind.plan(config, model)
    privately = None
    if config.is_private:
        privately = private.PrivateTraining(run, dataset, config, material, planned, lineage, start)
        planned = privately.phases
        privately.require_counted(history)
    resumed = bool(history)
    if not resumed:
        progress.start_phase(0, planned[0].learning_rate)
    try:
        for number, phase in enumerate(planned):
            kind.prepare(model, phase)
            if number < progress.phase:
                checkpoints.load_best(kind.fitted(model, phase, config), number)
                continue
            stage = kind.stage(model, phase, material, config, listener)
            if privately:
                earlier = progress.total_epochs - progress.epoch
                stage = privately.stage(stage, phase, number, earlier)
            stage.optimizer.build(stage.model.trainable_variables)
            if resumed:
                checkpoints.restore(model=stage.model, optimizer=stage.optimizer)
                resumed = False
            Epochs(stage, phase, config, dataset.task, progress, history, checkpoints, run, listener).run()
            checkpoints.load_best(kind.fitted(model, phase, config), number)
            if number + 1 < len(planned):
                progress.start_phase(number + 1, planned[number + 1].learning_rate)
        if config.adapt and config.adapt_method == "adabn":
            adaptation.adapt_statistics(model, material.others, config.batch_size)
    finally:
        material.close()
        shutil.rmtree(run.root / "cache", ignore_errors=True)
    _write_history(run, history)
    if privately:
        privately.complete()
    _save(run, _in_full(model, kind, config, description), dataset, config)
    if config.is_private or progress.stopped_early(config.patience):
        checkpoints.clear()


def _save(run: Run, model: tf.keras.Model, dataset: Dataset, config: TrainConfig) -> None:
    """The model, and its calibrator before it: where model.keras is, the training has ended."""
    answers = Answers(model, run.description(calibrated=False), config.images_at_once)
    if config.calibrate != "none":
        fit_on_validation(config.calibrate, dataset, answers)
    keep(run.root, answers.description)
    save_model(model, run.root / "model.keras")


def _in_full(model: tf.keras.Model, kind, config: TrainConfig, description: dict) -> tf.keras.Model:
    """The model with its weights, computing in float32 whatever it was trained in."""
    if config.precision == FULL:
        return model
    full = built(kind, replace(config, precision=FULL), description)
    full.set_weights(model.get_weights())
    return full


def _write_history(run: Run, history: list[dict]) -> None:
    """Of no epochs there is none."""
    if history:
        atomic.write_csv(run.root / "history.csv", pd.DataFrame(history))
