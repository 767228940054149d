"""Has a coordinator's log the same to tell as the log that a site keeps of its own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from federated.audit_log.chain import Entry, links
from federated.audit_log.countersigned import signers
from federated.audit_log.rounds import standing_rounds
from medimg.errors import InputError


def against_site(entries: Sequence[Entry], path: Path) -> tuple[list[str], str]:
    """Problems, and what was compared, in a sentence.

    Every round in which the coordinator says that the site's update arrived must be one that the site has answered,
    by the very messages that it has digests of; every head of the coordinator's log that the site was told must be in
    it, in its order.

    Args:
        entries: of the coordinator's log.
        path: the site's `audit.jsonl`.

    Raises:
        InputError: there is no log of a site.
    """
    try:
        with Path(path).open("rb") as lines:
            chain = list(links(lines))
    except OSError as error:
        raise InputError(f"--site-log {path}: can't be read ({error.strerror or error})") from error
    records = [link.entry.record for link in chain if link.entry]
    name = next((record.get("site") for record in records if record.get("event") == "start"), None)
    if not isinstance(name, str):
        raise InputError(f"--site-log {path}: no log of a site; 'medimg federate site' keeps one in its --folder")
    problems = [f"site {name}: line {link.place}: {link.problem}" for link in chain if link.problem]
    answered = {(r.get("request"), r.get("answer")) for r in records if r.get("kind") == "train"}
    keys = {record.get("identity") for record in records if record.get("event") == "start"} - {None}
    listed = signers(entries).get(name)
    if keys and listed and listed not in keys:
        problems.append(f"site {name}: the log names another key of it than its own: its signatures are not its own")
    rounds = standing_rounds(entries)
    compared = 0
    for number, record in rounds.items():
        logged = (record.get("sites") or {}).get(name)
        if logged is None:
            continue
        compared += 1
        if (logged.get("request"), logged.get("answer")) not in answered:
            problems.append(f"site {name}: round {number} has an update of it that its own log does not know")
    if rounds and not compared and name not in signers(entries):
        problems.append(f"site {name}: this log does not name it: it is of another training, or was made anew")
    problems += _heads(name, entries, records)
    last = next((e.record["heads"].get(name) for e in reversed(entries) if e.record.get("event") == "sites"), None)
    if last and last not in {link.entry.hash for link in chain if link.entry}:
        problems.append(f"site {name}: its log does not hold the head that it told at the end: it was cut or made anew")
    return problems, f"site {name}: {compared} rounds of {len(rounds)} are as its own log has them"


def _heads(name: str, entries: Sequence[Entry], records: Iterable[dict]) -> list[str]:
    """What the site was told of the coordinator's log must still be in it.

    Of that coordinator's other trainings nothing is here: a session's heads are looked for where it is of this run, or
    one of them is here, or an update of it.
    """
    run = next((entry.record.get("run") for entry in entries if entry.record.get("event") == "start"), None)
    place = {entry.hash: number for number, entry in enumerate(entries)}
    logged = [(entry.record.get("sites") or {}).get(name) or {} for entry in entries]
    updates = {one.get("answer") for one in logged} - {None}
    sessions: dict[str, list[str]] = {}
    ours = set()
    for record in records:
        if record.get("kind") in ("train", "finish") and record.get("head") and not record.get("refused"):
            sessions.setdefault(str(record.get("session")), []).append(record["head"])
            if record.get("answer") in updates or (run and record.get("run") == run):
                ours.add(str(record.get("session")))
    problems = []
    for session, heads in sessions.items():
        known = [place[head] for head in heads if head in place]
        if (known or session in ours) and (len(known) < len(heads) or known != sorted(known)):
            problems.append(f"site {name}: was told of records that this log does not hold any more: it was made anew")
    return problems
