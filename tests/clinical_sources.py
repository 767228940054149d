"""Small sources as hospitals have them, made on the spot: of twelve patients each; options that `prepare` needs."""

import cv2
import numpy as np

from tests.volumes import write_brats, write_nifti, write_series

PATIENTS = 12


def dicom(folder):
    for i in range(PATIENTS):
        write_series(folder / f"s{i}", 3, patient=f"p{i}", seed=i)
    rows = "".join(f"p{i},{'ab'[i % 2]}\n" for i in range(PATIENTS))
    (folder.parent / "labels.csv").write_text("PatientID,label\n" + rows)
    return {"labels": str(folder.parent / "labels.csv"), "neighbours": 1, "slices": "every:2", "window": "0,900"}


def nifti(folder):
    for i in range(PATIENTS):
        volume = np.random.default_rng(i).integers(0, 900, (16, 16, 3)).astype(np.int16)
        write_nifti(folder / f"v{i}.nii.gz", volume)
    rows = "".join(f"v{i},{'ab'[i % 2]}\n" for i in range(PATIENTS))
    (folder / "labels.csv").write_text("path,label\n" + rows)
    return {}


def brats(folder):
    for i in range(PATIENTS):
        write_brats(folder, f"BraTS2021_{i:05d}", seed=i)
    return {"slices": "every:2"}


def deeplesion(folder):
    rows = ["File_name,Patient_index,Bounding_boxes,Coarse_lesion_type,DICOM_windows"]
    for i in range(PATIENTS):
        path = folder / "Images_png" / f"{i:06d}_01_01" / "005.png"
        path.parent.mkdir(parents=True)
        values = np.random.default_rng(i).integers(-500, 500, (16, 16)) + 32768
        cv2.imwrite(str(path), values.astype(np.uint16))
        rows.append(f'{i:06d}_01_01_005.png,{i},"2, 2, 8, 9",{4 + i % 2},"-500, 500"')
    (folder / "DL_info.csv").write_text("\n".join(rows))
    return {}
