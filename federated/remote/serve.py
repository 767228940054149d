"""`medimg federate worker`: TFF's worker beside a site's data, and the process that answers for the data."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from federated.remote import messages
from federated.remote.site import Site
from federated.remote.spool import Spool
from federated.tff.worker import NotIsolatedError, Worker
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.untrusted.printable import printable

_LONGEST_LINE = 2000  # characters
_PAUSE = 0.1  # seconds between two looks for requests
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(
    data: Path,
    port: int,
    sites: tuple[str, ...] = (),
    client: str | None = None,
    bind: str = "127.0.0.1",
    expose: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve a Dataset's sites to a coordinator until SIGINT, SIGTERM or SIGHUP; then leave neither process nor file.

    The worker sees its own folder and no network; this process, which reads the Dataset, computes nothing that it is
    sent but answers the three requests of `federated.remote.messages`.

    Args:
        data: prepared Dataset.
        port: to listen on; 0 is any free one, told to `log`.
        sites: of the Dataset's, those to serve, each as a client; (): all.
        client: name of the only client, which has all rows.
        bind: address of this machine to listen at. The channel is not encrypted: put a tunnel before it.
        expose: start even where the system can't shut the worker off: it then listens on every interface, and has
            the rights of this user on disk and network.
        log: takes a line of text for every request and answer.

    Raises:
        InputError: data, sites or port that can't be served, or a worker that can't be shut off or has ended.
    """
    dataset = Dataset.load(data)
    with interruptible(), Spool() as spool:
        site = Site(dataset, spool.path, sites, client)
        names = site.clients(0)
        worker = _worker(spool, port, bind, expose)
        try:
            log(_stamped(f"serving {', '.join(names)} of {data} at {bind}:{worker.port}"))
            if not worker.isolated:
                log(
                    _stamped(
                        f"warning: port {worker.port} is open on every interface, and whoever reaches it can read "
                        "and write this user's files; close it with a firewall"
                    )
                )
            _answer_for_ever(site, spool, worker, log)
        except KeyboardInterrupt:
            log(_stamped("stopped"))
        finally:
            worker.stop()


def _worker(spool: Spool, port: int, bind: str, expose: bool) -> Worker:
    try:
        return Worker(port, folder=spool.folder, bind=bind, isolated=None if expose else True)
    except NotIsolatedError as error:
        raise InputError(
            f"--port {port}: TFF's worker listens on every interface and this system does not let it be shut off "
            f"({error}); allow user namespaces, or close the port with a firewall and give --expose"
        ) from error
    except OSError as error:
        raise InputError(
            f"--port {port}: can't listen at {bind} ({error.strerror or error}); choose another"
        ) from error


def _answer_for_ever(site: Site, spool: Spool, worker: Worker, log: Callable[[str], None]) -> None:
    while True:
        if not worker.running():
            raise InputError(
                f"worker: TFF's worker_binary has ended with {worker.process.returncode}; is memory short? "
                "Start the command again"
            )
        for name, raw in spool.requests():
            try:
                _answer(site, spool, name, raw, log)
            except OSError as error:
                log(_stamped(f"not answered: {error.strerror or error}"))
        time.sleep(_PAUSE)


def _answer(site: Site, spool: Spool, name: str, raw: bytes | None, log: Callable[[str], None]) -> None:
    try:
        request = messages.decode(raw)
    except InputError as error:
        log(_stamped(f"refused: {error}"))
        spool.answer(name, {"error": str(error)})
        return
    what = messages.in_words(request)
    # USER@MACHINE has no blanks: nobody's name reads as the words after it.
    asking = "_".join(printable(request["from"], 100).split()) or "someone"
    log(_stamped(f"{asking} asks: {what}"))
    started = time.monotonic()
    try:
        spool.answer(name, {"answer": site.answer(request)})
        log(_stamped(f"answered: {what}, {time.monotonic() - started:.1f} s"))
    except InputError as error:
        spool.answer(name, {"error": str(error)})
        log(_stamped(f"refused: {what}: {error}"))
    except Exception as error:
        # Of our own making, or the coordinator's: its text may quote data, so that only its kind travels.
        kind = type(error).__name__
        spool.answer(name, {"error": f"failed with {kind}; the site's log has the rest"})
        log(_stamped(f"failed: {what}: {kind}: {error}"))


@contextmanager
def interruptible() -> Iterator[None]:
    """Let every signal that ends a process run through the clean-up, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        # While starting: nothing to tell.
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stamped(line: str) -> str:
    """A line of the log: one, whatever it quotes."""
    return f"{datetime.now().astimezone().isoformat(timespec='seconds')} {printable(line, _LONGEST_LINE)}"
