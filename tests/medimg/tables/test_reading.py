"""Files as blocks of columns: encodings, delimiters, compression, Parquet's types, and what is refused."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medimg.errors import InputError
from medimg.tables import reading
from medimg.tables.reading import open_table


def table(path):
    """Columns of the whole file, by name."""
    file = open_table(path)
    blocks = list(file.blocks())
    return {name: [cell for block in blocks for cell in block[i].to_pylist()] for i, name in enumerate(file.names)}


def write(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encodings_and_delimiters(tmp_path, encoding, delimiter):
    rows = [["näme", "größe, cm"], ["Zoë", "1"], ['a "b"', "2"]]
    cells = [[f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in row] for row in rows]
    text = "\r\n".join(delimiter.join(row) for row in cells)
    path = write(tmp_path, text.encode(encoding))
    assert table(path) == {"näme": ["Zoë", 'a "b"'], "größe, cm": ["1", "2"]}
    noted = any("Windows-1252" in note for note in open_table(path).notes)
    assert noted == (encoding == "cp1252")


def test_gzip_blank_lines_quoted_line_breaks_and_old_line_ends(tmp_path):
    path = write(tmp_path, gzip.compress(b'\na,b\n\n1,"x\ny"\n\n2,z\n'), "t.csv")
    assert table(path) == {"a": ["1", "2"], "b": ["x\ny", "z"]}
    lines = table(write(tmp_path, '"a\u2028b","c\nd"\n1,2\n'))
    assert lines == {"a b": ["1"], "c d": ["2"]}
    assert table(write(tmp_path, "a,b\r1,2\r3,4")) == {"a": ["1", "3"], "b": ["2", "4"]}


def test_blocks_hold_the_rows_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_BLOCK", 4096)
    numbers = [str(i) for i in range(3000)]
    path = write(tmp_path, "a,b\n" + "".join(f"{i},{i}\n" for i in numbers))
    assert len(list(open_table(path).blocks())) > 3
    assert table(path) == {"a": numbers, "b": numbers}


def test_columns_without_a_name_get_one(tmp_path):
    file = open_table(write(tmp_path, "unnamed_1,, a  b ,\n1,2,3,4\n"))
    assert file.names == ("unnamed_1", "unnamed_2", "a b", "unnamed_3")
    assert file.unnamed == ("unnamed_2", "unnamed_3")


def test_parquet_keeps_what_the_types_say(tmp_path):
    content = {
        "whole": pa.array([1, None, 3]),
        "long": pa.array([2**60, 1, 2]),
        "flag": pa.array([True, False, None]),
        "code": pa.array(["a", None, "a"]).dictionary_encode(),
        "day": pa.array(np.array(["2020-03-01", "NaT", "2020-03-02"], "datetime64[D]")),
        "time": pa.array(pd.to_datetime(["2020-03-01T14:05+01:00", None, "2020-03-02T00:00+01:00"])),
        "none": pa.nulls(3),
    }
    pq.write_table(pa.table(content), tmp_path / "t.parquet")
    read = table(tmp_path / "t.parquet")
    assert read["whole"] == [1.0, None, 3.0]
    assert read["long"][0] == str(2**60)
    assert read["flag"] == ["true", "false", ""]
    assert read["code"] == ["a", "", "a"]
    assert read["day"] == ["2020-03-01", "", "2020-03-02"]
    assert read["time"] == ["2020-03-01T13:05:00", "", "2020-03-01T23:00:00"]
    assert read["none"] == ["", "", ""]
    assert open_table(tmp_path / "t.parquet").typed == {
        "flag": "categorical",
        "code": "categorical",
        "day": "date",
        "time": "date",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n \n", "is empty"),
        (b"a,b,a\n1,2,3\n", "column 'a' is there 2 times; rename"),
        (b"a,b\n1,2\n3,4,5\n", r"t.csv row 3: 3 fields instead of 2 \(3,4,5\)"),
        (b"a,b\n1,2\n3\n", r"row 3: 1 fields instead of 2"),
        (b"a,b\n1,\x00\n", "NUL bytes"),
        (b"a,b\n1,\x81\n", "neither UTF-8 nor Windows-1252"),
        (b"PK\x03\x04rest", "Excel workbook or a zip"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel"),
        (b"PAR1 and no more", "can't be read|not readable"),
        (gzip.compress(b"a,b\n1,2\n" * 99)[:18], "can't be read"),
    ],
)
def test_refused_in_one_line(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as error:
        table(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_parquet_whose_text_is_no_unicode_is_refused(tmp_path):
    cells = pa.array([b"fit", b"s\xffck", b""])
    text = pa.Array.from_buffers(pa.string(), len(cells), cells.buffers())
    pq.write_table(pa.table({"label": text}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: not readable as a table \(.*UTF8"):
        list(open_table(tmp_path / "t.parquet").blocks())


def test_nested_parquet_is_refused_by_column(tmp_path):
    pq.write_table(pa.table({"a": [[1], [2]]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column 'a' is list"):
        open_table(tmp_path / "t.parquet")


def test_garbled_files_are_read_or_refused(tmp_path):
    draw = np.random.default_rng(0)
    good = b"id,age,label\n" + b"".join(b"%d,%d.5,%s\n" % (i, i, b"yn"[i % 2 :][:1]) for i in range(40))
    pq.write_table(pa.table({"a": range(40), "b": ["x", "y"] * 20}), tmp_path / "good")
    signs = b'",;\n\r\t \x00\xff|'
    read, told = 0, []
    for case in range(150):
        content = bytearray(good if case % 3 else (tmp_path / "good").read_bytes())
        for _ in range(draw.integers(1, 4)):
            place = draw.integers(len(content))
            content[place : place + draw.integers(2)] = signs[(i := draw.integers(len(signs))) : i + 1]
        try:
            read += bool(table(write(tmp_path, bytes(content))))
        except InputError as error:
            told.append(str(error))
    assert not any("\n" in text for text in told)
    assert 0 < read < 150 == read + len(told)
