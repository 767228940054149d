"""`--window` where no DICOM header is: centre and width to black and white, and values to levels of grey."""

from medimg.dicom import pixels
from medimg.errors import InputError


def span_of(window: str | None) -> tuple[float, float] | None:
    """Black and white of a window; None: none is asked for.

    Raises:
        InputError: it is neither C,W nor one of the names.
    """
    try:
        parsed = pixels.parse_window(window)
    except ValueError as error:
        raise InputError(f"--window {window}: {error}") from None
    if parsed is None:
        return None
    if isinstance(parsed, str):
        raise InputError(f"--window {window}: give C,W, or one of {', '.join(pixels.WINDOWS)}")
    centre, width = parsed
    return centre - width / 2, centre + width / 2
