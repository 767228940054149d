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


def standing_end(entries: Iterable[Entry]) -> dict | None:
    """The record that ends the log; None of a training that is not finished, or was resumed since.

    Args:
        entries: of the log, in order.
    """
    end = None
    for entry in entries:
        event = entry.record.get("event")
        if event in ("end", "resume", "round"):
            end = entry.record if event == "end" else None
    return end


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
