"""Categories that have an order which everyone knows: low to high, stages, grades."""

import re

# Words from low to high; of one row, those with a `/` mean the same.
SCALES = (
    ("very low", "low", "medium/moderate/mid/middle/normal/average", "high", "very high"),
    ("none/absent/no", "trace", "minimal", "mild", "moderate", "severe", "very severe/critical"),
    ("small", "medium", "large"),
    ("very poor", "poor", "fair", "good", "very good", "excellent"),
    ("never", "rarely/rare", "sometimes/occasionally", "often/frequently", "always"),
    ("negative", "trace", "1+", "2+", "3+", "4+"),
    ("negative", "+", "++", "+++", "++++"),
)
# Two words of these lists that are as often no scale at all.
_NO_SCALE = ({"no", "none"}, {"normal"}, {"negative"})
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_WORDS = (
    "stage",
    "grade",
    "class",
    "level",
    "tier",
    "quartile",
    "nyha class",
    "nyha",
    "asa class",
    "asa",
    "ccs",
    "figo",
    "bi-rads",
    "birads",
    "t",
    "n",
    "g",
    "q",
)
_STAGE = re.compile(rf"(?:(?P<word>{'|'.join(_WORDS)})[ _-]?)?(?P<number>\d{{1,2}}|[ivx]+)(?P<letter>[a-d]?)")


def order_of(levels) -> tuple[str, ...]:
    """Categories from low to high, () when they are no scale that we know.

    Args:
        levels: distinct categories, none of them ''.
    """
    words = {level: " ".join(re.sub(r"[_-]", " ", level.lower()).split()) for level in levels}
    if len(words) < 2 or len(set(words.values())) < len(words):
        return ()
    for scale in SCALES:
        rank = {word: i for i, entry in enumerate(scale) for word in entry.split("/")}
        ranks = {rank.get(word) for word in words.values()}
        if None not in ranks and len(ranks) == len(words) and _is_scale(words.values()):
            return tuple(sorted(levels, key=lambda level: rank[words[level]]))
    return _stages(levels)


def _is_scale(words) -> bool:
    return len(set(words)) > 2 or not any(set(words) & excluded for excluded in _NO_SCALE)


def _stages(levels) -> tuple[str, ...]:
    """Stages such as I to IV, T1a to T4, grade 1 to 3."""
    keys, prefixes = {}, set()
    for level in levels:
        match = _STAGE.fullmatch(level.lower())
        if not match:
            return ()
        number = match["number"]
        roman = not number.isdigit()
        if roman and number not in _ROMAN:
            return ()
        prefixes.add((match["word"], roman))
        value = _ROMAN.index(number) + 1 if roman else int(number)
        keys[level] = (value, match["letter"])
    word, roman = prefixes.pop()
    if prefixes or not (word or roman) or len(set(keys.values())) < len(keys):
        return ()
    # V and X alone are letters; a Roman scale has a first or second step.
    if roman and not any(value <= 2 for value, _ in keys.values()):
        return ()
    return tuple(sorted(levels, key=keys.__getitem__))
