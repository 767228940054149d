"""What sites have signed of a coordinator's log: in every round, and at its end, the head that they were told.

Each signature is in the record that follows that head, so that a record before it can't be changed, even with all
hashes made anew, without the keys of the sites that took part.
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
    problems, shown, last = [], set(), 0
    for entry in entries:
        for name, signature in _signatures(entry):
            statement = witnessed(name, str(start.get("run")), entry.previous)
            if _is_signed(keys.get(name), signature, statement):
                last = entry.number - 1
                shown.add(name)
            else:
                problems.append(
                    f"record {entry.number}: site {name} has not signed that this is what was before it: the log was "
                    "made anew"
                )
    notes = [f"up to record {last} the log is countersigned: {_listed({n: keys[n] for n in sorted(shown)})}"]
    left = [entry.number for entry in entries if entry.number > last and entry.record.get("event") != "sites"]
    if left:
        notes.append(f"no site has signed the records from {left[0]} on")
    return problems, notes


def _listed(keys: dict[str, str]) -> str:
    return ", ".join(f"{name} (key {key})" for name, key in keys.items()) or "by nobody"


def _signatures(entry: Entry) -> Iterator[tuple[str, object]]:
    record = entry.record
    if record.get("event") == "round":
        told = dict(record.get("sites") or {})
        # Whose update counts has signed, or the round was told anew.
        for name in {**told, **dict.fromkeys(record.get("included") or ())}:
            yield name, dict(told.get(name) or {}).get("countersigned")
    elif record.get("event") == "sites":
        yield from dict(record.get("countersigned") or {}).items()


def _is_signed(key: object, signature: object, statement: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), statement)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
