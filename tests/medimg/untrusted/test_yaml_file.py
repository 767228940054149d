"""YAML of a stranger: bombs and odd tags end in one line, for every file that is read."""

import subprocess
import sys
import time

import pytest
import yaml
from click.testing import CliRunner

from cli import medimg as command
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.models.weights import is_config
from medimg.run import Run
from medimg.untrusted import yaml_file
from medimg.untrusted.yaml_file import read_yaml
from tests.datasets import write_dataset


def grown(first: str, each: str) -> str:
    """Twelve lines, of which each holds the one before nine times."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{i}: &a{i} {each % ','.join([f'*a{i - 1}'] * 9)}" for i in range(1, 13)]
    return "\n".join(lines)


BOMBS = {
    "brackets": ("classes: " + "[" * 100_000, "nested deeper than 100"),
    "braces": ("classes: " + "{a: " * 100_000, "nested deeper than 100"),
    "dashes": ("- " * 100_000 + "x", "nested deeper than 100"),
    "a billion laughs": (grown("[x]", "[%s]"), "stand for more than 100,000 values"),
    "merged": (grown("{x: 1}", "{<<: [%s]}"), "stand for more than 100,000 values"),
    "laughs, names used again": (
        "a: [" + ", ".join(["&a [x]"] + [f"&a [{','.join(['*a'] * 9)}]"] * 12) + "]",
        "stand for|holds itself",
    ),
    "itself": ("classes: &a [*a]", "'a' holds itself"),
    "object": ("classes: !!python/object/apply:os.system [exit]", "not readable as YAML"),
    "a truth that is none": ("classes: !!bool x", "not readable as YAML"),
    "a time that is none": ("classes: !!timestamp x", "not readable as YAML"),
    "a day that is none": ("classes: 2001-99-99", "not readable as YAML"),
    "a number without digits": ("classes: !!int ''", "not readable as YAML"),
    "a number of too many": ("classes: " + "9" * 10_000, "not readable as YAML"),
    "no text": (b"\xff\xfe\x00", "not readable as YAML"),
    "a name twice": ("classes: [a, b]\ntask: binary\nclasses: [b, a]", "'classes' stands there twice (line 3)"),
    "a name twice, deeper": ("a: {b: [{c: 1, 'd': 2, c: 3}]}", "'c' stands there twice (line 1)"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path, name):
    """In a process of its own: the parser's end is not an exception."""
    content, told = BOMBS[name]
    path = tmp_path / "dataset.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code = f"from medimg.untrusted.yaml_file import read_yaml; from pathlib import Path; read_yaml(Path({str(path)!r}))"
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert time.monotonic() - began < 30
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 1, ended.stderr
    assert last.startswith(f"medimg.errors.InputError: {path}: ")
    assert any(one in last for one in told.split("|"))


def test_names_that_only_look_alike(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: {b: 1, c: b}\nb: [b, b, {b: 1}]\nc: {b: 2}\n1: x\n'1': y\nd: &d {b: 1}\ne: *d\nf: b\n")
    found = read_yaml(path)
    assert found["a"] == {"b": 1, "c": "b"}
    assert (found[1], found["1"], found["e"], found["f"]) == ("x", "y", {"b": 1}, "b")


def test_every_file_is_read_that_way(tmp_path):
    bomb = grown("[x]", "[%s]")
    data = write_dataset(tmp_path / "data", n=8, size=16)
    text = (data.root / "dataset.yaml").read_text()
    (data.root / "dataset.yaml").write_text(f"{text}\nother:\n  {bomb.replace(chr(10), chr(10) + '  ')}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(f"command: train\ndata: x\noptions: {{}}\n{bomb}")
    (tmp_path / "options.yaml").write_text(bomb)
    for read in (lambda: Dataset.load(data.root), lambda: Run.load(tmp_path / "run")):
        with pytest.raises(InputError, match="stand for more"):
            read()
    assert not is_config(tmp_path / "run/config.yaml")
    told = CliRunner().invoke(
        command, ["train", str(data.root), "--config", str(tmp_path / "options.yaml"), "--out", "x"]
    )
    assert told.exit_code == 2
    assert "--config" in told.output
    assert "stand for more" in told.output


def test_what_medimg_and_people_write_is_read(tmp_path):
    path, same = tmp_path / "a.yaml", {"x": [1, 2]}
    content = {"a": same, "b": same, "c": [None, 1.5, "é"], "d": {"deep": [[[[1]]]]}}
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    assert "&id001" in path.read_text(encoding="utf-8")
    assert read_yaml(path) == content
    path.write_text("base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3\n")
    assert read_yaml(path)["more"] == {"a": 1, "b": 3}
    path.write_text("")
    assert read_yaml(path) is None


def test_a_description_of_thousands_of_columns_is_read_fast(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("features:\n" + "".join(f"  column{i}: {{type: integer}}\n" for i in range(10_000)))
    began = time.monotonic()
    assert len(read_yaml(path)["features"]) == 10_000
    assert time.monotonic() - began < 5


def test_a_preparation_that_is_no_mapping(tmp_path):
    data = write_dataset(tmp_path / "data", n=8, size=16)
    content = yaml.safe_load((data.root / "dataset.yaml").read_text())
    (data.root / "dataset.yaml").write_text(yaml.safe_dump(content | {"preparation": [1]}))
    with pytest.raises(InputError, match="'preparation' must map"):
        Dataset.load(data.root)


def test_more_values_than_memory_has_room_for_are_refused(tmp_path, monkeypatch):
    # A tenth, for the test's own time.
    monkeypatch.setattr(yaml_file, "_MOST_VALUES", 100_000)
    (tmp_path / "x.yaml").write_text("[" + "1," * 110_000 + "]")
    with pytest.raises(InputError, match=r"x\.yaml: holds more than 100,000 values"):
        read_yaml(tmp_path / "x.yaml")
    with (tmp_path / "y.yaml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"y\.yaml: is larger than 32 MB"):
        read_yaml(tmp_path / "y.yaml")
