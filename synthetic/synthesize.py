"""`medimg synthesize`: a Dataset's training part -> a synthetic Dataset, resumable at any moment."""

import secrets
import shutil
from importlib import metadata
from pathlib import Path

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.leakage import require_no_leakage
from medimg.errors import InputError
from medimg.listener import Step
from medimg.lock import writes
from medimg.resuming import run_to_resume
from medimg.run import Run, environment
from medimg.untrusted.json_file import read_json
from synthetic.config import TABLE_MODELS, SynthesizeConfig
from synthetic.dataset import write
from synthetic.federation import NAME


@writes("out")
def synthesize(
    data: Path,
    out: Path,
    config: SynthesizeConfig,
    resume: bool = False,
    overwrite: bool = False,
    listener: Step | None = None,
) -> Path:
    """Fit a generator on split train and write what it makes as a Dataset.

    `out` is a Run until it is a Dataset as well: `config.yaml` and `environment.json` from the start, `training/` and
    `checkpoints/` while it trains, `dataset.yaml` last. A private training leaves `privacy.json`.

    Args:
        data: the real Dataset's folder.
        out: folder of the synthetic Dataset.
        config: options; to resume, those that it was started with.
        resume: go on with an unfinished one at `out`; a finished one is left as it is.
        overwrite: replace what is at `out`.
        listener: called with what is done, how far, and of how many.

    Returns:
        `out`.

    Raises:
        InputError: names the file or option and the remedy.
    """
    out, listener = Path(out), listener or (lambda stage, done, total: None)
    dataset = Dataset.load(Path(data), joins_copies=not config.is_private)
    _check(dataset, config, out)
    if resume:
        if (out / "config.yaml").is_file() and not (out / "environment.json").is_file():
            raise InputError(f"--resume {out}: was killed before it began; give --overwrite")
        finished = (out / "dataset.yaml").is_file()
        # What a finished private one began with is told nowhere any more.
        finished_private = finished and config.is_private
        run = Run.load(out) if finished_private else run_to_resume(out, dataset)
        if run.config.get("command") != "synthesize":
            raise InputError(f"--resume {out}: is no unfinished 'medimg synthesize'; leave it out")
        if finished:
            _finish(out, config)
            return out
        if SynthesizeConfig.from_dict(run.config["options"]) != config:
            raise InputError(
                f"--resume {out}: was started with other options, in its config.yaml; give those or --overwrite"
            )
    else:
        Run.create(out, dataset.root, "synthesize", config.to_dict(), overwrite)
        atomic.write_json(out / "environment.json", _environment(dataset, config))
    generated = _maker(dataset, config).fit_and_sample(dataset, out, config, listener)
    write(generated, dataset, out, config)
    _finish(out, config)
    return out


def _finish(out: Path, config: SynthesizeConfig) -> None:
    """Take away what a finished Dataset must not hold."""
    if config.is_private:
        facts = read_json(out / "environment.json")
        # A hash of real rows, by which a guess at them could be checked; only resuming needs it.
        facts.pop("data_fingerprint", None)
        atomic.write_json(out / "environment.json", facts)
    _clear(out)


def _clear(out: Path) -> None:
    """Remove what must not stay beside a finished Dataset: clients' images, the generator, the seed of the noise."""
    folder = out / "checkpoints"
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: could not be removed ({error.strerror}); it holds what the Dataset must not: remove it "
            "yourself before you share the Dataset"
        ) from error


def _environment(dataset: Dataset, config: SynthesizeConfig) -> dict:
    facts = environment(dataset, config.seed)
    if config.is_apart:
        facts = {**facts, NAME: secrets.token_hex(16)}
    if config.model in TABLE_MODELS:
        versions = {name: metadata.version(name) for name in ("ctgan", "torch")}
        facts = {**facts, "packages": {**facts["packages"], **versions}}
    return facts


def _check(dataset: Dataset, config: SynthesizeConfig, out: Path) -> None:
    """Refuse what can't work before anything at `out` is touched."""
    if out.resolve() == dataset.root.resolve():
        raise InputError(f"--out {out}: is the real Dataset itself; give another folder")
    if dataset.synthetic:
        raise InputError(f"{dataset.root}: is synthetic already; give the real Dataset that it was made from")
    for_tables = config.model in TABLE_MODELS
    if dataset.is_table != for_tables:
        kind, fitting = ("a table", "ctgan, tvae or marginals") if dataset.is_table else ("images", "dcgan")
        raise InputError(f"--model {config.model}: {dataset.root} holds {kind}; use {fitting}")
    if dataset.is_table:
        # Copies of a training row in test would be held out from nobody.
        require_no_leakage(dataset)
    require_consistent(config)
    _maker(dataset, config).check(dataset, config)


def _maker(dataset: Dataset, config: SynthesizeConfig):
    """The module that fits this kind of generator: `check(dataset, config)` and `fit_and_sample`."""
    # Torch for tables, TensorFlow for images: only what is needed is imported.
    if dataset.is_table and config.is_apart:
        from synthetic.federation.tables import at_sites as maker
    elif dataset.is_table and config.is_federated:
        from synthetic.federation.tables import training as maker
    elif dataset.is_table:
        from synthetic.tables import synthesis as maker
    elif config.is_apart:
        from synthetic.federation.images import at_sites as maker
    elif config.is_federated:
        from synthetic.federation.images import training as maker
    else:
        from synthetic.images import dcgan as maker
    return maker


def require_consistent(config: SynthesizeConfig) -> None:
    """Refuse what the model, or a training in one place, does not know.

    Raises:
        InputError: names the option.
    """
    config.require_effect()
    if config.rounds and config.epochs:
        raise InputError(f"--rounds {config.rounds}: not with --epochs, which settles them as well")
    if config.is_private and config.rare_classes == "leave-out":
        # It would tell, without noise, of a class that it has a single patient.
        raise InputError(
            "--rare-classes leave-out: not with --dp-epsilon, which protects a class's only patient already"
        )
