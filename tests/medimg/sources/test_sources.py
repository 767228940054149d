"""Native layouts: small ones written on the spot, and real samples where they are."""

import dataclasses
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.phantom.config import PhantomConfig
from medimg.preparation.prepare import prepare
from medimg.sources import SOURCES, folder, source_named
from medimg.sources.tree import NOT_AN_IMAGE
from tests.command import medimg

# A value of each option that is not its default.
OTHER = {
    "image_size": 8,
    "max_megapixels": 50,
    "intensity": "max",
    "workers": 1,
    "patient_pattern": "p",
    "site_pattern": "s",
    "labels": "labels.csv",
    "image_column": "a",
    "image_dir": ("d",),
    "extension": "png",
    "label_separator": ";",
    "label_column": "b",
    "patient_column": "c",
    "site_column": "d",
    "split_column": "e",
    "column_type": {"age": "integer"},
    "window": "lung",
    "slices": "middle",
    "neighbours": 1,
    "modality": ("CT",),
    "field": ("PatientAge",),
    "mask_text": True,
    "salt": "salt",
    "modalities": "t1",
    "target": "dominant",
    "scheme": "2018",
}
KERMANY = r"(person\d+|IM-\d+|NORMAL2-IM-\d+)"


def draw(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((4, 4), value, np.uint8))
    return path


def scan(source, path, **options):
    return source_named(source).scan(path, PrepareConfig(**options))


def by_image(found, column):
    return dict(zip(found.records["image"], found.records[column], strict=True))


def test_every_source_says_what_it_needs():
    images = ["folder", "csv", "medmnist", "chestxray14", "isic", "dicom", "nifti", "brats", "deeplesion"]
    assert list(SOURCES) == [*images, "heart", "table", "phantom"]
    for source in SOURCES.values():
        assert all([source.task, source.modality, source.licence, source.layout, source.how_to_get])
    with pytest.raises(InputError, match="'xray' is not known; choose one of folder, csv"):
        source_named("xray")


@pytest.mark.parametrize("source", ["folder", "csv", "chestxray14", "isic"])
def test_a_path_that_is_missing_is_named(source, tmp_path):
    with pytest.raises(InputError, match="nowhere: does not exist"):
        scan(source, tmp_path / "nowhere")
    with pytest.raises(InputError, match="PATH is missing"):
        scan(source, None)


def test_an_option_that_a_source_does_not_read_is_refused_by_name(tmp_path):
    every = {field.name: field for field in dataclasses.fields(PrepareConfig)}
    for source in SOURCES.values():
        for name in sorted(set(every) - source.reads()):
            with pytest.raises(InputError, match=f"--{name.replace('_', '-')}: source '{source.name}' does not read"):
                prepare(source.name, tmp_path, tmp_path / "out", PrepareConfig(**{name: OTHER[name]}))
        source.refuse_unread(source.reads())
    with pytest.raises(InputError, match="--patients: source 'folder' does not read"):
        prepare("folder", tmp_path, tmp_path / "out", PrepareConfig(), PhantomConfig(patients=3))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", [*SOURCES, None])
def test_help_on_a_source_shows_what_it_reads(source):
    words = ["data", "prepare", *([source] if source else []), "--help"]
    shown = set(re.findall(r"^  --([a-z-]+)", medimg(*words).output, re.MULTILINE))
    of_sources = {f.name.replace("_", "-") for c in (PrepareConfig, PhantomConfig) for f in dataclasses.fields(c)}
    read = {name.replace("_", "-") for name in SOURCES[source].reads()} if source else of_sources
    assert shown & of_sources == read


def test_help_on_a_source_changes_nothing_for_the_next_call(tmp_path):
    medimg("data", "prepare", "heart", "--help")
    given = medimg("data", "prepare", "chestxray14", tmp_path, "--labels", "no.csv", "--out", tmp_path / "out")
    assert "No such option" not in given.output
    assert "medimg: error" in given.output


# --- folder


