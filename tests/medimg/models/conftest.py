"""A model as medimg writes it."""

import json
import zipfile

import pytest

from medimg.models.build import build
from medimg.models.saving import save_model


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A `.keras` file that medimg wrote: (path, configuration, members)."""
    path = tmp_path_factory.mktemp("written") / "model.keras"
    save_model(build("baseline_cnn", 16, 1, 2, model_arg={"width": 2, "stages": 1}), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return path, json.loads(members["config.json"]), members
