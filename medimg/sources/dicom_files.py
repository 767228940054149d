"""DICOM files of a folder, a zip or a DICOMDIR, and what their headers say that a source needs to know."""

import io
import zipfile
import zlib
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from medimg.errors import InputError
from medimg.sources.tree import LOOP, SYSTEM_FILE, SYSTEM_FOLDER, files_below, is_system
from medimg.untrusted.inside import Folder

IDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID")
# DICOM PS3.3 C.7.3.1.1.1, those of images; any other text in that field is nobody's to pass on.
MODALITIES = frozenset(
    (
        "BI", "BMD", "CR", "CT", "DG", "DX", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OPT", "OT", "PT",
        "PX", "RF", "RTDOSE", "RTIMAGE", "SEG", "SM", "TG", "US", "XA", "XC",
    )
)  # fmt: skip
_READ = (
    *IDS, "IssuerOfPatientID", "Modality", "NumberOfFrames", "InstanceNumber", "ImagePositionPatient",
    "ImageOrientationPatient", "BurnedInAnnotation", "Rows", "Columns", "SOPClassUID",
    "Manufacturer", "SeriesDescription",
)  # fmt: skip
_ENDINGS = (".dcm", ".dicom", ".ima", ".dic")
_BLOCK = 1 << 24  # bytes
# Of a header: more than a file of ten thousand frames has, and some seconds.
_READS = 2_000_000
NO_DICOM = "no DICOM file"


@dataclass(frozen=True, slots=True)
class DicomFile:
    """Where a DICOM file lies.

    Attributes:
        path: the file, or the zip that holds it.
        name: path below what is read, for messages and tables of paths.
        member: in the zip.
    """

    path: Path
    name: str
    member: str = ""

    def open(self) -> str | BinaryIO:
        """What pydicom reads.

        Raises:
            InputError: the zip is damaged, or packed in a way that is not read.
        """
        if not self.member:
            return str(self.path)
        try:
            return io.BytesIO(_archive(self.path).read(self.member))
        except Exception as error:
            raise InputError("can't be unpacked; unpack the zip, or get it again") from error

    def header(self) -> "_Header":
        """What pydicom reads a header from: of a zip no more is unpacked than it asks for."""
        return _Header(_archive(self.path).open(self.member) if self.member else self.path.open("rb"))

    @property
    def size(self) -> int:
        """In bytes, unpacked."""
        return _archive(self.path).getinfo(self.member).file_size if self.member else self.path.stat().st_size

    def start(self, count: int) -> bytes:
        """Its first bytes."""
        with _archive(self.path).open(self.member) if self.member else self.path.open("rb") as file:
            return file.read(count)


class _Header:
    """An open file that is read in a limited number of pieces: a megabyte of nothing is a hundred thousand elements."""

    def __init__(self, file: BinaryIO):
        self._file, self._left = file, _READS
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, *size: int) -> bytes:
        """As of the file.

        Raises:
            InputError: there is no end of it.
        """
        self._left -= 1
        if self._left < 0:
            raise InputError(f"its header has more than {_READS // 1_000_000} million parts")
        return self._file.read(*size)


@dataclass(frozen=True, slots=True)
class Header:
    """What of a file's header is used; none of it leaves as it is but `modality` and `fields`.

    Attributes:
        file: whose it is.
        ids: by keyword, of IDS; '' where there is none.
        issuer: of the patient's id.
        modality: of MODALITIES, else `OT`.
        frames: in the file.
        position: of the slice along its volume's normal in mm; None: it is no slice in space.
        plane: its orientation and size: slices of one plane make a volume.
        number: of the instance.
        is_flagged: burned-in annotation, by the header.
        fields: that the user asks for, by keyword.
    """

    file: DicomFile
    ids: dict[str, str]
    issuer: str
    modality: str
    frames: int
    position: float | None
    plane: tuple[float, ...]
    number: int
    is_flagged: bool
    fields: dict[str, str] = field(default_factory=dict)


def is_dicom(file: DicomFile) -> bool:
    """By its content, or by its name where it has no preamble."""
    try:
        return file.start(132)[128:] == b"DICM" or Path(file.name).suffix.lower() in _ENDINGS
    except Exception:
        # Of a zip whatever is wrong with a member, which is then told as no DICOM.
        return False


def find(path: Path) -> tuple[list[DicomFile], list[tuple[str, str]]]:
    """Every DICOM file of a folder, of a zip, of the folder that a DICOMDIR lists, or the file itself.

    Returns:
        The files, and (name, reason) of what is none.

    Raises:
        InputError: there is no DICOM file.
    """
    files, rejected = [], []
    if path.is_dir():
        images, others = files_below(path)
        odd = {place: why for place, why in others if why in (LOOP, SYSTEM_FILE, SYSTEM_FOLDER) or not place.is_file()}
        rejected = [(place.relative_to(path).as_posix(), why) for place, why in odd.items()]
        places = sorted([*images, *(place for place, _ in others if place not in odd)])
        files = [DicomFile(place, place.relative_to(path).as_posix()) for place in places]
    elif zipfile.is_zipfile(path):
        files, rejected = _of_zip(path)
    elif path.name.upper() == "DICOMDIR":
        files, rejected = _of_directory(path)
    else:
        files = [DicomFile(path, path.name)]
    files = [file for file in files if Path(file.name).name.upper() != "DICOMDIR"]
    dicom = [file for file in files if is_dicom(file)]
    are_dicom = set(dicom)
    rejected += [(file.name, NO_DICOM) for file in files if file not in are_dicom]
    if not dicom:
        raise InputError(f"{path}: holds no DICOM file; give a folder of DICOM files, a zip of one, or a DICOMDIR")
    return dicom, rejected


