"""What a model says of DICOM images, as DICOM: a structured report and secondary captures in the images' own study.

The report is TID 1500 (DICOM PS3.16, Measurement Report): of each image and class a measurement group with
probability, threshold and decision, and the algorithm that they are of. Both kinds say that they are research output.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medimg.dicom.source import OPTIONAL

RESEARCH = "Research output of an algorithm, not for diagnosis"
MAKER = "medimg"
_SCHEME = "99MEDIMG"
_ONE_FRAME = frozenset(
    (
        *(uid.ComputedRadiographyImageStorage, uid.CTImageStorage, uid.MRImageStorage, uid.UltrasoundImageStorage),
        *(uid.SecondaryCaptureImageStorage, uid.PositronEmissionTomographyImageStorage),
        *(uid.DigitalXRayImageStorageForPresentation, uid.DigitalXRayImageStorageForProcessing),
        *(uid.DigitalMammographyXRayImageStorageForPresentation, uid.DigitalMammographyXRayImageStorageForProcessing),
        *(uid.VLEndoscopicImageStorage, uid.VLMicroscopicImageStorage, uid.VLPhotographicImageStorage),
    )
)
# What highdicom has to say of a patient's name has the name in it.
warnings.filterwarnings("ignore", module="highdicom")


@dataclass(frozen=True)
class Algorithm:
    """Whose answers they are.

    Attributes:
        name: of the model.
        version: of medimg, and of the model's weights.
        parameters: in words, as the threshold's rule.
    """

    name: str
    version: str
    parameters: tuple[str, ...] = ()

    @property
    def equipment(self) -> dict:
        """Attributes of the General Equipment module."""
        return {"manufacturer_model_name": _short(self.name), "software_versions": _short(self.version)}


@dataclass(frozen=True)
class Answer:
    """What is said of one image.

    Attributes:
        source: of `medimg.dicom.source.source_of`.
        frame: of the file, from 1; None: it has no other.
        findings: of each class that is reported its probability, threshold (None: there is none) and decision.
        warnings: what of the image is unlike training.
    """

    source: Dataset
    frame: int | None
    findings: tuple[tuple[str, float, float | None, bool], ...]
    warnings: tuple[str, ...] = ()


def report(answers: Sequence[Answer], algorithm: Algorithm, number: int = 1) -> Dataset:
    """A structured report on images of one study.

    Args:
        answers: on the images, in their order.
        algorithm: whose they are.
        number: of the instance.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[algorithm.name, algorithm.version]),
        name=MAKER,
        manufacturer_name=MAKER,
        model_name=_short(algorithm.name),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(sr.ObserverContext(codes.DCM.Device, device)),
        procedure_reported=sr.CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[group for place, one in enumerate(answers) for group in _groups(one, place, algorithm)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    sources = {answer.source.SOPInstanceUID: answer.source for answer in answers}
    dataset = sr.ComprehensiveSR(
        evidence=list(sources.values()),
        content=content[0],
        series_instance_uid=generate_uid(prefix=None),
        series_number=number,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
        is_final=False,
        series_description=RESEARCH,
        **algorithm.equipment,
    )
    return _marked(dataset, answers[0].source)


def _groups(answer: Answer, place: int, algorithm: Algorithm) -> list:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    source, frame = answer.source, _frame(answer.source, answer.frame)
    image = sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID, frame and [frame])
    called = f"image {place + 1}" + (f", frame {answer.frame}" if answer.frame else "")
    identification = sr.AlgorithmIdentification(
        algorithm.name, algorithm.version, [RESEARCH, *algorithm.parameters], manufacturer=MAKER
    )
    groups = []
    for name, probability, threshold, decided in answer.findings:
        measured = [sr.Measurement(codes.DCM.Probability, float(probability), codes.UCUM.NoUnits)]
        if threshold is not None:
            measured.append(sr.Measurement(codes.DCM.ThresholdValue, float(threshold), codes.UCUM.NoUnits))
        evaluations = [(_code("Decision"), codes.SCT.Present if decided else codes.SCT.Absent)]
        evaluations += [(_code("Intended use"), _code(RESEARCH))]
        evaluations += [(_code("Unlike training"), _code(warning)) for warning in answer.warnings]
        groups.append(
            sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(generate_uid(prefix=None), f"{called}: {name}"),
                finding_type=_code(name),
                algorithm_id=identification,
                measurements=measured,
                qualitative_evaluations=[sr.QualitativeEvaluation(*one) for one in evaluations],
                source_images=[image],
            )
        )
    return groups


def _frame(source: Dataset, frame: int | None) -> int | None:
    """A frame as it may be referenced: of a class that has one frame, whatever the file has, it may not."""
    return None if source.SOPClassUID in _ONE_FRAME else frame


def _code(meaning: str):
    """A concept of our own: the standard has no code of a model's classes."""
    from highdicom.sr import CodedConcept

    meaning = " ".join(meaning.replace("\\", "/").split())
    return CodedConcept(hashlib.sha256(meaning.encode()).hexdigest()[:16], _SCHEME, _short(meaning) or "-")


def _short(text: str) -> str:
    """A long string (LO) of 64 characters, which some read as bytes."""
    return text.encode()[:64].decode("utf-8", "ignore").strip()


def capture(
    source: Dataset,
    frame: int | None,
    image: np.ndarray,
    words: str,
    algorithm: Algorithm,
    series: tuple[str, int, int],
) -> Dataset:
    """A secondary capture of an explanation map.

    Args:
        source: of the image that it explains.
        frame: as of `Answer`.
        image: uint8 (H, W, 3).
        words: what it shows.
        algorithm: whose explanation it is.
        series: its UID and number, and the number in it.
    """
    from highdicom.sc import SCImage

    result = SCImage.from_ref_dataset(
        source,
        image,
        "RGB",
        8,
        "PATIENT",
        series_instance_uid=series[0],
        series_number=series[1],
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=series[2],
        manufacturer=MAKER,
        # Asked for, and put right below: of many a radiograph it is not known.
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        series_description=RESEARCH,
        **algorithm.equipment,
    )
    result.PatientOrientation, result.Laterality = list(source.PatientOrientation) or None, source.Laterality
    result.DerivationDescription = words[:1024]
    result.ImageComments = f"{RESEARCH}. {words}"[:1024]
    # What is written on it names no patient; what the source's pixels show is not known unless its header says so.
    if source.BurnedInAnnotation in ("YES", "NO"):
        result.BurnedInAnnotation = source.BurnedInAnnotation
    of = Dataset()
    of.ReferencedSOPClassUID, of.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    if _frame(source, frame):
        of.ReferencedFrameNumber = frame
    result.SourceImageSequence = [of]
    return _marked(result, source)


def _marked(result: Dataset, source: Dataset) -> Dataset:
    for name in OPTIONAL:
        if name in source:
            setattr(result, name, source.get(name))
    return result