def test_folder_with_parts_nested_hidden_and_other_files(tmp_path):
    root = tmp_path / "archive" / "set"
    for name in ("Train/b/1.png", "Train/a/deep/er/2.PNG", "valid/a/3.jpg", "TEST/b/4.tif"):
        draw(root / name)
    draw(root / "Train" / "a" / ".hidden.png")
    (root / "Train" / "a" / "Thumbs.db").write_bytes(b"x")
    (root / "README.txt").write_text("x")
    draw(root / "spare" / "a" / "5.png")
    found = scan("folder", tmp_path / "archive")
    assert found.task == "binary"
    assert found.classes == ("a", "b")
    assert found.name == "set"
    assert by_image(found, "split") == {
        "Train/a/deep/er/2.PNG": "train",
        "Train/b/1.png": "train",
        "valid/a/3.jpg": "val",
        "TEST/b/4.tif": "test",
    }
    assert by_image(found, "label")["Train/a/deep/er/2.PNG"] == "a"
    assert {Path(file).name for file, _ in found.rejected} == {".hidden.png", "Thumbs.db", "README.txt", "5.png"}
    assert "4 files left out" in found.notes[0]
    assert found.read("Train/b/1.png").shape == (4, 4)


def test_images_without_folders_are_unlabelled_where_classes_are_known(tmp_path):
    for name in ("a.png", "b.png"):
        draw(tmp_path / name)
    (tmp_path / "notes.txt").write_text("nobody")
    scan = folder.scan(tmp_path, PrepareConfig(), any_classes=True)
    assert by_image(scan, "label") == {"a.png": "", "b.png": ""}
    assert scan.rejected == [("notes.txt", NOT_AN_IMAGE)]


def test_folder_patients_and_sites_by_pattern(tmp_path):
    for name in ("a/north_p1_1.png", "a/south_p1_2.png", "b/north_p2.png", "b/odd.png"):
        draw(tmp_path / "set" / name)
    found = scan("folder", tmp_path / "set", patient_pattern=r"_(p\d+)", site_pattern="north|south")
    assert list(found.records["patient"]) == ["p1", "p1", "p2", "b/odd.png"]
    assert list(found.records["site"]) == ["north", "south", "north", ""]
    assert "misses 1 file names" in found.notes[0]
    own = scan("folder", tmp_path / "set")
    assert own.records["patient"].is_unique
    assert "its own patient" in own.notes[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patient_pattern": "("}, "--patient-pattern .*not a regular expression"),
        ({"patient_pattern": "zzz"}, "--patient-pattern zzz: matches no file name"),
        ({"site_pattern": "zzz"}, "--site-pattern zzz: matches no file"),
    ],
)
def test_folder_patterns_that_are_wrong(tmp_path, options, words):
    draw(tmp_path / "a/1.png"), draw(tmp_path / "b/1.png")
    with pytest.raises(InputError, match=words):
        scan("folder", tmp_path, **options)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a/1.png"], "only one class, 'a'"),
        (["1.png"], "no class folders"),
        (["a/1.png", "b/note.txt"], "class 'b' has no images"),
        (["train/a/1.png", "train/b/note.txt", "test/a/2.png"], "class 'b' has no images"),
        (["train/a/1.png", "train/b/1.png", "test/A/2.png"], "'a' and 'A'|'A' and 'a'"),
    ],
)
def test_folder_layouts_that_are_wrong(tmp_path, files, words):
    for name in files:
        draw(tmp_path / name) if name.endswith("png") else (tmp_path / name).parent.mkdir(parents=True)
        if name.endswith("txt"):
            (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=words):
        scan("folder", tmp_path)


def test_kermany(medical_data):
    found = scan("folder", medical_data / "kermany_chest_xray_224", patient_pattern=KERMANY)
    assert found.classes == ("NORMAL", "PNEUMONIA")
    assert found.task == "binary"
    patients = by_image(found, "patient")
    for key in ("test/NORMAL/NORMAL2-IM-0378-0001.jpeg", "train/NORMAL/IM-0119-0001.jpeg"):
        assert patients[key] == Path(key).name.rsplit("-", 1)[0]
    assert patients["test/PNEUMONIA/person101_bacteria_483.jpeg"] == "person101"
    hint = scan("folder", medical_data / "kermany_chest_xray_224" / "chest_xray").notes
    assert any("--patient-pattern" in note and "person" in note for note in hint)


# --- csv


@pytest.fixture
def table(tmp_path):
    for i in range(4):
        draw(tmp_path / "films" / f"{i}.png")

    def write(text: str) -> Path:
        (tmp_path / "table.csv").write_text(text)
        return tmp_path / "table.csv"

    return write


