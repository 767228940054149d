"""Connections that must ask for something: who opens one and says nothing, with no token at all, would keep a place."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10  # that a request's head may take to arrive, at most twice that


class Connection(H11Protocol):
    """uvicorn's, which waits for a request's first lines without end."""

    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to look whether it asks."""
        super().connection_made(transport)
        self._look = self.loop.call_later(SECONDS, self._end_if_idle, False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _end_if_idle(self, was_idle: bool) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if idle and was_idle:
            self.transport.close()
            return
        self._look = self.loop.call_later(SECONDS, self._end_if_idle, idle)
