"""DICOM trees to Datasets: volumes, labels, what can't be used, and that nobody's name or number leaves."""

import shutil
import struct
import warnings
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag

from medimg.config import PrepareConfig
from medimg.data.imaging import read_image
from medimg.dicom.pixels import read_frame
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from medimg.sources import dicom_files, source_named
from medimg.sources.dicom_files import DicomFile, find, read_header
from medimg.sources.dicom_images import Look, views
from tests.command import medimg
from tests.volumes import write_dicom, write_series

NOISE = np.random.default_rng(0)


def write_labels(path, column, labels):
    """A table of a key and a label."""
    pd.DataFrame({column: list(labels), "label": list(labels.values())}).to_csv(path, index=False)
    return str(path)


def scan(folder, labels, **options):
    return source_named("dicom").scan(folder, PrepareConfig(labels=labels, **options))


@pytest.fixture
def films(tmp_path):
    """Six radiographs of three patients, in folders, without extensions."""
    headers = {}
    for i in range(6):
        path = tmp_path / "films" / f"d{i // 2}" / f"IM{i}"
        pixels = NOISE.integers(0, 255, (12, 10), np.uint8)
        headers[path] = write_dicom(
            path, pixels, PatientID=f"P{i // 2}", StudyInstanceUID=f"1.2.{i // 2}", AccessionNumber=f"A{i}"
        )
    return tmp_path / "films", headers


@pytest.mark.parametrize(
    "column", ["SOPInstanceUID", "SeriesInstanceUID", "AccessionNumber", "path", "studyinstanceuid"]
)
def test_labels_by_any_key(films, tmp_path, column):
    folder, headers = films
    keys = {}
    for number, (path, header) in enumerate(headers.items()):
        name = "StudyInstanceUID" if column == "studyinstanceuid" else column
        key = path.relative_to(folder).as_posix() if column == "path" else str(header.get(name))
        keys.setdefault(key, "well" if number < 2 else "ill")
    found = scan(folder, write_labels(tmp_path / "l.csv", column, keys))
    assert found.task == "binary"
    assert sorted(found.records["label"]) == ["ill"] * 4 + ["well"] * 2
    assert found.records.groupby("patient")["label"].nunique().eq(1).all()
    assert found.records["patient"].nunique() == 3


def test_prepared_again_zipped_and_by_dicomdir(films, tmp_path):
    folder, headers = films
    labels = write_labels(tmp_path / "l.csv", "AccessionNumber", {f"A{i}": "ab"[i % 2] for i in range(6)})
    config = PrepareConfig(labels=labels, salt=str(tmp_path / "salt"))
    dataset = prepare("dicom", folder, tmp_path / "out", config)
    stored = {image.tobytes() for image in map(read_image, dataset.paths(dataset.manifest))}
    assert stored == {header.pixel_array.tobytes() for header in headers.values()}
    assert prepare("dicom", folder, tmp_path / "out", config).manifest.equals(dataset.manifest)
    packed = tmp_path / "films.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in headers:
            archive.write(path, path.relative_to(folder))
        archive.writestr("readme.txt", "none")
    zipped = prepare("dicom", packed, tmp_path / "zipped", config)
    assert sorted(zipped.manifest["image"]) == sorted(dataset.manifest["image"])
    assert sorted(zipped.manifest["pixels"]) == sorted(dataset.manifest["pixels"])
    write_dicom(next(iter(headers)), np.zeros((12, 10), np.uint8))
    with pytest.raises(InputError, match="has changed since"):
        prepare("dicom", folder, tmp_path / "out", config)


def test_dicomdir_names_its_files(tmp_path):
    index = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "DICOMDIR"
    records = [r for r in pydicom.dcmread(index).DirectoryRecordSequence if "ReferencedFileID" in r]
    uids = [r.ReferencedSOPInstanceUIDInFile for r in records]
    labels = write_labels(tmp_path / "l.csv", "SOPInstanceUID", {uid: "ab"[i % 2] for i, uid in enumerate(uids)})
    found = scan(index, labels, salt=str(tmp_path / "s"))
    assert len(found.records) + len(found.rejected) == len(records)
    assert (found.records["label"] != "").all()


