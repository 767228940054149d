"""Who may import whom: packages, rooms by floors, and no circle of files or folders.

Every import counts, those inside functions and for type checkers too. docs/architecture.md tells what the rooms are.
"""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("medimg", "federated", "synthetic", "explain")
# A generator across clients is trained by the federation's rounds; nothing else knows of another package.
ALLOWED = {("synthetic/federation", "federated"), ("synthetic/config.py", "federated.option_groups")}
# A package's face, its __init__.py, is no room and stands above all: medimg's hands out the names of its `api`.
# From the ground: a room (a folder, or a file beside them) imports from lower lines alone.
FLOORS = {
    "medimg": """
        errors listener
        untrusted
        atomic options
        lock
        style privacy option_groups
        data config
        tables phantom pipeline dicom
        sources models inspection
        preparation run learners
        resuming
        evaluation
        training serving comparison prediction validation
        audit report recipes
        studies
        commands api
    """,
    "federated": """
        option_groups
        config
        engine statistics robust secure audit_log
        algorithms clients
        partition rounds
        private
        tff
        flower
        job
        references
        report
        conclusion
        federation
        federate
        studies
        commands
    """,
}
# Files directly in a package, beside __init__.py.
MOST_FILES = 8
MOST_LINES = 300
# It travels with exported models, alone.
LONGER = {"medimg/dicom/pixels.py"}
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@cache
def modules() -> dict[str, Path]:
    """Module -> file, of all packages and the command line."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    found = {}
    for path in [*files, ROOT / "cli.py"]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported(module: str) -> frozenset[str]:
    """Modules of ours that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                found.add(full if full in modules() else node.module)
    return frozenset(found & set(modules()) - {module})


def folder(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts if modules()[module].name == "__init__.py" else parts[:-1])


def room(module: str) -> str:
    """`data` of `medimg.data.dataset`, `run` of `medimg.run`."""
    return [*module.split("."), ""][1]


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan 1972)."""
    number, low, stack, found = {}, {}, [], []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in number:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(arrows):
        if node not in number:
            visit(node)
    return found


def allowed(path: str, module: str) -> bool:
    if module.split(".", maxsplit=1)[0] in (path.split("/", maxsplit=1)[0], "medimg"):
        return True
    return any(
        (path == place or path.startswith(place + "/")) and (module == name or module.startswith(name + "."))
        for place, name in ALLOWED
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    own = [module for module in modules() if module.split(".")[0] == package]
    assert own
    wrong = [
        f"{modules()[module].relative_to(ROOT)} imports {other}"
        for module in own
        for other in sorted(imported(module))
        if not allowed(modules()[module].relative_to(ROOT).as_posix(), other)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", FLOORS)
def test_a_room_imports_from_lower_floors_alone(package):
    lines = [line.split() for line in FLOORS[package].strip().splitlines()]
    floor = {name: number for number, line in enumerate(lines) for name in line}
    own = [m for m in modules() if m.startswith(package + ".")]
    assert {room(module) for module in own} == set(floor)
    wrong = [
        f"{module} imports {other}"
        for module in own
        for other in sorted(imported(module))
        if other.startswith(package + ".") and room(other) != room(module)
        if floor[room(other)] >= floor[room(module)]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_of_files():
    assert circles({module: set(imported(module)) for module in modules()}) == []


def test_no_circle_of_folders():
    arrows = {}
    for module in modules():
        arrows.setdefault(folder(module), set()).update(
            folder(other) for other in imported(module) if folder(other) != folder(module)
        )
    # A package's own files are its face and its commands: what they put together lies in its folders.
    for package in PACKAGES:
        arrows.pop(package, None)
    assert circles(arrows) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_few_files_lie_beside_the_rooms(package):
    files = [path for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= MOST_FILES, sorted(path.name for path in files)


@pytest.mark.parametrize("package", [*PACKAGES, "benchmarks", "script"])
def test_a_file_is_short_enough_to_be_one_idea(package):
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / package).rglob("*.py")
    }
    assert lengths
    assert [name for name, lines in lengths.items() if lines > MOST_LINES and name not in LONGER] == []


@pytest.mark.parametrize("package", FLOORS)
def test_the_architecture_lists_the_rooms_by_floors(package):
    """A row of the table may join neighbouring floors, and no more."""
    table = re.search(rf"^\| {package} \| \|$\n((?:^\|.*\n)+)", ARCHITECTURE, re.MULTILINE)
    rows = [line.split("|")[1].strip().split(", ") for line in table[1].splitlines()[1:]]
    floors = {name: number for number, line in enumerate(FLOORS[package].split("\n")) for name in line.split()}
    assert sorted(name for row in rows for name in row) == sorted(floors)
    numbers = [[floors[name] for name in row] for row in rows]
    assert all(max(lower) < min(higher) for lower, higher in pairwise(numbers))


def test_the_architecture_names_files_that_exist():
    names = [name for name in re.findall(r"`([\w/.*-]+)`", ARCHITECTURE) if "/" in name]
    assert len(names) > 20
    places = [ROOT, *(ROOT / package for package in PACKAGES), ROOT / "medimg" / "studies"]
    assert [n for n in names if not any([*place.glob(n), *place.glob(f"{n}.py")] for place in places)] == []
