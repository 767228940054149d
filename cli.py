"""The command line: parse, call one function, print. Nothing heavy is imported until a command runs."""

import dataclasses
import math
import os
import sys
from pathlib import Path

import click

from federated.config import FederateConfig
from federated.studies import STUDIES as FEDERATED_STUDIES
from federated.studies.config import FederatedStudyConfig
from medimg import __version__, printing
from medimg.command_line import DefaultCommand, Group, GroupWithDefault, options_of, take
from medimg.config import (
    AuditConfig,
    CompareConfig,
    EvaluateConfig,
    ExplainConfig,
    ExportConfig,
    PhantomConfig,
    PrepareConfig,
    StudyConfig,
    TrainConfig,
    flag,
)
from medimg.console import interval, progress_bars, table
from medimg.errors import InputError
from synthetic.config import JudgeConfig, SynthesizeConfig


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="medimg")
def medimg():
    """Train, evaluate, explain and export medical image classifiers. Research software, not a medical device."""
    # 3: TensorFlow reports at level 2 that there is no GPU library, which is no news to anyone.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MPLBACKEND", "Agg")


@medimg.group(cls=Group)
def data():
    """List sources, prepare and inspect data sets."""


@data.command("list")
def data_list():
    """Sources that `prepare` reads: task, modality, licence, layout, how to get them."""
    from medimg.sources import SOURCES

    rows = [
        [s.name, s.task, s.modality, s.licence, s.layout, s.how_to_get] for s in SOURCES.values()
    ]
    table("Sources", ["source", "task", "modality", "licence", "layout", "how to get it"], rows)


@data.command("prepare")
@click.argument("source")
@click.argument("path", required=False, type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="Folder of the prepared Dataset.")
@click.option("--overwrite", is_flag=True, help="Replace the Dataset at --out.")
@options_of(PrepareConfig)
@options_of(PhantomConfig, skip=("seed",))
def data_prepare(source, path, out, overwrite, **values):
    """Turn SOURCE's files at PATH into a Dataset: decoded, split by patient, checked for leakage."""
    from medimg.prepare import prepare

    phantom = take(PhantomConfig, {**values, "seed": values["seed"]})
    config = take(PrepareConfig, values)
    with progress_bars() as step:
        dataset = prepare(
            source,
            Path(path) if path else None,
            Path(out),
            config,
            phantom,
            lambda done, total: step("prepare", done, total),
            overwrite,
        )
    printing.counts(dataset)
    for note in dataset.preparation.get("notes", []):
        click.echo(f"note: {note}")
    click.echo(f"prepared {len(dataset.manifest)} {dataset.unit}s in {out}")


@data.command("inspect")
@click.argument("data_folder", metavar="DATA")
@click.option("--out", type=click.Path(), help="Folder of the figures (default: DATA/inspection).")
def data_inspect(data_folder, out):
    """Counts, leakage, duplicates, label conflicts, broken files and figures; exit code 1 on leakage."""
    from medimg.builtin import resolve
    from medimg.dataset import Dataset
    from medimg.inspection import inspect

    dataset = Dataset.load(resolve(data_folder))
    folder = Path(out) if out else dataset.root / "inspection"
    with progress_bars() as step:
        inspection = inspect(dataset, folder, lambda done, total: step("inspect", done, total))
    printing.counts(dataset)
    for note in inspection.notes:
        click.echo(f"note: {note}")
    for problem in inspection.problems:
        click.echo(f"problem: {problem}")
    click.echo(f"figures and page in {folder}")
    sys.exit(1 if inspection.problems else 0)


@medimg.command()
def models():
    """Models of the registry: what they take, smallest image, ImageNet weights, arguments."""
    from medimg.models.registry import FAMILIES
    from medimg.models.tabular import ARGUMENTS

    rows = [
        [
            f.name,
            f"images from {f.minimum_size} px",
            "yes" if f.imagenet else "no",
            ", ".join(f.arguments or {}) or "-",
        ]
        for f in FAMILIES.values()
    ]
    rows += [[name, "tables", "no", ", ".join(known)] for name, known in ARGUMENTS.items()]
    table("Models", ["model", "takes", "ImageNet", "--model-arg"], rows)


