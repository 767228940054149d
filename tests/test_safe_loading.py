"""Nothing that a file says is executed: who opens models, arrays, checkpoints, YAML and archives, and how."""

import ast
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for place in ("medimg", "federated", "synthetic", "explain", "benchmarks", "script", "cli.py")
    for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
    # Opens the export that it has just made.
    if path != ROOT / "benchmarks" / "serving_speed.py"
)
# Full name of a function -> what must be said with it, or None: it is used nowhere, called or not.
RULES = {
    "numpy.load": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
    "keras.models.load_model": ("safe_mode", True),
    **dict.fromkeys(
        (
            # Whoever can't be asked to write one can't be sent one either.
            "torch.save",
            "joblib.load",
            "joblib.dump",
            "joblib.numpy_pickle",
            "joblib.memory",
            "joblib.Memory",
            "torch.jit.load",
            "torch.package",
            "torch.hub",
            "pandas.read_pickle",
            "pandas.to_pickle",
            # Of a pickle, from an archive.
            "pandas.read_hdf",
            "numpy.core.multiarray._reconstruct",
            "yaml.load",
            "yaml.load_all",
            "yaml.unsafe_load",
            "yaml.unsafe_load_all",
            "yaml.full_load",
            "yaml.full_load_all",
            "yaml.Loader",
            "yaml.FullLoader",
            "yaml.UnsafeLoader",
            "yaml.CLoader",
            "keras.layers.Lambda",
            "keras.models.model_from_json",
            "keras.models.model_from_yaml",
            "keras.models.clone_and_build_model",
            "keras.layers.deserialize",
            "keras.config.enable_unsafe_deserialization",
            "tensorflow.saved_model.load",
            "tensorflow.py_function",
            "shutil.unpack_archive",
            "builtins.eval",
            "builtins.exec",
            "builtins.compile",
            "builtins.__import__",
        )
    ),
}
FORBIDDEN_METHODS = (
    *("extractall", "extract_all", "load_weights", "to_pickle", "read_pickle", "unsafe_load", "Lambda"),
    *("enable_unsafe_deserialization", "__reduce__", "__reduce_ex__"),
)
# Nothing of them is of use without pickles, or without code in the place of data.
FORBIDDEN_MODULES = {"pickle", "_pickle", "cPickle", "pickletools", "cloudpickle", "dill", "shelve", "marshal"}
FORBIDDEN_MODULES |= {"jsonpickle", "hickle", "klepto", "dbm", "pickle5", "pandas.io.pickle", "skops", "code"}
# Names under which the same is found.
_SAME = (
    ("keras.src.", "keras."),
    ("tensorflow.compat.v1.", "tensorflow."),
    ("tensorflow.compat.v2.", "tensorflow."),
    ("tensorflow.keras.", "keras."),
    ("tensorflow.python.keras.", "keras."),
    ("tf_keras.", "keras."),
    ("keras.saving.", "keras.models."),
    ("keras.layers.core.", "keras.layers."),
    ("sklearn.externals.joblib.", "joblib."),
    ("ruamel.yaml.", "yaml."),
)
# Said nowhere, whatever is called.
FORBIDDEN_VALUES = {"allow_pickle": True, "safe_mode": False, "weights_only": False}
# Of modules that are imported by their names in the text.
_IMPORTERS = {"builtins.__import__", "importlib.import_module", "importlib.util.find_spec", "pytest.importorskip"}


