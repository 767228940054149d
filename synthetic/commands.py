"""`medimg synthesize` and `medimg judge`: parse, call one function, print."""

from pathlib import Path

import click

from medimg.commands import printing
from medimg.commands.command_line import Command, options_of, take
from medimg.commands.console import progress_bars, say, table
from medimg.commands.output import resumable
from synthetic.config import SynthesizeConfig
from synthetic.judge.config import JudgeConfig


@click.command(cls=Command)
@click.argument("data_folder", metavar="DATA")
@resumable(
    "synthesize",
    SynthesizeConfig,
    # One that was killed on its last metres has secrets left to remove.
    lambda out, _: (out / "dataset.yaml").is_file() and not (out / "checkpoints").exists(),
    result="the synthetic Dataset",
    short="the one",
    skip=("dp_sampling", "dp_images_per_patient", "dp_engine"),
)
def synthesize(data_folder, out, config, resume, overwrite):
    """Fit a generator on DATA's training part and leave a synthetic Dataset; 'medimg judge' tells what it is worth."""
    from medimg.data.dataset import Dataset
    from medimg.preparation.builtin import resolve
    from synthetic.synthesize import synthesize

    with progress_bars() as step:
        folder = synthesize(resolve(data_folder), Path(out), config, resume, overwrite, step)
    dataset = Dataset.load(folder)
    printing.counts(dataset)
    for note in dataset.preparation.get("notes", []):
        say(f"note: {note}")
    say(f"privacy: {dataset.preparation['privacy']}")
    click.echo(f"made {len(dataset.manifest)} synthetic {dataset.unit}s in {out}; judge them next")


@click.command(cls=Command)
@click.argument("data_folder", metavar="DATA2")
@click.option("--real", metavar="DATA", required=True, help="The Dataset that DATA2 was made from.")
@click.option(
    "--report",
    type=click.Path(),
    metavar="DIR",
    help="Folder of the report, which shows real patients (default: DATA2-judgement, beside DATA2).",
)
@options_of(JudgeConfig)
def judge(data_folder, real, report, **values):
    """Fidelity, utility, diversity and privacy of the synthetic DATA2, judged on held-out real patients."""
    config = take(JudgeConfig, values)
    from medimg.preparation.builtin import resolve
    from synthetic.judge.judge import judge
    from synthetic.judge.printed import printed
    from synthetic.judge.report_folder import REPORT, beside

    folder = Path(report) if report else beside(Path(data_folder))
    with progress_bars() as step:
        result = judge(Path(data_folder), resolve(real), config, step, folder)
    for title, columns, rows in printed(result):
        table(title, columns, rows)
    for reason in result["reasons"]:
        say(reason)
    click.echo(f"verdict: {result['verdict']}; report: {folder / REPORT}")
    click.echo(f"keep {folder} inside: it shows real patients; nothing was written into {data_folder}")
