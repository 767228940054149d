"""DICOM images a second: medimg's decoding against plain pydicom and NumPy, side by side on the same files.

The files are pydicom's own test images, or those below a folder that is given, of many modalities and compressions.
Plain is what one would write: `dcmread`, `pixel_array`, `apply_modality_lut`, `apply_voi_lut`, MONOCHROME1 turned over,
black and white stretched to 16 bits. With all cores, medimg's threads, each with its process, are compared with plain
in one.
"""

import os
import sys
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from benchmarks.material import table
from medimg.dicom.decoders import Decoders
from medimg.preparation.decoding import in_threads
from medimg.sources.dicom_files import DicomFile, read_header
from medimg.sources.dicom_images import Look, read_view, views

SECONDS, PASSES = 3.0, 3


def plain(path: Path) -> np.ndarray:
    header = pydicom.dcmread(path)
    values = header.pixel_array
    if header.SamplesPerPixel > 1:
        return values
    values = apply_voi_lut(apply_modality_lut(values, header), header).astype(float)
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() - values
    low, high = values.min(), values.max()
    return np.rint((values - low) * (65535 / (high - low or 1))).astype(np.uint16)


def rate(work, jobs: list) -> tuple[float, float]:
    """Jobs a second of this process's time, and of the clock's."""
    count, started, clock = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - clock < SECONDS:
        count += sum(1 for _ in map(work, jobs))
    return count / (time.process_time() - started), count / (time.perf_counter() - clock)


def rate_of_all(work, jobs: list, workers: int, single_rate: float) -> float:
    """Jobs a second of the clock, once the workers have begun; as many as fill some seconds at a rate of one."""
    repeats = jobs * max(2, round(SECONDS * workers * single_rate / len(jobs)))
    results = in_threads(work, jobs + repeats, workers)
    for _ in jobs:
        next(results)
    clock = time.perf_counter()
    return sum(1 for _ in results) / (time.perf_counter() - clock)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(sys.argv) > 1:
        paths = sorted(Path(sys.argv[1]).glob("*.dcm"))
    else:
        from pydicom.data import get_testdata_files

        # Larger than a thumbnail.
        paths = [Path(path) for path in get_testdata_files("*.dcm") if Path(path).stat().st_size > 30_000]
    look, cores = Look(), os.cpu_count() or 1
    found = []
    for path in paths:
        try:
            plain(path)
            view = views([read_header(DicomFile(path, path.name))], look)[0][0]
            if view.frame is None:
                found.append((path, view))
        except Exception:
            # No image, or none that pydicom reads.
            continue
    ours = lambda pair: read_view(pair[1], look)  # noqa: E731
    seen = lambda pair: read_view(pair[1], look, warnings=[])  # noqa: E731
    theirs = lambda pair: plain(pair[0])  # noqa: E731
    decoders = Decoders()
    apart = lambda pair: read_view(pair[1], look, read_frame=decoders)  # noqa: E731
    rates = []
    for _ in range(PASSES):
        # In turn: what else the machine does weighs on all alike.
        (plainly, alone), (ours_, _), (seen_, _) = (rate(work, found) for work in (theirs, ours, seen))
        rates.append((plainly, ours_, seen_, alone, rate_of_all(apart, found, cores, alone)))
    plainly, ours_, seen_, alone, together = (median(column) for column in zip(*rates, strict=True))
    rows = [
        ["one process, images a second of its time", plainly, ours_, ours_ / plainly, ">= 0.95"],
        ["the same, with text looked for", plainly, seen_, seen_ / plainly, ""],
        [f"{cores} processes, images a second of the clock", alone, together, together / alone, f"near {cores}"],
    ]
    print(f"{len(found)} files\n")
    table(["measured", "plain pydicom", "medimg", "ratio", "promise"], rows)
