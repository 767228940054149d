"""What is publicly known of a table's columns: `--bound`, `--categories`, and the same in dataset.yaml.

A range or a list of categories that is read off the rows tells of the one patient who is 104 years old or a lighthouse
keeper, and no noise covers it. Private training takes both from statements made without looking at any patient, or
does not start.
"""

from collections.abc import Mapping

from medimg.data.schema import Feature, with_public
from medimg.errors import InputError

_LISTED = 5


def public_of(
    features: tuple[Feature, ...], bound: Mapping[str, str], categories: Mapping[str, str]
) -> tuple[Feature, ...]:
    """The features with what the options state; an option goes before dataset.yaml.

    Args:
        features: of the Dataset.
        bound: column -> "LOW:HIGH"; of dates "2001-01-01:2020-12-31".
        categories: column -> "a,b".

    Raises:
        InputError: names the option and the column.
    """
    stated = {feature.name: feature for feature in features}
    for key, facts in (("bound", bound), ("categories", categories)):
        for name, text in facts.items():
            where = f"--{key} {name}={text}"
            if name not in stated:
                raise InputError(f"{where}: the table has no such column; leave it out")
            value = _parts(str(text), key)
            stated[name] = with_public(stated[name], key, value, where)
    return tuple(stated.values())


def require_public(features: tuple[Feature, ...], where: str, ranges: bool = True) -> None:
    """Refuse a table of which something would have to be learnt from private rows.

    Args:
        features: that a private training reads.
        where: the Dataset, for messages.
        ranges: of numbers and dates are needed: not where they are taken as they are.

    Raises:
        InputError: names the columns and what to state.
    """
    measured = [f for f in features if f.is_number or f.type == "date"]
    bounds = [f.name for f in measured if f.bound is None and ranges]
    lists = [f.name for f in features if _lacks_list(f)]
    wanted = []
    if bounds:
        wanted.append(f"--bound COLUMN=LOW:HIGH for {_named(bounds)}")
    if lists:
        wanted.append(f"--categories COLUMN=a,b for {_named(lists)}")
    if wanted:
        raise InputError(
            f"{where}: private training learns no range and no category from the rows, because they tell of single "
            f"patients; state what is publicly known: {' and '.join(wanted)} (or 'bound' and 'categories' in "
            "dataset.yaml), or make a column metadata there (numbers as they are: --scale none)"
        )


def _parts(text: str, key: str) -> list[str]:
    if key == "categories":
        return [part.strip() for part in text.split(",") if part.strip()]
    # A date has no colon but in its time, and then has one on each side.
    parts = text.split(":")
    half = len(parts) // 2
    return [":".join(parts[:half]), ":".join(parts[half:])]


def _lacks_list(feature: Feature) -> bool:
    if feature.type == "ordinal":
        return not feature.order
    return feature.type == "categorical" and not feature.categories


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:_LISTED]) + more
