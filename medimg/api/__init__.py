"""The way in from Python: what `medimg train` and `medimg evaluate` do, and predictions as arrays.

Options have the names and defaults of the command line, with underscores. TensorFlow is imported by the first call
that needs it. `medimg` itself offers these names.
"""

from medimg.api.datasets import load_dataset
from medimg.api.evaluation import evaluate
from medimg.api.runs import Run, load_run
from medimg.api.training import train
from medimg.data.dataset import Dataset
from medimg.errors import InputError

__all__ = ["Dataset", "InputError", "Run", "evaluate", "load_dataset", "load_run", "train"]
