"""Options of `medimg explain`: its fields are the options. Nothing heavy is imported here."""

from dataclasses import dataclass

from medimg.options import LARGEST_SEED, Config, option

# What is chosen of a Dataset.
_OF_SPLIT = "use without --image"


@dataclass(frozen=True)
class ExplainConfig(Config):
    """Options of `medimg explain`."""

    image: tuple = option(
        (), "Image file to explain; may be repeated (default: images of --split).", metavar="FILE", only="images"
    )
    split: str = option("test", "Part whose images are explained.", choices=("train", "val", "test"), only=_OF_SPLIT)
    data: str | None = option(None, "Where the Run's Dataset is now, if it was moved.", metavar="DATA")
    count: int = option(8, "Images, or rows, of the split that are explained.", minimum=1, only=_OF_SPLIT)
    mistakes: int = option(
        12,
        "Images of the split beside them that the last evaluation was most wrong about; 0: none.",
        minimum=0,
        only=("images", _OF_SPLIT),
    )
    method: tuple = option(
        (),
        "gradcam, gradcam++, hirescam, scorecam, smoothgrad, integrated-gradients, occlusion, rise, shap or "
        "shap-gradient; may be repeated (default: gradcam; tables shap).",
    )
    samples: int = option(
        200, "Evaluations of the model per image or row.", minimum=10, only="tables or --method shap|occlusion|rise"
    )
    smooth: float = option(
        0.06,
        "Maps are smoothed by a Gaussian with this share of the side for sigma; 0: left as the method gives them.",
        minimum=0.0,
        maximum=0.5,
        only="images",
    )
    score_count: int = option(
        24, "Images of the split that the methods are scored on; 0: none.", minimum=0, only=("images", _OF_SPLIT)
    )
    localisation_count: int = option(
        200, "Most images with boxes or masks that maps are held against.", minimum=0, only=("images", _OF_SPLIT)
    )
    appearance_count: int = option(
        200,
        "Images of the split whose brightness, texture and shape the answers are shared out to; 0: none.",
        minimum=0,
        only=("images", _OF_SPLIT),
    )
    masks: str | None = option(
        None,
        "Folder of masks (lungs, brain), named as the images: how much of the maps lies outside.",
        metavar="PATH",
        only=("images", "--score-count", _OF_SPLIT),
    )
    max_megapixels: int = option(
        100, "Largest image that is decoded, in millions of pixels.", minimum=1, maximum=1000, only="images"
    )
    seed: int = option(0, "Seed of the choice of images and of the random controls.", minimum=0, maximum=LARGEST_SEED)


@dataclass(frozen=True)
class ReviewConfig(Config):
    """Options of `medimg review`."""

    port: int = option(0, "Port on 127.0.0.1 (0: any that is free).", minimum=0, maximum=65535)
    reader_study: str | None = option(None, "CSV that takes whether readers agree, a line each.", metavar="CSV")
    nearest: int = option(0, "Training images shown that are nearest; never of a private Run.", minimum=0, maximum=20)
    max_megabytes: int = option(64, "Largest file that is taken.", minimum=1, maximum=1024)
    max_megapixels: int = option(100, "Largest image that is decoded, in millions of pixels.", minimum=1, maximum=1000)


@dataclass(frozen=True)
class InterpretabilityConfig(Config):
    """Options of `medimg study interpretability`, beside those of training."""

    model: tuple = option(("baseline_cnn", "mobilenet"), "Models that are compared; may be repeated.", metavar="NAME")
    method: tuple = option(
        ("gradcam", "hirescam", "integrated-gradients", "occlusion", "shap"),
        "Methods that are ranked, as of 'medimg explain'; may be repeated.",
    )
    samples: int = option(200, "Evaluations of the model per image, of occlusion, RISE and SHAP.", minimum=10)
    score_count: int = option(24, "Images of the test part that the methods are scored on.", minimum=4)
    localisation_count: int = option(60, "Most images with boxes or masks that maps are held against.", minimum=0)
