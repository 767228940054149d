"""Nothing that a file says is executed: who opens models, arrays, checkpoints, YAML and archives, and how."""

import ast
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for place in ("medimg", "federated", "synthetic", "explain", "benchmarks", "script", "cli.py")
    for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
    # Opens the export that it has just made.
    if path != ROOT / "benchmarks" / "serving_speed.py"
)
# Name of a call -> what must be said with it, or None: it is called nowhere.
RULES = {
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
    "tf.keras.models.load_model": ("safe_mode", True),
    "tf.keras.saving.load_model": ("safe_mode", True),
    **dict.fromkeys(
        (
            # Whoever can't be asked to write one can't be sent one either.
            "torch.save",
            "joblib.load",
            "joblib.dump",
            "pd.read_pickle",
            "yaml.unsafe_load",
            "yaml.full_load",
            "yaml.load_all",
            "pd.to_pickle",
            "pandas.read_pickle",
            "np.core.multiarray._reconstruct",
            "numpy.core.multiarray._reconstruct",
            "torch.jit.load",
            "torch.package.PackageImporter",
            "torch.hub.load",
            "tf.keras.layers.Lambda",
            "keras.layers.Lambda",
            "eval",
            "exec",
            "tf.keras.models.model_from_json",
            "tf.keras.config.enable_unsafe_deserialization",
            "tf.saved_model.load",
            "shutil.unpack_archive",
        )
    ),
}
FORBIDDEN_METHODS = ("extractall", "extract_all", "load_weights", "enable_unsafe_deserialization", "to_pickle")
# Nothing of them is of use without pickles, or without code in the place of data.
FORBIDDEN_MODULES = {"pickle", "_pickle", "cPickle", "pickletools", "cloudpickle", "dill", "shelve", "marshal"}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def problems(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"line {node.lineno}: {one}" for one in modules if one.split(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if name in RULES:
            rule = RULES[name]
            if rule is None or given.get(rule[0]) is not rule[1]:
                found.append(f"line {node.lineno}: {name}")
        if isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN_METHODS:
            found.append(f"line {node.lineno}: {node.func.attr}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_are_opened_safely(path):
    assert problems(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_one_place_opens_models():
    callers = [
        path.relative_to(ROOT).as_posix() for path in FILES if "models.load_model(" in path.read_text(encoding="utf-8")
    ]
    assert callers == ["medimg/models/saving.py"]


@pytest.mark.parametrize(
    "unsafe",
    [
        "np.load(x)",
        "np.load(x, allow_pickle=True)",
        "torch.load(x)",
        "import pickle",
        "import cloudpickle as c",
        "from pickle import loads",
        "import numpy, dill",
        "torch.save(x, y)",
        "table.to_pickle(x)",
        "eval(x)",
        "tf.keras.models.load_model(x)",
        "model.load_weights(x)",
        "z.extractall()",
    ],
)
def test_the_search_finds_what_it_seeks(unsafe):
    assert problems(ast.parse(unsafe))
    assert not problems(ast.parse("np.load(x, allow_pickle=False)"))


def test_no_file_of_the_repository_is_a_pickle():
    """Neither by its name nor by what is in it: torch's archives hold one."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    if not paths:
        pytest.skip("no git here")
    assert not [path for path in paths if path.suffix in (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".npy")]
    for path in paths:
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                assert not [name for name in archive.namelist() if name.endswith(".pkl")], path


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['true']", "a: !!python/name:os"])
def test_yaml_holds_plain_values(tmp_path, text):
    from medimg.data.dataset import Dataset
    from medimg.errors import InputError
    from medimg.run import Run

    for name, load in (("dataset.yaml", Dataset.load), ("config.yaml", Run.load)):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=rf"{name}: not readable as YAML"):
            load(tmp_path)