@medimg.command()
@click.argument("data_folder", metavar="DATA")
@click.option("--out", required=True, type=click.Path(), help="Folder of the Run.")
@click.option("--resume", is_flag=True, help="Go on with the Run at --out, with its own options.")
@click.option("--overwrite", is_flag=True, help="Replace the Run at --out.")
@options_of(TrainConfig)
@click.pass_context
def train(ctx, data_folder, out, resume, overwrite, **values):
    """Train a classifier on DATA and leave a Run."""
    config = take(TrainConfig, values)
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if resume:
        config = _resumed(ctx, out, config, TrainConfig)
    if config.folds and not config.fold:
        _cross_validate(data_folder, out, config, resume, overwrite)
        return
    run = _train(data_folder, out, config, resume, overwrite)
    history = run.history()
    click.echo(f"trained {len(history)} epochs; Run in {out}")


def _resumed(ctx, out, config, kind):
    """The Run's own options; one given anew that differs is refused rather than ignored."""
    from medimg.run import Run

    run = Run.load(Path(out))
    command = ctx.command.name if ctx.command.name != "run" else "federate"
    if run.config["command"] != command:
        raise InputError(
            f"--resume {out}: is a Run of 'medimg {run.config['command']}', which resumes it"
        )
    own = kind.from_dict(run.config["options"])
    for field in dataclasses.fields(config):
        given = ctx.get_parameter_source(field.name) is click.core.ParameterSource.COMMANDLINE
        if given and getattr(config, field.name) != getattr(own, field.name):
            raise InputError(
                f"{flag(field.name)} {getattr(config, field.name)}: the Run at {out} has "
                f"{getattr(own, field.name)}; leave it out to resume, or train anew"
            )
    return own


def _listener(step):
    """Tells of epochs by progress bars, or by lines where there is no terminal."""
    from medimg.training.train import Listener

    def epoch(row):
        if sys.stderr.isatty():
            return
        click.echo(
            f"{row['phase']} epoch {row['epoch']}: loss {row['loss']:.4f} val_loss {row['val_loss']:.4f} "
            f"val_auroc {row['val_auroc']:.4f} {row['seconds']:.1f} s",
            err=True,
        )

    return Listener(step, epoch)


def _cross_validate(data_folder, out, config, resume, overwrite):
    from medimg.builtin import resolve
    from medimg.cross_validation import cross_validate
    from medimg.training.train import Listener

    def told(fold, metrics):
        click.echo(f"fold {fold}: AUROC {interval(metrics['metrics']['auroc'])}", err=True)

    with progress_bars() as step:
        result = cross_validate(
            # A line per fold is enough where there is no terminal.
            resolve(data_folder),
            Path(out),
            config,
            resume,
            overwrite,
            Listener(step),
            told,
        )
    printing.folds(result)
    click.echo(f"report: {Path(out) / 'report.html'}; each fold is a Run in {out}/fold-1 and so on")


def _train(data_folder, out, config, resume=False, overwrite=False):
    from medimg.builtin import resolve
    from medimg.training.train import train

    with progress_bars() as step:
        run = train(resolve(data_folder), Path(out), config, resume, overwrite, _listener(step))
    printing.training(run)
    return run


@medimg.group(cls=GroupWithDefault)
def federate():
    """Train a classifier across the sites of DATA on TensorFlow Federated; verify and worker are its commands."""


