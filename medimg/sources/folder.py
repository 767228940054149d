"""Class folders, with or without parts: `{train,val,test}/<class>/*.png` or `<class>/*.png`."""

import re
from pathlib import Path

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.option_groups.sources import DecodingOptions, FilePatternOptions
from medimg.sources.base import PARTS, Scan, Source, compiled, found, task_of, to_records
from medimg.sources.tree import LOOP, MADE, NOT_AN_IMAGE, SYSTEM_FOLDER, files_below, need_folder, skipped
from medimg.style.words import listed

# The file names of Kermany's chest X-rays carry the patient; https://doi.org/10.17632/rscbjbr9sj.2
_KERMANY = re.compile(r"^(person\d+_(bacteria|virus)_\d+|(NORMAL2-)?IM-\d+-\d+)")
_KERMANY_PATIENT = r"(person\d+|NORMAL2-IM-\d+|IM-\d+)"


def scan(path: Path | None, config: PrepareConfig, any_classes: bool = False) -> Scan:
    """Find images in class folders.

    Args:
        path: the folder of the classes, of the parts, or one that holds only such a folder.
        config: `patient_pattern` and `site_pattern` are used.
        any_classes: one class is enough, and images outside of folders are unlabelled: the classes are known already.

    Raises:
        InputError: no class folders, an empty class, one class only, or a pattern that matches nothing.
    """
    root, others = class_root(need_folder(path, "folder"))
    entries, rejected = class_files(root, any_classes)
    rejected += [(str(file), NOT_AN_IMAGE) for file in others]
    notes = left_out(rejected)
    patients, patient_notes = _patients([file for file, _, _ in entries], config)
    site_pattern = compiled(config.site_pattern, "--site-pattern")
    rows = [
        {
            "image": file,
            "label": label,
            "patient": patient,
            "site": found(site_pattern, file) if site_pattern else "",
            "split": part,
        }
        for (file, label, part), patient in zip(entries, patients, strict=True)
    ]
    if site_pattern and not any(row["site"] for row in rows):
        raise InputError(f"--site-pattern {config.site_pattern}: matches no file (first: {entries[0][0]})")
    classes = tuple(sorted({label for _, label, _ in entries} - {""}))
    return Scan(
        name=root.name,
        task=task_of(classes),
        classes=classes,
        records=to_records(rows),
        read=reader(root, config),
        rejected=rejected,
        notes=notes + patient_notes,
        root=root,
    )


def reader(root: Path, config: PrepareConfig):
    """`read` of a Scan whose keys are paths below a folder; `max_megapixels` is used."""

    def read(key: str, warnings: list[str] | None = None):
        from medimg.data.imaging import read_image

        return read_image(root / key, config.max_megapixels, warnings)

    return read


def class_root(path: Path) -> tuple[Path, list[Path]]:
    """Step down while a folder holds nothing but one folder of folders, as unpacked archives do.

    Returns:
        The folder of classes or parts, and the files passed on the way.
    """
    passed = []
    while True:
        folders = _folders(path)
        files = [item for item in sorted(path.iterdir()) if item.is_file()]
        alone = len(folders) == 1 and folders[0].name.lower() not in PARTS
        if (
            not alone
            or not _folders(folders[0])
            or any(file.suffix.lower() in (".png", ".jpg", ".jpeg") for file in files)
        ):
            return path, passed
        passed += files
        path = folders[0]


def class_files(root: Path, any_classes: bool = False) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """(path below root, class, part or '') of every image, and (file, reason) of every other file.

    Raises:
        InputError: no class folders, a class without images, or one class only.
    """
    folders = _folders(root)
    if any_classes and not folders:
        images, others = files_below(root)
        if images:
            rejected = [(file.relative_to(root).as_posix(), why) for file, why in others]
            return [(file.relative_to(root).as_posix(), "", "") for file in images], rejected
    parts = [folder for folder in folders if folder.name.lower() in PARTS]
    entries, rejected, classes = [], [], {}
    for holder in parts or [root]:
        part = PARTS[holder.name.lower()] if parts else ""
        for folder in _folders(holder):
            images, others = files_below(folder)
            classes.setdefault(folder.name, folder)
            entries += [(file.relative_to(root).as_posix(), folder.name, part) for file in images]
            rejected += [(file.relative_to(root).as_posix(), reason) for file, reason in others]
        rejected += _loose(root, holder, "lies outside the class folders")
    if parts:
        for folder in folders:
            if folder not in parts:
                images, others = files_below(folder)
                reason = f"lies outside {listed(part.name for part in parts)}"
                rejected += [(file.relative_to(root).as_posix(), reason) for file in images]
                rejected += [(file.relative_to(root).as_posix(), why) for file, why in others]
        rejected += _loose(root, root, "lies outside the class folders")
    _check_classes(root, classes, {label for _, label, _ in entries}, 1 if any_classes else 2)
    return entries, rejected


