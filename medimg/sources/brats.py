"""BraTS: brain tumours in MR, 2018 to 2024; axial slices with three sequences as channels, labelled by their seg."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups.sources import BratsOptions, DecodingOptions, SliceOptions
from medimg.sources.base import Scan, Source
from medimg.sources.label_table import scan_of
from medimg.sources.nifti import nifti_files
from medimg.sources.slices import check_slices, slices_of
from medimg.sources.tree import need_folder
from medimg.style.words import listed

MODALITIES = ("t1", "t1ce", "t2", "flair")
# As the challenges of different years call them.
_NAMES = {
    "t1n": "t1",
    "t1c": "t1ce",
    "t1gd": "t1ce",
    "t2w": "t2",
    "t2f": "flair",
    "fla": "flair",
    "segm": "seg",
    "gtv": "seg",
}
_FILE = re.compile(r"(.+)[_-](t1ce|t1c|t1gd|t1n|t1|t2w|t2f|t2|flair|fla|segm|seg|gtv)(?:_[a-z_]+)?$", re.I)
_CORE, _OEDEMA, _ENHANCING = "necrotic core", "oedema", "enhancing tumour"
NONE, TUMOUR, CAVITY = "no tumour", "tumour", "resection cavity"
SCHEMES = {
    "2018": {1: _CORE, 2: _OEDEMA, 4: _ENHANCING},
    "2023": {1: _CORE, 2: _OEDEMA, 3: _ENHANCING},
    "2024": {1: _CORE, 2: _OEDEMA, 3: _ENHANCING, 4: CAVITY},
}
# 2024's meningiomas before radiotherapy: t1c alone, and the volume that is to be treated.
_RADIOTHERAPY, _TARGET = "BraTS-MEN-RT-", {1: "gross tumour volume"}


@dataclass(frozen=True, eq=False)
class Case:
    """A patient's examination.

    Attributes:
        name: as its files begin.
        images: path of each modality.
        seg: path; None: it has none.
    """

    name: str
    images: dict[str, Path]
    seg: Path | None

    @property
    def _base_name(self) -> str:
        """Without the folder that tells it from another of the same name."""
        return self.name.rpartition("/")[2]

    @property
    def patient(self) -> str:
        """The case, without the number of the examination that names have from 2023."""
        match = re.match(r"(BraTS-[A-Z-]+-\d+)-\d+$", self._base_name)
        return match[1] if match else self._base_name

    def scheme(self, name: str) -> dict[int, str]:
        """What the seg's numbers mean: of names with hyphens, 2024's, which are 2023's and one more."""
        if name == "auto" and self._base_name.startswith(_RADIOTHERAPY):
            return _TARGET
        auto = "2024" if re.match(r"BraTS-", self._base_name) else "2018"
        return SCHEMES[auto if name == "auto" else name]


def scan(path: Path | None, config: PrepareConfig) -> Scan:
    """Find cases; each slice is an image, labelled by its seg.

    Args:
        path: a folder of cases, of HGG and LGG, of one case, or of all files.
        config: `modalities`, `target`, `scheme` and `slices`.

    Raises:
        InputError: no case, or none of it can be used.
    """
    from medimg.sources import nifti_volumes

    folder, wanted = need_folder(path, "brats"), _wanted(config.modalities)
    cases, rejected = cases_of(folder)
    check_slices(config.slices)
    rows, places = _rows(folder, cases, wanted, config, rejected)
    without = len({case.name for case, _ in places.values() if case.seg is None})
    if not rows:
        raise InputError(f"{folder}: no case can be used: {listed(f'{name} ({why})' for name, why in rejected)}")
    images = nifti_volumes.Recent(lambda case: _composite(case, wanted, config.max_megapixels))
    masks = nifti_volumes.Recent(
        lambda case: nifti_volumes.axial(case.seg, np.uint8, config.max_megapixels, is_mask=True)
    )

    def read(key: str, _warnings: list[str] | None = None) -> np.ndarray:
        case, place = places[key]
        image = images(case)[place]
        if not image.any():
            raise InputError(f"slice {place} is blank")
        return image

    def located(key: str) -> tuple[Path, ...]:
        case, _ = places[key]
        return (*(case.images[name] for name in wanted), *([case.seg] if case.seg else []))

    notes = [f"channels are {', '.join(wanted)}, each volume's 1st to 99th percentile"]
    notes += [f"{without} cases have no seg: their slices are unlabelled"] if without else []
    notes += [
        f"{len(rejected)} files or cases left out, listed in rejected.csv: {listed(n for n, _ in rejected)}"
    ] * bool(rejected)
    return scan_of(
        folder,
        rows,
        folder,
        config,
        read=read,
        read_mask=lambda key: masks(places[key][0])[places[key][1]],
        located=located,
        modality="MR",
        licence=SOURCE.licence,
        citation=SOURCE.citation,
        rejected=rejected,
        notes=notes,
    )


def _rows(folder: Path, cases: list[Case], wanted: tuple[str, ...], config: PrepareConfig, rejected: list):
    """A row of each slice, and (case, slice) by its key; what can't be used joins `rejected`."""
    rows, places = [], {}
    for case in cases:
        try:
            labels = _slices(case, wanted, config)
            chosen = slices_of(len(labels), config.slices)
        except InputError as error:
            rejected.append((case.name, str(error).removeprefix(f"{folder}/")))
            continue
        first = next(iter(case.images.values())).relative_to(folder)
        grade = next((part for part in first.parts if part in ("HGG", "LGG")), "")
        for place in chosen:
            key = f"{case.name}/{place:03d}"
            places[key] = case, place
            label, has_mask = labels[place]
            row = {"image": key, "label": label, "patient": case.patient, "mask": key if has_mask else ""}
            rows.append({**row, "case": case.name, "slice": place, "grade": grade})
    return rows, places


