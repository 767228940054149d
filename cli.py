"""The command line: parse, call one function, print. Nothing heavy is imported until a command runs."""

import contextlib
import dataclasses
import os
import sys
import typing
from pathlib import Path

import click

from medimg import __version__
from medimg.config import (
    Config,
    EvaluateConfig,
    ExplainConfig,
    ExportConfig,
    PhantomConfig,
    PrepareConfig,
    TrainConfig,
    flag,
)
from medimg.errors import InputError

METRICS = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
    "ece",
)


class Command(click.Command):
    """A command whose user errors are one line and exit code 2, and Ctrl-C exits 130."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(["--config"], type=click.Path(), help="YAML file of options; flags win.")
        )
        self.params.append(
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error.")
        )

    def invoke(self, ctx: click.Context):
        """Run the command; an InputError becomes one line."""
        debug = ctx.params.pop("debug", False)
        file = ctx.params.pop("config", None)
        try:
            if file:
                _merge_file(ctx, self, file)
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(
                "medimg: interrupted; what was written stays, and --resume goes on with it",
                err=True,
            )
            sys.exit(130)
        except (InputError, OSError) as error:
            if debug:
                raise
            click.echo(f"medimg: error: {_one_line(error)}", err=True)
            sys.exit(2)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, InputError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _merge_file(ctx: click.Context, command: click.Command, file: str) -> None:
    """Options of the YAML file, for those that the command line leaves at their defaults."""
    import yaml

    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--config {file}: not readable as YAML ({_one_line(error)})") from error
    if not isinstance(values, dict):
        raise InputError(f"--config {file}: not a mapping of option names to values")
    options = {p.name: p for p in command.params if isinstance(p, click.Option)}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in options:
            raise InputError(f"--config {file}: option '{key}' is not known to this command")
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            continue
        try:
            ctx.params[name] = options[name].process_value(ctx, _as_given(options[name], value))
        except click.BadParameter as error:
            raise InputError(f"--config {file}: {key}: {error.format_message()}") from error


def _as_given(option: click.Option, value):
    """A YAML value in the form in which the command line would give it."""
    if isinstance(value, dict):
        return [f"{k}={v}" for k, v in value.items()]
    return [value] if option.multiple and not isinstance(value, list) else value


class Group(click.Group):
    """A group whose commands are all `Command`s."""

    command_class = Command


Group.group_class = type


def options_of(config: type[Config], skip: tuple[str, ...] = ()):
    """Click options from the fields of a configuration."""

    def decorate(function):
        for field in reversed(dataclasses.fields(config)):
            if field.name not in skip:
                function = _option(field)(function)
        return function

    return decorate


def _option(field: dataclasses.Field):
    rules = field.metadata
    default = field.default_factory() if field.default is dataclasses.MISSING else field.default
    kind = typing.get_args(field.type)[0] if typing.get_args(field.type) else field.type
    settings = {
        "help": rules["help"],
        "metavar": rules["metavar"],
        "show_default": default not in (None, ()),
    }
    if kind is dict:
        return click.option(
            flag(field.name), multiple=True, callback=_pairs, **{**settings, "show_default": False}
        )
    if kind is tuple:
        return click.option(flag(field.name), multiple=True, default=default, **settings)
    if kind is bool:
        name = field.name.replace("_", "-")
        return click.option(f"--{name}/--no-{name}", default=default, **settings)
    if rules["choices"] and kind is str:
        return click.option(
            flag(field.name), type=click.Choice(rules["choices"]), default=default, **settings
        )
    return click.option(flag(field.name), type=kind, default=default, **settings)


def _pairs(ctx, param, values) -> dict:
    pairs = {}
    for value in values:
        key, equals, content = value.partition("=")
        if not equals:
            raise click.BadParameter(f"'{value}' is not k=v", ctx, param)
        pairs[key] = content
    return pairs


def _config(kind: type[Config], values: dict) -> Config:
    """Take the fields of a configuration out of a command's values."""
    return kind(
        **{f.name: values.pop(f.name) for f in dataclasses.fields(kind) if f.name in values}
    )