def left_out(rejected: list[tuple[str, str]]) -> list[str]:
    """Sentences that count what was left out before decoding."""
    kinds = {"file": [], "folder": []}
    for file, reason in rejected:
        kinds["folder" if reason in (SYSTEM_FOLDER, LOOP, MADE) else "file"].append(file)
    return [
        f"{len(files)} {kind}{'s' * (len(files) > 1)} left out and listed in rejected.csv: {listed(files)}"
        for kind, files in kinds.items()
        if files
    ]


def _folders(path: Path) -> list[Path]:
    return [item for item in sorted(path.iterdir()) if item.is_dir() and not skipped(item) and not _loops(item)]


def _loops(folder: Path) -> bool:
    """Whether it is a link to a folder that it lies in."""
    return folder.is_symlink() and folder.resolve() in folder.parent.resolve().joinpath("_").parents


def _loose(root: Path, holder: Path, reason: str) -> list[tuple[str, str]]:
    """What lies beside class folders: files, and folders that are no classes."""
    classes = set(_folders(holder))
    return [
        (item.relative_to(root).as_posix(), (LOOP if _loops(item) else skipped(item)) if item.is_dir() else reason)
        for item in sorted(holder.iterdir())
        if item not in classes
    ]


def _check_classes(root: Path, folders: dict[str, Path], used: set[str], least: int) -> None:
    layout = "give a folder of class folders (<class>/*.png), with or without train, val and test above them"
    if not folders:
        raise InputError(f"{root}: holds no class folders; {layout}")
    for name, folder in folders.items():
        if name not in used:
            raise InputError(f"{folder}: class '{name}' has no images; add some or remove the folder")
    if len(folders) < least:
        raise InputError(f"{root}: only one class, '{next(iter(folders))}'; a classifier needs two; {layout}")
    folded = {}
    for name in folders:
        twin = folded.setdefault(name.casefold(), name)
        if twin != name:
            raise InputError(f"{root}: class folders '{twin}' and '{name}' differ by case only; give them one name")


def _patients(files: list[str], config: PrepareConfig) -> tuple[list[str], list[str]]:
    names = [Path(file).name for file in files]
    pattern = compiled(config.patient_pattern, "--patient-pattern")
    if pattern is None:
        note = "no patients known: every file counts as its own patient"
        if sum(bool(_KERMANY.match(name)) for name in names) > 0.9 * len(names):
            note += f"; these names carry them: --patient-pattern '{_KERMANY_PATIENT}'"
        else:
            note += " (--patient-pattern finds them in file names)"
        return files, [note]
    patients = [found(pattern, name) for name in names]
    without = [file for file, patient in zip(files, patients, strict=True) if not patient]
    if len(without) == len(files):
        raise InputError(f"--patient-pattern {config.patient_pattern}: matches no file name (first: {names[0]})")
    notes = []
    if without:
        notes.append(f"--patient-pattern misses {len(without)} file names, each its own patient: {listed(without)}")
    return [patient or file for file, patient in zip(files, patients, strict=True)], notes


SOURCE = Source(
    name="folder",
    task="binary or multiclass, by the number of class folders",
    modality="any",
    licence="of your images",
    citation="",
    layout="<class>/*.{png,jpg,tif,...} or {train,val,test}/<class>/*; folders inside a class are searched",
    how_to_get=(
        "your own images; or a public set such as Kermany's chest X-rays (NORMAL, PNEUMONIA; CC BY 4.0): "
        f"doi:10.17632/rscbjbr9sj.2, with --patient-pattern '{_KERMANY_PATIENT}'"
    ),
    scan=scan,
    options=(
        DecodingOptions,
        FilePatternOptions,
    ),
)