@federate.command(
    "run",
    cls=DefaultCommand,
    epilog="Beside it: 'medimg federate verify RUN' and 'medimg federate worker'.",
)
@click.argument("data_folder", metavar="DATA")
@click.option("--out", required=True, type=click.Path(), help="Folder of the Run.")
@click.option("--resume", is_flag=True, help="Go on with the Run at --out, with its own options.")
@click.option("--overwrite", is_flag=True, help="Replace the Run at --out.")
@options_of(FederateConfig)
@click.pass_context
def federate_run(ctx, data_folder, out, resume, overwrite, **values):
    """Train a classifier across the clients of DATA by rounds, and compare it with what each has alone and pooled."""
    config = take(FederateConfig, values)
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if resume:
        config = _resumed(ctx, out, config, FederateConfig)
    from federated.federate import federate
    from federated.listener import Listener
    from medimg.builtin import resolve

    def told(row):
        if not sys.stderr.isatty():
            # Private clients don't tell their loss.
            loss = "" if math.isnan(row["loss"]) else f"loss {row['loss']:.4f} "
            click.echo(
                f"round {row['round']}: {loss}val_loss {row['val_loss']:.4f} "
                f"val_auroc {row['val_auroc']:.4f} {row['participants']} clients {row['seconds']:.1f} s",
                err=True,
            )

    with progress_bars() as step:
        listener = Listener(step, told, lambda sentence: click.echo(f"note: {sentence}", err=True))
        run = federate(resolve(data_folder), Path(out), config, resume, overwrite, listener)
    from federated.report.printed import printed
    from federated.report.reading import read_federation

    for title, columns, rows in printed(read_federation(run.root)):
        table(title, columns, rows)
    click.echo(f"report: {run.root / 'federation.html'} and {run.root / 'report.html'}")


@federate.command("worker")
@click.option("--data", required=True, type=click.Path(), help="The site's prepared Dataset.")
@click.option(
    "--port",
    required=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any free one.",
)
@click.option(
    "--site", multiple=True, help="Site of DATA to serve; may be repeated (default: all)."
)
@click.option("--client", help="Serve all rows as one client of this name.")
@click.option(
    "--bind", default="127.0.0.1", show_default=True, help="Address of this machine to listen at."
)
@click.option(
    "--expose", is_flag=True, help="Start where the system can't shut the worker off; see the docs."
)
def federate_worker(data, port, site, client, bind, expose):
    """Serve a site's DATA to a coordinator until Ctrl-C; behind mutual TLS, see docs/federation-workers.md."""
    from federated.remote.serve import serve
    from medimg.builtin import resolve

    serve(resolve(data), port, site, client, bind, expose, lambda line: click.echo(line, err=True))


@federate.command("verify")
@click.argument("run_folder", metavar="RUN")
@click.option("--head", help="Hash of the last record, as it was noted elsewhere.")
@click.option(
    "--witness", multiple=True, help="Hash of an earlier record, noted elsewhere; may be repeated."
)
@click.option("--public-key", help="64 hexadecimal digits: the head must be signed with its key.")
def federate_verify(run_folder, head, witness, public_key):
    """Check RUN's audit log against itself and what was noted elsewhere; exit code 1 when it was changed."""
    from federated.audit_log import verify

    found = verify(Path(run_folder) / "audit.jsonl", head, witness, public_key)
    for problem in found.problems:
        click.echo(f"problem: {problem}")
    for note in found.notes:
        click.echo(f"note: {note}")
    state = "intact" if found.ok else "CHANGED"
    click.echo(f"audit log {state}: {found.records} records, {len(found.rounds)} rounds")
    click.echo(f"head {found.head}")
    sys.exit(0 if found.ok else 1)


@medimg.command()
@click.argument("run_folder", metavar="RUN")
@options_of(EvaluateConfig)
def evaluate(run_folder, **values):
    """Metrics with 95% intervals, predictions, figures and a report of RUN."""
    _evaluate(run_folder, take(EvaluateConfig, values))


def _evaluate(run_folder, config):
    from medimg.evaluation.evaluate import evaluate
    from medimg.run import Run

    with progress_bars() as step:
        result = evaluate(
            Run.load(Path(run_folder)), config, lambda done, total: step("predict", done, total)
        )
    printing.evaluation(result)
    click.echo(f"report: {result.get('report', Path(run_folder) / 'report.html')}")
    return result


