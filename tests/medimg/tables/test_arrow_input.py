"""What Arrow's threads are given."""

import gzip
import subprocess
import sys

import pytest

# Nothing of Python may be let go of by another thread while Python ends: it would abort with code 134.
READ = """
import sys
from pathlib import Path
from medimg.tables.reading import open_table
for _ in open_table(Path(sys.argv[1])).blocks():
    pass
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"path,label\n"),
        ("b.csv", "name,\u00e4\nx,\u00fc\n".encode("utf-16")),
        ("c.gz", gzip.compress(b"a,b\n1,2\n")),
    ],
    ids=["plain", "utf-16", "gzip"],
)
def test_a_command_that_ends_after_reading_ends_in_order(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    subprocess.run([sys.executable, "-c", READ, str(tmp_path / name)], check=True)