def _of_zip(path: Path) -> tuple[list[DicomFile], list[tuple[str, str]]]:
    try:
        members = [item for item in _archive(path).infolist() if not item.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a zip that can be read; get it again") from error
    last = {item.filename: item for item in members}
    files, rejected = [], []
    for item in sorted(members, key=lambda item: item.filename):
        parts = item.filename.split("/")
        if item is not last[item.filename]:
            rejected.append((item.filename, "a later member of the zip has this name, and counts"))
        elif ".." in parts:
            rejected.append((item.filename, "its name leads out of the zip"))
        elif any(map(is_system, parts)):
            rejected.append((item.filename, SYSTEM_FILE))
        elif item.flag_bits & 1:
            rejected.append((item.filename, "encrypted; unpack the zip"))
        else:
            files.append(DicomFile(path, item.filename, item.filename))
    return files, rejected


def _of_directory(path: Path) -> tuple[list[DicomFile], list[tuple[str, str]]]:
    import pydicom

    folder = Folder(path.parent)
    try:
        records = pydicom.dcmread(path).DirectoryRecordSequence
        named = ["/".join(_parts(record.ReferencedFileID)) for record in records if "ReferencedFileID" in record]
    except Exception as error:
        raise InputError(f"{path}: not a DICOMDIR that can be read; give its folder") from error
    why = {name: folder.outside(name) or ("" if (path.parent / name).is_file() else "not there") for name in named}
    files = [DicomFile(path.parent / name, name) for name in named if not why[name]]
    return files, [(name, f"listed by the DICOMDIR: {reason}") for name, reason in why.items() if reason]


def _parts(value) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _archive(path: Path) -> zipfile.ZipFile:
    status = path.stat()
    return _opened(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _opened(path: Path, _size: int, _modified: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def read_header(file: DicomFile, fields: tuple[str, ...] = (), megapixels: float = 100) -> Header:
    """A file's header, read no farther than to its pixels.

    Args:
        file: the file.
        fields: more keywords to keep.
        megapixels: of the largest frame that is decoded: a zip's member may have no more bytes than so many need.

    Raises:
        InputError: it is no DICOM file, or holds no image; no value of the header is told.
    """
    from medimg.dicom import pixels
    from medimg.dicom.results import MAKER, RESEARCH

    if file.member and file.size > 8 * megapixels * 1e6:
        raise InputError("unpacks to more bytes than --max-megapixels allows; unpack the zip")
    try:
        _require_unpacked(file, megapixels)
        with closing(file.header()) as opened:
            dataset = pixels.pydicom.dcmread(
                opened, force=True, stop_before_pixels=True, specific_tags=[*_READ, *fields]
            )
        text = {name: " ".join(str(dataset.get(name) or "").split()) for name in (*_READ, *fields)}
        is_image = "Rows" in dataset and "Columns" in dataset
        position = _position(dataset)
        plane = _plane(dataset) if is_image else ()
    except InputError:
        raise
    except Exception as error:
        raise InputError("not readable as DICOM: damaged or cut off") from error
    if not is_image:
        raise InputError("holds no image" if text["SOPClassUID"] else NO_DICOM)
    if (text["Manufacturer"], text["SeriesDescription"]) == (MAKER, RESEARCH):
        # A capture has the answer written on it.
        raise InputError("is a result of medimg, no image of a patient")
    if pixels.frames(dataset) > file.size:
        raise InputError("says that it has more frames than bytes")
    return Header(
        file=file,
        ids={name: text[name] for name in IDS},
        issuer=text["IssuerOfPatientID"],
        modality=text["Modality"] if text["Modality"] in MODALITIES else "OT",
        frames=pixels.frames(dataset),
        position=position,
        plane=plane,
        number=int(text["InstanceNumber"]) if text["InstanceNumber"].lstrip("+-").isdecimal() else 0,
        is_flagged=pixels.flagged(dataset),
        fields={name: text[name] for name in fields},
    )


def _require_unpacked(file: DicomFile, megapixels: float) -> None:
    """See that a deflated file unpacks to no more bytes than pixels of that many need (DICOM PS3.5, A.5)."""
    from pydicom.filereader import _read_file_meta_info, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with closing(file.header()) as opened:
        read_preamble(opened, True)
        if _read_file_meta_info(opened).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflate, most, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), 8 * megapixels * 1e6, 0
        # At its end zlib hands back for ever what lies behind, as the byte that makes the length even.
        while not inflate.eof and (packed := inflate.unconsumed_tail or opened.read(_BLOCK)):
            unpacked += len(inflate.decompress(packed, _BLOCK))
            if unpacked > most:
                raise InputError("unpacks to more bytes than --max-megapixels allows")


def _plane(header) -> tuple[float, ...]:
    axes = [round(float(part), 1) + 0.0 for part in header.get("ImageOrientationPatient") or ()]
    return (int(header.Rows or 0), int(header.Columns or 0), *axes)


def _position(header) -> float | None:
    import numpy as np

    where, axes = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if not where or not axes or len(where) != 3 or len(axes) != 6:
        return None
    axes = np.array(axes, float)
    return float(np.cross(axes[:3], axes[3:]) @ np.array(where, float))
