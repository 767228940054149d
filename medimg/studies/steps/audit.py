"""`medimg audit`: the cell's Run attacked."""

from medimg.audit.audit import audit
from medimg.audit.config import AuditConfig
from medimg.run import Run
from medimg.studies.steps import Inputs


def run(inputs: Inputs, folder, options: dict) -> dict:
    """Attack the Run of the step before; the result lies in it."""
    trained = Run.load(inputs.folders["train" if "train" in inputs.folders else "federate"])
    return audit(trained, AuditConfig.from_dict({"bootstrap": inputs.bootstrap, **options}))
