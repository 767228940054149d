"""Whose `--out` is: free, an unfinished preparation of ours, or the very Dataset that is asked for."""

import shutil
from pathlib import Path

import yaml

from medimg import atomic, lock
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.options import flag
from medimg.phantom.config import PhantomConfig
from medimg.preparation import source_files
from medimg.preparation.source_files import Stamp
from medimg.privacy.dataset_ledger import FILE as PRIVACY_LEDGER
from medimg.sources.base import Scan, TableScan
from medimg.untrusted.yaml_file import read_yaml

# Where a preparation keeps its journal until the Dataset is whole.
SCRATCH = ".preparing"
# Options that are kept only where they are given: folders of before there were these are the same with their defaults.
_LOOK = ("window", "slices", "neighbours", "mask_text", "modality", "salt", "modalities", "target", "scheme")
_LATER = ("max_megapixels", "intensity", "image_dir", "extension", "label_separator", "positive", "field", *_LOOK)


def identity(source: str, path: Path | None, config: PrepareConfig, phantom: PhantomConfig | None) -> dict:
    """What decides the result; how many threads made it does not."""
    options = {key: value for key, value in config.to_dict().items() if key != "workers"}
    for name in _LATER:
        if name not in config.given():
            del options[name]
    result = {"source": source, "path": str(Path(path).resolve()) if path else "", "options": options}
    if source == "phantom":
        result["phantom"] = (phantom or PhantomConfig()).to_dict()
    return result


def _pixels_of(made_of: dict) -> dict:
    """The part of an identity that decides the written images, whose change makes them useless."""
    return {
        "source": made_of["source"],
        "path": made_of["path"],
        "image_size": made_of["options"]["image_size"],
        "intensity": made_of["options"].get("intensity"),
        **{name: made_of["options"].get(name) for name in _LOOK},
        "phantom": made_of.get("phantom"),
    }


def claim(out: Path, made_of: dict, scan: Scan | TableScan, overwrite: bool) -> Dataset | None:
    """See that `out` is free, or ours: the finished Dataset when it is this very one."""
    whole, scratch = (out / "dataset.yaml").is_file(), out / SCRATCH / "options.yaml"
    if not scratch.is_file() and all(item.name == SCRATCH for item in lock.content(out)):
        # Empty, or killed as it began.
        return None
    if not whole and not scratch.is_file():
        raise InputError(f"--out {out}: already holds files that are no Dataset; give another folder")
    if overwrite:
        # What was spent on these patients stays spent.
        lock.empty(out, last=["dataset.yaml", SCRATCH], keep=[PRIVACY_LEDGER])
        return None
    if whole:
        existing = Dataset.load(out)
        recorded = source_files.read(out)
        if recorded is None and any(source_files.files_of(scan)):
            raise InputError(
                f"--out {out}: was prepared by an earlier version, which did not note what its source held; use it as "
                "it is, or prepare it again with --overwrite"
            )
        other = _others(made_of, existing.preparation)
        if other:
            raise InputError(
                f"--out {out}: holds another Dataset ({existing.name}, of another {other}); give another folder or "
                "--overwrite"
            )
        _require_unchanged(out, scan, recorded or {})
        return existing
    begun = read_yaml(scratch)
    if not isinstance(begun, dict):
        raise InputError(f"{scratch}: does not tell what was begun; give another folder or --overwrite")
    other = _others(_pixels_of(made_of), begun)
    if other:
        raise InputError(
            f"--out {out}: holds an unfinished preparation of another {other}; give another folder or --overwrite"
        )
    return None


def _others(wanted: dict, there: dict) -> str:
    """What two identities differ in, in words; '' when nothing is different."""
    pairs = [(name.replace("_", " "), value, there.get(name)) for name, value in wanted.items() if name != "options"]
    options = there.get("options") or {}
    later = {name: None for name in _LATER if name in options}
    pairs += [(flag(name), value, options.get(name)) for name, value in (later | wanted.get("options", {})).items()]
    return " and ".join(name for name, value, before in pairs if value != before)


def _require_unchanged(out: Path, scan: Scan | TableScan, recorded: dict[str, Stamp]) -> None:
    """Refuse to take a Dataset for what its source has become since."""
    changes, now = source_files.changes(recorded, scan)
    if changes:
        raise InputError(
            f"--out {out}: its source has changed since it was prepared: {changes}; --overwrite prepares it again, "
            "another --out keeps both"
        )
    if now != recorded:
        source_files.write(out, scan, now)


def remove(out: Path) -> None:
    """Remove a folder."""
    try:
        shutil.rmtree(out)
    except OSError as error:
        raise atomic.cannot_write(out, error) from error


def start(out: Path, made_of: dict) -> Path:
    """The folder of the journal, with what it is the journal of."""
    scratch = out / SCRATCH
    if not (scratch / "options.yaml").is_file():
        atomic.write_text(scratch / "options.yaml", yaml.safe_dump(_pixels_of(made_of)))
    return scratch
