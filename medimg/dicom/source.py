"""What a result takes over from the header of its image: ids, patient and study, as the standard allows them.

A result of nobody, or of somebody else, is worse than none: what says whose an image is must be one value of its kind,
in a character set that is told and read without loss. Any other value that is none of its kind is left empty.
"""

import unicodedata

import pydicom
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, TM, validate_value

from medimg.errors import InputError

_IDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
# Of the patient and the study, by their value representations; what a source lacks, or holds no value of its kind, is
# empty, as the standard allows for all of them.
COPIED = {
    **{"PatientName": "PN", "PatientID": "LO", "PatientBirthDate": "DA", "PatientSex": "CS", "StudyDate": "DA"},
    **{"StudyTime": "TM", "ReferringPhysicianName": "PN", "StudyID": "SH", "AccessionNumber": "SH"},
}
OPTIONAL = {"IssuerOfPatientID": "LO", "StudyDescription": "LO"}
WHO = ("PatientName", "PatientID", "IssuerOfPatientID")
_SEXES = ("M", "F", "O", "")
# What holds text, also under a representation that is not the element's own.
_TEXT = frozenset(("AE", "AS", "CS", "DA", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT"))
# Character sets that have no letter beyond ASCII (DICOM PS3.3, C.12.1.1.2).
_ASCII = frozenset(("", "ISO_IR 6", "ISO 2022 IR 6"))


def source_of(file) -> Dataset:
    """What a result has of its source's header: ids, patient and study, in UTF-8.

    Args:
        file: as pydicom reads it.

    Raises:
        InputError: it lacks an id, or whose it is can't be told, so that no result can go into its study.
    """
    from highdicom._standard_utils import get_sop_class_iod_map

    try:
        header = pydicom.dcmread(file, force=True, stop_before_pixels=True)
        is_ascii = _is_ascii(header.get("SpecificCharacterSet"))
    except Exception as error:
        raise InputError("its header can't be read, so no result can go into its study") from error
    source = Dataset()
    for name in _IDS:
        value = str(header.get(name) or "")
        if not UID(value).is_valid:
            raise InputError(f"{f'no valid {name}' if value else f'no {name}'}, so no result can go into its study")
        setattr(source, name, value)
    # What highdicom knows of classes, which it copies patients' attributes by.
    if source.SOPClassUID not in get_sop_class_iod_map():
        raise InputError("of a SOP class that is private or retired, to which no result can refer")
    for name, kind in {**COPIED, **OPTIONAL}.items():
        value = _text(header, name, kind, is_ascii)
        if not value and name in WHO and _holds_something(header, name):
            raise InputError(f"its {name} is none that DICOM allows, so no result can go into its study")
        if value or name in COPIED:
            setattr(source, name, value)
    source.PatientSex = source.PatientSex if source.PatientSex in _SEXES else ""
    source.SpecificCharacterSet = "ISO_IR 192"
    source.BurnedInAnnotation = _text(header, "BurnedInAnnotation", "CS").upper()
    source.PatientOrientation = _orientation(header)
    side = _text(header, "ImageLaterality", "CS") or _text(header, "Laterality", "CS")
    source.Laterality = side if side in ("R", "L") else ""
    return source


def whose(source: Dataset) -> tuple[str, ...]:
    """What tells patients apart."""
    return tuple(str(source.get(name) or "") for name in WHO)


def _is_ascii(character_sets) -> bool:
    """Whether bytes beyond ASCII mean nothing: no set is told that has them, or one that nobody knows."""
    several = isinstance(character_sets, pydicom.multival.MultiValue)
    names = {str(one).strip() for one in (character_sets if several else [character_sets or ""])}
    return names <= _ASCII or not names <= python_encoding.keys()


def _holds_something(header: Dataset, name: str) -> bool:
    value = header.get(name)
    return bool(value.strip(" \0") if isinstance(value, str) else str(value or ""))


def _text(header: Dataset, name: str, kind: str, is_ascii: bool = False) -> str:
    """A value as text, '' where it is none of its kind, more than one, or not readable."""
    if name not in header:
        return ""
    element = header[name]
    if element.VR not in _TEXT or element.VM > 1:
        return ""
    text = "" if element.value is None else str(element.value).strip(" \0")
    # U+FFFD stands for bytes that the character set does not have.
    if "\N{REPLACEMENT CHARACTER}" in text or any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        return ""
    try:
        validate_value(kind, text, pydicom.config.RAISE)
        if kind in ("DA", "TM") and text:
            # The form alone would let ranges pass, and the 30th of February.
            {"DA": DA, "TM": TM}[kind](text)
    except ValueError:
        return ""
    return "" if is_ascii and not text.isascii() else text


def _orientation(header: Dataset) -> list[str]:
    orientation = header.get("PatientOrientation")
    several = isinstance(orientation, pydicom.multival.MultiValue) and len(orientation) == 2
    directions = [str(one) for one in orientation] if several else []
    return directions if all(0 < len(one) <= 3 and set(one) <= set("APRLHF") for one in directions) else []
