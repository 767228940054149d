"""Small Datasets that all tests of medimg share."""

import pytest

from medimg.data.dataset import Dataset
from tests.datasets import write_dataset, write_table


@pytest.fixture(scope="session")
def noise(tmp_path_factory) -> Dataset:
    """Binary, 48 RGB images of 32 px."""
    return write_dataset(tmp_path_factory.mktemp("noise") / "data")


@pytest.fixture(scope="session")
def small_table(tmp_path_factory) -> Dataset:
    """160 rows of 80 patients at 3 sites."""
    return write_table(tmp_path_factory.mktemp("table") / "data")