def test_slices_of_a_series_in_their_order_in_space(tmp_path):
    write_series(tmp_path / "ct" / "a", 5, patient="p")
    write_series(tmp_path / "ct" / "b", 5, patient="q", seed=1)
    labels = write_labels(tmp_path / "l.csv", "PatientID", {"p": "x", "q": "y"})

    def brightness(**options):
        found = scan(tmp_path / "ct", labels, **options)
        mine = found.records[found.records["label"] == "x"]
        return [found.read(key).mean(axis=(0, 1)) / 65535 for key in mine["image"]]

    # Of -480 HU and 100 more a slice, in a window of -500 to 500.
    assert np.allclose(brightness(), [0.02, 0.12, 0.22, 0.32, 0.42], atol=0.01)
    assert np.allclose(brightness(slices="middle"), [0.22], atol=0.01)
    assert np.allclose(brightness(slices="every:2"), [0.02, 0.22, 0.42], atol=0.01)
    assert np.allclose(brightness(slices="3", window="0,500"), [0.14], atol=0.02)
    three = brightness(slices="4", neighbours=1)
    assert np.allclose(three, [[0.32, 0.42, 0.42]], atol=0.01)
    with pytest.raises(InputError, match=r"--slices odd: give all, middle, every:N"):
        scan(tmp_path / "ct", labels, slices="odd")
    with pytest.raises(InputError, match=r"no image is left.*has 5 slices, none of number 7"):
        scan(tmp_path / "ct", labels, slices="7")


def test_other_planes_and_passes_of_a_series_are_volumes_of_their_own(tmp_path):
    first = write_series(tmp_path / "ct", 4)
    draw = np.random.default_rng(1)
    for i, header in enumerate(first):
        # A second echo at the same places, 1,000 brighter, and a copy of a file.
        header.SOPInstanceUID, header.InstanceNumber = f"1.2.3.{i}", 10 + i
        header.PixelData = (header.pixel_array + 1000).astype(np.int16).tobytes()
        header.save_as(tmp_path / "ct" / f"echo{i}")
    shutil.copy(tmp_path / "ct" / "001", tmp_path / "ct" / "copy")
    fields = {n: header[n].value for n in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "RescaleIntercept")}
    write_dicom(
        tmp_path / "ct" / "scout",
        draw.integers(0, 40, (16, 16)).astype(np.int16),
        **{**fields, "Modality": "CT", "RescaleSlope": 1, "ImagePositionPatient": [0, 0, 7]},
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )
    headers = [read_header(file) for file in find(tmp_path / "ct")[0]]
    found, _ = views(headers, Look(neighbours=1))
    around = {view.header.file.name: [file.name for file, _ in view.channels] for view in found}
    assert around["scout"] == ["scout"] * 3
    assert around["003"] == ["004", "003", "002"]
    assert around["echo1"] == ["echo0", "echo1", "echo2"]
    middle = {view.header.file.name for view in views(headers, Look(slices="middle"))[0]}
    assert middle == {"scout", "002", "echo2"}


def test_names_in_a_zip_and_headers_without_end(tmp_path, monkeypatch):
    films = [write_dicom(tmp_path / f"{i}.dcm", NOISE.integers(0, 255, (8, 8), np.uint8)) for i in range(3)]
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, name in enumerate(("../out.dcm", "twice.dcm", "twice.dcm")):
            packed.write(tmp_path / f"{i}.dcm", name)
        for name, element in (("endless.dcm", b"\0" * 8), ("meta.dcm", b"\2\0\1\0OB" + b"\0" * 6)):
            packed.writestr(name, b"\0" * 128 + b"DICM" + element * 20_000)
    files, rejected = find(tmp_path / "films.zip")
    assert [file.name for file in files] == ["endless.dcm", "meta.dcm", "twice.dcm"]
    assert read_header(files[2]).ids["SOPInstanceUID"] == films[2].SOPInstanceUID
    assert dict(rejected) == {
        "../out.dcm": "its name leads out of the zip",
        "twice.dcm": "a later member of the zip has this name, and counts",
    }
    monkeypatch.setattr(dicom_files, "_READS", 10_000)
    for file in files[:2]:
        with pytest.raises(InputError, match="its header has more than"):
            read_header(file)


def test_a_single_slice_is_its_own_neighbour(tmp_path):
    write_series(tmp_path / "ct", 1)
    write_series(tmp_path / "ct" / "b", 1, patient="q", seed=3)
    labels = write_labels(tmp_path / "l.csv", "PatientID", {"p": "x", "q": "y"})
    found = scan(tmp_path / "ct", labels, neighbours=1)
    image = found.read(found.records["image"].iloc[0])
    assert image.shape == (16, 16, 3)
    assert (image == image[..., :1]).all()


