"""Tables of images as people have them, of the sources `csv` and `isic`."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

from medimg.errors import InputError
from tests.medimg.sources.test_sources import by_image, draw, scan


def table(folder, rows, head="image,label,patient,site", name="t.csv", encoding="utf-8"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes("\n".join([head, *rows, ""]).encode(encoding))
    return folder / name


@pytest.fixture
def images(tmp_path):
    for i in range(4):
        draw(tmp_path / "img" / f"{i}.png", i)
    return tmp_path


def said(found, words):
    return any(words in note for note in found.notes)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["", ","])
def test_files_that_are_written_in_any_way(images, delimiter, encoding, end):
    names = ("b\u00e9nin", "malin")
    rows = [f"img/{i}.png,{names[i % 2]},00{i},NA{end}".replace(",", delimiter) for i in range(4)]
    found = scan("csv", table(images, rows, delimiter.join(["image", "label", "patient", "site"]), encoding=encoding))
    assert found.classes == names
    assert list(found.records["patient"]) == ["000", "001", "002", "003"]
    assert set(found.records["site"]) == {"NA"}
    assert said(found, "Windows-1252") == (encoding == "cp1252")
    assert said(found, f"rows end in '{delimiter}'") == bool(end)


def test_a_header_alone_is_refused(images):
    with pytest.raises(InputError, match=r"t.csv: has a header but no rows"):
        scan("csv", table(images, []))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_that_are_spelt_otherwise(tmp_path, form):
    for i in range(2):
        draw(tmp_path / "img" / unicodedata.normalize(form, f"M\u00fcller_{i}.PNG"), i)
    other = unicodedata.normalize("NFC" if form == "NFD" else "NFD", "img\\m\u00fcller_")
    found = scan("csv", table(tmp_path, [f"{other}0.png,a,1,", f"{other}1,b,1.0,"]))
    assert list(found.records["label"]) == ["a", "b"]
    assert [found.read(key)[0, 0] for key in found.records["image"]] == [0, 1]
    assert set(found.records["patient"]) == {"1"}
    assert said(found, "2 files are spelt otherwise in the table")


def test_ids_in_folders_of_their_own(tmp_path):
    for i in range(4):
        draw(tmp_path / "hospital" / f"part_{i % 2}" / f"id{i}.jpg", i)
    path = table(tmp_path / "tables", [f"id{i},{'ab'[i // 2]},{i}," for i in range(4)])
    folders = (str(tmp_path / "hospital" / "part_0"), "../hospital/part_1")
    found = scan("csv", path, image_dir=folders)
    assert [round(found.read(key).mean()) for key in found.records["image"]] == [0, 1, 2, 3]
    with pytest.raises(InputError, match="--image-dir nowhere: no such folder"):
        scan("csv", path, image_dir=("nowhere",))
    with pytest.raises(InputError, match="--image-dir"):
        scan("csv", path)
    draw(tmp_path / "hospital" / "part_0" / "id0.png", 9)
    with pytest.raises(InputError, match=r"t.csv row 2: 'id0' may be .*id0.jpg, .*id0.png.*--extension"):
        scan("csv", path, image_dir=folders)
    draw(tmp_path / "hospital" / "part_1" / "id1.png", 9)
    some = table(tmp_path / "tables", ["id0,a,1,", "id1,b,2,"])
    assert scan("csv", some, image_dir=folders, extension="png").read("../hospital/part_0/id0.png")[0, 0] == 9
    outside = table(tmp_path / "tables", ["../../x.png,a,1,", "id1.jpg,a,2,", "id2.jpg,b,2,"])
    found = scan("csv", outside, image_dir=folders)
    assert "which leads out of" in found.rejected[0][1]


def test_an_extension_that_is_named_is_no_other(images):
    rows = [f"img/{i},{'ab'[i // 2]},{i}," for i in range(4)]
    assert len(scan("csv", table(images, rows), extension="png").records) == 4
    with pytest.raises(InputError, match="none of its 4 images exists"):
        scan("csv", table(images, rows), extension="jpg")


def test_a_column_that_is_named_for_parts_holds_them(images):
    parts = ["one", "two", "train", "three"]
    rows = [f"img/{i}.png,{'ab'[i // 2]},{i},{parts[i]}" for i in range(4)]
    split = table(images, rows, "image,label,patient,split")
    assert list(scan("csv", split).records["split"]) == ["", "", "train", ""]
    fold = table(images, rows, "image,label,patient,fold", "fold.csv")
    with pytest.raises(InputError, match=r"fold.csv row 2: split 'one' is not one of train, val, test"):
        scan("csv", fold, split_column="fold")


def test_a_column_a_class(images):
    head = "image,MEL,NV,UNK"
    found = scan("csv", table(images, [f"img/{i}.png,{i % 2}.0,{1 - i % 2},0.0" for i in range(4)], head))
    assert (found.task, found.classes) == ("binary", ("MEL", "NV"))
    assert list(found.records["label"]) == ["NV", "MEL", "NV", "MEL"]
    assert said(found, "labels are the columns MEL, NV")
    assert said(found, "no row is of class UNK")
    several = table(images, ["img/0.png,1,1,0", "img/1.png,0,1,0", "img/2.png,0,0,0", "img/3.png,,,"], head)
    with pytest.raises(InputError, match=r"'label' is missing.*--label-column .*or MEL,NV,UNK"):
        scan("csv", several)
    found = scan("csv", several, label_column="MEL,NV")
    assert (found.task, found.negative) == ("multilabel", "No Finding")
    assert list(found.records["label"]) == ["MEL|NV", "NV", "No Finding", ""]
    assert "UNK" in found.records
    with pytest.raises(InputError, match="row 2: column 'NV' holds '2', neither 0 nor 1"):
        scan("csv", table(images, ["img/0.png,1,2,0"], head), label_column="MEL,NV")
    with pytest.raises(InputError, match="column 'BCC' is missing"):
        scan("csv", several, label_column="MEL,BCC")


@pytest.mark.parametrize(
    ("labels", "expected", "words"),
    [
        (["a;b", "a", "b", "c"], ["a|b", "a", "b", "c"], "joined by ';'"),
        (['"a, b"', "a", "b ", '"b,c,a"', "c"], ["a|b", "a", "b", "b|c|a", "c"], "joined by ','"),
        (["a | b", "a", "c;d", "b"], ["a|b", "a", "c;d", "b"], ""),
        (["\"['a', 'b']\"", "['a']", '"[""b\'s"",c]"', "[]"], ["a|b", "a", "b's|c", "No Finding"], "as lists"),
        (["0", "1", "0.0", "1.0"], ["0", "1", "0", "1"], ""),
        (["None", "no", "1e1", "NA"], ["None", "no", "1e1", ""], "1 rows have no label"),
    ],
)
def test_labels_as_they_are_written(images, labels, expected, words):
    draw(images / "img" / "4.png", 4)
    found = scan("csv", table(images, [f"img/{i}.png,{label},{i}," for i, label in enumerate(labels)]))
    assert list(found.records["label"]) == expected
    assert not words or said(found, words)


def test_a_sign_that_may_be_part_of_a_name_is_asked_about(images):
    path = table(images, ['img/0.png,"Nevus, atypical",0,', "img/1.png,Melanoma,1,"])
    with pytest.raises(InputError, match=r"row 2: is 'Nevus, atypical' one label or several.*--label-separator none"):
        scan("csv", path)
    assert scan("csv", path, label_separator="none").classes == ("Melanoma", "Nevus, atypical")
    assert scan("csv", path, label_separator=",").task == "multilabel"


def test_rows_of_one_image_become_one(images):
    head = "image,label,patient,x,y,width,height,reader"
    rows = [
        "img/0.png,mass,1,1,2,3,4,A",
        "img/0.png,edema,1,5,6,7,8,B",
        "img/1.png,none,2,,,,,A",
        "img/1.png,none,2,,,,,A",
    ]
    found = scan("csv", table(images, [*rows, "img/2.png,mass,3,1,1,1,1,A"], head))
    assert list(found.records["image"]) == ["img/0.png", "img/1.png", "img/2.png"]
    assert list(found.records["label"]) == ["mass|edema", "none", "mass"]
    assert list(found.records["x"]) == ["1|5", "", "1"]
    assert list(found.records["finding"]) == ["mass|edema", "", "mass"]
    assert said(found, "2 rows of images that have a row already")
    with pytest.raises(InputError, match=r"row 3: image 'img/0.png' is listed twice, with patient '1' and '2'"):
        scan("csv", table(images, [rows[0], rows[1].replace(",1,", ",2,", 1), rows[2]], head))


def test_parquet_is_a_table_of_images_too(images):
    rows = {"image": [f"img/{i}.png" for i in range(4)], "label": [0.0, 1.0, 0.0, 1.0], "patient": range(4)}
    pd.DataFrame(rows).to_parquet(images / "t.parquet")
    found = scan("csv", images / "t.parquet")
    assert found.classes == ("0", "1")
    assert list(found.records["patient"]) == list("0123")


# --- isic, labels in a table


def test_ham10000_as_it_is_published(tmp_path):
    for i in range(4):
        draw(tmp_path / f"HAM10000_images_part_{1 + i % 2}" / f"ISIC_000000{i}.jpg", i)
    rows = [f"HAM_{i // 2},ISIC_000000{i},{('nv', 'mel')[i // 2]},histo,{40 + i}.0,male,back" for i in range(3)]
    head = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    table(tmp_path, rows, head, "HAM10000_metadata.csv")
    found = scan("isic", tmp_path)
    assert (found.task, found.classes) == ("binary", ("mel", "nv"))
    assert by_image(found, "patient") == {
        "HAM10000_images_part_1/ISIC_0000000.jpg": "HAM_0",
        "HAM10000_images_part_2/ISIC_0000001.jpg": "HAM_0",
        "HAM10000_images_part_1/ISIC_0000002.jpg": "HAM_1",
    }
    assert list(found.records["age"]) == ["40.0", "41.0", "42.0"]
    assert ("ISIC_0000003.jpg", "has no row in HAM10000_metadata.csv") in found.rejected
    assert said(found, "a lesion counts as a patient")


def test_isic_2019(tmp_path):
    names = [f"ISIC_000000{i}" for i in range(4)]
    for i, name in enumerate(names):
        draw(tmp_path / "ISIC_2019_Training_Input" / f"{name}.jpg", i)
    rows = [f"{name},{i % 2}.0,{1 - i % 2}.0,0.0" for i, name in enumerate(names)]
    table(tmp_path, rows, "image,MEL,NV,UNK", "ISIC_2019_Training_GroundTruth.csv")
    more = [f"{name},{50 + i},anterior torso,{'BCN_1' if i < 2 else ''},female" for i, name in enumerate(names)]
    table(tmp_path, more, "image,age_approx,anatom_site_general,lesion_id,sex", "ISIC_2019_Training_Metadata.csv")
    found = scan("isic", tmp_path)
    assert found.classes == ("MEL", "NV")
    assert list(found.records["label"]) == ["NV", "MEL", "NV", "MEL"]
    assert found.records["patient"].nunique() == 3
    assert list(found.records["age_approx"]) == ["50", "51", "52", "53"]
    assert said(found, "more of each image in ISIC_2019_Training_Metadata.csv")


def test_isic_2020(tmp_path):
    head = "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target"
    rows = []
    for i in range(4):
        draw(tmp_path / "train" / f"ISIC_000000{i}.jpg", i)
        rows.append(f"ISIC_000000{i},IP_{i // 2},male,45.0,torso,unknown,{('benign', 'malignant')[i % 2]},{i % 2}")
    table(tmp_path, rows, head, "train.csv")
    found = scan("isic", tmp_path)
    assert found.classes == ("benign", "malignant")
    assert list(found.records["patient"]) == ["IP_0", "IP_0", "IP_1", "IP_1"]
    (tmp_path / "train.csv").rename(tmp_path / "first.csv")
    table(tmp_path, rows, head, "second.csv")
    with pytest.raises(InputError, match=r"--labels: first.csv, second.csv"):
        scan("isic", tmp_path)
    assert len(scan("isic", tmp_path, labels="first.csv").records) == 4
    np.testing.assert_array_equal(found.records["target"], ["0", "1", "0", "1"])
