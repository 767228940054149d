"""DICOM headers to images: series put together into volumes, their slices chosen, and each read as it is looked at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from medimg.dicom import burned_in, pixels
from medimg.errors import InputError
from medimg.sources.dicom_files import DicomFile, Header
from medimg.sources.slices import check_slices, neighbours_of, slices_of


@dataclass(frozen=True)
class Look:
    """How files are looked at: of a preparation, and of the Runs that were trained on it.

    Attributes:
        window: `C,W`, a name, or None: the file's first.
        slices: as of `slices_of`.
        neighbours: as of `neighbours_of`.
        mask_text: text found at the borders is made black.
    """

    window: str | None = None
    slices: str = "all"
    neighbours: int = 0
    mask_text: bool = False

    def __post_init__(self):
        check_slices(self.slices)
        try:
            pixels.parse_window(self.window)
        except ValueError as error:
            raise InputError(f"--window {self.window}: {error}") from None


@dataclass(frozen=True, slots=True)
class View:
    """An image: a frame of a file, or three that become its channels.

    Attributes:
        header: of the file whose frame it is.
        frame: its number; None: the file has no other.
        channels: (file, frame) of each channel.
    """

    header: Header
    frame: int | None
    channels: tuple[tuple[DicomFile, int | None], ...]


def views(headers: Iterable[Header], look: Look) -> tuple[list[View], list[tuple[str, str]]]:
    """The images that files are made into, those of a volume in their order in space.

    Files of one series with positions are a volume, and so is a file of several frames; any other file is an image.
    What a series has in another plane, as a localizer, is a volume of its own, and so is what it has again at the same
    places, as another echo or phase.

    Returns:
        The images, and (file, reason) of volumes that have none.
    """
    volumes: dict[tuple, list[Header]] = {}
    for header in headers:
        series = header.ids["SeriesInstanceUID"]
        is_slice = header.position is not None and header.frames == 1 and series
        key = ("series", series, header.plane) if is_slice else ("file", header.file.name)
        volumes.setdefault(key, []).append(header)
    images, rejected = [], []
    for members in (stack for volume in volumes.values() for stack in _passes(volume)):
        stack = [(header, i if header.frames > 1 else None) for header in members for i in range(header.frames)]
        try:
            for place in slices_of(len(stack), look.slices):
                header, frame = stack[place]
                around = [stack[i] for i in neighbours_of(place, len(stack), look.neighbours)]
                images.append(View(header, frame, tuple((header.file, i) for header, i in around)))
        except InputError as error:
            rejected += [(header.file.name, str(error)) for header in members]
    return images, rejected


def _passes(volume: list[Header]) -> list[list[Header]]:
    """Slices in their order in space, those that are at one place one after another in passes of their own."""
    passes: list[list[Header]] = []
    at: dict[float, list[str]] = {}
    for header in sorted(volume, key=lambda one: (one.position or 0.0, one.number, one.file.name)):
        there = at.setdefault(round(header.position or 0.0, 2), [])
        instance = header.ids["SOPInstanceUID"]
        # A copy of a file is no pass.
        if not instance or instance not in there:
            there.append(instance)
        number = len(there) - 1 if not instance else there.index(instance)
        if number == len(passes):
            passes.append([])
        passes[number].append(header)
    return passes


def read_view(
    view: View,
    look: Look,
    megapixels: float = 100,
    warnings: list[str] | None = None,
    read_frame: Callable[..., np.ndarray] = pixels.read_frame,
) -> np.ndarray:
    """An image's pixels, uint8 or uint16, (H, W) or (H, W, 3).

    Args:
        view: what to read.
        look: how.
        megapixels: of the largest frame that is decoded.
        warnings: takes what is to be told of text that is burned in.
        read_frame: what decodes.

    Raises:
        InputError: it can't be decoded; no value of the header is told.
    """
    window = pixels.parse_window(look.window)
    if look.window in pixels.WINDOWS and view.header.modality != "CT":
        raise InputError(
            f"{view.header.file.name}: --window {look.window} is of CT, this is {view.header.modality}; leave it out, "
            "or the file by --modality CT"
        )
    frames = []
    for file, frame in dict.fromkeys(view.channels):
        try:
            frames.append(read_frame(file.open(), frame, window, megapixels))
        except ValueError as error:
            raise InputError(f"{file.name}: {error}") from error
    decoded = dict(zip(dict.fromkeys(view.channels), frames, strict=True))
    image = _stacked([decoded[channel] for channel in view.channels], view.header.file.name)
    if warnings is None and not look.mask_text:
        return image
    image, sentences = burned_in.checked(image, view.header.is_flagged, look.mask_text)
    if warnings is not None:
        warnings += sentences
    return image


def _stacked(frames: list[np.ndarray], name: str) -> np.ndarray:
    if len(frames) == 1:
        return frames[0]
    if any(frame.shape != frames[0].shape or frame.ndim == 3 or frame.dtype != frames[0].dtype for frame in frames):
        raise InputError(f"{name}: its neighbours have another size or depth, or are in colour (--neighbours)")
    return np.stack(frames, axis=2)
