"""What this installation has: `medimg models`, and whether it is sound: `medimg doctor`."""

import sys

import click

from medimg.command_line import Command
from medimg.console import table


@click.command(cls=Command)
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


@click.command(cls=Command)
def doctor():
    """Versions against the lock, processors and memory; exit code 1 when something is broken."""
    from medimg.doctor import examine

    findings = examine()
    table("medimg doctor", ["check", "found", "state"], [list(f) for f in findings])
    sys.exit(0 if all(state == "ok" for _, _, state in findings) else 1)
