"""DICOM objects to a PACS: C-ECHO, then C-STORE, each answered or refused within seconds (DICOM PS3.7 and PS3.8)."""

import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from medimg.errors import InputError

_OURS = "MEDIMG"
_SECONDS = 20  # to connect, and to answer each request
_ADDRESS = re.compile(r"(?P<title>[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]{0,15})@(?P<host>.+):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Pacs:
    """Where results are sent.

    Attributes:
        title: its application entity title.
        host, port: its address.
    """

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Pacs":
        """Read `AE@HOST:PORT`.

        Raises:
            InputError: it is something else.
        """
        address = _ADDRESS.fullmatch(text)
        if not address or not 0 < int(address["port"]) < 65536:
            raise InputError(f"--send {text}: give AE@HOST:PORT, as ORTHANC@127.0.0.1:4242 (AE of 1 to 16 characters)")
        return cls(address["title"], address["host"].strip("[]"), int(address["port"]))

    def echo(self) -> None:
        """See that it is there and takes our title.

        Raises:
            InputError: it is not, or does not.
        """
        from pynetdicom.sop_class import Verification

        with self._associated([Verification]) as (association, line):
            with _ending(line):
                status = association.send_c_echo()
            self._require(status, "C-ECHO")

    def store(self, files: Iterable[Path]) -> None:
        """Send files one after another.

        Raises:
            InputError: one is refused; the ones before it have arrived.
        """
        places = list(files)
        classes = {dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID for file in places}
        with self._associated(sorted(classes)) as (association, line):
            for sent, file in enumerate(places):
                # One at a time: the captures of a study are gigabytes.
                one, progress = dcmread(file), f"; {sent} of {len(places)} were sent"
                if not association.is_established:
                    raise InputError(f"{self}: has ended the association{progress}")
                if not any(context.abstract_syntax == one.SOPClassUID for context in association.accepted_contexts):
                    raise InputError(f"{self}: takes no {one.SOPClassUID.name}{progress}")
                with _ending(line):
                    status = association.send_c_store(one)
                self._require(status, "C-STORE", progress)

    @contextmanager
    def _associated(self, classes: list):
        from pynetdicom import AE, evt

        line: list[socket.socket] = []
        entity = AE(ae_title=_OURS)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
        for one in classes:
            entity.add_requested_context(one)
        opened = (evt.EVT_CONN_OPEN, lambda event: line.append(event.assoc.dul.socket.socket))
        try:
            with _ending(line):
                association = entity.associate(self.host, self.port, ae_title=self.title, evt_handlers=[opened])
        except (OSError, UnicodeError) as error:
            raise InputError(f"{self}: no address is known of {self.host}") from error
        if not association.is_established:
            why = "nobody answers there"
            if association.is_rejected:
                reason = getattr(association.acceptor.primitive, "reason_str", "")
                why = f"it refuses the association ({reason or 'no reason'}): is {_OURS} known to it?"
            elif association.acceptor.primitive is not None:
                why = f"it takes none of {', '.join(str(getattr(one, 'name', one)) for one in classes)}"
            raise InputError(f"{self}: {why}")
        try:
            yield association, line
        finally:
            if association.is_established:
                with _ending(line):
                    association.release()

    def _require(self, status, request: str, more: str = "") -> None:
        """0xB...: stored, with a remark (DICOM PS3.4, table B.2-1)."""
        code = status.get("Status") if status else None
        if code is None:
            raise InputError(f"{self}: no answer to {request}: it hung up, or took more than {_SECONDS} s{more}")
        if code != 0 and code >> 12 != 0xB:
            comment = " ".join(str(status.get("ErrorComment") or "").split())
            raise InputError(
                f"{self}: refuses {request} (status 0x{code:04X}{f', {comment}' if comment else ''}){more}"
            )

    def __str__(self) -> str:
        return f"--send {self.title}@{self.host}:{self.port}"


@contextmanager
def _ending(line: list[socket.socket]) -> Iterator[None]:
    """Hang up on who is still at an answer when all timeouts are over: pynetdicom reads a begun message to its end."""

    def hang_up() -> None:
        for one in line:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(1.5 * _SECONDS, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
