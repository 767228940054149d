"""The core of medimg: data, models, training, evaluation and export of medical image classifiers.

`load_dataset`, `train`, `load_run`, `Run.predict` and `evaluate` are the way in from Python; docs/api.md shows them.
They are imported when they are asked for: `import medimg` alone is light.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medimg.api import Dataset, InputError, Run, evaluate, load_dataset, load_run, train

__version__ = "0.1.0"

__all__ = ["Dataset", "InputError", "Run", "__version__", "evaluate", "load_dataset", "load_run", "train"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from medimg import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
