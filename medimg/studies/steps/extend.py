"""What `synthesize` made beside the real rows of the training part, as a Dataset of its own."""

from pathlib import Path

from medimg.data.dataset import Dataset
from medimg.data.synthetic_rows import with_extra
from medimg.studies.steps import Inputs
from medimg.studies.steps.thin import write


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Write both together; made images lie beside the real ones."""
    both, added = with_extra(Dataset.load(inputs.data), inputs.folders["synthesize"])
    write(both, both.manifest, folder)
    return {"rows": added["rows"]}