def test_frames_of_a_file_are_slices(tmp_path):
    frames = NOISE.integers(0, 255, (4, 8, 8), np.uint8)
    write_dicom(tmp_path / "us" / "a.dcm", frames, Modality="US")
    write_dicom(tmp_path / "us" / "b.dcm", frames[:2] + 1, Modality="US")
    labels = write_labels(tmp_path / "l.csv", "path", {"a.dcm": "x", "b.dcm": "y"})
    found = scan(tmp_path / "us", labels)
    mine = found.records[found.records["label"] == "x"]
    assert np.array_equal([found.read(key) for key in mine["image"]], frames)
    assert mine["slice"].tolist() == ["0", "1", "2", "3"]


def test_what_cannot_be_used_is_rejected_in_our_words(films, tmp_path):
    folder, headers = films
    paths = list(headers)
    labels = write_labels(
        tmp_path / "l.csv", "path", {p.relative_to(folder).as_posix(): "ab"[i % 2] for i, p in enumerate(paths)}
    )
    whole = paths[0].read_bytes()
    paths[0].write_bytes(whole[:-40])
    paths[1].write_bytes(b"\0" * 128 + b"DICM" + b"junk" * 9)
    (folder / "notes.txt").write_text("none")
    report = pydicom.dcmread(paths[2])
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    report.save_as(folder / "report.dcm")
    dataset = prepare("dicom", folder, tmp_path / "out", PrepareConfig(labels=labels, salt=str(tmp_path / "salt")))
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv").set_index("file")["reason"]
    assert len(dataset.manifest) == 4
    assert rejected["notes.txt"] == "no DICOM file"
    assert rejected["report.dcm"] == "holds no image"
    assert "no DICOM file" in rejected["d0/IM1"] or "not readable" in rejected["d0/IM1"]
    # By its path alone: a hash beside it would tell whose the others of that patient are.
    assert rejected["d0/IM0"] == "truncated or broken pixel data"
    assert not set(dataset.manifest["patient"]) & {part for name in rejected.index for part in name.split("/")}


def test_modalities_that_are_mixed(films, tmp_path):
    folder, _ = films
    write_series(folder / "ct", 2)
    labels = write_labels(tmp_path / "l.csv", "PatientID", {"P0": "a", "P1": "b", "p": "a", "gone": "b"})
    found = scan(folder, labels)
    assert any(note.startswith("files are of several modalities (CR 6, CT 2)") for note in found.notes)
    assert any("1 rows of l.csv are of no file: 5" in note for note in found.notes)
    with pytest.raises(InputError, match="only one class"):
        scan(folder, labels, modality=("CT",))
    kept = scan(folder, labels, modality=("CR",))
    assert len(kept.records) == 6
    assert sum("is CT, not CR (--modality)" in why for _, why in kept.rejected) == 2
    window = scan(folder, labels, window="lung")
    film = window.records[window.records["modality"] == "CR"]["image"].iloc[0]
    with pytest.raises(InputError, match="--window lung is of CT, this is CR"):
        window.read(film)


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        ("id,label\n1,a\n", {}, "needs a column SOPInstanceUID or path or SeriesInstanceUID"),
        ("path,class\nd0/IM0,a\n", {}, "column 'label' is missing"),
        ("path,label\nnowhere,a\nnor,b\n", {}, "column 'path' names none of the files"),
        ("path,label,fold\nd0/IM0,a,1\nd1/IM2,b,2\n", {"split_column": "fold"}, "row 2: split '1' is not one of train"),
        ("path,label\nd0/IM0,a\nd0/IM0,b\n", {}, "row 3: says otherwise of what row 2 is of"),
        ("path,label\nd0/IM0,a\nd1/IM2,b\n", {"field": ("Shoe",)}, "--field Shoe: no keyword of DICOM"),
        ("path,label\nd0/IM0,a\nd1/IM2,b\n", {"window": "9"}, None),
        ("path,label\nd0/IM0,a\nd1/IM2,b\n", {"window": "5,0"}, "--window 5,0: the width must be more than 1"),
    ],
)
def test_tables_and_options_that_are_wrong(films, tmp_path, table, options, words):
    (tmp_path / "l.csv").write_text(table)
    if words is None:
        found = scan(films[0], str(tmp_path / "l.csv"), **options)
        with pytest.raises(InputError, match="has no window called '9'"):
            found.read(found.records["image"].iloc[0])
        return
    with pytest.raises(InputError, match=words):
        scan(films[0], str(tmp_path / "l.csv"), **options)


def test_a_killed_preparation_of_another_window_is_not_gone_on_with(films, tmp_path):
    from medimg.preparation.claim import SCRATCH, identity, start

    folder, _ = films
    labels = write_labels(tmp_path / "l.csv", "PatientID", {"P0": "a", "P1": "b", "P2": "b"})
    config = PrepareConfig(labels=labels, window="5,9")
    start(tmp_path / "out", identity("dicom", folder, config, None))
    assert (tmp_path / "out" / SCRATCH).is_dir()
    with pytest.raises(InputError, match="unfinished preparation of another window"):
        prepare("dicom", folder, tmp_path / "out", replace(config, window=None))
    assert len(prepare("dicom", folder, tmp_path / "out", config).manifest) == 6


