"""What needs no path: the built-in phantom, prepared once into a cache folder."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from medimg import atomic
from medimg.config import PrepareConfig
from medimg.data.cache import cache_folder
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
    """Prepare beside the folder and rename: of two processes that draw at once, the second one's work is dropped."""
    from medimg.preparation.prepare import prepare

    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        prepare(PHANTOM, None, temporary, config, phantom, overwrite=True)
        try:
            temporary.rename(folder)
        except OSError as error:
            if not (folder / "dataset.yaml").is_file():
                raise atomic.cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