@medimg.command()
@click.argument("data_folder", metavar="DATA")
@click.option("--out", required=True, type=click.Path(), help="Folder of the synthetic Dataset.")
@click.option("--resume", is_flag=True, help="Go on with the one at --out, with its own options.")
@click.option("--overwrite", is_flag=True, help="Replace the one at --out.")
@options_of(
    SynthesizeConfig, skip=("dp_sampling", "dp_images_per_patient", "dp_budget", "dp_engine")
)
@click.pass_context
def synthesize(ctx, data_folder, out, resume, overwrite, **values):
    """Fit a generator on DATA's training part and leave a synthetic Dataset; 'medimg judge' tells what it is worth."""
    config = take(SynthesizeConfig, values)
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if resume:
        config = _resumed(ctx, out, config, SynthesizeConfig)
    from medimg.builtin import resolve
    from medimg.dataset import Dataset
    from synthetic.synthesize import synthesize

    with progress_bars() as step:
        made = synthesize(resolve(data_folder), Path(out), config, resume, overwrite, step)
    dataset = Dataset.load(made)
    printing.counts(dataset)
    for note in dataset.preparation.get("notes", []):
        click.echo(f"note: {note}")
    click.echo(f"privacy: {dataset.preparation['privacy']}")
    click.echo(f"made {len(dataset.manifest)} synthetic {dataset.unit}s in {out}; judge them next")


@medimg.command()
@click.argument("data_folder", metavar="DATA2")
@click.option("--real", required=True, help="The Dataset that DATA2 was made from.")
@options_of(JudgeConfig)
def judge(data_folder, real, **values):
    """Fidelity, utility, diversity and privacy of the synthetic DATA2, judged on held-out real patients."""
    config = take(JudgeConfig, values)
    from medimg.builtin import resolve
    from synthetic.judge.judge import judge
    from synthetic.judge.printed import printed

    with progress_bars() as step:
        result = judge(Path(data_folder), resolve(real), config, step)
    for title, columns, rows in printed(result):
        table(title, columns, rows)
    for reason in result["reasons"]:
        click.echo(reason)
    click.echo(f"verdict: {result['verdict']}; report: {Path(data_folder) / 'report.html'}")


@medimg.command("compare")
@click.argument("run_folders", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--out",
    default="comparison",
    show_default=True,
    type=click.Path(),
    help="Folder of the result.",
)
@options_of(CompareConfig)
def compare_runs(run_folders, out, **values):
    """Paired tests of RUNs on the same patients, ANOVA over seeds or folds; tables beside scikit-learn baselines."""
    from medimg.comparison.compare import compare
    from medimg.run import Run

    config = take(CompareConfig, values)
    with progress_bars() as step:
        result = compare(
            [Run.load(Path(folder)) for folder in run_folders],
            Path(out),
            config,
            lambda done, total: step("compare", done, total),
        )
    printing.comparison(result)
    click.echo(f"comparison in {out}")


@medimg.command()
@click.argument("run_folder", metavar="RUN")
@options_of(ExplainConfig)
def explain(run_folder, **values):
    """Grad-CAM, SHAP and kin on files or a split of RUN, judged by the pointing game where findings are known."""
    _explain(run_folder, take(ExplainConfig, values))


def _explain(run_folder, config):
    from explain.explain import explain as explain_run
    from medimg.run import Run

    with progress_bars() as step:
        result = explain_run(
            Run.load(Path(run_folder)), config, lambda done, total: step("explain", done, total)
        )
    printing.localisation(result)
    click.echo(f"explanations in {Path(run_folder) / 'explanations'}")
    return result


@medimg.command()
@click.argument("run_folder", metavar="RUN")
@click.option(
    "--out",
    required=True,
    type=click.Path(),
    help="saved_models/NAME; a new version goes under it.",
)
@options_of(ExportConfig)
def export(run_folder, out, **values):
    """A SavedModel of RUN for TF Serving, with warm-up, parity proof and model card."""
    _export(run_folder, out, take(ExportConfig, values))


def _export(run_folder, out, config):
    from medimg.export import export, serving_commands
    from medimg.run import Run

    with progress_bars() as step:
        folder = export(
            Run.load(Path(run_folder)),
            Path(out),
            config,
            lambda done, total: step("export", done, total),
        )
    click.echo(f"exported {folder}; reloaded without medimg it gives the same probabilities")
    for line in serving_commands(Path(out), Path(out).name):
        click.echo(line)
    return folder


@medimg.command()
@click.argument("run_folder", metavar="RUN")
@options_of(AuditConfig)
def audit(run_folder, **values):
    """Membership inference against RUN, beside what its claimed epsilon allows."""
    from medimg.audit.audit import audit as audit_run
    from medimg.audit.audit import cost
    from medimg.run import Run

    config, run = take(AuditConfig, values), Run.load(Path(run_folder))
    expected = cost(run, config)
    if expected:
        click.echo(expected)
    with progress_bars() as step:
        result = audit_run(run, config, step)
    printing.attacks(result)
    click.echo(f"report: {Path(run_folder) / 'audit.html'}")


