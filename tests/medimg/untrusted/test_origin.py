"""An error that no reader has foreseen names the file that its values came from."""

import json
import shutil
from pathlib import Path

import pytest

from medimg.untrusted.json_file import read_json
from medimg.untrusted.origin import forget, origins
from medimg.untrusted.yaml_file import read_yaml
from tests.command import medimg

OLD = Path(__file__).parents[2] / "old"


@pytest.fixture
def files(tmp_path):
    forget()
    (tmp_path / "one.json").write_text('{"a": {"b": [1, 2]}}')
    (tmp_path / "two.yaml").write_text("a: {c: [1, 2]}")
    yield read_json(tmp_path / "one.json"), read_yaml(tmp_path / "two.yaml")
    forget()


def _used(content: dict) -> float:
    return content["b"]["high"]


def test_the_file_whose_values_were_at_hand_is_named(files):
    one, two = files
    for content, name in ((one, "one.json"), (two, "two.yaml")):
        with pytest.raises((KeyError, TypeError)) as caught:
            _used(content["a"])
        assert [path.name for path in origins(caught.value)] == [name]
    with pytest.raises(KeyError) as caught:
        _used({})
    # The caller's own, where there are none at hand: both are.
    assert {path.name for path in origins(caught.value)} == {"one.json", "two.yaml"}
    forget()
    assert origins(caught.value) == []


def test_what_is_large_is_not_kept_for_it(tmp_path):
    (tmp_path / "large.json").write_text('{"a": {"b": "' + "x" * (1 << 20) + '"}}')
    with pytest.raises(TypeError) as caught:
        _used(read_json(tmp_path / "large.json")["a"])
    assert origins(caught.value) == []


@pytest.mark.parametrize("other", [None, [[]], {"x": 1}])
def test_a_command_that_meets_a_damaged_file_names_it(other, tmp_path):
    it = Path(shutil.copytree(OLD / "table-run", tmp_path / "it"))
    content = json.loads((it / "model.json").read_text())
    column = content["preprocessing"]["columns"][0]
    if other is None:
        del column["source"]
    else:
        column["source"] = other
    (it / "model.json").write_text(json.dumps(content))
    result = medimg("predict", it, OLD / "table", "--out", tmp_path / "out.csv")
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("medimg: error: ")]
    assert f"{it / 'model.json'}: " in line
    assert "restore it" in line
    assert not (tmp_path / "out.csv").exists()
