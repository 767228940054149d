"""The lock is for every Python that setup.cfg allows."""

from configparser import ConfigParser
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def test_every_locked_package_takes_the_oldest_python():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    oldest = settings["options"]["python_requires"].removeprefix(">=").split(",")[0] + ".0"
    wanted = {found.metadata["Name"]: found.metadata["Requires-Python"] or "" for found in distributions()}
    assert {name: python for name, python in wanted.items() if oldest not in SpecifierSet(python)} == {}
