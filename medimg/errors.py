"""The one error that users see as a single line with exit code 2."""


class InputError(ValueError):
    """What the user gave can't be used; the message names the file, row or option and the remedy."""