def named(tree: ast.AST) -> dict[str, str]:
    """What a name of the file stands for: `n` for `numpy`, `read` for `numpy.load`, also by `read = n.load`."""
    names = {name: f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__", "getattr")}
    # In any scope: the same name for two things in one file is not worth missing one of them.
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                names[one.asname or one.name.split(".")[0]] = one.name if one.asname else one.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            full = resolved(node.value, names)
            if is_watched(full):
                names |= {target.id: full for target in node.targets if isinstance(target, ast.Name)}
    return names


def resolved(node: ast.AST, names: dict[str, str]) -> str:
    """The full name of what an expression names; '' where it names nothing that was imported."""
    if isinstance(node, ast.Attribute):
        before = resolved(node.value, names)
        full = f"{before}.{node.attr}" if before else ""
    elif isinstance(node, ast.Call) and resolved(node.func, names) == "builtins.getattr" and len(node.args) > 1:
        before, last = resolved(node.args[0], names), node.args[1]
        full = f"{before}.{last.value}" if before and isinstance(last, ast.Constant) else ""
    else:
        full = names.get(node.id, "") if isinstance(node, ast.Name) else ""
    return usual(full)


def usual(full: str) -> str:
    """The name by which the rules call it."""
    for other, name in _SAME:
        if f"{full}.".startswith(other):
            full = f"{name}{full.removeprefix(other.removesuffix('.')).removeprefix('.')}".removesuffix(".")
    return full


def is_watched(full: str) -> bool:
    """Whether a rule is about it, or about something in it."""
    return any(full == name or name.startswith(f"{full}.") for name in RULES)


def forbidden(full: str) -> bool:
    """Of a module that is imported nowhere."""
    return any(full == one or full.startswith(f"{one}.") for one in FORBIDDEN_MODULES)


def problems(tree: ast.AST) -> list[str]:
    names, found, allowed = named(tree), [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            before = "" if isinstance(node, ast.Import) else f"{node.module or ''}."
            full = [before.removesuffix(".")] * bool(before) + [f"{before}{one.name}" for one in node.names]
            is_ours = getattr(node, "level", 0) > 0
            found += [
                (node, one) for one in full if not is_ours and (forbidden(one) or RULES.get(usual(one), 1) is None)
            ]
            found += [(node, f"{before}*") for one in node.names if one.name == "*"]
        if isinstance(node, ast.Call):
            name = resolved(node.func, names)
            given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            rule = RULES.get(name)
            if rule and given.get(rule[0]) is rule[1]:
                allowed.add(node.func)
            found += [(node, one) for one, value in FORBIDDEN_VALUES.items() if given.get(one, not value) is value]
            if name in _IMPORTERS and node.args and isinstance(node.args[0], ast.Constant):
                found += [(node, node.args[0].value)] * forbidden(str(node.args[0].value))
        if isinstance(node, ast.Attribute | ast.Name | ast.Call) and node not in allowed:
            full = resolved(node, names)
            if any(full == name or full.startswith(f"{name}.") for name in RULES):
                found.append((node, full))
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_METHODS:
            found.append((node, node.attr))
    return [f"line {node.lineno}: {name}" for node, name in found]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_are_opened_safely(path):
    found = problems(ast.parse(path.read_text(encoding="utf-8")))
    # Its loaders are yaml's safe ones, and strangers' tags are tried below.
    own = "yaml.load" if path == ROOT / "medimg" / "untrusted" / "yaml_file.py" else None
    assert [one for one in found if one.partition(": ")[2] != own] == []


def test_the_one_loader_of_yaml_makes_no_objects():
    from medimg.untrusted import yaml_file

    assert issubclass(yaml_file._LOADER, yaml.SafeLoader | yaml.CSafeLoader)
    assert issubclass(yaml_file._TEXT_LOADER, yaml.BaseLoader | yaml.CBaseLoader | yaml.SafeLoader | yaml.CSafeLoader)


def test_one_place_opens_models():
    callers = [
        path.relative_to(ROOT).as_posix() for path in FILES if "models.load_model(" in path.read_text(encoding="utf-8")
    ]
    assert callers == ["medimg/models/saving.py"]


@pytest.mark.parametrize(
    "unsafe",
    [
        "import numpy as np; np.load(x)",
        "import numpy as np; np.load(x, allow_pickle=True)",
        "import numpy as np; np.load(x, allow_pickle=flag)",
        "import numpy as n; n.load(x)",
        "import numpy; numpy.load(x)",
        "from numpy import load; load(x)",
        "from numpy import load as read; read(x)",
        "import numpy as np; read = np.load; read(x)",
        "import numpy as np; map(np.load, xs)",
        "import numpy as np; getattr(np, 'load')(x)",
        "import numpy as np\ndef f(x):\n    return np.load(x)",
        "def f(x):\n    from numpy import load\n    return load(x)",
        "from numpy import *",
        "import numpy as np; np.save(x, y, allow_pickle=True)",
        "import torch; torch.load(x)",
        "import torch as t; t.load(x, weights_only=False)",
        "from torch import load; load(x)",
        "import torch; torch.save(x, y)",
        "import torch.jit; torch.jit.load(x)",
        "import pickle",
        "import cloudpickle as c",
        "from pickle import loads",
        "import numpy, dill",
        "import shelve",
        "import joblib; joblib.load(x)",
        "from joblib import load",
        "from sklearn.externals import joblib; joblib.load(x)",
        "import importlib; importlib.import_module('pickle')",
        "from importlib import import_module; import_module('dill')",
        "__import__('pickle')",
        "import pandas as pd; pd.read_pickle(x)",
        "import pandas; pandas.read_pickle(x)",
        "from pandas import read_pickle",
        "from pandas import read_pickle; read_pickle(x)",
        "table.to_pickle(x)",
        "import yaml; yaml.load(x)",
        "import yaml; yaml.load(x, Loader=yaml.Loader)",
        "import yaml as y; y.unsafe_load(x)",
        "from yaml import load, FullLoader; load(x, FullLoader)",
        "import yaml\nclass Own(yaml.UnsafeLoader): pass",
        "eval(x)",
        "exec(x)",
        "import builtins; builtins.eval(x)",
        "import tensorflow as tf; tf.keras.models.load_model(x)",
        "import tensorflow as tf; tf.keras.models.load_model(x, safe_mode=False)",
        "import tensorflow as tf; tf.keras.saving.load_model(x)",
        "import keras; keras.saving.load_model(x, safe_mode=False)",
        "from keras.models import load_model; load_model(x)",
        "from tensorflow.keras.models import load_model as opened; opened(x)",
        "from tensorflow import keras; keras.models.load_model(x)",
        "import tensorflow as tf; keras = tf.keras; keras.models.load_model(x)",
        "import tensorflow as tf; tf.keras.layers.Lambda(f)",
        "from keras.layers import Lambda; Lambda(f)",
        "from tensorflow.keras import layers; layers.Lambda(f)",
        "from tensorflow.keras import layers as l; l.Lambda(f)",
        "import keras; keras.config.enable_unsafe_deserialization()",
        "import tensorflow as tf; tf.saved_model.load(x)",
        "model.load_weights(x)",
        "z.extractall()",
        "from shutil import unpack_archive as u; u(x)",
    ],
)
def test_the_search_finds_what_it_seeks(unsafe):
    assert problems(ast.parse(unsafe))


@pytest.mark.parametrize(
    "safe",
    [
        "import numpy as np; np.load(x, allow_pickle=False)",
        "from numpy import load as read; read(x, allow_pickle=False)",
        "import yaml; yaml.safe_load(x)",
        "import tensorflow as tf; tf.keras.models.load_model(x, safe_mode=True)",
        "import torch; torch.load(x, weights_only=True)",
        "import re; re.compile(x)",
        "import json; json.load(x)",
        "def load(x): return x\nload(1)",
    ],
)
def test_the_search_lets_through_what_is_safe(safe):
    assert not problems(ast.parse(safe))


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
