"""A log made anew."""

from federated.audit_log.chain import GENESIS, new_entry
from federated.audit_log.head import Head, write_head


def forged_chain(path, records):
    """A whole chain made anew, with its head, as someone with the folder can."""
    previous, lines = GENESIS, []
    for number, record in enumerate(records, start=1):
        entry = new_entry(number, previous, record)
        lines.append(entry.line())
        previous = entry.hash
    path.write_bytes(b"".join(lines))
    write_head(path, Head(len(records), previous))
