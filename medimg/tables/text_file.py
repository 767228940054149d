"""What a text file of rows is, found out before it is read: compression, encoding, longest line, delimiter, header."""

import codecs
import csv
import gzip
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from medimg.errors import InputError

DELIMITERS = (",", ";", "\t", "|")
_CHUNK = 1 << 20
# Above this, a line is no row: a quote that never closes, or no table at all.
LONGEST_LINE = 1 << 28
_GZIP = b"\x1f\x8b"
# First bytes of files that people give in the place of a CSV.
_NO_TEXT = {
    b"PK\x03\x04": "is an Excel workbook or a zip; save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the sheet as CSV",
    b"%PDF": "is a PDF; a CSV or Parquet file is needed",
    b"BZh": "is compressed by bzip2; unpack it or use .gz",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; unpack it or use .gz",
    b"\xfd7zX": "is compressed by xz; unpack it or use .gz",
}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class TextFile:
    """How to read a delimited text file.

    Attributes:
        path: the file.
        encoding: `utf-8`, `utf-16` or `cp1252`.
        delimiter: one of DELIMITERS.
        header: the first row's fields.
        longest_line: in bytes.
        ends_in_delimiter: the rows have a delimiter more than the header, behind their last cell.
    """

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    longest_line: int
    ends_in_delimiter: bool = False

    def open(self) -> BinaryIO:
        """The file's bytes, unpacked."""
        return open_bytes(self.path)


def open_bytes(path: Path) -> BinaryIO:
    """A file's bytes, unpacked when it is gzip, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")


def examine(path: Path) -> TextFile:
    """Read the whole file once, in blocks.

    Raises:
        InputError: it is empty, no text, neither UTF-8, UTF-16 nor Windows-1252, or has a line without end.
        OSError, EOFError, zlib.error: as the system or gzip gives them.
    """
    with open_bytes(path) as file:
        start = file.read(8)
    if not start:
        raise InputError(f"{path}: is empty; a header and rows are needed")
    for magic, what in _NO_TEXT.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {what}")
    mark = next((name for bom, name in _MARKS.items() if start.startswith(bom)), None)
    encoding = mark or "utf-8"
    if not _decodes(path, encoding):
        encoding = "cp1252"
        if mark or not _decodes(path, encoding):
            raise InputError(f"{path}: is neither UTF-8 nor Windows-1252 text; save it as CSV in UTF-8")
    longest = max(len(line) for line in _pieces(path))
    if longest > LONGEST_LINE:
        raise InputError(f"{path}: a line of more than {LONGEST_LINE >> 20} MB; is a quote not closed?")
    with open_bytes(path) as file:
        # Not codecs' reader: for it a line ends at U+2028 too.
        lines = io.TextIOWrapper(file, "utf-8-sig" if encoding == "utf-8" else encoding, newline="")
        delimiter, header, first = _start(path, lines)
    more = len(first) == len(header) + 1 and not first[-1].strip()
    return TextFile(path, encoding, delimiter, header, longest, more)


def _blocks(path: Path) -> Iterator[bytes]:
    with open_bytes(path) as file:
        while block := file.read(_CHUNK):
            yield block


def _decodes(path: Path, encoding: str) -> bool:
    """Whether the file is text of an encoding; a NUL in it means that it is no text at all."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in itertools.chain(_blocks(path), [b""]):
            if "\0" in decoder.decode(block, final=not block):
                raise InputError(f"{path}: holds NUL bytes, so it is not text; save it as CSV in UTF-8")
    except UnicodeError:
        return False
    return True


def _pieces(path: Path) -> Iterator[bytes]:
    """Lines, of which one that is too long comes as it is so far."""
    rest = b""
    for block in _blocks(path):
        lines = (rest + block).replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop()
        yield from lines
        if len(rest) > LONGEST_LINE:
            break
    yield rest


def _start(path: Path, lines: Iterator[str]) -> tuple[str, tuple[str, ...], list[str]]:
    """The delimiter, the header, and the first row, which may be empty."""
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise InputError(f"{path}: is empty; a header and rows are needed")
    outside = "".join(first.split('"')[::2])
    delimiter = max(DELIMITERS, key=outside.count)
    csv.field_size_limit(LONGEST_LINE)
    rows = csv.reader(itertools.chain([first], lines), delimiter=delimiter)
    return delimiter, tuple(next(rows)), next((row for row in rows if row), [])
