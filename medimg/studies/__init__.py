"""Studies: many trainings behind one question, as a table and a figure."""

from medimg.errors import InputError

# Name -> what it asks, for `medimg study --help`.
STUDIES = {"privacy-utility": "what differential privacy costs, from epsilon 0.5 to none"}


def check_name(name: str) -> None:
    """Raises InputError unless there is such a study."""
    if name not in STUDIES:
        raise InputError(f"study '{name}' is not known; choose one of {', '.join(STUDIES)}")
