"""Names of categories with their counts: what a client adds up of its own, and how those of all are found again."""

from collections.abc import Iterable, Mapping

from federated.statistics.asking import Asking, unusable
from federated.statistics.sketch import NAME_BYTES, WIDTH, cells_for, names_in, sketch
from medimg.errors import InputError
from medimg.tables.fit import MOST_CATEGORIES

# Categories of a column that a first sketch has room for; one that was too small is asked for again, so many times
# larger.
_USUAL, _GROWTH = 8, 8
SKETCHES = 3


def sketched(columns: Iterable[tuple[str, Mapping[str, int]]], names: list[str], cells: int):
    """A client's sketch, float64 (cells * WIDTH,).

    Args:
        columns: name -> category -> how many rows have it.
        names: of the columns, as they were asked for.
        cells: of the sketch.

    Raises:
        InputError: a column has too many categories, or one of too long a name.
    """
    place, counts = {name: number for number, name in enumerate(names)}, {}
    for name, categories in columns:
        _few(name, len(categories))
        for category, count in categories.items():
            if len(category.encode()) > NAME_BYTES:
                raise InputError(
                    f"column '{name}': a category of more than {NAME_BYTES} bytes is text; make it metadata in "
                    "dataset.yaml"
                )
            if count:
                counts[place[name], category] = count
    return sketch(counts, cells)


def counted(asking: Asking, question: str, names: list[str]) -> dict[str, dict[str, int]]:
    """The categories of all clients.

    Args:
        asking: clients.
        question: kind of the question that they answer with `sketched`.
        names: of the columns.

    Returns:
        Column -> category -> how many rows have it.

    Raises:
        InputError: an answer is unusable, or there are too many categories.
    """
    if not names:
        return {}
    counts, cells = None, cells_for(_USUAL * len(names))
    for _ in range(SKETCHES):
        counts = names_in(asking.counts(question, cells * WIDTH, columns=names, cells=cells), cells)
        if counts is not None:
            break
        cells *= _GROWTH
    if counts is None or {number for number, _ in counts} - set(range(len(names))):
        raise unusable(question, f"more than {cells // _GROWTH // 2} of them in {len(names)} columns, or false")
    total: dict[str, dict[str, int]] = {name: {} for name in names}
    for (number, category), times in counts.items():
        total[names[number]][category] = times
    return total


def _few(name: str, count: int) -> None:
    """A site does not send what amounts to the column itself."""
    if count > MOST_CATEGORIES:
        raise InputError(
            f"column '{name}' has {count} categories (a site sends {MOST_CATEGORIES} at most), whose names would be "
            "told one by one; make it identifier or metadata in dataset.yaml"
        )
