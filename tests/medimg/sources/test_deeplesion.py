"""DeepLesion: Hounsfield units, windows, boxes, types and parts."""

import cv2
import numpy as np
import pytest

from medimg.config import PrepareConfig
from medimg.data.imaging import read_image
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from medimg.sources import source_named

COLUMNS = (
    "File_name,Patient_index,Bounding_boxes,Coarse_lesion_type,DICOM_windows,Train_Val_Test,Patient_gender,Patient_age"
)
ROWS = [
    '000001_01_01_109.png,1,"2, 3, 6, 9",3,"-175, 275",1,F,62',
    '000001_01_01_109.png,1,"1, 1, 4, 4",5,"-175, 275",1,F,62',
    '000002_01_01_014.png,2,"2, 3, 6, 9",5,"-1500, 500",3,M,',
    '000003_02_01_010.png,3,"2, 3, 6, 9",-1,"-175, 275",2,F,50',
]


def scan(folder, **options):
    return source_named("deeplesion").scan(folder, PrepareConfig(**options))


@pytest.fixture
def lesions(tmp_path):
    """Three slices of 16 bits and a copy of 8."""
    draw = np.random.default_rng(0)
    for name in ("000001_01_01/109", "000002_01_01/014", "000003_02_01/010"):
        path = tmp_path / "Images_png" / f"{name}.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), (draw.integers(-1024, 1500, (12, 12)) + 32768).astype(np.uint16))
    (tmp_path / "DL_info.csv").write_text("\n".join([COLUMNS, *ROWS]))
    return tmp_path


def test_values_are_hounsfield_units_in_the_rows_window(lesions):
    found = scan(lesions)
    for key, low, high in (("000001_01_01/109", -175, 275), ("000002_01_01/014", -1500, 500)):
        stored = cv2.imread(str(lesions / f"Images_png/{key}.png"), -1).astype(int) - 32768
        expected = np.clip((stored - low) / (high - low), 0, 1) * 65535
        np.testing.assert_allclose(found.read(f"Images_png/{key}.png"), expected, atol=1)
        bone = np.clip((stored + 500) / 1800, 0, 1) * 65535
        np.testing.assert_allclose(scan(lesions, window="bone").read(f"Images_png/{key}.png"), bone, atol=1)


def test_types_boxes_and_parts(lesions):
    rows = scan(lesions).records.set_index("image")
    first = rows.loc["Images_png/000001_01_01/109.png"]
    assert (first["label"], first["finding"]) == ("mediastinum|lung", "mediastinum|lung")
    assert (first["x"], first["y"], first["width"], first["height"]) == ("2|1", "3|1", "4|3", "6|3")
    assert rows["split"].tolist() == ["train", "test", "val"]
    assert rows["label"].tolist()[1:] == ["lung", ""]
    assert rows["patient"].tolist() == ["1", "2", "3"]


def test_copies_of_8_bits_and_files_beside_each_other(lesions):
    copy = np.random.default_rng(1).integers(0, 255, (12, 12), np.uint8)
    cv2.imwrite(str(lesions / "000004_01_01_007.png"), copy)
    cv2.imwrite(str(lesions / "000002_01_01_014.png"), copy)
    (lesions / "copies.csv").write_text(
        'File_name,Patient_index,Bounding_boxes,Coarse_lesion_type\n000004_01_01_007.png,4,"2, 3, 6, 9",1\n'
    )
    found = scan(lesions)
    assert np.array_equal(found.read("000004_01_01_007.png"), copy)
    # Of a slice and its copy, the slice.
    assert "000002_01_01_014.png" not in set(found.records["image"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('a.png,1,"2, 3, 6",3,"-175, 275",1,F,62', "row 6: Bounding_boxes '2, 3, 6' are not 4 numbers"),
        ('a.png,1,"6, 3, 2, 9",3,"-175, 275",1,F,62', "row 6: Bounding_boxes '6, 3, 2, 9' is no box"),
        ('a.png,1,"2, 3, 6, 9",9,"-175, 275",1,F,62', "row 6: Coarse_lesion_type is '9'"),
        ('a.png,1,"2, 3, 6, 9",3,"-175, 275",4,F,62', "row 6: Train_Val_Test is '4'"),
        ('000001_01_01_109.png,1,"2, 3, 6, 9",3,"275, -175",1,F,62', "row 6: DICOM_windows '275, -175' is no window"),
    ],
)
def test_rows_that_are_wrong(lesions, row, words):
    (lesions / "DL_info.csv").write_text("\n".join([COLUMNS, *ROWS, row]))
    with pytest.raises(InputError, match=words):
        scan(lesions)


def test_columns_and_files_that_are_missing(lesions):
    (lesions / "DL_info.csv").write_text("File_name,Patient_index\na,1\n")
    with pytest.raises(InputError, match="column 'Bounding_boxes' is missing"):
        scan(lesions)
    (lesions / "DL_info.csv").write_text("\n".join([COLUMNS, ROWS[0], ROWS[2], ROWS[0].replace("_109", "_110")]))
    assert scan(lesions).rejected == [("000001_01_01_110.png", "row 4 of DL_info.csv: the file does not exist")]


def test_sample_boxes_lie_right(medical_data, tmp_path):
    dataset = prepare("deeplesion", medical_data / "deeplesion", tmp_path / "out", PrepareConfig())
    rows = dataset.manifest
    assert {"mediastinum", "lung"} <= set(rows["label"])
    solid = rows[rows["image"].str.contains("000001_02_01/017")].iloc[0]
    image = read_image(dataset.root / solid["image"])
    x, y, width, height = (float(solid[name]) for name in ("x", "y", "width", "height"))
    box = image[round(y) : round(y + height), round(x) : round(x + width)]
    # A solid mass amid lung: the box is bright, and fat and lung around its upper corners dark.
    assert np.median(box) > 20000
    assert np.median(image[round(y) - 5 : round(y + height), round(x) - 40 : round(x) - 10]) < np.median(box) / 2