def test_csv_names_labels_and_metadata(table):
    found = scan(
        "csv",
        table(
            "file,dx,who,age,pixels\nfilms/0.png,sick,007,61,x\nfilms/1.png,,8,,x\nfilms/2.png,well,7,5,x\nno.png,well,9,,x\n"
        ),
        image_column="file",
        label_column="dx",
        patient_column="who",
    )
    assert found.task == "binary"
    assert found.classes == ("sick", "well")
    assert list(found.records["patient"]) == ["007", "8", "7"]
    assert list(found.records["label"]) == ["sick", "", "well"]
    assert list(found.records["age"]) == ["61", "", "5"]
    assert "pixels" not in found.records
    assert found.rejected == [("no.png", "row 5 of table.csv: the file does not exist")]
    assert "1 rows have no label" in found.notes[0]
    assert "row 5" in found.notes[1]


def test_csv_several_labels_parts_and_boxes(table):
    path = table(
        "image,label,split,x,y,width,height\nfilms/0.png,a | b,Training,1|2,1|2,1|1,1|1\n"
        "films/1.png,No Finding,valid,,,,\nfilms/2.png,b,test,,,,\n"
    )
    found = scan("csv", path, split="official")
    assert (found.task, found.classes, found.negative) == ("multilabel", ("a", "b"), "No Finding")
    assert list(found.records["label"]) == ["a|b", "No Finding", "b"]
    assert list(found.records["split"]) == ["train", "val", "test"]
    assert found.records["x"][0] == "1|2"
    assert found.records["patient"].is_unique


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("image,dx\nfilms/0.png,a\n", {}, "column 'label' is missing; it has image, dx; .*--label-column"),
        ("image,label\nfilms/0.png,a\n", {"site_column": "ward"}, "column 'ward' is missing.*--site-column"),
        ("image,label\nfilms/0.png,a\nfilms/1.png,a\n", {}, "only one class, 'a'"),
        ("image,label\nfilms/0.png,a\nfilms/0.png,b\n", {}, "row 3: .*listed twice"),
        ("image,label\nx.png,a\ny.png,b\n", {}, "none of its 2 images exists"),
        ("image,label,split\nfilms/0.png,a,fold1\n", {"split": "official"}, "row 2: split 'fold1'"),
        ("", {}, "is empty"),
    ],
)
def test_csv_that_is_wrong(table, text, options, words):
    with pytest.raises(InputError, match=words):
        scan("csv", table(text), **options)


# --- medmnist


def write_npz(path: Path, images, labels) -> Path:
    arrays = {}
    for part in ("train", "val", "test"):
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("shape", [(6, 5, 5), (6, 5, 5, 3)])
def test_medmnist_reads_the_rows(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = write_npz(tmp_path / "own.npz", images, np.array([[0], [1], [2]] * 2, np.uint8))
    found = scan("medmnist", path)
    assert found.task == "multiclass"
    assert found.classes == ("class 0", "class 1", "class 2")
    for i in range(6):
        np.testing.assert_array_equal(found.read(f"val/{i:06d}"), images[i])
    assert dict(found.records["split"].value_counts()) == {"train": 6, "val": 6, "test": 6}


def test_medmnist_names_of_the_set(medical_data):
    found = scan("medmnist", medical_data / "medmnist" / "breastmnist.npz")
    assert found.classes == ("malignant", "normal, benign")
    assert found.task == "binary"
    with np.load(medical_data / "medmnist" / "breastmnist.npz") as arrays:
        expected = [found.classes[i] for i in arrays["test_labels"].ravel()]
        np.testing.assert_array_equal(found.read("test/000007"), arrays["test_images"][7])
    assert list(found.records["label"][found.records["split"] == "test"]) == expected


def test_medmnist_several_labels(tmp_path):
    labels = np.zeros((3, 14), np.uint8)
    labels[0, [0, 13]] = 1
    found = scan("medmnist", write_npz(tmp_path / "chestmnist.npz", np.zeros((3, 4, 4), np.uint8), labels))
    assert found.task == "multilabel"
    assert found.negative == "none"
    assert len(found.classes) == 14
    assert list(found.records["label"][:2]) == ["atelectasis|hernia", "none"]


@pytest.mark.parametrize(
    ("name", "images", "labels", "words"),
    [
        ("a.npz", np.zeros((2, 4, 4, 4), np.uint8), [[0], [1]], "volumes"),
        ("a.npz", np.zeros((2, 4, 4), np.uint8), [[0]], "2 train_images but 1 train_labels"),
        ("a.npz", np.zeros((2, 4, 4)), [[0], [1]], "uint8"),
        ("breastmnist.npz", np.zeros((2, 4, 4), np.uint8), [[0], [7]], "labels up to 7, but 2 classes"),
    ],
)
def test_medmnist_that_is_wrong(tmp_path, name, images, labels, words):
    with pytest.raises(InputError, match=words):
        scan("medmnist", write_npz(tmp_path / name, images, np.array(labels, np.uint8)))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([[-1], [0]], "no numbers of classes"),
        ([[0.5], [1.0]], "no numbers of classes"),
        ([[np.nan], [1.0]], "no numbers of classes"),
        ([["a"], ["b"]], "no numbers of classes"),
        # Each class below would have been named, one after another.
        ([[0], [2**40]], "whole ones from 0 to 9999"),
        (7, r"are not \(N,\), \(N, 1\)"),
    ],
)
def test_medmnist_labels_that_are_none(tmp_path, labels, words):
    path = write_npz(tmp_path / "a.npz", np.zeros((2, 4, 4), np.uint8), np.array(labels))
    with pytest.raises(InputError, match=words):
        scan("medmnist", path)


