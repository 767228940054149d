"""`medimg train` and `medimg evaluate`."""

from medimg.config import EvaluateConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.evaluation.evaluate import evaluate
from medimg.privacy.ledger import read
from medimg.studies.steps import Inputs
from medimg.training.ensemble import ensemble
from medimg.training.train import train_the_same


def run(inputs: Inputs, folder, options: dict) -> dict:
    """Train on the cell's Dataset, with `extra: true` on what `synthesize` made of it too, and measure on test.

    Returns:
        metrics.json, `epsilon`, `times` and `seconds_each` of the epochs.
    """
    extra = str(inputs.folders["synthesize"]) if options.pop("extra", False) else None
    if inputs.members:
        config = TrainConfig(model="ensemble", member=tuple(map(str, inputs.members)), vote="log-loss").told_by(())
        trained = ensemble(inputs.data, folder, config, overwrite=folder.exists())
    else:
        config = TrainConfig.from_dict({**options, "extra": extra}).resolved(Dataset.load(inputs.data).unit)
        trained = train_the_same(inputs.data, folder, config.told_by(()))
    measured = evaluate(trained, EvaluateConfig(seed=config.seed, bootstrap=inputs.bootstrap))
    ledger, history = read(folder), trained.history()
    times = len(history)
    seconds = history[["seconds", "val_seconds"]].sum(axis=1).mean() if times else 0.0
    return {
        **measured,
        "epsilon": ledger and ledger["epsilon"]["pld"],
        "times": times,
        "seconds_each": float(seconds),
    }
