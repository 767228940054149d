"""The folder of a study: of one question and one Dataset, so that what is done in it can be taken as it is."""

import json
from pathlib import Path

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.untrusted.json_file import read_json

FILE = "study.json"


def claim(out: Path, name: str, dataset: Dataset, options: dict) -> None:
    """Make the folder this study's, or go on with it.

    Args:
        out: the folder.
        name: of the study.
        dataset: it is about.
        options: that a training already done must share.

    Raises:
        InputError: the folder holds another study, or this one of other data or options, or can't be written.
    """
    wanted = {"study": name, "data": dataset.fingerprint(), "options": options}
    path = Path(out) / FILE
    if not path.is_file():
        atomic.write_json(path, wanted)
        return
    study = read_json(path, "give another --out")
    # As JSON has it: tuples are lists there.
    for key, value in json.loads(json.dumps(wanted)).items():
        if study.get(key) != value:
            raise InputError(
                f"--out {out}: holds a study of another kind, or of other data or options ({key}); give another folder"
            )
