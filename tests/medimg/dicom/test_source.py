"""What a result says of whose it is: what the source says, or nothing at all."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from medimg.dicom.results import Algorithm, Answer, capture, report
from medimg.dicom.source import source_of
from medimg.errors import InputError

ALGORITHM = Algorithm("medimg x", "1")


def written(path: Path, name: str, kind: str, value: bytes, character_set: str | None = None) -> str:
    """A CT whose element has these very bytes, which pydicom would not write."""
    held = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    held.pop("SpecificCharacterSet", None)
    if character_set:
        held.SpecificCharacterSet = character_set
    value += b" " * (len(value) % 2)
    tag, holder = Tag(name), b"@" * len(value)
    held._dict[tag] = RawDataElement(tag, kind, len(value), holder, 0, False, True)
    held.save_as(path)
    content = path.read_bytes()
    assert content.count(holder) == 1
    path.write_bytes(content.replace(holder, value))
    return str(path)


@pytest.mark.parametrize(
    ("name", "kind", "value", "character_set"),
    [
        ("PatientID", "LO", b"A1\\B2", None),
        ("PatientName", "PN", b"A^B\\C^D", None),
        ("IssuerOfPatientID", "LO", b"A\\B", None),
        ("PatientID", "OB", b"1234", None),
        ("PatientID", "US", b"12", None),
        ("PatientID", "FD", b"12345678", None),
        ("PatientID", "LO", b"12\x0034", None),
        ("PatientID", "LO", b"12\n34", None),
        ("PatientID", "LO", b"12\xe934", None),
        # Umlauts of no character set, of one that nobody knows, and of another one than is told.
        ("PatientName", "PN", "Müller^Jo".encode("latin1"), None),
        ("PatientName", "PN", "Müller^Jo".encode("latin1"), "ISO_IR 999"),
        ("PatientName", "PN", "Müller^Jo".encode("latin1"), "ISO_IR 192"),
        ("PatientName", "PN", b"Yamada=\x1b$B;3ED\x1b(B", None),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_of_nobody_known_there_is_no_result(name, kind, value, character_set, tmp_path):
    with pytest.raises(InputError, match=f"its {name} is none that DICOM allows"):
        source_of(written(tmp_path / "a.dcm", name, kind, value, character_set))


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("AccessionNumber", "SH", b"A\\B"),
        ("ReferringPhysicianName", "PN", b"A^B\\C^D"),
        ("StudyDate", "DA", b"20040230"),
        ("PatientBirthDate", "DA", b"19700101-19710101"),
        ("StudyTime", "TM", b"1200-1300"),
        ("StudyTime", "TM", b"996199"),
        ("StudyDescription", "US", b"AB"),
        ("PatientOrientation", "CS", b"AAAAAAAAAAAAAAAAAAAAAAAA\\F"),
        ("PatientOrientation", "US", b"\1\0\2\0"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_another_value_that_is_none_is_left_empty(name, kind, value, tmp_path):
    source = source_of(written(tmp_path / "a.dcm", name, kind, value))
    assert not source.get(name)
    series = generate_uid(), 1, 1
    for made in (
        report([Answer(source, None, (("x", 0.5, None, True),))], ALGORITHM),
        capture(source, None, np.zeros((8, 8, 3), np.uint8), "x", ALGORITHM, series),
    ):
        assert not made.get(name)
        assert (made.PatientID, str(made.PatientName)) == ("1CT1", "CompressedSamples^CT1")


@pytest.mark.parametrize(
    ("name", "character_set"),
    [
        ("Müller^Jörg", "ISO_IR 100"),
        ("Διονυσιος", "ISO_IR 126"),
        ("王^小东", "GB18030"),
        ("ヤマダ^タロウ", "ISO_IR 13"),
    ],
)
def test_names_in_the_character_set_that_is_told(name, character_set, tmp_path):
    codec = {"ISO_IR 100": "latin1", "ISO_IR 126": "iso8859_7", "GB18030": "gb18030", "ISO_IR 13": "shift_jis"}
    value = name.encode(codec[character_set])
    source = source_of(written(tmp_path / "a.dcm", "PatientName", "PN", value, character_set))
    made = report([Answer(source, None, (("x", 0.5, None, True),))], ALGORITHM)
    made.save_as(tmp_path / "r.dcm", enforce_file_format=True)
    assert str(pydicom.dcmread(tmp_path / "r.dcm").PatientName) == name
