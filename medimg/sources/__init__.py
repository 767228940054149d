"""Sources: one small module per native layout, each of which exports its `SOURCE`."""

from medimg.errors import InputError
from medimg.sources import (
    brats,
    chestxray14,
    deeplesion,
    dicom,
    folder,
    heart,
    isic,
    medmnist,
    nifti,
    phantom,
    table,
    table_of_images,
)
from medimg.sources.base import Scan, Source, TableScan
from medimg.style.words import did_you_mean

SOURCES: dict[str, Source] = {
    module.SOURCE.name: module.SOURCE
    for module in (
        folder,
        table_of_images,
        medmnist,
        chestxray14,
        isic,
        dicom,
        nifti,
        brats,
        deeplesion,
        heart,
        table,
        phantom,
    )
}

__all__ = ["SOURCES", "Scan", "Source", "TableScan", "source_named"]


def source_named(name: str) -> Source:
    """The source of that name.

    Raises:
        InputError: there is none; names the nearest and all that exist.
    """
    if name not in SOURCES:
        raise InputError(
            f"source '{name}' is not known{did_you_mean(name, SOURCES)}; choose one of {', '.join(SOURCES)}"
        )
    return SOURCES[name]
