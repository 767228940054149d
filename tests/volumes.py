"""DICOM files and NIfTI volumes made on the spot."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid


def write_dicom(path: Path, pixels: np.ndarray, **fields) -> Dataset:
    """Uncompressed; (H, W), (frames, H, W), or (H, W, 3) of uint8; fields by keyword, None: left out."""
    colour = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID
    shape = pixels.shape[:2] if colour else pixels.shape[-2:]
    values = {
        "SOPInstanceUID": str(header.file_meta.MediaStorageSOPInstanceUID),
        "SeriesInstanceUID": str(generate_uid()),
        "StudyInstanceUID": str(generate_uid()),
        "PatientID": path.stem,
        "PatientName": "Nobody",
        "Modality": "CR",
        "Rows": shape[0],
        "Columns": shape[1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **({"PlanarConfiguration": 0} if colour else {}),
        **({"NumberOfFrames": len(pixels)} if pixels.ndim == 3 and not colour else {}),
        **fields,
    }
    for name, value in values.items():
        if value is not None:
            setattr(header, name, value)
    header.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    header["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return pydicom.dcmread(path)


def write_series(folder: Path, count: int = 5, size: int = 16, patient: str = "p", seed: int = 0) -> list[Dataset]:
    """A CT whose slice i is i x 100 HU brighter than the first of -500, its files named against their order."""
    draw = np.random.default_rng(seed)
    series, study = str(generate_uid()), str(generate_uid())
    return [
        write_dicom(
            folder / f"{count - i:03d}",
            (draw.integers(0, 40, (size, size)) + 500 + 100 * i).astype(np.int16),
            Modality="CT",
            PatientID=patient,
            SeriesInstanceUID=series,
            StudyInstanceUID=study,
            RescaleSlope=1,
            RescaleIntercept=-1000,
            WindowCenter=0,
            WindowWidth=1000,
            ImagePositionPatient=[0, 0, 5 * i],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )
        for i in range(count)
    ]


def write_nifti(path: Path, volume: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A volume with its axes towards the right, the front and the top unless its affine says otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4) if affine is None else affine), path)
    return path


def write_brats(folder: Path, name: str, joint: str = "_", seg: int | None = 4, size: int = 16, seed: int = 0) -> Path:
    """A case of 8 slices: brain in slices 1 to 7, tumour of a number in slices 4 to 6, to the patient's right."""
    draw = np.random.default_rng(seed)
    brain = np.zeros((size, size, 8), np.int16)
    brain[2:-2, 2:-2, 1:] = draw.integers(100, 200, (size - 4, size - 4, 7))
    names = ("t1", "t1ce", "t2", "flair") if joint == "_" else ("t1n", "t1c", "t2w", "t2f")
    mask = np.zeros(brain.shape, np.uint8)
    mask[size - 6 : size - 3, 4:7, 4:7] = seg or 0
    for number, kind in enumerate(names):
        write_nifti(folder / f"{name}{joint}{kind}.nii.gz", brain + np.int16(300 * number) * (mask > 0))
    if seg is not None:
        write_nifti(folder / f"{name}{joint}seg.nii.gz", mask)
    return folder
