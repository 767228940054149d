"""`medimg` in this process, as a user types it."""

from pathlib import Path

from click.testing import CliRunner, Result

import cli
from tests.conftest import SMALLEST


def medimg(*words: object) -> Result:
    """Run a command; `exit_code` and `output` tell what came of it."""
    return CliRunner().invoke(cli.medimg, [str(word) for word in words])


def spelt(text: str, places: dict[str, Path]) -> list[str]:
    """The words of a command's line, with folders in the place of their names and {model} for the smallest."""
    words = [word.format(**places, model="{model}") for word in text.split()]
    return [piece for word in words for piece in (SMALLEST if word == "{model}" else [word])]
