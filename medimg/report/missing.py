"""What a report does not have: a section that says why, in the place of one that is empty."""

NOT_AVAILABLE = "not_available"
# Who could say what no Run knows.
AUTHORS = "the authors of the study must say"
CLINIC = "clinical context, which no Run knows"
DATA_SOURCE = "the source's documentation must say; a Dataset does not hold it"


def missing(why: str) -> dict:
    """A section without data.

    Args:
        why: the reason and, where there is one, the command that makes it.
    """
    return {NOT_AVAILABLE: why}


def is_missing(section: dict) -> bool:
    """Whether it is one."""
    return NOT_AVAILABLE in section
