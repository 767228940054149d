"""What SECURITY.md says of the locked packages is so: their versions, and that what is open in them is not reached."""

import ast
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from medimg.data import imaging
from medimg.errors import InputError
from tests.test_safe_loading import FILES

ROOT = Path(__file__).parents[1]
TABLE = re.findall(
    r"^\| (\S+) (\d\S*) \| (CVE-[^|]*) \|", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.MULTILINE
)
# What the advisories are about, and nothing here calls.
UNCALLED = ("json_format", "ParseDict", "onnx.load", "onnx.load_model", "onnx.hub", "save_external_data")
# Of what OpenCV is given: PNG, JPEG, TIFF and BigTIFF in both orders of bytes.
DECODED = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def test_the_versions_are_the_locked_ones():
    locked = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
    assert len(TABLE) > 4
    assert {name: version for name, version, _ in TABLE} == {name: locked.get(name) for name, _, _ in TABLE}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_what_is_open_is_not_called():
    names = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute | ast.Name):
                names.add(dotted(node))
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{one.name}" for one in node.names}
    assert "cv2.imdecode" in names
    assert not [name for name in names for one in UNCALLED if name == one or name.endswith(f".{one}")]


def jpeg_2000(codestream: bool) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    image.save(file, "JPEG2000", no_jp2=codestream)
    return file.getvalue()


@pytest.mark.parametrize("codestream", [True, False])
@pytest.mark.parametrize("before", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0"])
def test_no_jpeg_2000_reaches_opencv(codestream, before, monkeypatch, tmp_path):
    """Whole, and behind the first bytes of what OpenCV is given; it goes by these alone."""
    given, decode = [], cv2.imdecode

    def seen(data, flags):
        given.append(bytes(data[:8]))
        return decode(data, flags)

    monkeypatch.setattr(imaging.cv2, "imdecode", seen)
    path = tmp_path / "film.png"
    path.write_bytes(before + jpeg_2000(codestream))
    if before:
        with pytest.raises(InputError):
            imaging.read_image(path)
    else:
        assert np.array_equal(imaging.read_image(path), np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert all(start.startswith(DECODED) for start in given)
