"""What is computed of a private Run's own patients afterwards: nothing, wherever their rows lie."""

import dataclasses

import pytest

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.training.train import train
from tests.datasets import write_dataset, write_table

PRIVATE = TrainConfig(dp_noise_multiplier=1.0, dp_delta=1e-2, epochs=1, batch_size=8)
KINDS = {
    "rows": (write_table, dataclasses.replace(PRIVATE, model="logistic")),
    "images": (
        lambda root: write_dataset(root, n=16, size=16),
        dataclasses.replace(PRIVATE, norm="group", model_arg={"width": "2", "stages": "1"}, image_size=16),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_private_run_is_not_measured_on_its_training_patients_by_another_path(kind, tmp_path):
    make, config = KINDS[kind]
    data = make(tmp_path / "data")
    run = train(data.root, tmp_path / "run", config)
    named = EvaluateConfig(data=str(data.root), split="train", bootstrap=0)
    with pytest.raises(InputError, match=r"--data .*whom the Run protects"):
        evaluate(run, named)
    # Under other names, as another Dataset's test part.
    copy = make(tmp_path / "copy")
    held = copy.manifest["split"] == "train"
    moved = copy.manifest.assign(
        split=held.map({True: "test", False: "val"}), patient="other " + copy.manifest["patient"]
    )
    dataclasses.replace(copy, manifest=moved).save()
    with pytest.raises(InputError, match=r"--data .*whom the Run protects"):
        evaluate(run, EvaluateConfig(data=str(copy.root), bootstrap=0))
    assert not (run.root / "evaluations").exists()
    assert evaluate(run, dataclasses.replace(named, split="test"))["metrics"]
