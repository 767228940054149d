"""Has a log been touched: read it against its own hashes, its head, the files beside it, and heads noted elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from federated.audit_log.chain import ChainLink, Entry, links
from federated.audit_log.countersigned import countersigned, signers
from federated.audit_log.files import ComparedFiles, compare
from federated.audit_log.head import Head, head_path, read_head
from federated.audit_log.rounds import repeated_otherwise, standing_rounds
from federated.audit_log.site_logs import against_site
from medimg.errors import InputError


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        ok: no problem.
        records: lines of the log.
        rounds: rounds on record, the repeated ones once.
        head: hash of the last readable record; compare it with one noted elsewhere.
        problems: edits, each naming its line.
        notes: what is no edit but worth knowing.
        compared: files beside the log that say what it says.
        cannot_show: what this verification can't find, whatever was done.
    """

    ok: bool
    records: int
    rounds: tuple[int, ...]
    head: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    compared: tuple[str, ...] = ()
    cannot_show: tuple[str, ...] = ()


def verify(
    path: Path,
    head: str | None = None,
    witnesses: Sequence[str] = (),
    public_key: str | None = None,
    site_logs: Sequence[Path] = (),
) -> Verification:
    """Check every line, the links between them, the end, and the files beside the log that it has digests or rows of.

    Any changed byte and any removed, added or swapped line is a problem. That the whole chain, files and all, was not
    made anew only `head`, `witnesses` or `public_key` can show, see the package.

    Args:
        path: `audit.jsonl`.
        head: hash of the last record as noted elsewhere, e.g. in `metrics.json`; the log must end there.
        witnesses: hashes of earlier records as noted elsewhere, e.g. by a site; the log must hold them.
        public_key: 64 hexadecimal digits; the head must be signed with its private part.
        site_logs: logs that sites keep of their own.

    Raises:
        InputError: there is no log, the key is none, or there is one and the head has no signature.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: missing; the Run has no audit log")
    with path.open("rb") as lines:
        chain = list(links(lines))
    entries = [link.entry for link in chain if link.entry]
    problems, notes = _against_head_file(path, chain, head is not None, public_key)
    problems = [
        *(f"{path.name} line {link.place}: {link.problem}" for link in chain if link.problem),
        *problems,
        *_against_noted(path, entries, head, witnesses),
        # A line that can't be read leaves a gap of its own.
        *(_gaps(path, entries) if len(entries) == len(chain) else []),
    ]
    beside, unsigned, signed = _files(path, entries)
    at_sites = [against_site(entries, log) for log in site_logs]
    problems += [*beside.problems, *unsigned, *(problem for wrong, _ in at_sites for problem in wrong)]
    notes += [*signed, *beside.notes, *(compared for _, compared in at_sites)]
    notes += [
        f"round {number} was repeated after a resume with another result" + _OTHER_MACHINE
        for number in repeated_otherwise(entries)
    ]
    return Verification(
        ok=not problems,
        records=len(chain),
        rounds=tuple(standing_rounds(entries)),
        head=entries[-1].hash if entries else Head().hash,
        problems=tuple(problems),
        notes=tuple(notes),
        compared=tuple(beside.compared),
        cannot_show=_cannot_show(
            head is not None, bool(witnesses), public_key is not None, len(signers(entries)), len(site_logs)
        ),
    )


def _files(path: Path, entries: list[Entry]) -> tuple[ComparedFiles, list[str], list[str]]:
    """Files beside the log; problems and notes of what sites have signed."""
    try:
        return compare(path.parent, entries), *countersigned(entries)
    except (KeyError, TypeError, ValueError, AttributeError):
        # A chain that was made anew may say anything.
        return ComparedFiles([f"{path.name}: its records are not of the form that is written"]), [], []


def _cannot_show(head: bool, witness: bool, key: bool, signers: int, logs: int) -> tuple[str, ...]:
    """In sentences, from the largest gap to the smallest."""
    gaps = []
    if signers and logs < signers and not (head or key):
        gaps.append(
            "That the keys of the sites which it names are theirs: whoever can write this folder can make it all anew "
            "with keys of its own. Compare them with the sites' public files, or give --site-log."
        )
    elif not (signers or head or key):
        gaps.append(
            "That nobody made log, head and files anew, or put older ones back: the head is a hash, not a signature, "
            "and whoever can write this folder can compute it. Note the head where they can't write, and give it with "
            "--head."
        )
        if witness:
            gaps.append("What was cut off or made anew behind the witness.")
    elif key and not head:
        gaps.append(
            "That whoever holds the signing key did not make all anew, or that nobody put an older signed state back: "
            "give the head that was noted elsewhere with --head."
        )
    gaps.append(
        "That what the coordinator wrote was the case: a record says what it was told to say. Not compared are files "
        "that later commands write anew, as metrics.json, predictions and pages."
    )
    return tuple(gaps)


_OTHER_MACHINE = "; another machine or another number of threads can do that"


def _against_head_file(
    path: Path, chain: list[ChainLink], known_elsewhere: bool, public_key: str | None
) -> tuple[list[str], list[str]]:
    """Problems and notes of the head beside the log."""
    name = head_path(path).name
    try:
        head = read_head(path)
    except InputError:
        return [f"{name}: not readable: it was changed"], []
    if head is None:
        if known_elsewhere and public_key is None:
            return [], [f"{name} is missing; the head given stands in for it"]
        return [f"{name}: missing: records may have been cut off the end"], []
    problems = _end(path, chain, head)
    if public_key is not None:
        if not head.signature:
            raise InputError(
                f"{path.parent}: has no signed head: its clients were simulated ('federate --engine flower' alone has "
                "a coordinator's key), or the signature was taken off, and the log made anew"
            )
        if not head.is_signed_by(public_key):
            problems.append(f"{name}: not signed with the key {public_key[:16]}…")
        return problems, []
    if head.signature:
        return problems, [
            f"the head is signed; give the coordinator's key with --public-key to check it, {name} names "
            f"{head.public_key[:16]}…"
        ]
    return problems, []


def _end(path: Path, chain: list[ChainLink], head: Head) -> list[str]:
    name = head_path(path).name
    if len(chain) < head.number:
        return [f"{path.name}: has {len(chain)} lines, {name} says {head.number}: lines were removed"]
    if head.number == 0:
        fits = head.hash == Head().hash
    else:
        entry = chain[head.number - 1].entry
        # A line that can't be read is a problem already.
        fits = entry is None or (entry.number, entry.hash) == (head.number, head.hash)
    problems = [] if fits else [f"{name}: is not the head of line {head.number}: one was changed"]
    if len(chain) > head.number:
        problems.append(
            f"{path.name} line {head.number + 1}: not committed: the run was killed while writing it (--resume cuts "
            "it and puts that on record), or it was added"
        )
    return problems


def _against_noted(path: Path, entries: list[Entry], head: str | None, witnesses: Sequence[str]) -> list[str]:
    places = {entry.hash: entry.number for entry in entries}
    problems = [
        f"{path.name}: holds no record with the noted hash {noted[:16]}…"
        for noted in dict.fromkeys([*([] if head is None else [head]), *witnesses])
        if noted not in places
    ]
    if head in places and places[head] != entries[-1].number:
        problems.append(f"{path.name} line {places[head] + 1}: stands behind the noted head: it was added")
    return problems


def _gaps(path: Path, entries: list[Entry]) -> list[str]:
    rounds = list(standing_rounds(entries))
    missing = sorted(set(range(1, max(rounds, default=0) + 1)) - set(rounds))
    if not missing:
        return []
    listed = ", ".join(map(str, missing[:10])) + (" and more" if len(missing) > 10 else "")
    return [f"{path.name}: no record of round {listed}"]
