"""Bytes, seconds and epsilons as people read them."""

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
