"""`medimg validate`: the cell's Run on another of the study's Datasets."""

from medimg.data.dataset import Dataset
from medimg.run import Run
from medimg.studies.steps import Inputs
from medimg.validation.config import ValidateConfig
from medimg.validation.validate import validate


def run(inputs: Inputs, folder, options: dict) -> dict:
    """Validate; the positive class of a binary Dataset is taken for the Run's, whatever both are called.

    Args:
        inputs: the cell's.
        folder: of the validation.
        options: `on`, the number of the Dataset, and those of `medimg validate`.
    """
    data = inputs.others[options.pop("on")]
    trained, here = Run.load(inputs.folders["train"]), Dataset.load(data)
    ours = trained.description()["classes"]
    if here.task == "binary" and set(here.classes) != set(ours):
        options["map_class"] = dict(zip(here.classes, ours, strict=True))
    return validate(trained, data, ValidateConfig.from_dict({"bootstrap": inputs.bootstrap, **options}), folder)[0]