@medimg.group(cls=Group)
def study():
    """A study of the source papers on DATA, as a table and a figure."""


@study.command("privacy-utility")
@click.argument("data_folder", metavar="DATA")
@click.option("--out", required=True, type=click.Path(), help="Folder of the study.")
@options_of(StudyConfig)
@options_of(TrainConfig, skip=("dp_epsilon", "seed", "folds", "fold"))
def study_privacy_utility(data_folder, out, **values):
    """What differential privacy costs, by epsilon and over seeds."""
    from medimg.builtin import resolve

    config, training = take(StudyConfig, values), take(TrainConfig, values)
    from medimg.studies.privacy_utility import privacy_utility

    with progress_bars() as step:
        summary = privacy_utility(
            resolve(data_folder),
            Path(out),
            config,
            training,
            lambda done, total: step("trainings", done, total),
        )
    printing.privacy_utility(summary)
    click.echo(f"figure and tables in {out}")


def _federated_study(name, question):
    @study.command(name, help=f"{question[0].upper()}{question[1:]}.")
    @click.argument("data_folder", metavar="DATA")
    @click.option("--out", required=True, type=click.Path(), help="Folder of the study.")
    @options_of(FederatedStudyConfig)
    def command(data_folder, out, **values):
        config = take(FederatedStudyConfig, values)
        from federated.studies import function_of
        from medimg.builtin import resolve

        with progress_bars() as step:
            summary = function_of(name)(
                resolve(data_folder),
                Path(out),
                config,
                lambda done, total: step("trainings", done, total),
            )
        table(name, list(summary.columns), summary.values.tolist())
        click.echo(f"figure and tables in {out}")


for _name, _question in FEDERATED_STUDIES.items():
    _federated_study(_name, _question)


@medimg.command()
@click.option(
    "--out", default="demo", show_default=True, type=click.Path(), help="Folder of the demo."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of everything."
)
@click.option("--overwrite", is_flag=True, help="Replace the demo at --out.")
def demo(out, seed, overwrite):
    """Phantom radiographs: prepare, train, evaluate, explain, export; needs no data and no network."""
    from medimg.prepare import prepare

    out = Path(out)
    taken = [out / name for name in ("data", "run") if (out / name).exists()]
    if taken and not overwrite:
        raise InputError(f"--out {out}: already holds a demo; give another folder or --overwrite")
    phantom = PhantomConfig(seed=seed)
    with progress_bars() as step:
        prepared = prepare(
            "phantom",
            None,
            out / "data",
            PrepareConfig(seed=seed),
            phantom,
            lambda done, total: step("draw", done, total),
            overwrite,
        )
    printing.counts(prepared)
    run = out / "run"
    _train(str(out / "data"), run, demo_training(seed), overwrite=overwrite)
    _evaluate(run, EvaluateConfig(seed=seed))
    _explain(run, ExplainConfig(method=("gradcam",), seed=seed))
    _export(run, out / "saved_models" / "phantom", ExportConfig())
    click.echo(f"look at {run / 'report.html'} and {run / 'explanations'}")


def demo_training(seed: int) -> TrainConfig:
    """Options of the demo's training: a few epochs of a narrow baseline CNN, half a minute on two cores.

    Three stages look at about a third of the image, and the maximum keeps a small opacity from drowning in the average.
    """
    return TrainConfig(
        model="baseline_cnn",
        model_arg={"width": "16", "stages": "3", "pool": "max"},
        image_size=96,
        epochs=14,
        patience=4,
        seed=seed,
    )


@medimg.command()
def doctor():
    """Versions against the lock, processors and memory; exit code 1 when something is broken."""
    from medimg.doctor import examine

    findings = examine()
    table("medimg doctor", ["check", "found", "state"], [list(f) for f in findings])
    sys.exit(0 if all(state == "ok" for _, _, state in findings) else 1)


def main():
    """Entry point."""
    medimg(prog_name="medimg")


if __name__ == "__main__":
    main()
