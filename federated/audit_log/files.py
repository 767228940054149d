"""Do the files beside a log say what the log says: the model, rounds.csv, federation.json, all that it has digests of.

`end_record` is what the writer puts into the log when the files are final, `compare` what a reader makes of it. Logs of
before there were end records hold less; what can't be compared of them is said.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from federated.audit_log.chain import Entry, canonical
from federated.audit_log.rounds import standing_end, standing_rounds
from medimg.atomic import finite
from medimg.untrusted.json_file import parse_json, text_of

FEDERATION, ROUNDS, MODEL = "federation.json", "rounds.csv", "model.keras"
# What the model's answers mean (its classes, in order) and how it was trained.
DESCRIBING = ("model.json", "config.yaml")


@dataclass
class ComparedFiles:
    """What was found.

    Attributes:
        problems: where a file says something else than the log.
        notes: what could not be compared.
        compared: files that were.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)


def end_record(root: Path, files: Iterable[str], federation: Path | None = None) -> dict:
    """The record that ends a log: digests of what the training left.

    Args:
        root: folder of the log.
        files: names in it, with `/`.
        federation: what becomes `federation.json` once this record is in the log; None: there is none.
    """
    record = {"event": "end", "files": {name: digest_of(root / name) for name in files}}
    if federation is not None:
        content = json.loads(federation.read_text(encoding="utf-8"))
        record["files"][FEDERATION] = digest_of(federation)
        record["fields"] = {name: _digest(value) for name, value in content.items()}
    return record


def digest_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(root: Path, entries: Sequence[Entry]) -> ComparedFiles:
    """Hold the files beside a log against its records.

    Args:
        root: folder of the log.
        entries: readable records of it, in order.
    """
    comparison = ComparedFiles()
    rounds, end = standing_rounds(entries), standing_end(entries)
    _rounds_table(root / ROUNDS, rounds, end is not None, comparison)
    if end is None:
        _without_end(root, entries, rounds, comparison)
        return comparison
    fields = end.get("fields")
    for name, digest in _items(end.get("files")):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            comparison.problems.append(f"the log's end names a file outside of its folder: '{name}'")
        elif not (root / name).is_file():
            comparison.problems.append(f"{name}: missing; the log's end has its digest")
        elif name == FEDERATION and fields is not None:
            _federation(root / name, digest, dict(fields), comparison)
        elif digest_of(root / name) != digest:
            comparison.problems.append(f"{name}: is not the file that the log's end has: it was changed")
        else:
            comparison.compared.append(name)
    _not_logged(root, {name for name, _ in _items(end.get("files"))}, comparison)
    return comparison


def _not_logged(root: Path, logged: set[str], comparison: ComparedFiles) -> None:
    """Files of which the end has no digest, though it should: models that were put in, and what older logs lack."""
    for path in (*root.glob("*.keras"), *root.glob("sites/*.keras")):
        name = path.relative_to(root).as_posix()
        # A log of rounds alone has no model, and knows of none.
        if name not in logged and MODEL in logged:
            comparison.problems.append(f"{name}: is not among the files of the log's end: it was added")
    for name in DESCRIBING:
        if name not in logged and MODEL in logged and (root / name).is_file():
            comparison.notes.append(f"{name}: can't be compared: the log's end has no digest of it")


def _items(content: object) -> Iterable[tuple[str, str]]:
    return content.items() if isinstance(content, dict) else ()


def _federation(path: Path, digest: str, fields: dict[str, str], comparison: ComparedFiles) -> None:
    """Names the fields that differ, not only the file."""
    if digest_of(path) == digest:
        comparison.compared.append(f"{path.name} ({len(fields)} fields)")
        return
    content = _json(path, comparison)
    if content is None:
        return
    names = [*fields, *(name for name in content if name not in fields)]
    for name in names:
        if name not in content:
            comparison.problems.append(f"{path.name}: field '{name}' is missing")
        elif name not in fields:
            comparison.problems.append(f"{path.name}: field '{name}' was added")
        elif _digest(content[name]) != fields[name]:
            comparison.problems.append(f"{path.name}: field '{name}' is not what the log's end has: it was changed")
    if not any(problem.startswith(f"{path.name}: field") for problem in comparison.problems):
        comparison.problems.append(f"{path.name}: says the same in another form than it was written in")


def _without_end(root: Path, entries: Sequence[Entry], rounds: dict, comparison: ComparedFiles) -> None:
    """A log that is unfinished, older than end records, or cut."""
    finished = (root / FEDERATION).is_file()
    if any("rounds_csv" in record for record in rounds.values()):
        if finished:
            comparison.problems.append(
                f"audit.jsonl: has no end record although {FEDERATION} is there: records were removed"
            )
        else:
            comparison.notes.append(
                "the log has no end record: the training is not finished, and no file but rounds.csv can be compared"
            )
        return
    if (root / MODEL).is_file():
        comparison.notes.append(f"{MODEL}: can't be compared: the log is of a version that kept no digest of it")
    if finished:
        _older_federation(root / FEDERATION, entries, rounds, comparison)