@contextlib.contextmanager
def progress_bars():
    """A function (what, done, total) that draws bars on a terminal and is silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    tasks = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total, visible=done < total)

        yield step


def table(title: str, columns: list[str], rows: list[list]) -> None:
    """Print a table to standard output."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        drawn.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        drawn.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    # A pipe has no width; a log wants whole rows.
    width = None if sys.stdout.isatty() else 120
    Console(width=width).print(drawn)


def interval(value: dict | None) -> str:
    """0.951 [0.930, 0.970]; a dash where it is not defined."""
    if not value or value.get("value") is None:
        return "-"
    if value.get("low") is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="medimg")
def medimg():
    """Train, evaluate, explain and export medical image classifiers. Research software, not a medical device."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
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

    phantom = _config(PhantomConfig, {**values, "seed": values["seed"]})
    config = _config(PrepareConfig, values)
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
    _print_counts(dataset)
    for note in dataset.preparation.get("notes", []):
        click.echo(f"note: {note}")
    click.echo(f"prepared {len(dataset.manifest)} images in {out}")


def _print_counts(dataset) -> None:
    rows = []
    for split in ("train", "val", "test"):
        part = dataset.rows(split)
        labels = part["label"].str.split("|").explode().value_counts()
        counts = [int(labels.get(name, 0)) for name in dataset.classes]
        rows.append([split, part["patient"].nunique(), len(part), *counts])
    table(dataset.name, ["split", "patients", "images", *dataset.classes], rows)


@data.command("inspect")
@click.argument("data_folder", metavar="DATA")
@click.option("--out", type=click.Path(), help="Folder of the figures (default: DATA/inspection).")
def data_inspect(data_folder, out):
    """Counts, leakage, duplicates, label conflicts, broken files and figures; exit code 1 on leakage."""
    from medimg.builtin import resolve
    from medimg.inspection import inspect

    from medimg.dataset import Dataset

    dataset = Dataset.load(resolve(data_folder))
    folder = Path(out) if out else dataset.root / "inspection"
    inspection = inspect(dataset, folder)
    _print_counts(dataset)
    for problem in inspection.problems:
        click.echo(f"problem: {problem}")
    click.echo(f"figures and page in {folder}")
    sys.exit(1 if inspection.problems else 0)


@medimg.command()
def models():
    """Models of the registry: smallest image, ImageNet weights, arguments."""
    from medimg.models.registry import FAMILIES

    rows = [
        [f.name, f.minimum_size, "yes" if f.imagenet else "no", ", ".join(f.arguments or {}) or "-"]
        for f in FAMILIES.values()
    ]
    table("Models", ["model", "smallest px", "ImageNet", "--model-arg"], rows)


@medimg.command()
@click.argument("data_folder", metavar="DATA")
@click.option("--out", required=True, type=click.Path(), help="Folder of the Run.")
@click.option("--resume", is_flag=True, help="Go on with the Run at --out, with its own options.")
@click.option("--overwrite", is_flag=True, help="Replace the Run at --out.")
@options_of(TrainConfig)
@click.pass_context
def train(ctx, data_folder, out, resume, overwrite, **values):
    """Train a classifier on DATA and leave a Run."""
    config = _config(TrainConfig, values)
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if resume:
        config = _resumed(ctx, out, config)
    run = _train(data_folder, out, config, resume, overwrite)
    history = run.history()
    click.echo(f"trained {len(history)} epochs; Run in {out}")


def _resumed(ctx, out, config):
    """The Run's own options; one given anew that differs is refused rather than ignored."""
    from medimg.run import Run

    own = TrainConfig.from_dict(Run.load(Path(out)).config["options"])
    for field in dataclasses.fields(config):
        given = ctx.get_parameter_source(field.name) is click.core.ParameterSource.COMMANDLINE
        if given and getattr(config, field.name) != getattr(own, field.name):
            raise InputError(
                f"{flag(field.name)} {getattr(config, field.name)}: the Run at {out} has "
                f"{getattr(own, field.name)}; leave it out to resume, or train anew"
            )
    return own


