"""The folder where what can be made again is kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$MEDIMG_CACHE, else $XDG_CACHE_HOME/medimg, else ~/.cache/medimg."""
    if os.environ.get("MEDIMG_CACHE"):
        return Path(os.environ["MEDIMG_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "medimg"
