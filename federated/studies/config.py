"""Options of the studies of federation. Nothing heavy is imported here: the command line's help reads it."""

from dataclasses import dataclass

from medimg.options import Config, option

_TOY_OR_SKIN = "federated-toy or federated-skin"


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
    strategy: tuple = option(
        (), "An algorithm; may be repeated (default: those of the study).", only="federated-hospitals"
    )
    tune: bool = option(
        False,
        "Choose learning rates on each seed's validation part, instead of the study's own.",
        only="federated-hospitals",
    )
    model: tuple = option(
        (),
        "A model; may be repeated (default: federated-toy mlp for a table, baseline_cnn for images; federated-skin "
        "vgg19, resnet50 and inception_v3).",
        only=_TOY_OR_SKIN,
    )
    weights: str = option("imagenet", "Where the backbones start.", metavar="imagenet|none|FILE", only="federated-skin")
    model_arg: dict = option(
        {}, "Argument of the model's builder, k=v; may be repeated.", metavar="k=v", only="federated-skin"
    )
    normalize: str = option(
        "pca", "Colours whitened, or as the model has them.", choices=("none", "pca"), only="federated-skin"
    )
    image_size: int | None = option(
        None,
        "Images' side (default: federated-skin 128, federated-toy 64).",
        minimum=1,
        only=(_TOY_OR_SKIN, "images"),
    )