def test_headers_that_lie(tmp_path):
    write_dicom(tmp_path / "src" / "a.dcm", np.zeros((2, 4, 4), np.uint8), NumberOfFrames=2_000_000_000)
    write_dicom(tmp_path / "src" / "b.dcm", np.zeros((4, 4), np.uint8), Rows=60000, Columns=60000)
    labels = write_labels(tmp_path / "l.csv", "path", {"a.dcm": "x", "b.dcm": "y", "c.dcm": "x"})
    write_dicom(tmp_path / "src" / "c.dcm", np.zeros((4, 4), np.uint8))
    found = scan(tmp_path / "src", labels)
    assert ("a.dcm", "says that it has more frames than bytes") in found.rejected
    with pytest.raises(InputError, match=r"b.dcm: has 60000 x 60000 pixels, above 100 megapixels"):
        found.read(found.records[found.records["label"] == "y"]["image"].iloc[0])


def test_no_dicom_file_and_no_path(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "l.csv").write_text("path,label\na.txt,a\n")
    with pytest.raises(InputError, match="holds no DICOM file"):
        scan(tmp_path, None)
    with pytest.raises(InputError, match="PATH: is missing"):
        scan(None, None)


def planted(header):
    """A marker in every field that takes text, at the top, in private fields and in sequences; the markers."""
    markers = []
    kept = ("TransferSyntaxUID", "SOPClassUID", "PhotometricInterpretation", "SpecificCharacterSet", "Modality")
    tags = [
        tag for tag in pydicom.datadict.DicomDictionary if tag >> 16 in (8, 0x10, 0x18, 0x20, 0x32, 0x38, 0x40, 0x4008)
    ]
    for number, tag in enumerate(tags):
        vr, keyword = dictionary_VR(tag), keyword_for_tag(tag)
        if keyword in kept or "Retired" in keyword or not dictionary_VM(tag).startswith("1"):
            continue
        text = {"UI": f"1.9999.{number}", "IS": f"7777{number}"}.get(vr, f"PHI{number}X")
        if vr in ("PN", "LO", "SH", "LT", "ST", "UT", "CS", "AE", "UC", "UI", "IS", "DA", "TM", "DT", "AS", "UR"):
            header.add_new(tag, vr, text)
            markers.append(text)
    header.private_block(0x0009, "PHIBLOCK", create=True).add_new(1, "LO", "PHIPRIVATE")
    inner = pydicom.Dataset()
    inner.PatientName = "PHINESTED"
    header.RequestAttributesSequence = [inner]
    header.preamble = b"PHIPREAMBLE".ljust(128, b"\0")
    return [*markers, "PHIBLOCK", "PHIPRIVATE", "PHINESTED", "PHIPREAMBLE"]


