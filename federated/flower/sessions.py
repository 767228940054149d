"""Which messages a site has answered, on disk, so that none of them is answered twice, not even after a restart."""

from pathlib import Path

from federated.flower import record
from federated.flower.envelope import Envelope, WireError

_KEPT = 1000  # sessions; the oldest are forgotten, as their messages have expired long ago


class Sessions:
    """A site's record.

    Args:
        path: its file.

    Raises:
        InputError: the file is damaged, so that the site does not know what it has answered.
    """

    def __init__(self, path: Path):
        self.path, self._last = path, record.read(path, int, "; delete it knowingly")

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
        record.write(self.path, self._last)
