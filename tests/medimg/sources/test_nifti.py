"""NIfTI volumes with a table of labels."""

import gzip
import struct

import nibabel
import numpy as np
import pytest

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from medimg.sources import source_named
from tests.volumes import write_nifti

NOISE = np.random.default_rng(0)


def scan(folder, **options):
    return source_named("nifti").scan(folder, PrepareConfig(**options))


@pytest.fixture
def volumes(tmp_path):
    """Two volumes of 10 x 12 x 4, called by name and by path."""
    for name in ("a.nii.gz", "b/c.nii"):
        write_nifti(tmp_path / name, NOISE.integers(-1000, 1000, (10, 12, 4)).astype(np.int16))
    (tmp_path / "labels.csv").write_text("path,label,patient\na,x,p1\nb/c.nii,y,p2\n")
    return tmp_path


def test_slices_lie_as_radiologists_look_at_them(volumes):
    volume = np.zeros((10, 12, 4), np.int16)
    volume[9, 11, 2] = 1000  # right, front
    volume[0, 0, 2] = 500  # left, back
    for affine in (np.eye(4), np.diag([-1.0, -1, 1, 1])):
        # The same voxels in space, stored the other way round.
        stored = volume if affine[0, 0] > 0 else volume[::-1, ::-1]
        write_nifti(volumes / "a.nii.gz", stored, affine)
        image = scan(volumes, window="500,1000").read("a/002")
        assert image.shape == (12, 10)
        assert image[0, 0] == 65535
        assert abs(int(image[-1, -1]) - 32768) <= 1
        assert np.count_nonzero(image) == 2


def test_labels_patients_slices_and_neighbours(volumes):
    found = scan(volumes, slices="every:2", neighbours=1)
    assert dict(zip(found.records["image"], found.records["label"], strict=True)) == {
        "a/000": "x", "a/002": "x", "b/c/000": "y", "b/c/002": "y",
    }  # fmt: skip
    assert found.records["patient"].tolist() == ["p1", "p1", "p2", "p2"]
    first = found.read("a/000")
    assert first.shape == (12, 10, 3)
    assert np.array_equal(first[..., 0], first[..., 1])
    assert not np.array_equal(first[..., 1], first[..., 2])


def test_voxels_that_are_no_cubes(volumes):
    write_nifti(volumes / "a.nii.gz", NOISE.integers(1, 9, (10, 12, 4)).astype(np.int16), np.diag([4.0, 1, 5, 1]))
    found = scan(volumes)
    assert any("1 volumes have pixels that are not square: stretched (a.nii.gz)" in note for note in found.notes)
    assert found.read("a/000").shape == (12, 40)


def test_negative_values_and_voxels_that_are_no_number(volumes):
    volume = np.linspace(-1024, -24, 480).reshape(10, 12, 4).astype(np.float32)
    volume[0, 0, 0] = np.nan
    write_nifti(volumes / "a.nii.gz", volume)
    image = scan(volumes).read("a/001")
    assert image.max() - image.min() > 60000
    lung = scan(volumes, window="lung").read("a/001")
    expected = np.clip((volume[::-1, ::-1, 1].T + 1350) / 1500, 0, 1) * 65535
    np.testing.assert_allclose(lung, expected, atol=1)


def test_what_cannot_be_used(volumes, tmp_path):
    write_nifti(volumes / "four.nii.gz", np.zeros((4, 4, 4, 3), np.int16))
    write_nifti(volumes / "one.nii.gz", NOISE.integers(0, 9, (8, 8, 1)).astype(np.int16))
    write_nifti(volumes / "flat.nii.gz", NOISE.integers(0, 9, (8, 8)).astype(np.int16))
    write_nifti(volumes / "blank.nii.gz", np.zeros((8, 8, 1), np.int16))
    (volumes / "junk.nii.gz").write_bytes(b"junk")
    whole = (volumes / "b" / "c.nii").read_bytes()
    (volumes / "cut.nii").write_bytes(whole[:-200])
    (volumes / "image.png").write_bytes(b"")
    (volumes / "labels.csv").write_text(
        "path,label\na.nii.gz,x\nb/c.nii,y\nfour,x\none,x\nflat,y\nblank,y\njunk,x\ncut,x\nnone,x\n"
    )
    dataset = prepare("nifti", volumes, tmp_path / "out", PrepareConfig(slices="middle"))
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    for words in (
        'four.nii.gz,"has 4 axes (4, 4, 4, 3); give one volume, of three"',
        "junk.nii.gz,not readable as NIfTI",
        "cut.nii,truncated or broken",
        "blank.nii.gz: slice 0 is blank",
        "image.png,no NIfTI file",
    ):
        assert words in rejected
    assert {name.split("/")[1] for name in dataset.manifest["image"]} == {"a", "b", "one", "flat"}
    assert any("1 rows of labels.csv are of no file: 10" in note for note in dataset.preparation["notes"])


