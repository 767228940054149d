"""Options of `medimg predict`."""

from dataclasses import dataclass

from medimg.options import Config, option


@dataclass(frozen=True)
class PredictConfig(Config):
    """Options of `medimg predict`."""

    image_column: str | None = option(
        None, "Column of the paths in a CSV of images (default: image).", metavar="NAME", only="images"
    )
    save_maps: bool = option(False, "Save a Grad-CAM map of each image in FILE-maps.", only="images")
    dicom_out: str | None = option(
        None, "Folder for DICOM results: a report on each series, a capture of each map.", metavar="DIR", only="images"
    )
    send: str | None = option(
        None, "PACS that the DICOM results are sent to.", metavar="AE@HOST:PORT", only=("images", "--dicom-out")
    )
    batch_size: int = option(32, "Images in a step.", minimum=1)
    max_megapixels: int = option(
        100, "Largest image that is decoded, in millions of pixels.", minimum=1, maximum=1000, only="images"
    )
