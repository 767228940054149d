"""Which rounds a log's records say took place, once those that were repeated are set aside."""

from collections.abc import Iterable

from federated.audit_log.chain import Entry


def standing_rounds(entries: Iterable[Entry]) -> dict[int, dict]:
    """Round -> its record, in order; of a round that was repeated the last one.

    Args:
        entries: of the log, in order.
    """
    standing: dict[int, dict] = {}
    for entry in entries:
        event, number = entry.record.get("event"), entry.record.get("round")
        if not isinstance(number, int):
            continue
        if event == "resume":
            standing = {known: record for known, record in standing.items() if known <= number}
        elif event == "round":
            standing[number] = entry.record
    return standing


def repeated_otherwise(entries: Iterable[Entry]) -> list[int]:
    """Rounds that were repeated after a resume and gave a model of another digest."""
    first: dict[int, str] = {}
    other = set()
    for entry in entries:
        number, model = entry.record.get("round"), entry.record.get("model")
        of_round = entry.record.get("event") == "round" and isinstance(number, int)
        if of_round and model and first.setdefault(number, model) != model:
            other.add(number)
    return sorted(other)
