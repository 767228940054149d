"""Marks in training rows and first updates, by which what leaves a hospital is known where it is seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np

AGE = 61.283746501


def planted(dataset):
    """The Dataset with marks in a training row of each site, and the marks: name -> bytes."""
    manifest, marks = dataset.manifest.copy(), {}
    for number, (site, rows) in enumerate(manifest[manifest["split"] == "train"].groupby("site")):
        first = rows.index[0]
        patient = f"MARK-PATIENT-{number}"
        manifest.loc[manifest["patient"] == manifest.loc[first, "patient"], "patient"] = patient
        marks[f"{site}: patient"] = patient.encode()
        if dataset.is_table:
            manifest.loc[first, "row"] = f"MARK-ROW-{number}"
            manifest.loc[first, "age"] = AGE + number
            marks[f"{site}: row"] = f"MARK-ROW-{number}".encode()
            marks[f"{site}: age"] = np.float64(AGE + number).tobytes()
            marks[f"{site}: age in words"] = str(AGE + number).encode()
        else:
            marks |= _of_image(site, dataset, rows.iloc[:1])
    marked = replace(dataset, manifest=manifest)
    marked.save()
    return marked.load(marked.root), marks


def _of_image(site, dataset, rows):
    from medimg.pipeline.pixels import load_image

    path = dataset.paths(rows)[0]
    raw = path.read_bytes()
    line = load_image(path, 32, 1)[16].ravel()
    pixels = {name: line.astype(kind).tobytes() for name, kind in (("pixels", np.uint8), ("floats", np.float32))}
    return {f"{site}: file": raw[len(raw) // 2 :][:48]} | {f"{site}: {name}": of for name, of in pixels.items()}


def of_updates(file: Path) -> dict[str, bytes]:
    """Four numbers in a row, at some places of each site's update."""
    marks = {}
    with np.load(file, allow_pickle=False) as updates:
        for site in updates.files:
            flat = updates[site].astype(np.float32)
            places = [at for at in range(0, len(flat) - 4, max(1, len(flat) // 16)) if np.all(flat[at : at + 4] != 0)]
            marks |= {f"{site}: update at {at}": flat[at : at + 4].tobytes() for at in places[:2]}
    return marks


def seen(marks: dict[str, bytes], parts: list[bytes]) -> list[str]:
    return [name for name, mark in marks.items() if any(mark in part for part in parts)]
