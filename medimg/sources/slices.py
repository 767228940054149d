"""Which slices of a volume become images, and which neighbours stand beside each as channels."""

from collections.abc import Sequence

from medimg.errors import InputError


def check_slices(wanted: str) -> None:
    """See that `--slices` is `all`, `middle`, `every:N` or one number.

    Raises:
        InputError: it is none of these.
    """
    if not (wanted in ("all", "middle") or wanted.isdecimal() or _step(wanted)):
        raise InputError(f"--slices {wanted}: give all, middle, every:N or a slice's number, from 0")


def slices_of(count: int, wanted: str) -> Sequence[int]:
    """Numbers, from 0, of the slices that `--slices` asks for.

    Args:
        count: of the volume.
        wanted: as of `check_slices`.

    Raises:
        InputError: the volume has no such slice.
    """
    if wanted == "middle":
        return [count // 2]
    if not wanted.isdecimal():
        return range(0, count, _step(wanted) or 1)
    if int(wanted) >= count:
        raise InputError(f"has {count} slices, none of number {wanted} (--slices)")
    return [int(wanted)]


def _step(wanted: str) -> int:
    kind, _, step = wanted.partition(":")
    return int(step) if kind == "every" and step.isdecimal() else 0


def neighbours_of(place: int, count: int, distance: int) -> list[int]:
    """The slice alone, or with a distance the ones so far before and after it about it: three channels.

    At a volume's end the last slice stands for those that it does not have.
    """
    if not distance:
        return [place]
    return [max(place - distance, 0), place, min(place + distance, count - 1)]
