"""What needs no path: the built-in phantom, prepared once into a cache folder."""

import hashlib
import json
import shutil
from pathlib import Path

from medimg import atomic
from medimg.config import PrepareConfig
from medimg.data.cache import cache_folder
from medimg.lock import in_turn
from medimg.phantom.config import PhantomConfig

PHANTOM = "phantom"


def resolve(data: str) -> Path:
    """The folder that a DATA argument means.

    Args:
        data: a Dataset's folder, or the word `phantom`: drawn with its default options on first use.

    Raises:
        InputError: the cache folder can't be written.
    """
    if data != PHANTOM:
        return Path(data)
    config, phantom = PrepareConfig(), PhantomConfig()
    options = json.dumps([config.to_dict(), phantom.to_dict()], sort_keys=True)
    # Other defaults of a later version are another folder.
    folder = cache_folder() / f"{PHANTOM}-{hashlib.sha256(options.encode()).hexdigest()[:8]}"
    if not (folder / "dataset.yaml").is_file():
        _draw(folder, config, phantom)
    return folder


def _draw(folder: Path, config: PrepareConfig, phantom: PhantomConfig) -> None:
    """Prepare beside the folder and rename: of two processes at once the second waits, and finds it drawn."""
    from medimg.preparation.prepare import prepare

    temporary = folder.with_name(f".{folder.name}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with in_turn(folder.parent):
            if (folder / "dataset.yaml").is_file():
                return
            # Of processes that were killed: nobody else draws now.
            for left in folder.parent.glob(f"{temporary.name}*"):
                shutil.rmtree(left, ignore_errors=True)
            try:
                prepare(PHANTOM, None, temporary, config, phantom, overwrite=True)
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error