def _older_federation(path: Path, entries: Sequence[Entry], rounds: dict, comparison: ComparedFiles):
    """What an older log says of federation.json without meaning to."""
    content = _json(path, comparison)
    if content is None:
        return
    start = next((e.record for e in entries if e.record.get("event") == "start"), {})
    options, secure = dict(start.get("options") or {}), content.get("secure") or {}
    sums = {way: sum(record["bytes"][way] for record in rounds.values() if "bytes" in record) for way in ("up", "down")}
    claims = {
        "rounds": (content.get("rounds"), max(rounds, default=0)),
        "bytes": (content.get("bytes"), sums),
        "clients": ({c.get("name"): c.get("examples") for c in content.get("clients") or ()}, start.get("clients")),
        "secure": (secure.get("kind"), options.get("secure")),
    }
    for name in ("strategy", "model", "aggregation", "partition"):
        claims[name] = (content.get(name), options.get(name))
    for name, (said, logged) in claims.items():
        if logged is not None and said != logged:
            comparison.problems.append(f"{path.name}: field '{name}' is not what the log says: {logged}")
    comparison.notes.append(
        f"{path.name}: only {', '.join(claims)} can be compared: the log is of a version that kept no digest of it"
    )


def _rounds_table(path: Path, rounds: dict[int, dict], ended: bool, comparison: ComparedFiles) -> None:
    """Row by row, every cell as it was written."""
    if not path.is_file():
        if any("rounds_csv" in record for record in rounds.values()):
            comparison.problems.append(f"{path.name}: missing; the log has its rows")
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file, strict=True)) or [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        comparison.problems.append(f"{path.name}: not readable as CSV ({error}): it was changed")
        return
    if not rounds or not all("rounds_csv" in record for record in rounds.values()):
        _older_rows(path, header, rows, rounds, comparison)
        return
    before = len(comparison.problems)
    logged = [row for record in rounds.values() for row in record["rounds_csv"]["rows"]]
    columns = next(iter(rounds.values()))["rounds_csv"]["columns"]
    if header != columns:
        comparison.problems.append(f"{path.name}: has other columns than the log: {','.join(header)}")
    for line, (row, known) in enumerate(zip(rows, logged, strict=False), start=2):
        comparison.problems += _row(f"{path.name} line {line}", columns, row, known)
    if len(rows) > len(logged):
        comparison.problems.append(
            f"{path.name} line {len(logged) + 2}: the log has only {len(logged)} rows: rows were added"
        )
    elif len(rows) < len(logged):
        _fewer(path, len(rows), len(logged), rounds, ended, comparison)
    if len(comparison.problems) == before:
        comparison.compared.append(f"{path.name} ({len(rows)} rows)")


def _row(place: str, columns: list[str], row: list[str], known: list[str]) -> list[str]:
    if len(row) != len(known):
        return [f"{place}: has {len(row)} cells, the log {len(known)}"]
    return [
        f"{place}: {column} is '{cell}', the log has '{logged}'"
        for column, cell, logged in zip(columns, row, known, strict=True)
        if cell != logged
    ]


def _fewer(path: Path, rows: int, logged: int, rounds: dict, ended: bool, comparison: ComparedFiles):
    last = len(rounds[max(rounds)]["rounds_csv"]["rows"])
    counts = f"{path.name}: has {rows} rows, the log {logged}"
    if not ended and rows >= logged - last:
        comparison.notes.append(f"{counts}: the run was killed while writing its last round")
    else:
        comparison.problems.append(f"{counts}: rows were removed")


def _older_rows(path: Path, header: list, rows: list, rounds: dict, comparison: ComparedFiles) -> None:
    """Who was asked, and the sums of bytes, are in every log."""
    needed = ("round", "client", "bytes_up", "bytes_down")
    if not rounds or not all("bytes" in r and "participants" in r for r in rounds.values()):
        return
    if not set(needed) <= set(header) or any(len(row) != len(header) for row in rows):
        comparison.problems.append(f"{path.name}: lacks columns or cells: it was changed")
        return
    named_rows = [dict(zip(header, row, strict=True)) for row in rows]
    for number, record in rounds.items():
        of_round = [row for row in named_rows if row["round"] == str(number)]
        if [row["client"] for row in of_round] != list(record["participants"]):
            comparison.problems.append(f"{path.name}: round {number} has other clients than the log")
        for way in ("up", "down"):
            cells = [row[f"bytes_{way}"] for row in of_round]
            if _sum(cells) != record["bytes"][way]:
                comparison.problems.append(
                    f"{path.name}: bytes_{way} of round {number} sum up to another number than the log's"
                )
    comparison.notes.append(
        f"{path.name}: only its clients and the sums of bytes can be compared: the log is of a version that kept no "
        "rows"
    )


def _sum(cells: list[str]) -> float | None:
    try:
        return sum(float(cell) for cell in cells if cell)
    except ValueError:
        return None


def _json(path: Path, comparison: ComparedFiles) -> dict | None:
    try:
        content = parse_json(text_of(path))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        comparison.problems.append(f"{path.name}: not readable: it was changed")
        return None
    return content


def _digest(value: object) -> str:
    return hashlib.sha256(canonical({"value": finite(value)})).hexdigest()
