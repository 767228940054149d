"""Options of the studies of federation. Nothing heavy is imported here: the command line's help reads it."""

from dataclasses import dataclass

from medimg.options import Config, option


@dataclass(frozen=True)
class FederatedStudyConfig(Config):
    """What a study may be told; what is left at None is as in its protocol."""

    seeds: int | None = option(
        None,
        "Trainings that differ in their seed (default: federated-hospitals 5, federated-toy 3, federated-skin 1).",
        minimum=1,
    )
    rounds: int | None = option(
        None, "Rounds (default: federated-hospitals 15, federated-toy 5, federated-skin 30).", minimum=1
    )
    strategy: tuple = option((), "federated-hospitals: an algorithm; may be repeated (default: those of the study).")
    tune: bool = option(
        False, "federated-hospitals: choose learning rates on each seed's validation part, instead of the study's own."
    )
    model: tuple = option(
        (),
        "federated-toy, federated-skin: a model; may be repeated (default: mlp for a table, baseline_cnn for images; "
        "vgg19, resnet50 and inception_v3).",
    )
    weights: str = option("imagenet", "federated-skin: where the backbones start.", metavar="imagenet|none|FILE")
    model_arg: dict = option(
        {}, "federated-skin: argument of the model's builder, k=v; may be repeated.", metavar="k=v"
    )
    normalize: str = option(
        "pca", "federated-skin: colours whitened, or as the model has them.", choices=("none", "pca")
    )
    image_size: int | None = option(None, "Images' side (default: federated-skin 128, federated-toy 64).", minimum=1)
