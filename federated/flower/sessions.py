"""Which messages a site has answered, on disk, so that none of them is answered twice, not even after a restart."""

import json
import os
from pathlib import Path

from federated.flower.envelope import Envelope, WireError
from medimg import atomic
from medimg.errors import InputError

_KEPT = 1000  # sessions; the oldest are forgotten, as their messages have expired long ago


class Sessions:
    """A site's record.

    Args:
        path: its file.

    Raises:
        InputError: the file is damaged, so that the site does not know what it has answered.
    """

    def __init__(self, path: Path):
        self.path, self._last = path, {}
        if path.is_file():
            try:
                self._last = {str(k): int(v) for k, v in json.loads(path.read_text(encoding="ascii")).items()}
            except (ValueError, AttributeError, TypeError) as error:
                raise InputError(
                    f"{path}: damaged, and with it what this site has answered; delete it knowingly"
                ) from error

    def take(self, message: Envelope) -> None:
        """Put on record that a message is answered, before it is.

        Raises:
            WireError: it was answered before, or a later one of its session was.
        """
        last = self._last.get(message.session, 0)
        if message.number <= last:
            raise WireError(
                f"message {message.number} of session {message.session[:8]} comes after number {last} (a replay?)"
            )
        self._last.pop(message.session, None)
        self._last[message.session] = message.number
        while len(self._last) > _KEPT:
            del self._last[next(iter(self._last))]
        with atomic.replacing(self.path) as temporary, temporary.open("w", encoding="ascii") as file:
            json.dump(self._last, file)
            file.flush()
            os.fsync(file.fileno())
