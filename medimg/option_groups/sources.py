"""What a source reads, a group for what several of them may share."""

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
    intensity: str = option(
        "auto",
        "What is white in 16-bit images: 65535, or 4095 where no image has more (auto); 65535 (full); in images of any "
        "depth, each one's own maximum (max).",
        choices=("auto", "full", "max"),
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
        None,
        "chestxray14, isic, dicom, nifti, deeplesion: table of labels when it is not beside the images.",
        metavar="TABLE",
    )


@dataclass(frozen=True)
class WindowOptions(Config):
    """Which values of CT and the like become black and white."""

    window: str | None = option(
        None,
        "dicom, nifti, deeplesion: centre and width, or a window's name (default: dicom, the file's first; nifti, the "
        "volume's 1st to 99th percentile; deeplesion, the row's).",
        metavar="C,W|lung|bone|brain|soft-tissue",
    )


@dataclass(frozen=True)
class SliceOptions(Config):
    """Which slices of a volume become images."""

    slices: str = option(
        "all", "dicom, nifti, brats: slices of each volume (frames of a file).", metavar="all|middle|every:N|INDEX"
    )


@dataclass(frozen=True)
class NeighbourOptions(Config):
    """Slices as channels."""

    neighbours: int = option(
        0,
        "dicom, nifti: three channels, the slice between those N before and N after it (0: the slice alone).",
        minimum=0,
        metavar="N",
    )


@dataclass(frozen=True)
class DicomOptions(Config):
    """What of DICOM files is read, and what of their headers is kept."""

    modality: tuple = option((), "dicom: keep files of this modality, e.g. CT; may be repeated.", metavar="CT|MR|...")
    field: tuple = option(
        (),
        "dicom: header field to keep as metadata, as it is, e.g. PatientAge; may be repeated (default: none).",
        metavar="KEYWORD",
    )
    mask_text: bool = option(False, "dicom: make text found at an image's borders black.")
    salt: str | None = option(
        None,
        "dicom: secret that ids are hashed with, made where there is none (default: PATH.salt, beside the source).",
        metavar="SALT",
    )


@dataclass(frozen=True)
class ImageColumnOptions(Config):
    """Where a table names its images."""

    image_column: str = option("image", "csv: column of image paths, or of ids.")
    image_dir: tuple = option((), "csv: folder of the images; may be repeated (default: the table's).", metavar="DIR")
    extension: str | None = option(None, "csv: of ids without one, e.g. jpg (default: found).", metavar="EXT")


@dataclass(frozen=True)
class ColumnOptions(Config):
    """Which columns of a table say what."""

    label_column: str = option(
        "label", "csv, table, dicom, nifti: column of labels; or (not table) of 0 and 1, a class each, e.g. MEL,NV,BCC."
    )
    label_separator: str | None = option(
        None,
        "csv, dicom, nifti: between several labels of an image, or 'none' (default: '|', else ';' or ',' where that is "
        "plain); table: 'none' alone.",
        metavar="SIGN",
    )
    patient_column: str = option("patient", "csv, table, dicom, nifti: column of patients.")
    site_column: str = option("site", "csv, table, dicom, nifti: column of sites.")
    split_column: str = option("split", "csv, table, dicom, nifti: column of the source's own parts (--split).")


@dataclass(frozen=True)
class ColumnTypeOptions(Config):
    """What the columns of a table hold."""

    column_type: dict = option(
        {},
        "table: a column is continuous, integer, ordinal, categorical, date, identifier or metadata; may be repeated.",
        metavar="NAME=TYPE",
    )


@dataclass(frozen=True)
class BratsOptions(Config):
    """What of a BraTS case is seen, and what it is called."""

    modalities: str = option(
        "flair,t1ce,t2", "brats: three modalities as channels, or one, of t1, t1ce, t2 and flair.", metavar="A,B,C"
    )
    target: str = option(
        "tumour",
        "brats: of a slice, whether it has tumour, or the class that most of its labelled voxels have.",
        choices=("tumour", "dominant"),
    )
    scheme: str = option(
        "auto",
        "brats: what the numbers of a seg mean: 1, 2, 4 to 2022; 1 to 3 from 2023, with 2024's 4 the resection cavity "
        "(auto: by the files' names).",
        choices=("auto", "2018", "2023", "2024"),
    )
