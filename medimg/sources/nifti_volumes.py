"""NIfTI volumes to axial slices as a radiologist sees them: the patient's right on the left, the front above."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from medimg.errors import InputError

ENDINGS = (".nii", ".nii.gz")
# Pixels whose sides differ by more are made square.
_SQUARE = 0.01


def stem(name: str) -> str:
    """A name without `.nii` or `.nii.gz`."""
    return name.removesuffix(".gz").removesuffix(".nii")


def opened(path: Path):
    """A file's volume in canonical orientation (RAS+), its voxels not read yet: nibabel's image of three axes.

    Raises:
        InputError: it is no NIfTI file, or no volume of numbers.
    """
    import nibabel

    try:
        image = nibabel.load(path)
        shape = image.shape
        if image.get_data_dtype().names or image.get_data_dtype().kind == "c":
            raise InputError(f"{path}: holds colours or complex numbers; a volume of one number a voxel is needed")
        if len(shape) > 3 and set(shape[3:]) != {1}:
            raise InputError(f"{path}: has {len(shape)} axes {shape}; give one volume, of three")
        if len(shape) != 3:
            whole = np.asanyarray(image.dataobj).reshape((*shape, 1, 1)[:3])
            image = nibabel.Nifti1Image(whole, image.affine)
        if not all(image.shape):
            raise InputError(f"{path}: has no voxels")
        return nibabel.as_closest_canonical(image)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not readable as NIfTI: damaged or cut off; get it again") from error


def axial(path: Path, dtype: type = np.float32) -> np.ndarray:
    """All axial slices of a volume, (Z, H, W), from below to above; voxels that are no number are the lowest.

    Raises:
        InputError: the file can't be read.
    """
    image = opened(path)
    try:
        voxels = np.asanyarray(image.dataobj)
    except Exception as error:
        raise InputError(f"{path}: truncated or broken; get it again") from error
    if voxels.dtype.kind == "f":
        fine = np.isfinite(voxels)
        voxels = voxels if fine.all() else np.where(fine, voxels, voxels[fine].min() if fine.any() else 0)
    return np.ascontiguousarray(voxels[::-1, ::-1].transpose(2, 1, 0), dtype=dtype)


def sides(path: Path) -> tuple[float, float]:
    """Width and height of an axial slice's pixels in mm."""
    width, height = map(float, opened(path).header.get_zooms()[:2])
    return (width, height) if width > 0 and height > 0 else (1.0, 1.0)


def is_square(pixel: tuple[float, float]) -> bool:
    """Whether a pixel's sides are as good as equal."""
    return abs(pixel[0] / pixel[1] - 1) <= _SQUARE


def squared(image: np.ndarray, pixel: tuple[float, float], is_mask: bool = False) -> np.ndarray:
    """A slice with square pixels of the shorter side.

    Args:
        image: (H, W) or (H, W, 3).
        pixel: width and height in mm.
        is_mask: no new values are made.
    """
    import cv2

    if is_square(pixel):
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width * pixel[0] / min(pixel))), max(1, round(height * pixel[1] / min(pixel))))
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST_EXACT if is_mask else cv2.INTER_LINEAR)


def robust_span(volume: np.ndarray) -> tuple[float, float]:
    """The 1st and 99th percentile of what is not 0, which is background.

    Args:
        volume: of any shape.
    """
    body = volume[volume != 0]
    if not body.size:
        return 0.0, 0.0
    # Of millions of voxels, every so manieth tells the same.
    low, high = np.percentile(body[:: max(1, body.size // 500_000)], (1, 99))
    return float(low), float(high)


class Recent:
    """What was loaded last, so that slices of one volume load it once; of several threads one loads, the others wait.

    Args:
        load: key -> what is kept.
        most: how many are kept beside those in use.
    """

    def __init__(self, load: Callable[[Any], Any], most: int = 2):
        self._load, self._most = load, most
        self._kept: OrderedDict[Any, list] = OrderedDict()
        self._lock = Lock()

    def __call__(self, key: Any) -> Any:
        """What belongs to the key; an InputError of its loading is raised to all who ask."""
        with self._lock:
            entry = self._kept.pop(key, None) or [Lock(), None]
            self._kept[key] = entry
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        with entry[0]:
            if entry[1] is None:
                try:
                    entry[1] = self._load(key)
                except InputError as error:
                    entry[1] = error
        if isinstance(entry[1], InputError):
            raise entry[1]
        return entry[1]
