"""Which of two classes is the positive one: as it is named, else the one that is not called normal."""

import re
from collections.abc import Sequence

from medimg.errors import InputError

# Words of a name that say that nothing is there; docs/data.md lists them too.
NORMAL = frozenset(
    (
        *("0", "false", "none", "negative", "negatives", "neg", "normal", "normals", "healthy", "benign"),
        *("control", "controls", "absent", "absence", "unremarkable", "unaffected", "uninfected"),
        *("nofinding", "nofindings", "notumor"),
    )
)
# In front, or as the first word, they turn a name into its opposite.
NEGATIONS = ("no", "non", "not", "un", "without")


def plain(name: str) -> str:
    """A name without what is often written otherwise: case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def positive_class(task: str, classes: Sequence[str]) -> str:
    """Of a binary task the class that probability, threshold, sensitivity and explanations speak of, else ''.

    Args:
        task: `binary`, `multiclass` or `multilabel`.
        classes: in the order of the model's outputs, as a Dataset and a Run have them.
    """
    return classes[1] if task == "binary" else ""


def positive_last(task: str, classes: tuple[str, ...], named: str | None) -> tuple[tuple[str, ...], list[str]]:
    """The classes in the order of a model's outputs, in which the second of two is the positive one.

    Args:
        task: `binary`, `multiclass` or `multilabel`.
        classes: as the source lists them.
        named: the positive class by --positive.

    Returns:
        The classes, and a note where their names don't tell which is positive.

    Raises:
        InputError: `named` is none of the classes, or there are not two.
    """
    if task != "binary":
        if named is not None:
            raise InputError(
                f"--positive {named}: the labels are {len(classes)} classes ({task}); only one of two can be positive"
            )
        return classes, []
    if named is not None:
        # 1.0 is the class 1.
        wanted = plain(re.sub(r"\.0*$", "", named.strip()) if named not in classes else named)
        matches = [name for name in classes if name == named] or [name for name in classes if plain(name) == wanted]
        if len(matches) != 1:
            raise InputError(f"--positive {named}: is no class; there are {' and '.join(classes)}")
        return tuple(sorted(classes, key=lambda name: name == matches[0])), []
    normal = [_is_normal(name, other) for name, other in zip(classes, reversed(classes), strict=True)]
    if normal[0] != normal[1]:
        return tuple(sorted(classes, key=lambda name: not normal[classes.index(name)])), []
    return classes, [f"'{classes[1]}' counts as positive, since neither name says so (--positive names another)"]


def _is_normal(name: str, other: str = "") -> bool:
    """The name says that nothing is there, on its own or as the opposite of the other one (`nonCOVID` of `COVID`)."""
    words = [word for word in re.split(r"[\W_]+", name.casefold()) if word]
    if words and words[0] in NEGATIONS:
        return not _is_normal(" ".join(words[1:])) if words[1:] else True
    if not NORMAL.isdisjoint(words):
        return True
    # What is not healthy is ill, not the other way round.
    return bool(other) and not _is_normal(other) and plain(name) in {word + plain(other) for word in NEGATIONS}
