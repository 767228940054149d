"""CONTRIBUTING.md names files, and definitions in them, that exist; LICENSE is the licence that the package states."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = r"(?:py|md|cfg|toml|yaml|lock|txt)"
# In prose and code alike: what has a slash, and what ends as a file; not what follows a dash, as in --option.
PATHS = sorted(set(re.findall(rf"(?<![\w./:-])(?:[\w.-]*\w/(?:[\w.-]+/?)*|[\w.-]+\.{FILES}\b)", TEXT)))
# `a/file.py` (`NAME`, ... `other`): the names are defined in it.
DEFINITIONS = [
    (path, name)
    for path, names in re.findall(r"`([\w/.-]+\.py)`\s+\(([^)]*)\)", TEXT)
    for name in re.findall(r"`(\w+)`", names)
]


def test_the_text_is_read_as_meant():
    assert len(PATHS) > 40
    assert {"script/setup", "medimg/sources/", "setup.cfg", ".ci/run", "federated/robust/median.py"} <= set(PATHS)
    assert len(DEFINITIONS) > 25
    assert ("medimg/evaluation/metrics.py", "METRIC_NAMES") in DEFINITIONS


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith((".venv/", "build/"))])
def test_every_path_exists(path):
    assert (ROOT / path).exists()
    assert (ROOT / path).is_dir() or not path.endswith("/")


@pytest.mark.parametrize(("path", "name"), DEFINITIONS)
def test_every_definition_is_where_it_is_said_to_be(path, name):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^\s*(def|class) {name}\b|^{name}\b[^=\n]* = ", source, re.MULTILINE)


def test_the_hooks_are_local_and_know_what_pyright_reads():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = {hook["id"]: hook for hook in repositories[0]["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    script = (ROOT / "script" / "test").read_text(encoding="utf-8").splitlines()
    for name in ("ruff-check", "ruff-format", "pyright"):
        assert any(line.startswith(hooks[name]["entry"]) for line in script), name
    included = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyright"]["include"]
    assert {"medimg/data", "medimg/privacy", "federated/engine"} <= set(included)
    for place in included:
        assert (ROOT / place).exists(), place
        one = f"{place}/any.py" if (ROOT / place).is_dir() else place
        assert re.search(hooks["pyright"]["files"], one), place


def test_the_licence_is_the_one_that_the_package_states():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["license"] == "Apache-2.0"
    assert config["metadata"]["license_files"] == "LICENSE"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text
    assert re.search(r"Copyright \d{4} medimg contributors", text)
    assert "[yyyy]" not in text
