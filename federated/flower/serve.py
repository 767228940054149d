"""`medimg federate site`: one hospital's process, which asks the link for messages and answers its coordinators."""

import time
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path

from federated.flower import keys
from federated.flower.child import interruptible
from federated.flower.envelope import WireError, peeked
from federated.flower.fleet import Fleet, LinkLostError, connected, split
from federated.flower.policy import Policy
from federated.flower.site import Site
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.untrusted.printable import printable

_BUSY, _IDLE = 0.05, 0.5  # seconds between two looks for messages: while a training goes on, and else
_GENTLE = 5.0  # times what a look took lie between two looks, at least; more, where others keep the link busy
_USUAL = 3.0  # times the shortest look that one takes because its own machine is busy
_LONGEST_PAUSE = 2.0  # seconds between two looks, where one took long as the link was away
_AGAIN = 5.0  # seconds until a link that was lost, or refuses, is tried again
_QUIET = 30.0  # seconds without a message after which no training goes on
_LONGEST_LINE = 2000  # characters
_MOST = 64  # messages that are fetched before they are answered


def serve(
    data: Path,
    policy: Path,
    key: Path,
    superlink: str,
    certificate: Path,
    folder: Path,
    log: Callable[[str], None],
    patience: float = 90.0,
) -> None:
    """Answer until SIGINT, SIGTERM or SIGHUP.

    Args:
        data: the site's prepared Dataset.
        policy: policy.yaml.
        key: secret file; its name is the site's.
        superlink: HOST:PORT of the link.
        certificate: PEM file of the link's authority.
        folder: the site's own, for records, log and what it has answered.
        log: takes a line of text for every message.
        patience: seconds for which the link is tried at first; later as long as it takes. A link takes a process
            that was killed for connected for a minute, and refuses the next one.

    Raises:
        InputError: data, policy or key that can't be used, or a link that refuses this site.
    """
    dataset = Dataset.load(data)
    secret, allowed = keys.load(key), Policy.read(policy)
    split(superlink)

    def say(line: str) -> None:
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        log(f"{stamp} {printable(line, _LONGEST_LINE)}")

    site, end = Site(dataset, secret, allowed, folder, say), time.monotonic() + patience
    try:
        with interruptible():
            say(f"{secret.name}: {data}, policy {policy}")
            while True:
                try:
                    with connected(superlink, certificate, secret.node, patience) as fleet:
                        say(f"connected to {superlink}")
                        patience = float("inf")
                        _answer_for_ever(site, fleet, say)
                except LinkLostError as error:
                    # Another certificate is another link, and no waiting changes it.
                    other = isinstance(error.__cause__, InputError)
                    if patience != float("inf") and (other or time.monotonic() > end):
                        raise InputError(str(error)) from error
                    say(f"link lost ({error}); trying again")
                    time.sleep(_AGAIN)
    finally:
        site.close()


def _answer_for_ever(site: Site, fleet: Fleet, say: Callable[[str], None]) -> None:
    last, least = 0.0, float("inf")
    while True:
        began = time.monotonic()
        messages = list(islice(iter(fleet.receive, None), _MOST))
        pause = 0.0
        if not messages:
            took = time.monotonic() - began
            least = min(least, took)
            pause = pause_after(took, least)
        for message, raw in _due(messages):
            last = time.monotonic()
            try:
                answer = site.answer(raw)
            except WireError as error:
                # Whoever it was is told nothing, but need not wait.
                say(f"not answered: {error}")
                answer = b""
            fleet.answer(message, answer)
        busy = fleet.expects or time.monotonic() - last < _QUIET
        time.sleep(max(pause, _BUSY if busy else _IDLE))


def pause_after(took: float, least: float) -> float:
    """Seconds until the next look for messages.

    Where many sites look at one link, each look takes longer; were it made as often as the link bears, the link would
    have no time for anything else.

    Args:
        took: seconds of the last look.
        least: of the shortest one.
    """
    return min(_GENTLE * took * max(1.0, took / (_USUAL * least)), _LONGEST_PAUSE)


def _due(messages: list[tuple]) -> list[tuple]:
    """Without messages that their coordinator has given up: it asks a site one thing at a time."""
    latest: dict[str, tuple] = {}
    others = []
    for message, raw in messages:
        session = peeked(raw)
        if session is None:
            others.append((message, raw))
        else:
            latest[session] = (message, raw)
    return [*others, *latest.values()]