def test_medmnist_whole_numbers_may_be_floats(tmp_path):
    path = write_npz(tmp_path / "a.npz", np.ones((2, 4, 4), np.uint8), np.array([[0.0], [1.0]]))
    assert list(scan("medmnist", path).records["label"][:2]) == ["class 0", "class 1"]


def _npy(shape: str) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(10_000)


@pytest.mark.parametrize(
    ("member", "content", "words"),
    [
        ("train_images", _npy("(6, -4, 4)}\n"), "holds no pixels"),
        ("train_images", _npy("(6, 0, 4)}\n"), "holds no pixels"),
        ("train_images", _npy("(6, 4\n"), "not a plain array"),
        ("train_labels", _npy("(1000000000000,)}\n"), "not readable as npz"),
        ("train_labels", _npy(f"({10**30},)}}\n"), "not readable as npz"),
    ],
)
def test_medmnist_arrays_that_are_none(tmp_path, member, content, words):
    path = write_npz(tmp_path / "a.npz", np.zeros((6, 4, 4), np.uint8), np.arange(6) % 2)
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**held, f"{member}.npy": content}.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match=rf"a\.npz: .*{words}"):
        scan("medmnist", path)


@pytest.mark.parametrize(("at", "value"), [((8, 6), 1), ((10, 8), 99)])
def test_medmnist_encrypted_or_packed_otherwise(tmp_path, at, value):
    path = write_npz(tmp_path / "a.npz", np.zeros((6, 4, 4), np.uint8), np.arange(6) % 2)
    content = bytearray(path.read_bytes())
    for mark, offset in zip((b"PK\x01\x02", b"PK\x03\x04"), at, strict=True):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + offset] = value
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: not readable as npz"):
        scan("medmnist", path)


@pytest.mark.parametrize("member", ["train_images", "train_labels"])
def test_medmnist_a_damaged_member(tmp_path, member):
    images = np.random.default_rng(0).integers(0, 256, (64, 16, 16), np.uint8)
    path = write_npz(tmp_path / "a.npz", images, np.random.default_rng(0).integers(0, 2, 64))
    content = bytearray(path.read_bytes())
    place = content.find(f"{member}.npy".encode())
    content[place + 60 : place + 90] = b"\xff" * 30
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: not readable as npz"):
        scan("medmnist", path)


def test_medmnist_broken_file_and_unknown_name(tmp_path):
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04half")
    with pytest.raises(InputError, match=r"half\.npz: not readable as npz"):
        scan("medmnist", tmp_path / "half.npz")
    with pytest.raises(InputError, match="no such file, and no set of MedMNIST"):
        scan("medmnist", Path("lungmnist"))


# --- chestxray14

HEADER_2017 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


@pytest.fixture
def nih(tmp_path):
    for name in ("images_001/images/1_0.png", "images_002/images/1_1.png", "images_002/images/9_9.png"):
        draw(tmp_path / name)
    rows = [
        "1_0.png,Infiltration|Mass,0,1,058Y,M,PA,2500,2048,0.168,0.168,",
        "1_1.png,No Finding,1,1,059Y,M,AP,2992,2991,0.143,0.143,",
    ]
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([HEADER_2017, *rows, rows[0].replace("1_0", "5_0")]) + "\n")
    (tmp_path / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n1_0.png,Infiltrate,1,2,30,40,,,\n1_0.png,Mass,512,256,99,50,,,\n"
    )
    (tmp_path / "train_val_list.txt").write_text("1_0.png\n")
    (tmp_path / "test_list.txt").write_text("1_1.png\n")
    return tmp_path


