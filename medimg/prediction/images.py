"""Image files -> batches of pixels as training saw them, and what of each file's form is unlike training."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from medimg.data.dataset import Dataset
from medimg.data.imaging import pixel_hash, read_image
from medimg.data.intensity import TWELVE_BITS
from medimg.dicom import pixels
from medimg.errors import InputError
from medimg.pipeline.pixels import as_pixels, at_model_size
from medimg.prediction.inputs import Image
from medimg.preparation.decoding import as_prepared, in_threads, prepared_size
from medimg.privacy.ledger import is_private
from medimg.run import Run
from medimg.sources.dicom_images import Look, read_view
from medimg.tables.preprocessing import Preprocessing
from medimg.untrusted.image_size import MEGAPIXELS

PROTECTED = "left out: of a patient whom the Run protects, and what is computed of them now has no noise"


@dataclass(frozen=True, slots=True)
class Form:
    """What an image is beside its content.

    Attributes:
        width, height: in pixels, of the file; 0 where they are those of the preparation, which tell nothing.
        is_colour: its channels differ.
        is_deep: its values have 16 bits.
        is_twelve_bit: and use no more than 12 of them.
        text: what is to be told of text burned into a DICOM file.
    """

    width: int
    height: int
    is_colour: bool
    is_deep: bool
    is_twelve_bit: bool
    text: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Some inputs in their order.

    Attributes:
        names: (B,).
        inputs: float32 (G, ...) each, what the model takes, of the G that can be used: of images pixels, and columns
            where it takes them; of a table its columns.
        forms: (G,), of images.
        broken: (B,), why it can't be used; '' for the G that can.
        warnings: (B,).
        images: (B,), unless they are rows of a table.
    """

    names: list[str]
    inputs: list[np.ndarray]
    forms: list[Form]
    broken: list[str]
    warnings: list[list[str]]
    images: tuple[Image, ...] = ()


@dataclass(frozen=True)
class Reader:
    """How images reach the model: as the Dataset's preparation and the training's pipeline read them.

    Attributes:
        image_size, channels: of the model.
        prepared_size: the size that the training images were prepared at, None: each its own.
        max_megapixels: of a larger image nothing is decoded.
        protected: `pixel_hash` of images that are left out.
        white: what was made white of the training images (`as_prepared`).
        look: how DICOM files are looked at, as those of training were.
        columns: what the model makes of the columns that it takes beside pixels; None: it takes none.
        read_frame: what decodes DICOM.
    """

    image_size: int
    channels: int
    prepared_size: int | None
    max_megapixels: float = MEGAPIXELS
    protected: frozenset[str] = frozenset()
    white: int | None = None
    look: Look = Look()
    columns: Preprocessing | None = None
    read_frame: Callable[..., np.ndarray] = pixels.read_frame

    def batches(self, images: Iterable[Image], batch_size: int) -> Iterator[Batch]:
        """Decoded in threads, two batches ahead."""
        loaded = in_threads(self._load, images, os.cpu_count() or 1, 2 * batch_size)
        while some := list(islice(loaded, batch_size)):
            yield _together(some)

    def batch(self, images: Iterable[Image]) -> Batch:
        """Decoded one after another in this thread, which keeps what decodes."""
        return _together([self._load(image) for image in images])

    def _load(self, image: Image) -> tuple[Image, list[np.ndarray] | None, Form | None, str]:
        try:
            return image, *self.read(image), ""
        except InputError as error:
            return image, None, None, _reason(str(error), image)

    def read(self, image: Image) -> tuple[list[np.ndarray], Form]:
        """float32 (S, S, C) as the model takes it, and (F,) of its columns where it takes any.

        Raises:
            InputError: it can't be used.
        """
        if image.why:
            raise InputError(image.why)
        text: list[str] = []
        if image.view:
            decoded = read_view(image.view, self.look, self.max_megapixels, text, self.read_frame)
        else:
            decoded = read_image(image.path, self.max_megapixels)
        height, width = decoded.shape[:2]
        # A file that uses more values than those of training did would saturate.
        fits = not self.white or decoded.dtype != np.uint16 or int(decoded.max()) <= self.white
        # What is looked at through a window has its white.
        fits = fits and not (image.view and self.white)
        preparation = (None, None) if image.is_prepared else (self.prepared_size, self.white if fits else None)
        prepared = as_prepared(decoded, *preparation)
        if self.protected and pixel_hash(prepared) in self.protected:
            raise InputError(f"{image.path}: {PROTECTED}")
        if width == height == self.prepared_size:
            width = height = 0
        deep = decoded.dtype == np.uint16
        form = Form(width, height, prepared.ndim == 3, deep, deep and int(decoded.max()) <= TWELVE_BITS, tuple(text))
        beside = [] if self.columns is None else list(self.columns.transform(image.columns))
        return [as_pixels(at_model_size(prepared, self.image_size, self.channels)), *beside], form


def _together(some: list[tuple]) -> Batch:
    images, read, forms, broken = zip(*some, strict=True)
    good = [inputs for inputs in read if inputs is not None]
    inputs = [np.stack(each) for each in zip(*good, strict=True)]
    warnings = [list(form.text) if form else [] for form in forms]
    names = [image.name for image in images]
    return Batch(names, inputs, [f for f in forms if f], list(broken), warnings, images)


def reader_of(
    description: dict,
    dataset: Dataset | None,
    max_megapixels: float = MEGAPIXELS,
    protected: frozenset[str] = frozenset(),
) -> Reader:
    """As a Run of this description and Dataset, None where it is not on this machine, reads images."""
    form = (description["image_size"], description["channels"], prepared_size(description, dataset))
    columns = Preprocessing.from_dict(description["metadata"]) if "metadata" in description else None
    return Reader(*form, max_megapixels, protected, description.get("white"), look_of(description), columns)


def _reason(text: str, image: Image) -> str:
    text = text.removeprefix(f"{image.path}: ")
    return text.removeprefix(f"{image.view.header.file.name}: ") if image.view else text


def look_of(description: dict) -> Look:
    """How the model's training looked at DICOM files; the defaults where it had none."""
    return Look(**description.get("dicom", {}))


def protected_images(run: Run) -> frozenset[str]:
    """`pixel_hash` of the images of patients whom a private Run protects; none where its data are not here."""
    if not is_private(run.config["options"]) or not Path(run.config["data"]).exists():
        return frozenset()
    dataset = run.dataset()
    rows = dataset.rows("train")
    if "pixels" in rows:
        return frozenset(rows["pixels"])
    hashes = in_threads(lambda path: pixel_hash(read_image(path)), dataset.paths(rows), os.cpu_count() or 1)
    return frozenset(hashes)
