"""`medimg --help`: median of 7 starts, beside a bare Python that imports click."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.material import table

MEDIMG = Path(sys.executable).with_name("medimg")


def median_seconds(command: list) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    bare = median_seconds([sys.executable, "-c", "import click"])
    rows = []
    for words in (["--help"], ["train", "--help"], ["data", "prepare", "--help"]):
        ours = median_seconds([MEDIMG, *words])
        rows.append(["medimg " + " ".join(words), ours, bare, ours / bare, "< 0.5 s"])
    table(["command", "seconds", "import click", "ratio", "promise"], rows)
