"""Options that no private training can have, in one place or across clients."""

from medimg.data.dataset import SEPARATOR, Dataset
from medimg.errors import InputError


def refuse_what_learns_from_rows(dataset: Dataset, config) -> None:
    """Refuse what is learnt of private rows beside the weights: it carries no noise.

    Args:
        dataset: to be trained on.
        config: of a training in one place or across clients.

    Raises:
        InputError: names the option and the remedy.
    """
    if config.balance == "weighted-sampling":
        raise InputError(
            "--balance weighted-sampling: private training draws patients by Poisson sampling; use class-weight"
        )
    if config.balance == "class-weight" and dataset.task == "multilabel":
        raise InputError(
            "--balance class-weight: of a multilabel set the weights are exact counts; not with --dp-epsilon"
        )
    if config.balance in ("smote", "balanced-softmax"):
        raise InputError(
            f"--balance {config.balance}: is learnt from the training rows without noise; not with --dp-epsilon: use "
            "class-weight or focal"
        )
    if getattr(config, "paradigm", "supervised") != "supervised":
        raise InputError(f"--paradigm {config.paradigm}: learns from rows without noise; not with --dp-epsilon")
    if getattr(config, "labelled_fraction", 1.0) < 1:
        raise InputError(
            "--labelled-fraction: which patients keep their labels depends on the others; not with --dp-epsilon"
        )
    if getattr(config, "tensorboard", False):
        raise InputError("--tensorboard: logs losses that carry no noise; not with --dp-epsilon")
    if config.normalize in ("standard", "pca"):
        raise InputError(
            f"--normalize {config.normalize}: is learnt from the training images without noise; not with --dp-epsilon"
        )
    if not dataset.is_table:
        return
    if config.select != "none":
        raise InputError(
            f"--select {config.select}: chooses columns by the training rows without noise; not with --dp-epsilon: "
            "make columns metadata in dataset.yaml instead"
        )
    if config.missing != "impute":
        raise InputError(
            f"--missing {config.missing}: is decided by the training rows; not with --dp-epsilon: use impute"
        )
    if config.impute == "most-frequent":
        raise InputError(
            "--impute most-frequent: is learnt from the training rows without noise; not with --dp-epsilon: leave it "
            "out (the middle of the public range) or use constant"
        )


def require_public_classes(dataset: Dataset) -> None:
    """Refuse a class that protected patients alone have: the model's outputs would tell that it exists.

    Raises:
        InputError: names the class.
    """
    others = dataset.manifest[dataset.manifest["split"].isin(["val", "test"])]
    public = {part for label in others["label"] for part in label.split(SEPARATOR)}
    alone = [name for name in dataset.classes if name not in public]
    if alone:
        raise InputError(
            f"{dataset.root}: class '{alone[0]}' occurs in split 'train' alone, whose patients are protected, and the "
            "model would tell that it does; prepare with another --split, or without this class"
        )
