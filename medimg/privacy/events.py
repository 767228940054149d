"""What happened, apart from how it is counted: dp-accounting's DpEvents as plain values and back."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from medimg.errors import InputError


def to_dict(event) -> dict:
    """A DpEvent as plain values: `{"type": "GaussianDpEvent", "noise_multiplier": 1.1}`, nested as the event is.

    Args:
        event: a `dp_accounting.DpEvent`.
    """
    import attr

    content = {"type": type(event).__name__}
    for field in attr.fields(type(event)):
        content[field.name] = _plain(getattr(event, field.name))
    return content


def from_dict(content: dict):
    """The DpEvent that `to_dict` made plain.

    Raises:
        InputError: an event, or a field of one, that dp-accounting does not know.
    """
    from dp_accounting import dp_event

    from medimg.privacy import summed_noise

    if not isinstance(content, dict) or "type" not in content:
        raise InputError(f"event {content}: not a DpEvent; restore the ledger it was read from")
    name = str(content["type"])
    kind = getattr(dp_event, name, None) or getattr(summed_noise, name, None)
    if not (isinstance(kind, type) and issubclass(kind, dp_event.DpEvent)):
        raise InputError(f"event '{content['type']}': not known to dp-accounting; restore the ledger it was read from")
    fields = {name: _restored(value) for name, value in content.items() if name != "type"}
    try:
        return kind(**fields)
    except TypeError as error:
        raise InputError(f"event '{content['type']}': {error}") from error


def json_numbers(epsilon: dict[str, float]) -> dict[str, float | str]:
    """Epsilons for JSON, which has no infinity; null would read as unknown."""
    return {name: "infinite" if math.isinf(value) else value for name, value in epsilon.items()}


def composed(events: Iterable):
    """One event of all, with equal mechanisms counted together.

    Composition does not depend on the order, so (A, B, A) is (2 x A, B): the accountants then work
    once on each mechanism, however many segments a ledger holds. They are in an order of their own, so that
    the same events give the same figure to the last bit, whoever was first.
    """
    from dp_accounting import dp_event

    counts: Counter = Counter()
    for event in events:
        _count(event, 1, counts)
    parts = tuple(dp_event.SelfComposedDpEvent(event, count) for event, count in sorted(counts.items(), key=repr))
    # A tuple, where its types say list: events are counted by hash.
    return dp_event.ComposedDpEvent(parts)  # pyright: ignore[reportArgumentType]


def without_amplification(event):
    """What the event costs when nothing is gained by sampling: everyone is used once a pass, in a known batch.

    A pass of Poisson sampling with probability q becomes ceil(1/q) fixed batches that share the
    units out, so n steps use each unit at most ceil(n / ceil(1/q)) times (TF-Privacy's "each
    example occurring once per epoch"). Steps of one training belong in one event: a unit may be in
    the last batch of one training and in the first of the next.
    """
    from dp_accounting import dp_event

    if isinstance(event, dp_event.PoissonSampledDpEvent):
        return without_amplification(event.event)
    if isinstance(event, dp_event.ComposedDpEvent):
        parts = tuple(map(without_amplification, event.events))
        return dp_event.ComposedDpEvent(parts)  # pyright: ignore[reportArgumentType]
    if isinstance(event, dp_event.SelfComposedDpEvent):
        inner, count = event.event, event.count
        if isinstance(inner, dp_event.PoissonSampledDpEvent):
            count = math.ceil(count / steps_per_pass(inner.sampling_probability))
        return dp_event.SelfComposedDpEvent(without_amplification(inner), count)
    return event


def steps_per_pass(sampling_probability: float) -> int:
    """Fixed batches of the expected size that share all units out: ceil(1/q)."""
    # 1/q of q = 3/12 may come out as 4.000000000000001.
    return max(1, math.ceil(1.0 / sampling_probability - 1e-9))


def _count(event, times: int, counts: Counter) -> None:
    from dp_accounting import dp_event

    if isinstance(event, dp_event.SelfComposedDpEvent):
        _count(event.event, times * event.count, counts)
    elif isinstance(event, dp_event.ComposedDpEvent):
        for part in event.events:
            _count(part, times, counts)
    elif times and not isinstance(event, dp_event.NoOpDpEvent):
        counts[event] += times


def _plain(value):
    import attr

    if attr.has(type(value)):
        return to_dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _restored(value):
    if isinstance(value, dict):
        return from_dict(value)
    if isinstance(value, list | tuple):
        # Tuples, because an event must be hashable to be counted and cached.
        return tuple(_restored(item) for item in value)
    return value
