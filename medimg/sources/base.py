"""What every source is (`Source`) and what it finds (`Scan`): the native layout, translated, nothing decoded yet.

Nothing heavy is imported here or at the top of a source: `medimg data list` reads them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.config import PrepareConfig
from medimg.data.dataset import SEPARATOR
from medimg.errors import InputError
from medimg.option_groups.sources import DecodingOptions
from medimg.options import Config, flag

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from medimg.data.schema import Feature

PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, eq=False)
class Scan:
    """What a source found at its path.

    Attributes:
        name: short name of the set.
        task: `binary`, `multiclass` or `multilabel`.
        classes: class names, as dataset.yaml will list them.
        records: one row an image, all text unless it is metadata: `image` (a key for `read`, mostly the path below the
            scanned folder), `label` (several joined by `|`; '' = unlabelled), `patient`, `site`, `split`
            (train|val|test, '' = the source gives none), optionally `x`, `y`, `width`, `height`, `finding`
            (boxes in pixels of the source's image or of `box_frame`, several joined by `|`), `mask` (a key for
            `read_mask`), and any metadata.
        read: key -> uint8 or uint16 (H, W) or (H, W, 3); InputError when the image is broken. Called from threads. A
            list as second argument takes what the decoder complains of.
        read_mask: key -> uint8 (H, W), 0 = background, or None when the source has no masks.
        negative: the label of a multilabel set that says "none of the classes".
        modality, licence, citation: as in `dataset.yaml`.
        box_frame: (width, height) that boxes refer to, when it is not the image's own.
        rejected: (file, reason) of what was found and can't be used.
        notes: sentences that the user should read.
        any_classes: the classes are a model's: there need not be an image of each.
        root: the folder that keys (of masks, too) are paths below; None where they name no files.
        located: key -> the files that it is made of, where keys are no paths.
        called: key -> what people call its file, where keys are hashes beside which no such name may stand.
        tables: the other files that were read: labels, lists, archives.
        fills_depth: `read` has settled what is white, also of 16 bits.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    records: pd.DataFrame
    read: Callable[..., np.ndarray]
    read_mask: Callable[[str], np.ndarray] | None = None
    negative: str = ""
    modality: str = ""
    licence: str = ""
    citation: str = ""
    box_frame: tuple[int, int] | None = None
    rejected: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    any_classes: bool = False
    root: Path | None = None
    located: Callable[[str], tuple[Path, ...]] | None = None
    called: Callable[[str], str] | None = None
    tables: tuple[Path, ...] = ()
    fills_depth: bool = False

    @property
    def has_files(self) -> bool:
        """Whether it is known which files an image is made of."""
        return self.root is not None or self.located is not None

    def files(self, key: str) -> tuple[Path, ...]:
        """What the image or mask of a key is made of."""
        if self.located is not None:
            return self.located(key)
        return () if self.root is None else (self.root / key,)

    def __post_init__(self):
        from medimg.data.manifest import name_text

        classes = tuple(map(name_text, self.classes))
        for class_name, name in zip(self.classes, classes, strict=True):
            if not name or classes.count(name) > 1:
                raise InputError(
                    f"class '{class_name}': has no name of its own, blanks and forms of Unicode aside; give it another"
                )
            if SEPARATOR in name:
                raise InputError(f"class '{name}': '{SEPARATOR}' stands between several labels; give it another name")
        object.__setattr__(self, "classes", classes)


@dataclass(frozen=True, eq=False)
class TableScan:
    """What a source of table rows found at its path.

    Attributes:
        name, task, classes, modality, licence, citation, rejected, notes, tables: as of a Scan; no table is multilabel.
        features: what the columns beside the roles are.
        read: progress -> the rows as a manifest, and notes of what was found while reading them. The manifest has
            `schema.ROLES` as text ('' = none given), then the features, numbers as float64 with NaN and all else as
            text with '' for missing. `progress` is called with rows read and rows in all, or is None.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    features: tuple[Feature, ...]
    read: Callable[[Callable[[int, int], None] | None], tuple[pd.DataFrame, list[str]]]
    modality: str = "table"
    licence: str = ""
    citation: str = ""
    rejected: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Source:
    """A native layout that `medimg data prepare` reads.

    Attributes:
        name: as on the command line.
        task, modality, licence, citation: of the set, or what they depend on.
        layout: what the folder or file must look like.
        how_to_get: where it comes from.
        scan: `scan(path, config)` -> Scan, or TableScan of a table's rows; the phantom's takes its PhantomConfig as
            `phantom=` too.
        options: groups of options that it reads, beside those that all sources do.
    """

    name: str
    task: str
    modality: str
    licence: str
    citation: str
    layout: str
    how_to_get: str
    scan: Callable[..., Scan | TableScan]
    options: tuple[type[Config], ...] = (DecodingOptions,)

    def reads(self) -> set[str]:
        """Names of all options of `data prepare` that it reads."""
        some = {field.name for group in PrepareConfig.__bases__ for field in fields(group)}
        shared = {field.name for field in fields(PrepareConfig)} - some
        return shared | {field.name for group in self.options for field in fields(group)}

    def refuse_unread(self, options: Iterable[str]) -> None:
        """Refuse options that would do nothing.

        Raises:
            InputError: names the first one.
        """
        for name in options:
            if name not in self.reads():
                raise InputError(
                    f"{flag(name)}: source '{self.name}' does not read it; leave it out ('medimg data prepare "
                    f"{self.name} --help' lists what it reads)"
                )


def to_records(rows: Iterable[dict]) -> pd.DataFrame:
    """Rows as the records of a Scan: text columns are text, `patient`, `site`, `split` and `label` are there."""
    import pandas as pd

    from medimg.data.manifest import TEXT_COLUMNS, name_text

    # By column: a list of dictionaries would be the peak of a preparation's memory.
    columns, shared = {}, {}
    for count, row in enumerate(rows, start=1):
        for name, value in row.items():
            column = columns.setdefault(name, [None] * (count - 1))
            column.append(_once(value, shared))
        for column in columns.values():
            column.extend([None] * (count - len(column)))
    records = pd.DataFrame(columns)
    for column in ("image", "label", "patient", "site", "split"):
        if column not in records:
            records[column] = ""
    for column in TEXT_COLUMNS:
        if column in records:
            records[column] = records[column].fillna("").astype(str)
    for column in ("label", "patient", "site", "finding"):
        if column in records:
            # Not pandas' own map, which loses names that are no Unicode.
            plain = {name: name_text(name) for name in set(records[column])}
            records[column] = [plain[name] for name in records[column]]
    return records


def _once(value: object, shared: dict) -> object:
    """Of equal values the first one, so that a repeated label or site is kept once; names of images never repeat."""
    if len(shared) < 1000 and isinstance(value, str):
        return shared.setdefault(value, value)
    return shared.get(value, value)


def compiled(pattern: str | None, option: str) -> re.Pattern | None:
    """A regular expression of an option.

    Raises:
        InputError: it does not compile.
    """
    if pattern is None:
        return None
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f"{option} {pattern}: not a regular expression ({error})") from error


def found(pattern: re.Pattern, text: str) -> str:
    """The first group that took part in the first match, the whole match without groups, '' when nothing matches."""
    match = pattern.search(text)
    if not match:
        return ""
    return next((group for group in match.groups() if group), match[0])


def task_of(classes: tuple[str, ...]) -> str:
    """`binary` for two classes, `multiclass` for more."""
    return "binary" if len(classes) == 2 else "multiclass"
