"""Whether this installation can work: versions against the lock, processors, memory, disk."""

import os
import shutil
from importlib import metadata
from pathlib import Path

GIGABYTE = 1e9
LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"


def examine() -> list[tuple[str, str, str]]:
    """Findings as (check, found, state), where state is `ok` or what to do."""
    return [*_versions(), _processors(), _memory(), _disk()]


def _versions() -> list[tuple[str, str, str]]:
    if not LOCK.is_file():
        return [
            (
                "packages",
                "requirements.lock is not beside the installation",
                "not compared: ok for a wheel",
            )
        ]
    findings, right = [], 0
    for line in LOCK.read_text().split():
        name, _, wanted = line.partition("==")
        try:
            # A local tag such as torch's +cpu names a build of the same version.
            found = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            found = "not installed"
        if found == wanted:
            right += 1
        else:
            findings.append((name, f"{found}, lock has {wanted}", "run script/setup"))
    return [("packages", f"{right} as in requirements.lock", "ok"), *findings]


def _processors() -> tuple[str, str, str]:
    import tensorflow as tf

    graphics = tf.config.list_physical_devices("GPU")
    return (
        "processors",
        f"{os.cpu_count()} CPU, {len(graphics)} GPU (TensorFlow {tf.__version__})",
        "ok",
    )


def _memory() -> tuple[str, str, str]:
    import psutil

    free = psutil.virtual_memory().available / GIGABYTE
    return (
        "memory",
        f"{free:.1f} GB free",
        "ok" if free > 2 else "close other programs: training needs 2 GB",
    )


def _disk() -> tuple[str, str, str]:
    free = shutil.disk_usage(".").free / GIGABYTE
    return ("disk", f"{free:.1f} GB free here", "ok" if free > 1 else "free some space")
