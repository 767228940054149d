"""The files that a Dataset was made of: size, time and hash of each, and what has changed since."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
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


def stamp(paths: Iterable[Path], recorded: Stamp | None = None) -> Stamp:
    """The stamp of a file, or of several together, empty where one can't be read.

    The content is read only where size or time differ from those recorded.
    """
    try:
        files = [(path, path.stat()) for path in paths]
        size = sum(s.st_size for _, s in files)
        modified = max((s.st_mtime_ns for _, s in files), default=0)
        if recorded and (size, modified) == (recorded.size, recorded.modified):
            return recorded
        # A pipe would never end.
        if not all(path.is_file() for path, _ in files):
            return _NOTHING
        hashes = [_hash(path, stat.st_size, stat.st_mtime_ns) for path, stat in files]
    except OSError:
        return _NOTHING
    content = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()[:32]
    return Stamp(size, modified, content)


@lru_cache(maxsize=64)
def _hash(path: Path, _size: int, _modified: int) -> str:
    """Of a file's content, read once for all slices of a volume."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


_NOTHING = Stamp(0, 0, "")


def files_of(scan: Scan | TableScan) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """What a Scan's Dataset depends on: the name that a sentence gives it, and the files that it is made of."""
    yield from ((path.name, (path,)) for path in scan.tables)
    if isinstance(scan, Scan) and scan.has_files:
        for column in ("image", "mask"):
            yield from ((key, scan.files(key)) for key in scan.records.get(column, ()) if key)


def write(out: Path, scan: Scan | TableScan, recorded: Mapping[str, Stamp]) -> None:
    """Write `source_files.json` of a Dataset; of files whose stamp is known nothing is read."""
    lines = []
    for name, paths in files_of(scan):
        current = recorded[name] if name in recorded else stamp(paths)
        lines.append(f"{json.dumps(name)}: {json.dumps([current.size, current.modified, current.hash])}")
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


def changes(recorded: Mapping[str, Stamp], scan: Scan | TableScan) -> tuple[str, dict[str, Stamp]]:
    """What has changed, as `1 file changed (t.csv), 2 files new (a.png, b.png)`, and the stamps of today.

    Args:
        recorded: stamps of before.
        scan: what is there today.

    Returns:
        '' when nothing has, and the stamps of the files that were there before.
    """
    files = dict(files_of(scan))
    now = {name: stamp(paths, recorded[name]) for name, paths in files.items() if name in recorded}
    groups = {
        "changed": [name for name, current in now.items() if current.hash != recorded[name].hash],
        "new": [name for name in files if name not in recorded],
        "gone": [name for name in recorded if name not in files],
    }
    sentences = [
        f"{len(names)} file{'s' * (len(names) > 1)} {kind} ({listed(names)})" for kind, names in groups.items() if names
    ]
    return ", ".join(sentences), now
