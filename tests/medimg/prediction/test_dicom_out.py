"""`predict --dicom-out` and `--send`: reports and captures in the source's study, valid by dciodvfy, kept by a PACS."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_charset_files, get_testdata_file

from medimg.dicom import sending
from medimg.dicom.results import RESEARCH, Algorithm, Answer, report
from medimg.dicom.sending import Pacs
from medimg.dicom.source import source_of
from medimg.errors import InputError
from medimg.prediction.decision import Decision
from medimg.prediction.dicom_out import PATTERN, Reports, _with_words
from medimg.prediction.images import Reader
from medimg.prediction.inputs import dicom_images
from medimg.prediction.output import replacing
from medimg.sources.dicom_files import DicomFile, read_header
from medimg.sources.dicom_images import Look
from medimg.untrusted.csv_cells import read_csv
from tests.command import medimg
from tests.ports import free_port, free_ports

SAME = ("PatientID", "PatientSex", "StudyInstanceUID", "AccessionNumber", "StudyDate", "StudyID")


def sources(folder: Path) -> Path:
    """CT, MR, two frames, German and Japanese names, one without a study, and no DICOM at all."""
    folder.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "SC_rgb_rle_2frame.dcm"):
        shutil.copy(get_testdata_file(name), folder / name)
    for name in ("chrGerm.dcm", "chrJapMulti.dcm"):
        named, held = pydicom.dcmread(get_charset_files(name)[0]), pydicom.dcmread(folder / "CT_small.dcm")
        held.SpecificCharacterSet = named.SpecificCharacterSet
        held.PatientName, held.SOPInstanceUID = named.PatientName, named.SOPInstanceUID
        held.StudyInstanceUID, held.SeriesInstanceUID = named.StudyInstanceUID, named.SeriesInstanceUID
        held.save_as(folder / name)
    lost = pydicom.dcmread(folder / "CT_small.dcm")
    del lost.StudyInstanceUID
    lost.save_as(folder / "lost.dcm")
    return folder


@pytest.fixture(scope="module")
def made(phantom_run, phantom_data, tmp_path_factory):
    """What the command leaves and says of `sources` and a PNG."""
    root = tmp_path_factory.mktemp("dicom")
    png = phantom_data.paths(phantom_data.rows("test"))[0]
    words = [
        "predict",
        phantom_run.root,
        sources(root / "in"),
        png,
        "--out",
        root / "p.csv",
        "--dicom-out",
        root / "out",
    ]
    result = medimg(*words)
    return root, words, result, read_csv(root / "p.csv", keep_default_na=False)


def items(dataset, found=None) -> list:
    """Every content item."""
    found = [] if found is None else found
    for item in dataset.get("ContentSequence", ()):
        found.append(item)
        items(item, found)
    return found


def test_reports_say_what_the_csv_says(made):
    root, _, _, table = made
    by_source = {}
    for path in (root / "out").glob("*-report.dcm"):
        held = pydicom.dcmread(path)
        assert held.SOPClassUID.name == "Comprehensive SR Storage"
        assert held.ContentTemplateSequence[0].TemplateIdentifier == "1500"
        assert (held.PreliminaryFlag, held.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
        for group in held.ContentSequence[-1].ContentSequence:
            inside = items(group)
            uid = next(i.ReferencedSOPSequence[0] for i in inside if i.ValueType == "IMAGE").ReferencedSOPInstanceUID
            by_source.setdefault(uid, []).append(inside)
    seen = 0
    for _, row in table.iterrows():
        path, _, frame = row["image"].partition("#")
        if not path.endswith(".dcm") or path.endswith("lost.dcm"):
            continue
        inside = by_source[pydicom.dcmread(path).SOPInstanceUID][int(frame or 0)]
        numbers = {
            i.ConceptNameCodeSequence[0].CodeMeaning: float(i.MeasuredValueSequence[0].NumericValue)
            for i in inside
            if i.ValueType == "NUM"
        }
        assert numbers["Probability"] == pytest.approx(row["p_opacity"], abs=1e-6)
        assert numbers["Threshold Value"] == pytest.approx(float(row["threshold"]), abs=1e-6)
        codes = [
            (i.ConceptNameCodeSequence[0].CodeMeaning, i.ConceptCodeSequence[0].CodeMeaning)
            for i in inside
            if i.ValueType == "CODE"
        ]
        assert ("Decision", "Present" if row["decision"] == "opacity" else "Absent") in codes
        assert ("Finding", "opacity") in codes
        assert ("Intended use", RESEARCH) in codes
        assert [value for name, value in codes if name == "Unlike training"] == [
            warning[:64] for warning in row["warnings"].split("; ") if warning
        ]
        texts = {i.ConceptNameCodeSequence[0].CodeMeaning: i.TextValue for i in inside if i.ValueType == "TEXT"}
        assert texts["Algorithm Name"] == "medimg baseline_cnn"
        assert "weights" in texts["Algorithm Version"]
        seen += 1
    assert seen == 6


def test_what_has_no_study_is_one_line_each(made):
    _, _, result, table = made
    assert result.exit_code == 1, result.output
    told = [line for line in result.output.splitlines() if "no DICOM result" in line]
    assert len(told) == 2
    assert "lost.dcm: no StudyInstanceUID, so no result can go into its study" in told[0]
    assert "is no DICOM file" in told[1]
    assert "Traceback" not in result.output
    # They are predicted all the same.
    assert (table["decision"] != "").all()
    for name in ("PatientName", "unlikely to represent"):
        assert name not in result.output


def test_results_are_in_the_patients_study_in_series_of_their_own(made):
    root = made[0]
    files = sorted((root / "out").iterdir())
    held = [pydicom.dcmread(path) for path in files]
    assert len(held) == 6 + 5
    given = {d.StudyInstanceUID: d for p in (root / "in").iterdir() if "StudyInstanceUID" in (d := pydicom.dcmread(p))}
    assert {one.StudyInstanceUID for one in held} == set(given)
    taken = {one.SeriesInstanceUID for one in given.values()}
    for one in held:
        source = given[one.StudyInstanceUID]
        source.decode()
        for name in SAME:
            assert str(one.get(name) or "") == str(source.get(name) or ""), name
        assert str(one.PatientName) == str(source.get("PatientName", ""))
        assert one.SeriesInstanceUID not in taken
        assert one.SeriesDescription == RESEARCH
        assert one.Manufacturer == "medimg"
    captures = [one for one in held if one.SOPClassUID.name == "Secondary Capture Image Storage"]
    assert len(captures) == 6
    for one in captures:
        assert (one.ImageType[:2], one.PhotometricInterpretation) == (["DERIVED", "SECONDARY"], "RGB")
        assert RESEARCH in one.ImageComments
        assert one.DerivationDescription.endswith(("called normal", "called opacity"))
        # The map is in colour, the words below it white on black.
        colours = one.pixel_array.astype(int)
        assert np.ptp(colours[-10:], axis=2).max() < 40
        assert min(colours.shape[:2]) >= 512


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(made):
    for path in (made[0] / "out").iterdir():
        done = subprocess.run(["dciodvfy", path], capture_output=True, check=False)
        told = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
        assert "SCImage" in told or "ComprehensiveSR" in told
        assert [line for line in told if line.startswith("Error")] == []


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("PatientID", "1" * 65, "its PatientID is none that DICOM allows"),
        ("PatientName", "A=B=C=D", "its PatientName is none that DICOM allows"),
        ("StudyInstanceUID", "1.2.03", "no valid StudyInstanceUID"),
        ("SeriesInstanceUID", "", "no SeriesInstanceUID"),
        ("SOPClassUID", "1.2.3", "of a SOP class that is private or retired"),
        # Nothing that says whose it is: left empty.
        ("StudyDate", "2004.01.01x", ""),
        ("PatientSex", "female", ""),
        ("AccessionNumber", "1" * 17, ""),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_value_that_dicom_does_not_allow(name, value, why, tmp_path):
    held = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    setattr(held, name, value)
    held.save_as(tmp_path / "a.dcm")
    if why:
        with pytest.raises(InputError, match=why):
            source_of(str(tmp_path / "a.dcm"))
        return
    source = source_of(str(tmp_path / "a.dcm"))
    assert source.get(name) == ""
    made = report([Answer(source, None, (("x", 0.5, None, True),))], Algorithm("x", "1"))
    assert (made.PatientID, made.StudyInstanceUID) == (held.PatientID, held.StudyInstanceUID)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_every_file_of_pydicom_and_the_samples_has_a_valid_report_or_a_reason(medical_data, tmp_path):
    algorithm, valid, refused = Algorithm("medimg x", "1", ("a",)), 0, 0
    folder = Path(pydicom.data.__file__).parent
    for file in [*folder.rglob("*"), *(medical_data / "dicom").glob("*.dcm")]:
        if not file.is_file():
            continue
        try:
            source = source_of(str(file))
        except InputError as error:
            refused += "study" in str(error)
            continue
        made = report([Answer(source, None, (("ü" * 70, 0.7, 0.5, True),), ("w\\" * 80,))], algorithm)
        made.save_as(tmp_path / "r.dcm", enforce_file_format=True)
        done = subprocess.run(["dciodvfy", tmp_path / "r.dcm"], capture_output=True, check=False)
        assert b"Error" not in done.stderr, (file, done.stderr)
        valid += 1
    assert valid > 100
    assert refused > 5


def test_a_folder_of_other_things_is_left_alone(made, tmp_path):
    root, words, _, _ = made
    again = medimg(*words, "--overwrite")
    assert again.exit_code == 1
    assert all(re.fullmatch(PATTERN, path.name) for path in (root / "out").iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    refused = medimg(*words[:-1], tmp_path / "mine", "--overwrite")
    assert refused.exit_code == 2
    assert "holds other things than DICOM results" in refused.output
    alone = medimg(*words[:-2], "--send", "A@b:1", "--overwrite")
    assert "--send: is for --dicom-out; leave it out" in alone.output


@pytest.mark.filterwarnings("ignore")
def test_neither_two_patients_of_one_study_nor_two_files_of_one_uid_are_mixed(tmp_path):
    images = []
    for number, (patient, uid) in enumerate((("A", "1.2.1"), ("B", "1.2.2"), ("A", "1.2.3"), ("A", "1.2.1"))):
        held = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        held.PatientID, held.SOPInstanceUID, held.InstanceNumber = patient, uid, number
        held.save_as(tmp_path / f"{number}.dcm")
        images += dicom_images([DicomFile(tmp_path / f"{number}.dcm", f"{number}.dcm")], Look())
    decision = Decision("binary", ("no", "yes"), 0.5, "", "yes", "")
    (tmp_path / "out").mkdir()

    def heat(inputs, called):
        return np.zeros((len(called), 8, 8), np.float32), np.ones_like(called)

    reports = Reports(tmp_path / "out", decision, Algorithm("x", "1"), Reader(8, 1, 8), heat, "gradcam")
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    left_out = reports.add([0, 1, 2, 3], images, [], chances, chances.argmax(axis=1), [[]] * 4)
    reports.close()
    assert [name for name, _ in left_out] == [str(tmp_path / "3.dcm")]
    assert "has the SOPInstanceUID of a file before it" in left_out[0][1]
    series: dict[str, set[str]] = {}
    for path in (tmp_path / "out").iterdir():
        made = pydicom.dcmread(path)
        series.setdefault(made.SeriesInstanceUID, set()).add(made.PatientID)
        if made.Modality == "SR":
            known = {
                one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
                for one in items(made)
                if "ReferencedSOPSequence" in one
            }
            assert known == {"A": {"1.2.1", "1.2.3"}, "B": {"1.2.2"}}[made.PatientID]
    assert sorted(map(sorted, series.values())) == [["A"], ["A"], ["B"], ["B"]]


def test_results_are_no_images_of_patients(made):
    for path in (made[0] / "out").glob("*-map.dcm"):
        with pytest.raises(InputError, match="is a result of medimg"):
            read_header(DicomFile(path, path.name))


def test_who_may_read_the_results_is_the_users_choice(tmp_path):
    before = os.umask(0o077)
    try:
        with replacing(tmp_path / "out"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "x", "@h:1", "A@h", "A@h:0", "A@h:65536", "A@h:x", "A" * 17 + "@h:1", "A\\B@h:1"])
def test_a_wrong_address_is_told(text):
    with pytest.raises(InputError, match="give AE@HOST:PORT"):
        Pacs.parse(text)


def test_addresses():
    assert Pacs.parse("MY PACS@[::1]:104") == Pacs("MY PACS", "::1", 104)


@contextmanager
def pacs(status: int = 0, handlers=(), first: bool = False, **settings):
    """A PACS that answers C-STORE with a status, or hangs up after the first."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.sop_class import Verification

    entity = AE(ae_title="OURS")
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context(Verification)
    for name, value in settings.items():
        setattr(entity, name, value)
    stored = []

    def store(event):
        stored.append(event.dataset.SOPInstanceUID)
        if first:
            event.assoc.abort()
        return status

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store), *handlers])
    try:
        yield server.server_address[1], stored
    finally:
        server.shutdown()


