"""MedMNIST: one npz of images, labels and official parts; a flag's name downloads it by the medmnist package."""

import errno
import importlib.util
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from medimg import atomic
from medimg.config import PrepareConfig
from medimg.data.dataset import SEPARATOR, SPLITS
from medimg.errors import InputError
from medimg.sources.base import Scan, Source, to_records
from medimg.untrusted.printable import printable

if TYPE_CHECKING:
    import numpy as np

NEGATIVE = "none"
_MOST_CLASSES = 10_000  # each is named, whatever stands in one label
_MOST_LABELS = 1 << 30  # bytes of a part's labels; the largest set has 1.3 MB
_LICENCE = "CC BY 4.0 (DermaMNIST: CC BY-NC 4.0)"
_CITATION = "Yang et al. (2023), MedMNIST v2, Scientific Data 10:41, doi:10.1038/s41597-022-01721-8"


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Read a MedMNIST file.

    Args:
        path: `NAME.npz`, or a flag such as `pneumoniamnist` or `pneumoniamnist_64`, which is downloaded.
        config: `max_megapixels` is used.

    Raises:
        InputError: not such a file, volumes instead of images, labels out of range, or a download that failed.
    """
    if path is None:
        raise InputError("PATH is missing: source 'medmnist' needs an npz file or a name such as pneumoniamnist")
    archive = Path(path) if Path(path).exists() else download(str(path))
    info = _info().INFO.get(archive.stem.split("_")[0].lower(), {})
    images, labels = {}, {}
    for part in SPLITS:
        labels[part] = _labels(archive, part)
        if labels[part] is None:
            continue
        images[part] = Rows(archive, f"{part}_images")
        _check_shapes(archive, part, images[part].shape, labels[part], config.max_megapixels)
    labels = {part: rows for part, rows in labels.items() if rows is not None}
    if not labels:
        raise InputError(f"{archive}: holds no train_images and train_labels; it is not a MedMNIST file")
    task, classes = _task(archive, info, labels)
    rows = [
        {"image": f"{part}/{i:06d}", "label": _name(label, task, classes), "patient": f"{part}-{i:06d}", "split": part}
        for part, numbers in labels.items()
        for i, label in enumerate(numbers)
    ]

    def read(key: str, warnings: list[str] | None = None):
        part, number = key.split("/")
        return images[part][int(number)]

    return Scan(
        name=archive.stem,
        task=task,
        classes=classes,
        records=to_records(rows),
        read=read,
        negative=NEGATIVE if task == "multilabel" else "",
        modality=_modality(archive.stem),
        licence=info.get("license", ""),
        citation=_CITATION,
        notes=["MedMNIST publishes no patients: every image counts as its own patient"],
        tables=(archive,),
    )


def download(flag: str) -> Path:
    """Get a set by the medmnist package into the cache folder.

    Raises:
        InputError: there is neither such a file nor such a set, or it can't be downloaded.
    """
    info = _info().INFO
    name, _, size = flag.partition("_")
    if name not in info or (size and not size.isdigit()):
        sets = ", ".join(key for key in info if not key.endswith("3d"))
        raise InputError(f"{flag}: no such file, and no set of MedMNIST; its sets are {sets}")
    from medimg.data.cache import cache_folder

    root = cache_folder() / "medmnist"
    archive = root / f"{flag}.npz"
    if archive.is_file():
        return archive
    address = info[name].get(f"url_{size}" if size and size != "28" else "url", "https://medmnist.com")
    try:
        root.mkdir(parents=True, exist_ok=True)
        import medmnist

        kind = getattr(medmnist, info[name]["python_class"])
        kind(split="test", download=True, root=str(root), size=int(size) if size else None)
    except Exception as error:
        # The package wraps every failure in its own RuntimeError; whatever went wrong, the remedy is the same.
        raise InputError(
            f"{flag}: can't be downloaded; get {address} on a machine with internet and give that file as PATH"
        ) from error
    return archive


class Rows:
    """Rows of one array in an npz, each read from disk when asked for: memory does not grow with the set.

    Args:
        archive: the npz.
        name: the array's.

    Raises:
        InputError: the array is missing or can't be read row by row.
    """

    def __init__(self, archive: Path, name: str):
        import numpy as np

        # Compressed archives can't be read from the middle: the array is unpacked into a file without a name.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the rows are read)
        with _readable(archive):
            with _opened(archive, name) as packed:
                shutil.copyfileobj(packed, self._file, 1 << 20)
            self._file.seek(0)
        try:
            version = np.lib.format.read_magic(self._file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, fortran, self.dtype = header(self._file)
        except Exception as error:
            # The header is text of Python's: a bracket that is never closed is a TokenError.
            raise InputError(f"{archive}: {name} is not a plain array") from error
        if min(self.shape, default=1) < 1:
            raise InputError(f"{archive}: {name} {self.shape} holds no pixels")
        if fortran or self.dtype.name not in ("uint8", "uint16"):
            raise InputError(f"{archive}: {name} must be row-major uint8 or uint16, not {self.dtype}")
        self._start = self._file.tell()
        self._row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def __getitem__(self, row: int) -> "np.ndarray":
        import os

        import numpy as np

        data = os.pread(self._file.fileno(), self._row_bytes, self._start + row * self._row_bytes)
        if len(data) != self._row_bytes:
            raise InputError(f"row {row} is missing: the npz is truncated")
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])


def _info() -> ModuleType:
    """`medmnist.info` alone: importing the package would import torch for a dictionary."""
    package = importlib.util.find_spec("medmnist")
    if package is None or not package.submodule_search_locations:
        raise InputError("the medmnist package is missing; install it with script/setup")
    place = Path(package.submodule_search_locations[0]) / "info.py"
    spec = importlib.util.spec_from_file_location("medmnist_info", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _opened(archive: Path, name: str):
    try:
        with zipfile.ZipFile(archive) as packed:
            # A few packed bytes may stand for more than the disk holds.
            size = packed.getinfo(f"{name}.npy").file_size
            place = tempfile.gettempdir()
            if size > shutil.disk_usage(place).free:
                raise InputError(
                    f"{archive}: {name} has {size:,} bytes, more than is free in {place}; free space there"
                )
            return packed.open(f"{name}.npy")
    except KeyError as error:
        raise InputError(f"{archive}: '{name}' is missing; it is not a MedMNIST file") from error


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Whatever is wrong with an npz, an encrypted member, one that is packed otherwise or damaged, is told of it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise atomic.cannot_write(Path(tempfile.gettempdir()), error) from error
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{archive}: not readable as npz ({printable(why)}); get the file again") from error


def _labels(archive: Path, part: str):
    import numpy as np

    with _readable(archive):
        with zipfile.ZipFile(archive) as packed:
            sizes = {member.filename: member.file_size for member in packed.infolist()}
        if sizes.get(f"{part}_labels.npy", 0) > _MOST_LABELS:
            raise InputError(f"{archive}: {part}_labels has more than {_MOST_LABELS >> 20} MB")
        with np.load(archive, allow_pickle=False) as arrays:
            labels = arrays.get(f"{part}_labels")
    if labels is None:
        return None
    if labels.ndim not in (1, 2):
        raise InputError(f"{archive}: {part}_labels {labels.shape} are not (N,), (N, 1) or (N, classes)")
    is_whole = labels.dtype.kind in "bui" or (labels.dtype.kind == "f" and bool(np.all(labels % 1 == 0)))
    if not is_whole or not (labels.min(initial=0) >= 0 and labels.max(initial=0) < _MOST_CLASSES):
        raise InputError(
            f"{archive}: {part}_labels are no numbers of classes, whole ones from 0 to {_MOST_CLASSES - 1} at most"
        )
    return labels


def _check_shapes(archive: Path, part: str, shape: tuple, labels, megapixels: float) -> None:
    from medimg.untrusted.image_size import check_size

    colour = len(shape) == 4 and shape[3] == 3
    if len(shape) != 3 and not colour:
        raise InputError(
            f"{archive}: {part}_images {shape} are not images (N, H, W) or (N, H, W, 3); volumes are not read"
        )
    try:
        check_size(shape[2], shape[1], megapixels)
    except InputError as error:
        raise InputError(f"{archive}: each of {part}_images {error}") from error
    if len(labels) != shape[0]:
        raise InputError(f"{archive}: {shape[0]} {part}_images but {len(labels)} {part}_labels")


def _task(archive: Path, info: dict, labels: dict) -> tuple[str, tuple[str, ...]]:
    """Task and class names: by the shape of the labels, and by the names that MedMNIST gives them."""
    columns = {rows.shape[1] if rows.ndim == 2 else 1 for rows in labels.values()}
    width = max(columns)
    highest = width - 1 if width > 1 else max(int(rows.max(initial=0)) for rows in labels.values())
    names = info.get("label") or {str(i): f"class {i}" for i in range(highest + 1)}
    classes = tuple(names[key] for key in sorted(names, key=int))
    if len(columns) > 1 or highest >= len(classes) or (width > 1 and width != len(classes)):
        raise InputError(f"{archive}: labels up to {highest}, but {len(classes)} classes ({', '.join(classes)})")
    if len(classes) < 2:
        raise InputError(f"{archive}: only one class; a classifier needs two")
    if width > 1:
        return "multilabel", classes
    return ("binary" if len(classes) == 2 else "multiclass"), classes


def _name(label, task: str, classes: tuple[str, ...]) -> str:
    if task != "multilabel":
        return classes[int(label.item() if hasattr(label, "item") else label)]
    return SEPARATOR.join(name for name, value in zip(classes, label, strict=True) if value) or NEGATIVE


def _modality(stem: str) -> str:
    modalities = {
        "path": "histology",
        "chest": "chest X-ray",
        "derma": "dermatoscopy",
        "oct": "retinal OCT",
        "pneumonia": "chest X-ray",
        "retina": "fundus photograph",
        "breast": "breast ultrasound",
        "blood": "blood smear microscopy",
        "tissue": "kidney microscopy",
        "organ": "abdominal CT",
    }
    return next((name for start, name in modalities.items() if stem.startswith(start)), "")


SOURCE = Source(
    name="medmnist",
    task="binary, multiclass or multilabel, by the set",
    modality="chest X-ray, ultrasound, dermatoscopy, histology, OCT and more",
    licence=_LICENCE,
    citation=_CITATION,
    layout="NAME.npz with {train,val,test}_images and {train,val,test}_labels",
    how_to_get="give a name (pneumoniamnist, breastmnist_64, ...) to download it, or a file from https://medmnist.com",
    scan=scan,
)
