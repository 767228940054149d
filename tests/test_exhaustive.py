"""The list of exhaustive tests names what is there."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.exhaustive import PATTERNS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_names_a_test_that_is_there(pattern):
    file, _, name = pattern.partition("::")
    function = name.partition("[[]")[0]
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    tests = [line.removeprefix("def ").partition("(")[0] for line in lines if line.startswith("def test_")]
    assert any(fnmatchcase(test, function) for test in tests)