@pytest.mark.slow
def test_a_refusal_is_one_line_and_nothing_is_lost(made, tmp_path, monkeypatch):
    _, words, _, _ = made
    words = [*words[:-3], tmp_path / "p.csv", "--dicom-out", tmp_path / "out", "--send"]
    one = medimg(*words, f"OURS@127.0.0.1:{free_port()}")
    assert (one.exit_code, one.output.count("\n")) == (2, 1), one.output
    assert "nobody answers there" in one.output
    # Asked before anything is predicted.
    assert list(tmp_path.iterdir()) == []
    with pacs(require_called_aet=True) as (port, _):
        refused = medimg(*words, f"OTHER@127.0.0.1:{port}")
        assert refused.exit_code == 2
        assert "refuses the association (Called AE title not recognised)" in refused.output
    with pacs(status=0xA700) as (port, stored):
        full = medimg(*words, f"OURS@127.0.0.1:{port}")
        assert full.exit_code == 2, full.output
        assert "refuses C-STORE (status 0xA700); 0 of 11 were sent" in full.output
        assert len(stored) == 1
    assert len(list((tmp_path / "out").iterdir())) == 11
    assert (tmp_path / "p.csv").is_file()


@pytest.mark.parametrize("message", [b"", b"\2\0\xff\xff\xff\xff" + bytes(1000)], ids=["silent", "endless"])
def test_who_never_answers_is_waited_for_no_longer_than_said(message, monkeypatch):
    monkeypatch.setattr(sending, "_SECONDS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        lines = []

        def begin():
            line = silent.accept()[0]
            lines.append(line)
            line.sendall(message)

        threading.Thread(target=begin, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(InputError, match="nobody answers"):
            Pacs("X", "127.0.0.1", silent.getsockname()[1]).echo()
        assert time.monotonic() - began < 10
        lines[0].close()


def test_who_hangs_up_or_has_no_address_is_told():
    from pynetdicom import evt

    files = [Path(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]
    with (
        pacs(handlers=[(evt.EVT_C_ECHO, lambda event: event.assoc.abort() or 0)]) as (port, _),
        pytest.raises(InputError, match="no answer to C-ECHO: it hung up"),
    ):
        Pacs("X", "127.0.0.1", port).echo()
    with pacs(first=True) as (port, stored), pytest.raises(InputError, match="of 2 were sent"):
        Pacs("X", "127.0.0.1", port).store(files)
    assert len(stored) == 1
    for host in ("..", "a" * 300):
        with pytest.raises(InputError, match="no address is known"):
            Pacs("X", host, 104).echo()


@pytest.fixture
def orthanc(tmp_path):
    """A real Orthanc on loopback with a folder of its own: its address, and that of its REST API."""
    program = shutil.which("Orthanc")
    if program is None:
        pytest.skip("Orthanc is not installed")
    dicom, http = free_ports(2)
    settings = {
        **{"StorageDirectory": str(tmp_path / "db"), "IndexDirectory": str(tmp_path / "db"), "Plugins": []},
        **{"DicomAet": "ORTHANC", "DicomPort": dicom, "HttpPort": http, "DicomCheckCalledAet": True},
        **{"RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomAlwaysAllowEcho": True},
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    command = [program, str(tmp_path / "orthanc.json")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        for _ in range(200):
            try:
                ask(http, "/system")
                break
            except OSError:
                time.sleep(0.1)
        yield f"ORTHANC@127.0.0.1:{dicom}", http
    finally:
        process.terminate()
        process.wait(20)


def ask(port: int, path: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.read()


@pytest.mark.slow
def test_orthanc_keeps_them_beside_their_source_and_gives_them_back(made, orthanc, tmp_path):
    address, http = orthanc
    _, words, _, _ = made
    Pacs.parse(address).store([words[2] / "CT_small.dcm"])
    done = medimg(*words[:-3], tmp_path / "p.csv", "--dicom-out", tmp_path / "out", "--send", address)
    assert done.exit_code == 1, done.output
    assert f"11 sent to {address}" in done.output
    kept = {}
    for place in json.loads(ask(http, "/instances")):
        path = tmp_path / "back.dcm"
        path.write_bytes(ask(http, f"/instances/{place}/file"))
        one = pydicom.dcmread(path)
        kept[one.SOPInstanceUID] = one
    sent = [pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()]
    assert len(sent) == 11
    for one in sent:
        assert kept[one.SOPInstanceUID] == one
    # One study: the image, its report and its map.
    study = pydicom.dcmread(words[2] / "CT_small.dcm").StudyInstanceUID
    assert len([one for one in kept.values() if one.StudyInstanceUID == study]) >= 3
    assert len(json.loads(ask(http, "/studies"))) == len({one.StudyInstanceUID for one in kept.values()})


def test_words_are_drawn_whole_on_any_image():
    for shape in ((30, 900, 3), (900, 30, 3), (64, 64, 3), (3000, 2500, 3)):
        drawn = _with_words(np.zeros(shape, np.uint8), [RESEARCH, "medimg x, Grad-CAM: evidence for Größe (p = 0.5)"])
        words = drawn.max(axis=(1, 2)) > 100
        assert words.any()
        assert not words[-3:].any()
        assert max(drawn.shape[:2]) <= 2048 + 200
