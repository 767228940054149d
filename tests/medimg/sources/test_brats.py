"""BraTS cases of all years: names, schemes of labels, channels and masks."""

import shutil

import nibabel
import numpy as np
import pytest

from medimg.config import PrepareConfig
from medimg.data.imaging import read_image
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from medimg.sources import source_named
from tests.volumes import write_brats, write_nifti


def scan(folder, **options):
    return source_named("brats").scan(folder, PrepareConfig(**options))


def test_names_of_every_year(tmp_path):
    write_brats(tmp_path / "HGG" / "Brats18_2013_2_1", "Brats18_2013_2_1")
    write_brats(tmp_path / "LGG" / "Brats18_TCIA09_620_1", "Brats18_TCIA09_620_1")
    write_brats(tmp_path / "flat", "BraTS2021_00000")
    write_brats(tmp_path / "flat", "BraTS2021_00002")
    write_brats(tmp_path / "gli", "BraTS-GLI-00005-100", "-", 3)
    write_brats(tmp_path / "gli", "BraTS-GLI-00005-101", "-", 4)
    odd = write_brats(tmp_path / "BraTS20_Training_355", "BraTS20_Training_355")
    shutil.move(odd / "BraTS20_Training_355_seg.nii.gz", odd / "W39_1998.09.19_Segm.nii.gz")
    write_brats(tmp_path / "val" / "BraTS20_Validation_001", "BraTS20_Validation_001", seg=None)
    found = scan(tmp_path)
    rows = found.records
    tumour = rows[rows["label"] == "tumour"].groupby("case")["slice"].apply(list).to_dict()
    names = ["Brats18_2013_2_1", "Brats18_TCIA09_620_1", "BraTS2021_00000", "BraTS2021_00002", "BraTS20_Training_355"]
    assert tumour == {name: ["4", "5", "6"] for name in [*names, "BraTS-GLI-00005-100"]}
    # From 2024 the number 4 is a cavity, no tumour; and both are of one patient.
    assert set(rows[rows["case"] == "BraTS-GLI-00005-101"]["label"]) == {"no tumour"}
    assert set(rows[rows["case"].str.startswith("BraTS-GLI")]["patient"]) == {"BraTS-GLI-00005"}
    assert set(rows[rows["case"].str.contains("Validation")]["label"]) == {""}
    assert set(rows[rows["case"] == "Brats18_2013_2_1"]["grade"]) == {"HGG"}
    assert not found.rejected


@pytest.mark.parametrize(
    ("joint", "number", "name"),
    [
        ("_", 1, "necrotic core"),
        ("_", 2, "oedema"),
        ("_", 4, "enhancing tumour"),
        ("-", 3, "enhancing tumour"),
        ("-", 4, "resection cavity"),
    ],
)
def test_dominant_class_by_the_scheme_of_the_year(tmp_path, joint, number, name):
    write_brats(tmp_path, "BraTS2021_1" if joint == "_" else "BraTS-GLI-00001-000", joint, number)
    assert set(scan(tmp_path, target="dominant").records["label"]) == {"no tumour", name}


def test_meningiomas_before_radiotherapy(tmp_path):
    """One sequence, and a gross tumour volume instead of a seg."""
    case = write_brats(tmp_path / "BraTS-MEN-RT-0012-1", "BraTS-MEN-RT-0012-1", "-", 1)
    for file in list(case.iterdir()):
        kind = file.name.removeprefix("BraTS-MEN-RT-0012-1-").removesuffix(".nii.gz")
        if kind in ("t1c", "seg"):
            file.rename(case / f"BraTS-MEN-RT-0012-1_{'gtv' if kind == 'seg' else kind}.nii.gz")
        else:
            file.unlink()
    rows = scan(tmp_path, modalities="t1ce", target="dominant").records
    assert set(rows["label"]) == {"no tumour", "gross tumour volume"}
    assert set(rows["patient"]) == {"BraTS-MEN-RT-0012"}
    with pytest.raises(InputError, match=r"has no flair or t2 \(--modalities\)"):
        scan(tmp_path)


def test_channels_masks_and_blank_slices(tmp_path):
    for i in range(6):
        write_brats(tmp_path / "src" / f"BraTS2021_{i}", f"BraTS2021_{i}", seed=i)
    dataset = prepare("brats", tmp_path / "src", tmp_path / "out", PrepareConfig())
    rows = dataset.manifest
    assert len(rows) == 6 * 7
    assert (tmp_path / "out" / "rejected.csv").read_text().count("is blank") == 6
    ill = rows[rows["mask"] != ""]
    assert set(ill["label"]) == {"tumour"}
    assert len(ill) == 18
    for _, row in ill.iterrows():
        image, mask = read_image(dataset.root / row["image"]), read_image(dataset.root / row["mask"])
        assert image.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 4}
        # On the patient's right, which is on the left of the image, and towards the back.
        high, wide = np.nonzero(mask)
        assert (wide.max(), high.min()) == (5, 9)
        # flair, t1ce and t2 are that much brighter there, in this order, than t1 would be.
        assert image[mask > 0].min(axis=0)[0] > 200
        assert (image[:2] == 0).all()
    alone = scan(tmp_path / "src", modalities="t1")
    assert alone.read(alone.records["image"].iloc[3]).shape == (16, 16)


