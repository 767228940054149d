"""A stranger's text on one line: what comes from files, requests and other machines before it is printed or logged."""

import unicodedata

# Control characters, surrogates, unassigned; those that change the direction of text or can't be seen are `Cf`.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
LONGEST = 300  # characters


def printable(text: object, longest: int | None = LONGEST) -> str:
    """Text without line breaks, control characters and hidden ones, which are written as escapes such as `\\n`.

    Neither a line of a log nor the colours or the title of a terminal can be forged with it.

    Args:
        text: anything; what is no text is written as Python writes it.
        longest: characters that are kept; None: all.
    """
    text = text if isinstance(text, str) else _written(text)
    cut = longest is not None and len(text) > longest
    if cut:
        text = text[:longest]
    if not text.isascii() or not text.isprintable():
        text = "".join(_shown(character) for character in text)
    return text + "..." if cut else text


def _written(value: object) -> str:
    try:
        return str(value)
    except (RecursionError, ValueError):
        # Nested too deep, or a number of too many digits.
        return type(value).__name__


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode("ascii")