def _train(data_folder, out, config, resume=False, overwrite=False):
    from medimg.builtin import resolve

    from medimg.training.train import Listener, train

    rows = []
    with progress_bars() as step:

        def epoch(row):
            rows.append(row)
            if sys.stderr.isatty():
                return
            click.echo(
                f"{row['phase']} epoch {row['epoch']}: loss {row['loss']:.4f} val_loss {row['val_loss']:.4f} "
                f"val_auroc {row['val_auroc']:.4f} {row['seconds']:.1f} s",
                err=True,
            )

        run = train(
            resolve(data_folder), Path(out), config, resume, overwrite, Listener(step, epoch)
        )
    history = run.history()
    best = history[history["best"].astype(bool)].groupby("phase", sort=False).tail(1)
    columns = ["phase", "epoch", "loss", "val_loss", "val_accuracy", "val_auroc", "learning_rate"]
    table("Best epoch of each phase", columns, best[columns].values.tolist())
    return run


@medimg.command()
@click.argument("run_folder", metavar="RUN")
@options_of(EvaluateConfig)
def evaluate(run_folder, **values):
    """Metrics with 95% intervals, predictions, figures and a report of RUN."""
    _evaluate(run_folder, _config(EvaluateConfig, values))


def _evaluate(run_folder, config):
    from medimg.evaluation.evaluate import evaluate

    from medimg.run import Run

    with progress_bars() as step:
        result = evaluate(
            Run.load(Path(run_folder)), config, lambda done, total: step("predict", done, total)
        )
    names = [name for name in METRICS if name in result["metrics"]]
    rows = [["all", *(interval(result["metrics"][name]) for name in names)]]
    if len(result["per_class"]) > 2:
        rows += [
            [name, *(interval(values.get(n)) for n in names)]
            for name, values in result["per_class"].items()
        ]
    table(f"{result['split']}: {result['n']} images", ["class", *names], rows)
    threshold = result["threshold"]
    if threshold.get("note"):
        click.echo(f"threshold: {threshold['note']}")
    click.echo(f"report: {result.get('report', Path(run_folder) / 'report.html')}")
    return result


@medimg.command()
@click.argument("run_folder", metavar="RUN")
@options_of(ExplainConfig)
def explain(run_folder, **values):
    """Grad-CAM, SHAP and kin on files or a split of RUN, judged by the pointing game where findings are known."""
    _explain(run_folder, _config(ExplainConfig, values))


def _explain(run_folder, config):
    from explain.explain import explain as explain_run

    from medimg.run import Run

    with progress_bars() as step:
        result = explain_run(
            Run.load(Path(run_folder)), config, lambda done, total: step("explain", done, total)
        )
    for method, judged in result.get("localisation", {}).items():
        click.echo(
            f"{method}: pointing game {judged['hit_rate']['value']:.3f} "
            f"[{judged['hit_rate']['low']:.3f}, {judged['hit_rate']['high']:.3f}] on {judged['n']} images; "
            f"random point {judged['random']:.3f}, image centre {judged['centre']:.3f}"
        )
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
    _export(run_folder, out, _config(ExportConfig, values))


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
    _print_counts(prepared)
    run = out / "run"
    _train(str(out / "data"), run, demo_training(seed), overwrite=overwrite)
    _evaluate(run, EvaluateConfig(seed=seed))
    _explain(run, ExplainConfig(method=("gradcam",), seed=seed))
    _export(run, out / "saved_models" / "phantom", ExportConfig())
    click.echo(f"look at {run / 'report.html'} and {run / 'explanations'}")


def demo_training(seed: int) -> TrainConfig:
    """Options of the demo's training: a few epochs of a narrow baseline CNN, about a minute on two cores."""
    return TrainConfig(
        model="baseline_cnn",
        model_arg={"width": 16},
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
