"""Within the turns every test is run, and the list of those that take turns names what is there."""

import ast
from pathlib import Path

import pytest

from tests.exhaustive import is_exhaustive
from tests.turns import LONG, TURNS, waits

ROOT = Path(__file__).parents[1]


def test_each_is_run_at_one_turn_and_always_without():
    for node in LONG:
        assert [waits(node, str(turn)) for turn in range(TURNS)].count(False) == 1
        assert not waits(node, "")
        assert waits(node, str(7 * TURNS + 1)) == waits(node, "1")
    assert not any(waits("tests/test_turns.py::test_each", str(turn)) for turn in range(TURNS))


def test_turns_are_of_one_size_and_none_is_exhaustive():
    assert len(set(LONG)) == len(LONG) > 100
    assert sorted(LONG) == LONG
    assert [node for node in LONG if is_exhaustive(node)] == []


@pytest.mark.parametrize("file", sorted({node.partition("::")[0] for node in LONG}))
def test_the_list_names_what_is_there(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    tests |= {f"{of.name}::{node.name}" for of in classes for node in of.body if isinstance(node, ast.FunctionDef)}
    named = {node.partition("::")[2].partition("[")[0] for node in LONG if node.partition("::")[0] == file}
    assert named <= tests
