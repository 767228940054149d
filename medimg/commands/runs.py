"""What is done with Runs: `medimg evaluate`, `predict`, `compare`, `export`, `audit` and `report`."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import click

from medimg.audit.config import AuditConfig
from medimg.commands import printing
from medimg.commands.command_line import Command, options_of, take
from medimg.commands.console import progress_bars, say
from medimg.comparison.config import CompareConfig
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.prediction.config import PredictConfig
from medimg.serving.config import ExportConfig
from medimg.validation.config import ValidateConfig


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@options_of(EvaluateConfig)
def evaluate(run_folder, **values):
    """Metrics with 95% intervals, predictions, figures and a report of RUN."""
    evaluate_run(run_folder, take(EvaluateConfig, values))


def evaluate_run(run_folder, config: EvaluateConfig) -> None:
    """Evaluate a Run and print its metrics."""
    from medimg.evaluation.evaluate import evaluate
    from medimg.preparation.builtin import resolve
    from medimg.run import Run

    if config.data is not None:
        config = replace(config, data=str(resolve(config.data))).with_given_names(config.names_given())
    run = Run.load(Path(run_folder))
    _require_report(run, is_evaluated=False)
    with progress_bars() as step:
        result = evaluate(run, config, partial(step, "predict"))
    _write_report(run, Path(result["report"]).parent)
    printing.evaluation(result)
    click.echo(f"report: {result['report']}")


def _require_report(run, is_evaluated: bool = True) -> None:
    from medimg.report.write import require_readable

    require_readable(run, is_evaluated)


def _write_report(run, folder: Path | None = None) -> None:
    # Here: what draws takes a second to import, and a mistyped path should not.
    from medimg.report.write import write

    write(run, folder)


def predict_run(run_folder, paths, out, config: PredictConfig, overwrite: bool, maps: Callable, heat: Callable) -> bool:
    """Predict with a Run, print how, and list what could not be used; whether there was none of it."""
    from medimg.prediction.inputs import existing

    existing(paths)
    from medimg.prediction.predict import predict
    from medimg.run import Run

    run = Run.load(Path(run_folder))
    with progress_bars() as step:
        result = predict(run, paths, Path(out), config, overwrite, partial(step, "predict"), maps, heat)
    for note in result.notes:
        say(note)
    for name, why in result.broken:
        say(f"medimg: broken: {name}: {why}", err=True)
    for name, why in result.unreported:
        say(f"medimg: no DICOM result: {name}: {why}", err=True)
    say(f"{result.rows} {result.unit}s, {result.warned} with warnings, {len(result.broken)} broken: {out}")
    return not (result.broken or result.unreported)


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@click.argument("data_folder", metavar="DATA2")
@click.option("--out", type=click.Path(), help="Folder of the result (default: RUN/validations/NAME).")
@options_of(ValidateConfig)
def validate(run_folder, data_folder, out, **values):
    """RUN on another hospital's patients: what differs, what it costs, what to do; a Dataset or a folder of images."""
    from medimg.preparation.builtin import resolve
    from medimg.run import Run

    config, run, data = take(ValidateConfig, values), Run.load(Path(run_folder)), resolve(data_folder)
    if not data.is_dir():
        raise InputError(f"{data}: no such folder; give a prepared Dataset or a folder of class folders")
    from medimg.validation.validate import validate

    _require_report(run)
    with progress_bars() as step:
        result, folder = validate(run, data, config, out and Path(out), step)
    _write_report(run)
    printing.validation(result)
    click.echo(f"report: {folder / 'validation.html'}")


@click.command(cls=Command)
@click.argument("run_folders", metavar="RUN...", nargs=-1, required=True)
@click.option("--out", type=click.Path(), help="Folder of the result (default: comparison, comparison-2 and so on).")
@options_of(CompareConfig)
def compare(run_folders, out, **values):
    """Paired tests of RUNs on the same patients, ANOVA over seeds or folds; tables beside scikit-learn baselines."""
    from medimg.comparison.compare import compare
    from medimg.run import Run

    config = take(CompareConfig, values)
    numbered = (Path(f"comparison-{number}" if number > 1 else "comparison") for number in count(1))
    out = Path(out) if out else next(folder for folder in numbered if not folder.exists())
    with progress_bars() as step:
        runs = [Run.load(Path(folder)) for folder in run_folders]
        result = compare(runs, out, config, partial(step, "compare"))
    printing.comparison(result)
    click.echo(f"comparison in {out}")


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@click.option("--out", required=True, type=click.Path(), help="saved_models/NAME; a new version goes under it.")
@options_of(ExportConfig)
def export(run_folder, out, **values):
    """A SavedModel of RUN for TF Serving, with warm-up, parity proof and model card."""
    export_run(run_folder, out, take(ExportConfig, values))


def export_run(run_folder, out, config: ExportConfig) -> None:
    """Export a Run and print how to serve it."""
    from medimg.run import Run
    from medimg.serving.export import export, serving_commands

    run = Run.load(Path(run_folder))
    with progress_bars() as step:
        folder = export(run, Path(out), config, partial(step, "export"))
    click.echo(f"exported {folder}; reloaded without medimg it gives the same probabilities")
    printing.promises(run)
    for line in serving_commands(Path(out), Path(out).name):
        click.echo(line)


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@options_of(AuditConfig)
def audit(run_folder, **values):
    """Membership inference against RUN, beside what its claimed epsilon allows."""
    from medimg.audit.audit import audit, cost
    from medimg.run import Run

    config, run = take(AuditConfig, values), Run.load(Path(run_folder))
    expected = cost(run, config)
    if expected:
        click.echo(expected)
    _require_report(run)
    with progress_bars() as step:
        result = audit(run, config, step)
    _write_report(run)
    printing.attacks(result)
    click.echo(f"report: {Path(run_folder) / 'audit.html'}")


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@click.option("--pdf", is_flag=True, help="Print it too, by Chromium or WeasyPrint.")
def report(run_folder, pdf):
    """The report of RUN anew, from its files: report.html, report.json and model_card.md."""
    from medimg.run import Run

    run = Run.load(Path(run_folder))
    from medimg.report.pdf import printed
    from medimg.report.write import write

    page = write(run)
    if page is None:
        raise InputError(f"{run.root}: has not been evaluated; medimg evaluate {run.root}")
    click.echo(f"report: {printed(page) if pdf else page}")
