"""What this installation has: `medimg models`, and whether it is sound: `medimg doctor`."""

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

import click

from medimg.commands.command_line import Command
from medimg.commands.console import table

GIGABYTE = 1e9

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"


@click.command(cls=Command)
def models():
    """Models of the registry: what they take, smallest image, ImageNet weights, arguments."""
    from medimg.models.registry import ARGUMENTS, FAMILIES, OF_EVERY_MODEL

    rows = [
        [
            f.name,
            f"images from {f.minimum_size} px",
            f"of {f.native_size} px" if f.imagenet else "no",
            ", ".join(f.arguments or {}) or "-",
        ]
        for f in FAMILIES.values()
    ]
    rows += [[name, "tables", "no", ", ".join(arguments)] for name, arguments in ARGUMENTS.items()]
    table("Models", ["model", "takes", "ImageNet", "--model-arg"], rows)
    common = " and ".join(f"{name}={'|'.join(values)}" for name, values in OF_EVERY_MODEL.items())
    click.echo(f"--model-arg of every model of images: {common}")


@click.command(cls=Command)
def doctor():
    """Versions against the lock, processors and memory; exit code 1 when something is broken."""
    findings = examine()
    table("medimg doctor", ["check", "found", "state"], [list(f) for f in findings])
    sys.exit(0 if all(state == "ok" for _, _, state in findings) else 1)


def examine() -> list[tuple[str, str, str]]:
    """Findings as (check, found, state), where state is `ok` or what to do."""
    return [*_versions(), _processors(), _memory(), _disk()]


def _versions() -> list[tuple[str, str, str]]:
    if not LOCK.is_file():
        return [("packages", "requirements.lock is not beside the installation", "not compared: ok for a wheel")]
    findings, right = [], 0
    for line in LOCK.read_text().split():
        name, _, wanted = line.partition("==")
        try:
            # A local tag such as torch's +cpu names a build of the same version.
            installed = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            installed = "not installed"
        if installed == wanted:
            right += 1
        else:
            findings.append((name, f"{installed}, lock has {wanted}", "run script/setup"))
    return [("packages", f"{right} as in requirements.lock", "ok"), *findings]


def _processors() -> tuple[str, str, str]:
    import tensorflow as tf

    graphics = tf.config.list_physical_devices("GPU")
    return ("processors", f"{os.cpu_count()} CPU, {len(graphics)} GPU (TensorFlow {tf.__version__})", "ok")


def _memory() -> tuple[str, str, str]:
    import psutil

    free = psutil.virtual_memory().available / GIGABYTE
    return ("memory", f"{free:.1f} GB free", "ok" if free > 2 else "close other programs: training needs 2 GB")


def _disk() -> tuple[str, str, str]:
    free = shutil.disk_usage(".").free / GIGABYTE
    return ("disk", f"{free:.1f} GB free here", "ok" if free > 1 else "free some space")
