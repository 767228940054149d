"""`audit.jsonl`: what happened in every round, as a chain of SHA-256 hashes that shows any edit.

`chain` is the form of a line, `head` the commit point beside the log, `log` writes, `verification` reads, `files` holds
the Run's files against the log.

What the chain can't show. It proves that a log is the one whose head (its last hash) is known, no more. Whoever can
write the folder can compute the whole chain anew, head and all, and the result is a flawless log of what never
happened; so note the head elsewhere: at the sites, in a lab book. A head that a coordinator of sites apart has signed
needs its key as well: that binds others, not the coordinator. An older log put back with its own older head
looks whole; only a newer head known elsewhere, or a checkpoint ahead of the log, gives it away. And a record is true
to what the coordinator wrote, not to what was the case.
"""

from federated.audit_log.log import AuditLog, Resumption
from federated.audit_log.verification import Verification, verify

__all__ = ["AuditLog", "Resumption", "Verification", "verify"]
