"""The command line: the rooms' commands put together, and those that go through several rooms, `predict` and `demo`.

Nothing heavy is imported until a command runs.
"""

import os
from functools import partial
from pathlib import Path

import click

from explain.commands import explain, explain_run, heat_maps, interpretability, map_saver, review
from explain.config import ExplainConfig
from federated.commands import dossier, federate, hospitals
from federated.flower import kinds
from medimg import __version__
from medimg.commands import printing
from medimg.commands.command_line import Group, options_of, take
from medimg.commands.console import progress_bars
from medimg.commands.data import data
from medimg.commands.installation import doctor, models
from medimg.commands.output import overwrite_option
from medimg.commands.runs import (
    audit,
    compare,
    evaluate,
    evaluate_run,
    export,
    export_run,
    predict_run,
    report,
    validate,
)
from medimg.commands.study import study
from medimg.commands.train import train, train_run
from medimg.commands.weights import weights
from medimg.config import PrepareConfig, TrainConfig
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.lock import writes
from medimg.phantom.config import PhantomConfig
from medimg.prediction.config import PredictConfig
from medimg.serving.config import ExportConfig
from medimg.studies import steps
from synthetic.commands import judge, synthesize

# A site learns what a plan asks for; generators are no affair of the federation's own rooms.
kinds.name("dcgan", "synthetic.federation.images.site")
for _model in ("ctgan", "tvae"):
    kinds.name(_model, "synthetic.federation.tables.site")
# Nor does a declared study know who carries out its steps.
_STEPS = {
    "federate": "federated",
    "hospitals": "federated",
    "synthesize": "synthetic",
    "judge": "synthetic",
    "explain": "explain",
    "foretell": "explain",
}
for _step, _room in _STEPS.items():
    steps.name(_step, f"{_room}.studies.{_step}")


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog='Completion: eval "$(_MEDIMG_COMPLETE=bash_source medimg)" in bash; zsh and fish alike (docs/install.md).',
)
@click.version_option(__version__, prog_name="medimg")
def medimg():
    """Train, evaluate, explain and export medical image classifiers. Research software, not a medical device."""
    # 3: TensorFlow reports at level 2 that there is no GPU library, which is no news to anyone.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MPLBACKEND", "Agg")


@medimg.command()
@click.argument("run_folder", metavar="RUN")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--out", metavar="FILE.csv", required=True, type=click.Path(), help="The result.")
@overwrite_option("the file")
@options_of(PredictConfig)
@click.pass_context
def predict(ctx, run_folder, paths, out, overwrite, **values):
    """What RUN says of files, folders, a Dataset or a CSV, without labels; exit code 1 if any is broken."""
    if not predict_run(run_folder, paths, out, take(PredictConfig, values), overwrite, map_saver, heat_maps):
        ctx.exit(1)


@medimg.command()
@click.option("--out", default="demo", show_default=True, type=click.Path(), help="Folder of the demo.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Seed of everything.")
@overwrite_option("the demo")
@writes("out")
def demo(out, seed, overwrite):
    """Phantom radiographs: prepare, train, evaluate, explain, export; needs no data and no network."""
    from medimg.preparation.prepare import prepare

    out = Path(out)
    existing = [out / name for name in ("data", "run") if (out / name).exists()]
    if existing and not overwrite:
        raise InputError(f"--out {out}: already holds a demo; give another folder or --overwrite")
    with progress_bars() as step:
        prepared = prepare(
            "phantom",
            None,
            out / "data",
            PrepareConfig(seed=seed),
            PhantomConfig(seed=seed),
            partial(step, "draw"),
            overwrite,
        )
    printing.counts(prepared)
    run = out / "run"
    train_run(str(out / "data"), run, demo_training(seed), overwrite=overwrite)
    evaluate_run(run, EvaluateConfig(seed=seed))
    explain_run(run, ExplainConfig(method=("gradcam",), seed=seed))
    export_run(run, out / "saved_models" / "phantom", ExportConfig())
    click.echo(f"look at {run / 'report.html'} and {run / 'explanations'}")


def demo_training(seed: int) -> TrainConfig:
    """Options of the demo's training: a few epochs of a narrow baseline CNN, half a minute on two cores.

    Three stages look at about a third of the image, and the maximum keeps a small opacity from drowning in the average.
    """
    return TrainConfig(
        model="baseline_cnn",
        model_arg={"width": "16", "stages": "3", "pool": "max"},
        image_size=96,
        epochs=9,
        patience=4,
        seed=seed,
    )


for _command in (data, models, weights, train, evaluate, validate, compare, export, audit, report, study, doctor):
    medimg.add_command(_command)
for _command in (federate, dossier, synthesize, judge, explain, review):
    medimg.add_command(_command)
for _command in (interpretability, hospitals):
    study.add_command(_command)


def main():
    """Entry point."""
    medimg(prog_name="medimg")


if __name__ == "__main__":
    main()
