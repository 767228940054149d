"""Which package may import which: medimg none of the others, the others each other only where it is said here."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("medimg", "federated", "synthetic", "explain")
# A generator across clients is trained by the federation's rounds; nothing else knows of another package.
ALLOWED = {("synthetic/federation", "federated"), ("synthetic/config.py", "federated.config")}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def allowed(path: str, module: str) -> bool:
    if module.split(".", maxsplit=1)[0] in (path.split("/", maxsplit=1)[0], "medimg"):
        return True
    return any(
        (path == place or path.startswith(place + "/"))
        and (module == name or module.startswith(name + "."))
        for place, name in ALLOWED
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in sorted(imported(path))
        if module.split(".")[0] in (*PACKAGES, "cli")
        and not allowed(path.relative_to(ROOT).as_posix(), module)
    ]
    assert not wrong, "\n".join(wrong)
