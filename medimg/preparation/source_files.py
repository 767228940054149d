"""The files that a Dataset was made of: size, time and hash of each, and what has changed since."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.sources.base import Scan, TableScan
from medimg.style.words import listed

FILE = "source_files.json"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one content of a file from another.

    Attributes:
        size: bytes.
        modified: nanoseconds since 1970.
        hash: the first 32 hex digits of the content's SHA-256.
    """

    size: int
    modified: int
    hash: str


def stamp(path: Path, known: Stamp | None = None) -> Stamp:
    """A file's stamp, empty where it can't be read; its content is read only where size or time differ from known."""
    try:
        found = path.stat()
        if known and (found.st_size, found.st_mtime_ns) == (known.size, known.modified):
            return known
        # A pipe would never end.
        if not path.is_file():
            return _NOTHING
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        return Stamp(found.st_size, found.st_mtime_ns, content)
    except OSError:
        return _NOTHING


_NOTHING = Stamp(0, 0, "")


def files_of(scan: Scan | TableScan) -> Iterator[tuple[str, Path]]:
    """Every file that a Scan's Dataset depends on, after the name that a sentence gives it."""
    yield from ((path.name, path) for path in scan.tables)
    if isinstance(scan, Scan) and scan.root is not None:
        for column in ("image", "mask"):
            yield from ((key, scan.root / key) for key in scan.records.get(column, ()) if key)


def write(out: Path, scan: Scan | TableScan, known: Mapping[str, Stamp]) -> None:
    """Write `source_files.json` of a Dataset; of files whose stamp is known nothing is read."""
    lines = []
    for name, path in files_of(scan):
        found = known[name] if name in known else stamp(path)
        lines.append(f"{json.dumps(name)}: {json.dumps([found.size, found.modified, found.hash])}")
    atomic.write_text(out / FILE, "{\n" + ",\n".join(lines) + "\n}\n")


def read(out: Path) -> dict[str, Stamp] | None:
    """The stamps of the files that a Dataset was made of; None where it has none, as those of earlier versions."""
    path = out / FILE
    if not path.is_file():
        return None
    try:
        return {name: Stamp(*values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not readable ({error}); prepare with --overwrite") from error


def changes(known: Mapping[str, Stamp], scan: Scan | TableScan) -> tuple[str, dict[str, Stamp]]:
    """What has changed, as `1 file changed (t.csv), 2 files new (a.png, b.png)`, and the stamps of today.

    Args:
        known: stamps of before.
        scan: what is there today.

    Returns:
        '' when nothing has, and the stamps of the files that were there before.
    """
    files = dict(files_of(scan))
    now = {name: stamp(path, known[name]) for name, path in files.items() if name in known}
    groups = {
        "changed": [name for name, found in now.items() if found.hash != known[name].hash],
        "new": [name for name in files if name not in known],
        "gone": [name for name in known if name not in files],
    }
    told = [
        f"{len(names)} file{'s' * (len(names) > 1)} {kind} ({listed(names)})" for kind, names in groups.items() if names
    ]
    return ", ".join(told), now
