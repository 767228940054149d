"""NIfTI volumes to axial slices as a radiologist sees them: the patient's right on the left, the front above."""

import gzip
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from medimg.errors import InputError

ENDINGS = (".nii", ".nii.gz")
# Pixels whose sides differ by more are made square.
_SQUARE = 0.01
# As many slices of the largest size may a volume have.
_SLICES = 5
# Differences of two such values are still numbers in float32.
_LARGEST = 1e37
_BLOCK = 1 << 20  # bytes


def stem(name: str) -> str:
    """A name without `.nii` or `.nii.gz`."""
    return name.removesuffix(".gz").removesuffix(".nii")


@dataclass(frozen=True, eq=False)
class Geometry:
    """How a volume lies in space, in canonical orientation (RAS+).

    Attributes:
        shape: voxels along each axis.
        pixel: width and height of an axial slice's pixels in mm.
        affine: float64 (4, 4), voxels to mm.
    """

    shape: tuple[int, int, int]
    pixel: tuple[float, float]
    affine: np.ndarray

    def is_apart(self, other: "Geometry") -> bool:
        """Whether some corner of two volumes of one shape lies elsewhere by more than half a voxel's longest side."""
        corners = np.array([(*corner, 1.0) for corner in np.ndindex(2, 2, 2)]) * (*np.subtract(self.shape, 1), 1.0)
        away = np.linalg.norm((corners @ (self.affine - other.affine).T)[:, :3], axis=1)
        return bool(away.max() > 0.5 * np.linalg.norm(self.affine[:3, :3], axis=0).max())


def opened(path: Path, megapixels: float = 100):
    """A file's volume as it is stored, its voxels not read yet: nibabel's image of three axes.

    Args:
        path: the file.
        megapixels: of a slice that says it has more, or a volume of five times as many voxels, nothing is read.

    Raises:
        InputError: it is no NIfTI file, no volume of numbers, too large, or cut off.
    """
    import nibabel

    try:
        image = nibabel.load(path)
        shape, kind = image.shape, image.get_data_dtype()
        if kind.names or kind.kind == "c":
            raise InputError(f"{path}: holds colours or complex numbers; a volume of one number a voxel is needed")
        if len(shape) > 3 and set(shape[3:]) != {1}:
            raise InputError(f"{path}: has {len(shape)} axes {shape}; give one volume, of three")
        shape = (*shape, 1, 1)[:3]
        if min(shape) < 1:
            raise InputError(f"{path}: has no voxels")
        if max(shape[0] * shape[1], math.prod(shape) / _SLICES) > megapixels * 1e6:
            raise InputError(
                f"{path}: has {' x '.join(map(str, shape))} voxels, above {megapixels:g} megapixels a slice or "
                f"{_SLICES * megapixels:g} million in all"
            )
        if path.suffix.lower() == ".nii" and path.stat().st_size < image.dataobj.offset + _bytes(image):
            raise InputError(f"{path}: truncated or broken; get it again")
        if len(image.shape) != 3:
            whole = np.asanyarray(image.dataobj).reshape(shape)
            image = nibabel.Nifti1Image(whole, image.affine)
        if not np.isfinite(image.affine).all() or not np.linalg.det(image.affine):
            raise InputError(f"{path}: its header does not tell how it lies in space (sform and qform); mend it")
        return image
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not readable as NIfTI: damaged or cut off; get it again") from error


def _bytes(image) -> int:
    return math.prod(image.shape) * image.get_data_dtype().itemsize


def geometry(path: Path, megapixels: float = 100) -> Geometry:
    """How a file's volume lies in space, by its header.

    Raises:
        InputError: as of `opened`.
    """
    from nibabel.orientations import inv_ornt_aff, io_orientation

    image = opened(path, megapixels)
    turned = io_orientation(image.affine)
    order = np.argsort(turned[:, 0])
    affine = image.affine @ inv_ornt_aff(turned, image.shape)
    width, height = np.linalg.norm(affine[:3, :2], axis=0)
    return Geometry(tuple(int(image.shape[axis]) for axis in order), (float(width), float(height)), affine)


def axial(path: Path, dtype: type = np.float32, megapixels: float = 100, is_mask: bool = False) -> np.ndarray:
    """All axial slices of a volume, (Z, H, W), from below to above; voxels that are no number are the lowest.

    Args:
        path: the file.
        dtype: of the slices.
        megapixels: as of `opened`.
        is_mask: its lowest number means something, so every voxel must have one of its own.

    Raises:
        InputError: the file can't be read, or holds values that `dtype` does not.
    """
    import nibabel

    image = opened(path, megapixels)
    try:
        _require_whole(path, image)
        voxels = np.asanyarray(nibabel.as_closest_canonical(image).dataobj)
    except Exception as error:
        raise InputError(f"{path}: truncated or broken; get it again") from error
    if voxels.dtype.kind == "f":
        fine = np.isfinite(voxels)
        if is_mask and not fine.all():
            raise InputError(f"{path}: holds voxels that are no number")
        voxels = voxels if fine.all() else np.where(fine, voxels, voxels[fine].min() if fine.any() else 0)
        if max(-voxels.min(), voxels.max()) > _LARGEST:
            raise InputError(f"{path}: holds values beyond {_LARGEST:g}, as damaged files do; get it again")
    return np.ascontiguousarray(voxels[::-1, ::-1].transpose(2, 1, 0), dtype=dtype)


def _require_whole(path: Path, image) -> None:
    """See that what is packed is what was packed, by its checksum, which nibabel does not read so far as to see."""
    if path.suffix.lower() != ".gz":
        return
    left = getattr(image.dataobj, "offset", 0) + _bytes(image) + _BLOCK
    with gzip.open(path) as packed:
        while left > 0 and (block := packed.read(_BLOCK)):
            left -= len(block)


def is_square(pixel: tuple[float, float]) -> bool:
    """Whether a pixel's sides are as good as equal."""
    return abs(pixel[0] / pixel[1] - 1) <= _SQUARE


def squared(
    image: np.ndarray, pixel: tuple[float, float], is_mask: bool = False, megapixels: float = 100
) -> np.ndarray:
    """A slice with square pixels of the shorter side.

    Args:
        image: (H, W) or (H, W, 3).
        pixel: width and height in mm.
        is_mask: no new values are made.
        megapixels: of the result.

    Raises:
        InputError: it would have more.
    """
    import cv2

    if is_square(pixel):
        return image
    height, width = image.shape[:2]
    sides = (width * pixel[0] / min(pixel), height * pixel[1] / min(pixel))
    if not math.prod(sides) <= megapixels * 1e6:
        raise InputError(
            f"by its header its pixels are {pixel[0]:g} x {pixel[1]:g} mm: made square, a slice would have more than "
            f"{megapixels:g} megapixels; mend the header"
        )
    size = (max(1, round(sides[0])), max(1, round(sides[1])))
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST_EXACT if is_mask else cv2.INTER_LINEAR)


def robust_span(volume: np.ndarray) -> tuple[float, float]:
    """The 1st and 99th percentile of what is not 0, which is background; where both are one, lowest and highest of all.

    Args:
        volume: of any shape.
    """
    body = volume[volume != 0]
    if not body.size:
        return 0.0, 0.0
    # Of millions of voxels, every so manieth tells the same.
    low, high = np.percentile(body[:: max(1, body.size // 500_000)], (1, 99))
    if low == high:
        low, high = volume.min(), volume.max()
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
