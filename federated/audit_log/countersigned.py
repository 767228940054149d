"""What sites have signed of a coordinator's log: in every round, and at its end, the head that they were told.

Each signature is in the record that follows that head, so that a record before it can't be changed, even with all
hashes made anew, without the keys of the sites that took part; nor by asking these again, since each also signs which
head it was told before.
"""

from collections.abc import Iterator, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from federated.audit_log.chain import Entry
from federated.audit_log.head import witnessed


def signers(entries: Sequence[Entry]) -> dict[str, str]:
    """Site -> its key, 64 hexadecimal digits, as the log's start names them; of a log without sites none."""
    start = next((entry.record for entry in entries if entry.record.get("event") == "start"), {})
    keys = start.get("signers")
    return keys if isinstance(keys, dict) else {}


def countersigned(entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """Problems, and what is shown, in sentences.

    Args:
        entries: of the log, in order.
    """
    keys = signers(entries)
    if not keys:
        return [], []
    start = next(entry.record for entry in entries if entry.record.get("event") == "start")
    problems, shown, known = [], {}, {""}
    for entry in entries:
        for name, signature, before in _signatures(entry):
            statement = witnessed(name, str(start.get("run")), entry.previous, before)
            if not _is_signed(keys.get(name), signature, statement):
                why = "has not signed that this is what was before it"
            elif before is not None and before not in known:
                why = "was told before of a record that is not in this log"
            else:
                shown[name] = entry.number - 1
                continue
            problems.append(f"record {entry.number}: site {name} {why}: the log was made anew")
        known.add(entry.hash)
    last = max(shown.values(), default=0)
    # Of each site no further than it has signed.
    notes = [
        f"up to record {place} the log is countersigned: "
        + _listed({name: keys[name] for name in sorted(shown) if shown[name] == place})
        for place in sorted({*shown.values()} or {0}, reverse=True)
    ]
    left = [entry.number for entry in entries if entry.number > last and entry.record.get("event") != "sites"]
    if left:
        notes.append(f"no site has signed the records from {left[0]} on")
    return problems, notes


def _listed(keys: dict[str, str]) -> str:
    return ", ".join(f"{name} (key {key})" for name, key in keys.items()) or "by nobody"


def _signatures(entry: Entry) -> Iterator[tuple[str, object, object]]:
    """Site, its signature, and the head that it says it was told before."""
    record = entry.record
    if record.get("event") == "round":
        sites = dict(record.get("sites") or {})
        # Whose update counts has signed, or the round was told anew.
        for name in {**sites, **dict.fromkeys(record.get("included") or ())}:
            one = dict(sites.get(name) or {})
            yield name, one.get("countersigned"), one.get("before")
    elif record.get("event") == "sites":
        before = dict(record.get("before") or {})
        for name, signature in dict(record.get("countersigned") or {}).items():
            yield name, signature, before.get(name)


def _is_signed(key: object, signature: object, statement: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), statement)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
