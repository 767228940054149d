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


def rate(work, jobs: list, workers: int) -> float:
    """Jobs a second, of as many rounds as fill some seconds."""
    if workers > 1:
        # As many as fill the seconds, by one of them: threads that ended would take their processes along.
        several = jobs * max(1, round(3 * SECONDS * workers * rate(work, jobs, 1) / len(jobs)))
        started = time.perf_counter()
        count = sum(1 for _ in in_threads(work, several, workers))
        return count / (time.perf_counter() - started)
    count, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < SECONDS:
        count += sum(1 for _ in map(work, jobs))
    return count / spent


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
    kinds = {"one process": (ours, 1), f"{cores} processes": (apart, cores), "one process, text looked for": (seen, 1)}
    rates = {name: [] for name in ["plain", *kinds]}
    for _ in range(PASSES):
        # In turn: what else the machine does weighs on all alike.
        rates["plain"].append(rate(theirs, found, 1))
        for name, (work, workers) in kinds.items():
            rates[name].append(rate(work, found, workers))
    base = median(rates["plain"])
    promises = [">= 0.95", f"near {cores}", ""]
    rows = [
        [name, base, median(rates[name]), median(rates[name]) / base, promise]
        for name, promise in zip(kinds, promises, strict=True)
    ]
    print(f"{len(found)} files\n")
    table(["medimg", "plain pydicom images/s", "medimg images/s", "ratio", "promise"], rows)
