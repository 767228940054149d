"""`--dicom-out`: a structured report on each series that was predicted, and a capture of each image's map."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medimg.dicom import results
from medimg.dicom.results import Algorithm, Answer
from medimg.dicom.source import source_of, whose
from medimg.errors import InputError
from medimg.prediction.decision import Decision
from medimg.prediction.images import Reader
from medimg.prediction.inputs import Image
from medimg.run import Run
from medimg.sources.dicom_images import read_view
from medimg.style.heat import laid_over

# Of a Run: inputs of its model and the classes that they are called -> maps (B, S, S) and the classes that they are of.
HeatMaps = Callable[[list[np.ndarray], np.ndarray], tuple[np.ndarray, np.ndarray]]
PATTERN = r"\d{3,}-(report|map)\.dcm"
_NO_DICOM = "is no DICOM file, so it has no study for its result"
# Shorter and longer side of a capture: text can be read, and no slide is copied at its full size.
_SHORTEST, _LONGEST = 512, 2048
_SERIES = 9000  # the results' series stand after those of the modality


@dataclass(frozen=True, eq=False)
class Reports:
    """What is written of some images, a batch at a time, and at the end.

    Attributes:
        folder: where.
        decision: of the Run.
        algorithm: the Run as DICOM names it.
        reader: how its images are read.
        heat: makes their maps.
        method: that the maps are of.
    """

    folder: Path
    decision: Decision
    algorithm: Algorithm
    reader: Reader
    heat: HeatMaps
    method: str
    # By patient too: two of them in one study, by a mistake of the source, are not mixed in a report or a series.
    _answers: dict[tuple[str, ...], list[tuple[int, Answer]]] = field(default_factory=dict)
    _series: dict[tuple[str, ...], str] = field(default_factory=dict)
    _reported: set[tuple[str, int | None]] = field(default_factory=set)

    def add(self, numbers: list[int], images: list[Image], inputs, chances, called, warnings) -> list[tuple[str, str]]:
        """Write maps of images that were predicted, and keep what their reports will say.

        Args:
            numbers: of their rows in the CSV.
            images: that they are.
            inputs: of the model.
            chances: float64 (B, classes).
            called: int (B,), the classes that they are called.
            warnings: of each.

        Returns:
            Name and reason of those that no result can be written of.
        """
        maps, of = self.heat(inputs, called)
        decided = self.decision.predictions(chances).decisions
        names = self.decision.predictions(chances).names(decided, self.decision.negative)
        left_out = []
        for i, (number, image) in enumerate(zip(numbers, images, strict=True)):
            try:
                words = f"{self.method}: evidence for {self.decision.classes[of[i]]} (p = {chances[i, of[i]]:.3f})"
                words += f"; called {names[i] or 'none of the classes'}"
                self._add(number, image, self._findings(chances[i], decided[i]), warnings[i], maps[i], words)
            except InputError as error:
                left_out.append((image.name, str(error)))
        return left_out

    def _add(self, number: int, image: Image, findings, warnings, heat, words: str) -> None:
        if image.view is None:
            raise InputError(_NO_DICOM)
        view = image.view
        source = source_of(view.header.file.open())
        answer = Answer(source, None if view.frame is None else view.frame + 1, findings, tuple(warnings))
        if (source.SOPInstanceUID, answer.frame) in self._reported:
            raise InputError("has the SOPInstanceUID of a file before it, so a result could not say which it is of")
        shown = read_view(view, self.reader.look, self.reader.max_megapixels)
        # Of neighbouring slices the one in the middle is what the file shows.
        shown = _as_seen(shown[:, :, 1] if len(view.channels) > 1 else shown)
        picture = _with_words(laid_over(shown, heat), [results.RESEARCH, f"{self.algorithm.name}, {words}"])
        study = (source.StudyInstanceUID, *whose(source))
        uid = self._series.setdefault(study, results.generate_uid(prefix=None))
        capture = results.capture(source, answer.frame, picture, words, self.algorithm, (uid, _SERIES + 1, number + 1))
        capture.save_as(self.folder / f"{number:03d}-map.dcm", enforce_file_format=True)
        self._answers.setdefault((*study, source.SeriesInstanceUID), []).append((number, answer))
        self._reported.add((source.SOPInstanceUID, answer.frame))

    def _findings(self, chances: np.ndarray, decided: np.ndarray) -> tuple:
        limits = np.broadcast_to(np.array(self.decision.threshold, object), chances.shape)
        each = zip(self.decision.classes, chances.tolist(), limits, decided.tolist(), strict=True)
        findings = [(name, p, None if limit is None else float(limit), yes) for name, p, limit, yes in each]
        return tuple(findings[1:] if self.decision.task == "binary" else findings)

    def close(self) -> None:
        """Write the reports."""
        for answers in self._answers.values():
            report = results.report([answer for _, answer in answers], self.algorithm, _SERIES)
            report.save_as(self.folder / f"{answers[0][0]:03d}-report.dcm", enforce_file_format=True)


def algorithm_of(run: Run, description: dict, statement: str) -> Algorithm:
    """A Run as DICOM names it: its model, medimg's version and the weights' hash."""
    from medimg import __version__

    digest = hashlib.sha256((run.root / "model.keras").read_bytes()).hexdigest()[:12]
    return Algorithm(f"medimg {description['name']}", f"{__version__} (weights {digest})", (statement,))


def _as_seen(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3)."""
    image = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def _with_words(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """The image, at a size that can be read and on black where it is narrow, over a strip with lines of text."""
    import cv2
    import matplotlib
    from PIL import Image as Picture
    from PIL import ImageDraw, ImageFont

    height, width = image.shape[:2]
    scale = max(1.0, _SHORTEST / min(height, width))
    scale *= min(1.0, _LONGEST / (scale * max(height, width)))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    wide = max(size[0], _SHORTEST)
    image = np.pad(image, ((0, 0), (0, wide - size[0]), (0, 0)))
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    each = max(12, round(wide / 36))
    font = ImageFont.truetype(fonts / "DejaVuSans.ttf", each)
    while each > 6 and max(font.getlength(line) for line in lines) > wide - 8:
        each -= 1
        font = ImageFont.truetype(fonts / "DejaVuSans.ttf", each)
    strip = Picture.new("RGB", (wide, round(1.4 * each * len(lines)) + 6))
    for i, line in enumerate(lines):
        ImageDraw.Draw(strip).text((4, 2 + round(1.4 * each * i)), line, fill="white", font=font)
    return np.concatenate([image, np.asarray(strip)])