def test_chestxray14_reads_the_first_release(nih):
    found = scan("chestxray14", nih)
    assert len(found.classes) == 14
    assert found.negative == "No Finding"
    assert found.task == "multilabel"
    row = found.records.iloc[0]
    assert row["image"] == "images_001/images/1_0.png"
    assert row["label"] == "Infiltration|Mass"
    assert (row["patient"], row["age"], row["sex"], row["view"], row["split"]) == ("1", 58, "M", "PA", "train")
    assert (row["original_width"], row["original_height"], row["spacing_mm"]) == ("2500", "2048", "0.168")
    assert row["x"] == "1.000|512.000"
    assert row["finding"] == "Infiltration|Mass"
    assert found.box_frame == (1024, 1024)
    assert list(found.records["split"]) == ["train", "test"]
    assert "name" not in found.records
    assert found.rejected == [("images_002/images/9_9.png", "has no row in Data_Entry_2017.csv")]
    assert any("1 of the 3 rows" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("Mass,0", "Tumor,0"), "row 2: label 'Tumor'"),
        (("Patient ID", "Person"), "column 'Patient ID' is missing"),
        (("1_1.png", "1_0.png"), "row 3: image '1_0.png' is listed twice"),
        (("1_", "7_"), "none of the 3 images"),
    ],
)
def test_chestxray14_table_that_is_wrong(nih, change, words):
    table = nih / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace(*change))
    with pytest.raises(InputError, match=words):
        scan("chestxray14", nih)


def test_chestxray14_ages_are_years_and_what_is_no_age_is_missing(nih):
    table = nih / "Data_Entry_2017.csv"
    rows = table.read_text()
    for age, years in (("011M", 0.92), ("003D", 0.01), ("000Y", 0), ("026W", 0.5), ("60", 60), ("", "")):
        table.write_text(rows.replace("058Y", age, 1))
        assert scan("chestxray14", nih).records["age"][0] == years
    table.write_text(rows.replace("058Y", "old", 1))
    found = scan("chestxray14", nih)
    assert list(found.records["age"]) == ["", 59]
    assert any("1 ages can't be read: taken as missing: 'old' in row 2" in note for note in found.notes)


def test_chestxray14_two_tables_need_a_choice(nih):
    (nih / "Data_Entry_2017_v2020.csv").write_text((nih / "Data_Entry_2017.csv").read_text())
    with pytest.raises(InputError, match=r"--labels: Data_Entry_2017.csv, Data_Entry_2017_v2020.csv"):
        scan("chestxray14", nih)
    assert len(scan("chestxray14", nih, labels="Data_Entry_2017_v2020.csv").records) == 2
    with pytest.raises(InputError, match=r"--labels none.csv: no such file"):
        scan("chestxray14", nih, labels="none.csv")


def test_chestxray14_samples(medical_data):
    root = medical_data / "nih_chestxray14"
    native = scan("chestxray14", root)
    assert native.records["image"].str.startswith("images/").all()
    assert (native.records["x"] != "").sum() == 8
    small = scan("chestxray14", root, labels="Data_Entry_2017_images_64px.csv")
    assert small.records["image"].str.startswith("images_64px/").all()
    assert len(small.records) == 573


# --- isic


def test_isic_lesions_are_patients(tmp_path):
    for name in ("Train/nevus/ISIC_0000001.jpg", "Train/nevus/ISIC_0000001(1).jpg", "Test/melanoma/ISIC_0000002.jpg"):
        draw(tmp_path / name)
    (tmp_path / "HAM10000_metadata.csv").write_text("lesion_id,image_id,dx,age,sex\nHAM_7,ISIC_0000001,nv,40,male\n")
    found = scan("isic", tmp_path)
    assert dict(zip(found.records["label"], found.records["patient"], strict=True)) == {
        "nevus": "HAM_7",
        "melanoma": "ISIC_0000002",
    }
    assert by_image(found, "age")["Train/nevus/ISIC_0000001(1).jpg"] == "40"
    assert found.rejected == []
    assert any("1 of 3 images have no lesion id" in note for note in found.notes)
    assert any("copies" in note for note in found.notes)


def test_isic_samples(medical_data):
    found = scan("isic", medical_data / "isic_9class_180")
    assert len(found.classes) == 9
    assert found.task == "multiclass"
    assert found.records["patient"].nunique() < found.records["isic_id"].nunique()
