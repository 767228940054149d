"""How numbers, amounts and names are written, one way everywhere."""

import difflib
from collections.abc import Iterable

BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")


def byte_unit(amount: float) -> tuple[str, float]:
    """The decimal unit that leaves an amount of bytes between 1 and 1000, and its size in bytes."""
    size = 1.0
    for unit in BYTE_UNITS[:-1]:
        if amount < 1000 * size:
            return unit, size
        size *= 1000
    return BYTE_UNITS[-1], size


def bytes_text(amount: float) -> str:
    """`3.52 MB`."""
    unit, size = byte_unit(amount)
    return f"{amount / size:.3g} {unit}" if amount < 999.5 * size else f"{amount / size:.0f} {unit}"


def seconds_text(seconds: float) -> str:
    """`0.84 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def epsilon_text(epsilon: float | str | dict | None) -> str:
    """An epsilon with three digits; of several accountants' the one by privacy loss distributions (`pld`)."""
    if isinstance(epsilon, dict):
        epsilon = epsilon.get("pld", epsilon.get("rdp"))
    if epsilon is None:
        return "unknown"
    return epsilon if isinstance(epsilon, str) else f"{epsilon:.3g}"


def shortened(text: str, length: int) -> str:
    """A text of at most `length` characters, its middle left out when it is longer."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"


def p_text(p: float | None) -> str:
    """`p = 0.023`, `p < 0.001`, or that there is none."""
    if p is None:
        return "no p-value"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def with_minus(text: str) -> str:
    """A written number with a minus sign rather than a hyphen, as on the axes of figures."""
    return text.replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign, a true minus, and 0 without one."""
    if value is None:
        return "–"
    text = with_minus(f"{value:+.{digits}f}")
    return text[1:] if not text.strip("+−0.") else text


def signed_interval(difference: dict) -> str:
    """`+0.128 [+0.082, +0.177]`, without interval `+0.128`."""
    text = signed(difference["value"])
    if difference["low"] is None:
        return text
    return f"{text} [{signed(difference['low'])}, {signed(difference['high'])}]"


def number(value: float | None, missing: str = "-") -> str:
    """`0.951`; where it is not defined, the word for that."""
    return missing if value is None else f"{value:.3f}"


def interval(measured: dict | None, digits: int = 3, missing: str = "-") -> str:
    """`0.951 [0.930, 0.970]`, without interval `0.951`; where it is not defined, the word for that."""
    if not measured or measured.get("value") is None:
        return missing
    text = f"{measured['value']:.{digits}f}"
    if measured.get("low") is None:
        return text
    return f"{text} [{measured['low']:.{digits}f}, {measured['high']:.{digits}f}]"


def listed(names: Iterable[str], most: int = 3, count: int | None = None) -> str:
    """`a, b, c and 5 more`; `count`: how many there are, where the names are only the first of them."""
    names = list(names)
    more = (len(names) if count is None else count) - min(len(names), most)
    return ", ".join(names[:most]) + (f" and {more} more" if more else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names as a question, or nothing."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1)
    return f" (did you mean {near[0]}?)" if near else ""
