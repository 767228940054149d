"""What libjpeg complains of while it decodes damaged data: it writes to the process's stderr, and nowhere else."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Where stderr leads is one for all threads.
_ONE_AT_A_TIME = threading.Lock()
_KNOWN = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression", "Invalid SOS", "Invalid crop")


@contextmanager
def collected(warnings: list[str]) -> Iterator[None]:
    """Add libjpeg's sentences about what is decoded inside to `warnings`; whatever else was written there goes on."""
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as stderr:
        own_stderr = os.dup(2)
        os.dup2(stderr.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(own_stderr, 2)
            os.close(own_stderr)
            stderr.seek(0)
            for line in stderr.read().splitlines(keepends=True):
                text = line.decode("utf-8", "replace").strip()
                if text.startswith(_KNOWN):
                    warnings.append(text)
                else:
                    os.write(2, line)