@pytest.mark.slow
def test_a_damaged_byte_is_no_image_and_nothing_larger_than_the_limit_is_read(volumes):
    packed = bytearray((volumes / "a.nii.gz").read_bytes())
    packed[-6] ^= 1  # of the checksum
    (volumes / "a.nii.gz").write_bytes(packed)
    found = scan(volumes)
    write_nifti(volumes / "x.nii", NOISE.random((3, 3, 3)))
    (volumes / "labels.csv").write_text("path,label\na,x\nb/c.nii,y\nx,x\n")
    with pytest.raises(InputError, match=r"a\.nii\.gz: truncated or broken"):
        found.read("a/000")
    header = bytearray((volumes / "b" / "c.nii").read_bytes()[:352])
    for shape in ((20_000, 20_000, 1), (2000, 2000, 200), (3, 3, 32_000)):
        struct.pack_into("<3h", header, 42, *shape)
        (volumes / "a.nii.gz").write_bytes(gzip.compress(bytes(header)))
        (volumes / "d.nii").write_bytes(header)
        rejected = dict(scan(volumes).rejected)
        if shape[2] < 32_000:
            assert "above 100 megapixels a slice or 500 million in all" in rejected["a.nii.gz"]
        # One line of a file that is cut off, not one of each of its slices.
        assert "d.nii" in rejected


def test_values_that_hardly_differ_or_are_no_sane_numbers(volumes):
    sphere = np.zeros((10, 12, 4), np.uint8)
    sphere[3:6, 3:6] = 1
    write_nifti(volumes / "a.nii.gz", sphere)
    assert set(np.unique(scan(volumes).read("a/001"))) == {0, 65535}
    write_nifti(volumes / "a.nii.gz", NOISE.random((10, 12, 4)) * 1e300)
    write_nifti(volumes / "x.nii", NOISE.random((3, 3, 3)))
    with pytest.raises(InputError, match=r"a\.nii\.gz: holds values beyond 1e\+37"):
        scan(volumes).read("a/001")
    image = nibabel.load(write_nifti(volumes / "a.nii.gz", sphere))
    image.header.set_sform(np.diag([0, 1, 1, 1]), 2)
    image.header["qform_code"] = 0
    nibabel.save(nibabel.Nifti1Image(sphere, None, image.header), volumes / "a.nii.gz")
    with pytest.raises(InputError, match=r"only one class, 'y'.* Left out: a\.nii\.gz"):
        scan(volumes)
    (volumes / "labels.csv").write_text("path,label\na,x\nb/c.nii,y\nx,x\n")
    assert "does not tell how it lies in space" in dict(scan(volumes).rejected)["a.nii.gz"]


def test_tables_that_are_wrong(volumes):
    (volumes / "labels.csv").write_text("file_name,label\na,x\n")
    with pytest.raises(InputError, match="needs a column path or image or file"):
        scan(volumes)
    (volumes / "labels.csv").unlink()
    with pytest.raises(InputError, match="which table has the labels"):
        scan(volumes)
    with pytest.raises(InputError, match="--window wide: give C,W, or one of lung"):
        scan(volumes, window="wide")


@pytest.mark.parametrize("width", [1e5, 1e12, 1e30])
def test_pixels_as_long_as_a_stranger_says_are_not_made_square(volumes, width):
    """A thousand voxels would be stretched over a hundred million rows: memory, not the file's size, would end it."""
    stored = NOISE.integers(0, 1000, (1000, 12, 4)).astype(np.int16)
    write_nifti(volumes / "a.nii.gz", stored, np.diag([width, 1, 1, 1]))
    told = r"a\.nii\.gz: by its header its pixels are 1.* x 1 mm: .* more than 100 megapixels"
    with pytest.raises(InputError, match=told):
        scan(volumes).read("a/002")
    (volumes / "labels.csv").write_text("path,label,patient\na,x,p1\nb/c.nii,x,p2\nb/d.nii,y,p3\n")
    write_nifti(volumes / "b" / "d.nii", NOISE.integers(0, 1000, (10, 12, 4)).astype(np.int16))
    dataset = prepare("nifti", volumes, volumes / "out", PrepareConfig(split="50/0/50"))
    assert set(dataset.manifest["patient"]) == {"p2", "p3"}
