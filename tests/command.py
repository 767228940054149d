"""`medimg` in this process, as a user types it."""

from click.testing import CliRunner, Result

import cli


def medimg(*words: object) -> Result:
    """Run a command; `exit_code` and `output` tell what came of it."""
    return CliRunner().invoke(cli.medimg, [str(word) for word in words])
