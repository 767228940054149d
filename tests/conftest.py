"""Fixtures that the whole suite shares: real samples, one phantom Dataset, one trained Run."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def medical_data() -> Path:
    """The real samples; tests that need them are skipped where they are absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MEDIMG_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real samples are not at {folder}; set MEDIMG_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def pretrained_weights(medical_data) -> Path:
    """ImageNet weights without top."""
    folder = medical_data.parent / "weights"
    if not folder.is_dir():
        pytest.skip(f"ImageNet weights are not at {folder}")
    return folder
