"""Groups of options of `medimg data prepare`, each read by some sources. Nothing heavy is imported here."""

from dataclasses import dataclass

from medimg.options import Config, option


@dataclass(frozen=True)
class DecodingOptions(Config):
    """How images are decoded; of every source of images."""

    image_size: int | None = option(
        None, "Resize to N x N pixels (default: keep each image's size).", minimum=1, metavar="N"
    )
    max_megapixels: int = option(
        100,
        "Largest image that is decoded, in millions of pixels; above 100 with --image-size.",
        minimum=1,
        maximum=1000,
    )
    workers: int = option(0, "Decoding threads (0: one per core).", minimum=0)


@dataclass(frozen=True)
class FilePatternOptions(Config):
    """What names of files tell; of the source `folder`."""

    patient_pattern: str | None = option(
        None,
        "folder: regular expression whose first group (or match) in the file name is the patient.",
        metavar="REGEX",
    )
    site_pattern: str | None = option(
        None, "folder: regular expression whose first group (or match) in the path is the site.", metavar="REGEX"
    )


@dataclass(frozen=True)
class LabelFileOptions(Config):
    """Labels in a table of their own."""

    labels: str | None = option(
        None, "chestxray14, isic: table of labels when it is not beside the images.", metavar="FILE"
    )


@dataclass(frozen=True)
class ImageColumnOptions(Config):
    """Where a table names its images."""

    image_column: str = option("image", "csv: column of image paths.")


@dataclass(frozen=True)
class ColumnOptions(Config):
    """Which columns of a table say what."""

    label_column: str = option("label", "csv, table: column of labels (several joined by '|' make a multilabel set).")
    patient_column: str = option("patient", "csv, table: column of patients.")
    site_column: str = option("site", "csv, table: column of sites.")
    split_column: str = option("split", "csv, table: column of splits, used by --split official.")


@dataclass(frozen=True)
class ColumnTypeOptions(Config):
    """What the columns of a table hold."""

    column_type: dict = option(
        {},
        "table: a column is continuous, integer, ordinal, categorical, date, identifier or metadata; may be repeated.",
        metavar="NAME=TYPE",
    )
    positive: str | None = option(None, "table: class of a binary label that counts as positive.", metavar="CLASS")