def test_cases_that_cannot_be_used(tmp_path):
    write_brats(tmp_path / "a", "BraTS2021_1")
    write_brats(tmp_path / "b", "BraTS2021_2")
    write_nifti(tmp_path / "b" / "BraTS2021_2_seg.nii.gz", np.zeros((16, 16, 7), np.uint8))
    write_brats(tmp_path / "c", "BraTS2021_3", seg=3)
    write_brats(tmp_path / "d", "BraTS2021_4")
    (tmp_path / "d" / "BraTS2021_4_t2.nii.gz").unlink()
    write_brats(tmp_path / "e", "BraTS2021_5")
    (tmp_path / "e" / "BraTS2021_5_flair.nii.gz").write_bytes(b"junk")
    (tmp_path / "notes.nii").write_bytes(b"")
    rejected = dict(scan(tmp_path).rejected)
    assert "its seg has 16 x 16 x 7 voxels, BraTS2021_2_flair.nii.gz 16 x 16 x 8" in rejected["BraTS2021_2"]
    assert "its seg holds 3, none of 0, 1, 2, 4; another --scheme?" in rejected["BraTS2021_3"]
    assert rejected["BraTS2021_4"] == "has no t2 (--modalities)"
    assert "not readable as NIfTI" in rejected["BraTS2021_5"]
    assert "its name ends in none of" in rejected["notes.nii"]
    with pytest.raises(InputError, match="--modalities t1,t9: give three, or one, of t1, t1ce, t2, flair"):
        scan(tmp_path, modalities="t1,t9")
    with pytest.raises(InputError, match="no BraTS case"):
        scan(write_nifti(tmp_path / "none" / "brain.nii.gz", np.zeros((4, 4, 4))).parent)


def test_volumes_that_lie_elsewhere_and_segs_without_numbers(tmp_path):
    for name in ("BraTS2021_1", "BraTS2021_2", "BraTS2021_3", "BraTS2021_4"):
        write_brats(tmp_path / name, name)
    seg = nibabel.load(tmp_path / "BraTS2021_1" / "BraTS2021_1_seg.nii.gz").get_fdata()
    moved, mirrored = np.eye(4), np.diag([-1.0, 1, 1, 1])
    moved[2, 3], mirrored[0, 3] = 2, 15
    write_nifti(tmp_path / "BraTS2021_1" / "BraTS2021_1_seg.nii.gz", seg, moved)
    write_nifti(tmp_path / "BraTS2021_2" / "BraTS2021_2_seg.nii.gz", np.where(seg, seg, np.nan))
    # The same voxels in space, stored the other way round.
    write_nifti(tmp_path / "BraTS2021_3" / "BraTS2021_3_seg.nii.gz", seg[::-1], mirrored)
    shutil.copy(tmp_path / "BraTS2021_4" / "BraTS2021_4_t2.nii.gz", tmp_path / "BraTS2021_4" / "BraTS2021_4_T2.nii.gz")
    found = scan(tmp_path)
    assert dict(found.rejected) == {
        "BraTS2021_1": "its seg lies elsewhere in space than BraTS2021_1_flair.nii.gz, by their headers; register them",
        "BraTS2021_2": "BraTS2021_2/BraTS2021_2_seg.nii.gz: holds voxels that are no number",
        "BraTS2021_4/BraTS2021_4_t2.nii.gz": "a second t2 of its case; BraTS2021_4_T2.nii.gz counts",
    }
    masks = [found.read_mask(f"BraTS2021_{number}/005") for number in (3, 4)]
    assert masks[0].any()
    np.testing.assert_array_equal(*masks)


def test_a_case_in_two_folders_is_one_patient_of_its_years_scheme(tmp_path):
    for place in ("a", "b"):
        write_brats(tmp_path / place, "BraTS-GLI-00001-000", "-", 3, seed=ord(place))
    rows = scan(tmp_path).records
    assert len(rows["case"].unique()) == 2
    assert set(rows["patient"]) == {"BraTS-GLI-00001"}
    assert set(rows["label"]) == {"tumour", "no tumour"}


def test_sample_and_its_mask(medical_data):
    found = scan(medical_data / "brats", slices="every:20")
    (seg_file,) = (medical_data / "brats").rglob("*seg*")
    seg = nibabel.as_closest_canonical(nibabel.load(seg_file)).get_fdata()
    ill = found.records[found.records["label"] == "tumour"]
    assert len(ill)
    for row in ill.to_dict("records"):
        mask = found.read_mask(row["mask"])
        assert np.array_equal(mask, seg[::-1, ::-1, int(row["slice"])].T)
        image = found.read(row["image"])
        # Fluid makes the tumour and what is around it bright in FLAIR.
        brain = image.any(axis=2) & (mask == 0)
        assert image[mask > 0, 0].mean() > image[brain, 0].mean() + 20
