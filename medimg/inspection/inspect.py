"""inspect(): a Dataset looked over, of images or of rows."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.leakage import content_hashes
from medimg.inspection.images import Inspection, facts
from medimg.lock import require_other, writes

if TYPE_CHECKING:
    from medimg.inspection.tables import TableInspection


@writes("out")
def inspect(
    dataset: Dataset, out: Path, progress: Callable[[int, int], None] | None = None
) -> "Inspection | TableInspection":
    """Examine every file or row of a Dataset and write `inspection.json`, `figures/*.png` and `inspection.html`.

    Args:
        dataset: what to look over.
        out: folder of the results.
        progress: called with files read and files in all.

    Raises:
        InputError: `out` can't be written, or is a Run or a Dataset.
    """
    require_other(out)
    if dataset.is_table:
        from medimg.inspection.tables import inspect_table

        return inspect_table(dataset, out, progress)
    from medimg.inspection.images_page import figures, page

    pixels, broken = content_hashes(dataset, progress)
    inspection = facts(dataset, pixels, broken)
    atomic.write_json(Path(out) / "inspection.json", asdict(inspection))
    pictures = figures(dataset, inspection, pixels != "", Path(out) / "figures")
    atomic.write_text(Path(out) / "inspection.html", page(dataset, inspection, pictures))
    return inspection
