"""evaluate(): what `medimg evaluate` does."""

from collections.abc import Callable
from pathlib import Path

from medimg import run as run_folder
from medimg.api.datasets import folder_of
from medimg.api.runs import load_run
from medimg.data.dataset import Dataset
from medimg.evaluation.config import EvaluateConfig


def evaluate(
    run: run_folder.Run | str | Path,
    data: Dataset | str | Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    **options,
) -> dict:
    """Measure a Run's model, as `medimg evaluate` does; leaves metrics.json, predictions.csv, figures and a report.

    Args:
        run: a Run or its folder.
        data: another Dataset with the same classes, or its folder (default: the Run's own).
        progress: called with rows done and rows in all.
        **options: of `medimg evaluate` (`medimg evaluate --help`), e.g. `split="val"`, `bootstrap=200`.

    Returns:
        The content of metrics.json: `metrics` with `value`, `low` and `high` (95%, over patients) of each, and
        `interval` where these are not the bootstrap's, `per_class`, `sites`, `threshold`, `notes` and more.

    Raises:
        InputError: an option, the Run or the data can't be used.

    Example:
        >>> import medimg
        >>> found = medimg.evaluate("run", bootstrap=200)
        >>> auroc = found["metrics"]["auroc"]
        >>> bool(auroc["low"] < auroc["value"] < auroc["high"])
        True
        >>> found["split"], found["n"]
        ('test', 32)
    """
    from medimg.evaluation.evaluate import evaluate as evaluate_run
    from medimg.report.write import write

    if not isinstance(run, run_folder.Run):
        run = load_run(run)
    if data is not None:
        options["data"] = str(folder_of(data))
    result = evaluate_run(run, EvaluateConfig.from_dict(options), progress)
    write(run, Path(result["report"]).parent)
    return result
