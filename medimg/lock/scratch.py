"""Folders among the system's temporary ones, which outlive no command by more than the next."""

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.lock.folder import FILE, content, is_held, locked

# The system's lock is the process's, not a thread's: of two that look for what was left, one at a time.
_looking = threading.Lock()


@contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """A locked folder among the system's temporary ones, gone with the context.

    What lies in it is somebody's data, so what commands of this user that were killed have left goes first.

    Args:
        kind: a word for the folder's name, of which what was left is looked for.

    Yields:
        The folder, which only this user may read.

    Raises:
        InputError: it can't be written.
    """
    with ExitStack() as stack:
        with _looking:
            prefix = f"medimg-{kind}-"
            _sweep(prefix)
            try:
                folder = Path(tempfile.mkdtemp(prefix=prefix))
            except OSError as error:
                raise atomic.cannot_write(Path(tempfile.gettempdir()), error) from error
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(locked(folder))
        # While it is locked: killed amid this, the rest is found by its lock.
        stack.callback(_clear, folder)
        yield folder


def _sweep(prefix: str) -> None:
    """Remove what nobody holds of the temporary folders of this user that have been locked."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError, InputError):
            status = folder.lstat()
            is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            if is_ours and not is_held(folder) and (folder / FILE).is_file():
                with locked(folder):
                    _clear(folder)
                folder.rmdir()


def _clear(folder: Path) -> None:
    for item in content(folder):
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)