def test_what_is_planted_in_any_tag_reaches_no_output(tmp_path, capfd):
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    folder, markers, labels = tmp_path / "src", set(), {}
    folder.mkdir()
    try:
        for i in range(6):
            header = write_dicom(folder / f"f{i}", NOISE.integers(0, 255, (9, 9), np.uint8))
            markers |= set(planted(header))
            # Keys of the table: as much a secret as the rest.
            header.SOPInstanceUID, header.PatientID, header.Modality = f"1.8888.{i}", f"PHIPATIENT{i}", "PHIMODALITY"
            header.PixelSpacing = [1.25, 1.375]
            labels[header.SOPInstanceUID] = "ab"[i % 2]
            header.save_as(folder / f"f{i}")
            # What pydicom would complain of with the value in its words.
            path = folder / f"f{i}"
            path.write_bytes(path.read_bytes().replace(b"1.25\\1.375", b"PHI\\SPACING"[:10]))
    finally:
        pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE
    (folder / "cut").write_bytes((folder / "f0").read_bytes()[:3000])
    table = write_labels(tmp_path / "l.csv", "SOPInstanceUID", labels | {"1.8888.77": "a"})
    done = medimg("data", "prepare", "dicom", folder, "--labels", table, "--out", tmp_path / "out", "--image-size", 8)
    assert done.exit_code == 0, done.output
    told = capfd.readouterr()
    salt = (tmp_path / "src.salt").read_text().strip()
    secrets = [*markers, *labels, "PHIPATIENT", "PHIMODALITY", "SPACIN", salt]
    texts = {"output": (done.output + told.out + told.err).encode()}
    texts |= {str(path): path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(markers) > 300
    for name, text in texts.items():
        assert [secret for secret in secrets if secret.encode() in text] == [], name
        assert [secret for secret in secrets if secret in name] == []
    assert (tmp_path / "src.salt").stat().st_mode & 0o077 == 0


def test_fields_that_are_listed_and_the_same_salt(films, tmp_path):
    folder, headers = films
    path = next(iter(headers))
    header = headers[path]
    header.PatientAge, header.PatientSex = "061Y", "F"
    header.save_as(path)
    labels = write_labels(tmp_path / "l.csv", "PatientID", {"P0": "a", "P1": "b", "P2": "b"})
    found = [
        scan(folder, labels, field=("PatientAge",), salt=str(tmp_path / salt)).records for salt in ("one", "one", "two")
    ]
    assert "061Y" in set(found[0]["PatientAge"])
    assert not {"PatientSex", "PatientID", "PatientName"} & set(found[0])
    assert found[0]["patient"].tolist() == found[1]["patient"].tolist()
    assert not set(found[0]["patient"]) & set(found[2]["patient"])
    (tmp_path / "one").write_text("short")
    with pytest.raises(InputError, match="no salt"):
        scan(folder, labels, salt=str(tmp_path / "one"))


def test_burned_in_text_is_reported_and_masked(tmp_path):
    for i in range(4):
        pixels = cv2.GaussianBlur(NOISE.integers(0, 160, (300, 320), np.uint8), (0, 0), 5)
        if i < 2:
            cv2.putText(pixels, "ROE JANE", (8, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
        write_dicom(tmp_path / "us" / f"{i}.dcm", pixels, BurnedInAnnotation="YES" if i == 3 else "NO")
    labels = write_labels(tmp_path / "l.csv", "path", {f"{i}.dcm": "ab"[i % 2] for i in range(4)})
    config = PrepareConfig(labels=labels)
    seen = prepare("dicom", tmp_path / "us", tmp_path / "out", config)
    warned = pd.read_csv(tmp_path / "out" / "warnings.csv")["warning"].tolist()
    assert sum("may show burned-in text at its border" in text for text in warned) == 2
    assert sum("burned-in annotation, by its header" in text for text in warned) == 1
    assert any("1 files have burned-in annotation by their header" in note for note in seen.preparation["notes"])
    hidden = prepare("dicom", tmp_path / "us", tmp_path / "masked", replace(config, mask_text=True))
    before, after = (
        {row["source_file"]: read_image(d.root / row["image"]) for _, row in d.manifest.iterrows()}
        for d in (seen, hidden)
    )
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert len(changed) == 2
    for name in changed:
        assert (after[name][before[name] > 230] == 0).mean() > 0.95
        assert np.array_equal(after[name][60:], before[name][60:])


def test_a_colour_image_keeps_its_colours(tmp_path):
    colours = NOISE.integers(0, 255, (6, 6, 3), np.uint8)
    write_dicom(tmp_path / "a.dcm", colours)
    assert np.array_equal(read_frame(str(tmp_path / "a.dcm")), colours)


def test_a_deflated_file_is_unpacked_no_further_than_the_limit(tmp_path):
    data = Path(get_testdata_file("image_dfl.dcm")).read_bytes()
    (tmp_path / "good.dcm").write_bytes(data)
    assert read_header(DicomFile(tmp_path / "good.dcm", "good.dcm"), megapixels=1).frames == 1
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(zlib.decompress(data[start:], -zlib.MAX_WBITS) + bytes(9_000_000)) + packer.flush()
    (tmp_path / "bomb.dcm").write_bytes(data[:start] + body)
    assert (tmp_path / "bomb.dcm").stat().st_size < 1_000_000
    with pytest.raises(InputError, match="unpacks to more bytes"):
        read_header(DicomFile(tmp_path / "bomb.dcm", "bomb.dcm"), megapixels=1)
    # More than a block, and the byte behind it that makes the length even: read to its end, and no further.
    private = struct.pack("<HH2sHI", 0x0009, 0x1010, b"OB", 0, 1 << 24) + bytes(1 << 24)
    unpacked = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    place = unpacked.index(struct.pack("<HH", 0x0010, 0x0010))
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(unpacked[:place] + private + unpacked[place:]) + packer.flush()
    (tmp_path / "long.dcm").write_bytes(data[:start] + body + b"\0")
    assert read_header(DicomFile(tmp_path / "long.dcm", "long.dcm"), megapixels=100).frames == 1