def _wanted(text: str) -> tuple[str, ...]:
    names = tuple(_NAMES.get(name.strip().lower(), name.strip().lower()) for name in text.split(","))
    if len(names) not in (1, 3) or not set(names) <= set(MODALITIES):
        raise InputError(f"--modalities {text}: give three, or one, of {', '.join(MODALITIES)}")
    return names


def cases_of(folder: Path) -> tuple[list[Case], list[tuple[str, str]]]:
    """The cases below a folder, by the beginnings of their files' names, and (file, reason) of other files."""
    from medimg.sources.nifti_volumes import stem

    files, rejected = nifti_files(folder)
    by_case: dict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    for file in files:
        match = _FILE.match(stem(file.name))
        if not match:
            why = "its name ends in none of t1, t1ce, t2, flair, seg, gtv"
            rejected.append((file.relative_to(folder).as_posix(), why))
            continue
        kind = _NAMES.get(match[2].lower(), match[2].lower())
        first = by_case[file.parent, match[1]].setdefault(kind, file)
        if first != file:
            rejected.append((file.relative_to(folder).as_posix(), f"a second {kind} of its case; {first.name} counts"))
    # W39_1998.09.19_Segm.nii of 2020's case 355: a seg called otherwise than the one case beside it that has none.
    for (place, name), parts in list(by_case.items()):
        rest = [key for key in by_case if key[0] == place and "seg" not in by_case[key]]
        if list(parts) == ["seg"] and len(rest) == 1:
            by_case[rest[0]]["seg"] = by_case.pop((place, name))["seg"]
    cases = []
    for (place, name), parts in sorted(by_case.items()):
        seg = parts.pop("seg", None)
        if not parts:
            rejected.append((seg.relative_to(folder).as_posix(), "a seg without images"))
            continue
        several = sum(key[1] == name for key in by_case) > 1
        cases.append(Case(f"{place.relative_to(folder).as_posix()}/{name}" if several else name, parts, seg))
    if not cases:
        raise InputError(f"{folder}: no BraTS case: files such as CASE_flair.nii.gz or CASE-t2f.nii.gz are needed")
    return cases, rejected


def _slices(case: Case, wanted: tuple[str, ...], config: PrepareConfig) -> list[tuple[str, bool]]:
    """Label of each slice, and whether its seg has anything."""
    from medimg.sources.nifti_volumes import axial, geometry

    missing = [name for name in wanted if name not in case.images]
    if missing:
        raise InputError(f"has no {' or '.join(missing)} (--modalities)")
    files = [*(case.images[name] for name in wanted), *([case.seg] if case.seg else [])]
    first, *others = (geometry(file, config.max_megapixels) for file in files)
    for file, other in zip(files[1:], others, strict=True):
        what = "its seg" if file == case.seg else file.name
        if other.shape != first.shape:
            raise InputError(f"{what} has {_times(other.shape)} voxels, {files[0].name} {_times(first.shape)}")
        if first.is_apart(other):
            raise InputError(f"{what} lies elsewhere in space than {files[0].name}, by their headers; register them")
    if case.seg is None:
        return [("", False)] * first.shape[2]
    seg, names = axial(case.seg, megapixels=config.max_megapixels, is_mask=True), case.scheme(config.scheme)
    odd = sorted(set(np.unique(seg).tolist()) - {0, *names})
    if odd:
        values = ", ".join(map(str, (0, *names)))
        raise InputError(f"its seg holds {odd[0]:g}, none of {values}; another --scheme?")
    return [_label(slice_, names, config.target) for slice_ in seg.astype(np.uint8)]


def _label(seg: np.ndarray, names: dict[int, str], target: str) -> tuple[str, bool]:
    counts = {names[number]: int((seg == number).sum()) for number in names}
    largest = max(counts, key=counts.get)
    is_tumour = any(count for name, count in counts.items() if name != CAVITY)
    label = (TUMOUR if is_tumour else NONE) if target == "tumour" else (largest if counts[largest] else NONE)
    return label, any(counts.values())


def _composite(case: Case, wanted: tuple[str, ...], megapixels: float) -> np.ndarray:
    """uint8 (Z, H, W, 3) or (Z, H, W): each modality between its own volume's percentiles."""
    from medimg.dicom.pixels import levels
    from medimg.sources.nifti_volumes import axial, robust_span

    channels = []
    for name in wanted:
        volume = axial(case.images[name], megapixels=megapixels)
        channels.append(np.where(volume == 0, 0, levels(volume, *robust_span(volume), 255)))
    return channels[0] if len(channels) == 1 else np.stack(channels, axis=3)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


SOURCE = Source(
    name="brats",
    task="binary (tumour in a slice), or multiclass (the dominant class)",
    modality="MR",
    licence="of the challenge's year: research use, with citation",
    citation=(
        "Menze et al. (2015), IEEE Trans Med Imaging 34:1993, doi:10.1109/TMI.2014.2377694; Bakas et al. (2017), "
        "Scientific Data 4:170117, doi:10.1038/sdata.2017.117; Baid et al. (2021), arXiv:2107.02314"
    ),
    layout=(
        "[HGG|LGG/]CASE/CASE_{t1,t1ce,t2,flair,seg}.nii.gz, from 2023 CASE-{t1n,t1c,t2w,t2f,seg}.nii.gz, "
        "2024's MEN-RT CASE_{t1c,gtv}.nii.gz; or all in one folder"
    ),
    how_to_get="registration at synapse.org (BraTS 2021 to 2024), or Kaggle's copies of 2020 and 2021",
    scan=scan,
    options=(DecodingOptions, SliceOptions, BratsOptions),
)
