"""Where a federated training is comes back as it was written, and a progress that nobody made is refused by name."""

import json

import numpy as np
import pytest

from federated.engine.state import State
from federated.rounds.checkpoint import Checkpoints, Progress
from medimg.errors import InputError


def _saved(folder, **more) -> Checkpoints:
    progress = Progress(**{"round": 2, "history": [{"round": 1}, {"round": 2, "val_loss": None}], **more})
    checkpoints = Checkpoints(folder)
    checkpoints.save(State(progress.round, [np.ones(3, np.float32)], [], [], []), progress)
    return checkpoints


def test_a_progress_comes_back(tmp_path):
    progress = {
        "best_round": 2,
        "best_loss": 0.5,
        "waited": 0,
        "rejected": {"a": "NaN"},
        "stopped": "all 2 rounds done",
    }
    checkpoints = _saved(tmp_path, **progress)
    _, _, again = checkpoints.load()
    assert again == Progress(round=2, history=[{"round": 1}, {"round": 2, "val_loss": None}], **progress)


@pytest.mark.parametrize(
    "change",
    [
        {"round": "2"},
        {"round": True},
        {"best_round": 3},
        {"best_round": -1},
        {"waited": -1},
        {"history": {}},
        {"history": [1]},
        {"rejected": []},
        {"more": 1},
        {"round": None},
    ],
)
def test_a_progress_that_nobody_made_is_refused_by_name(tmp_path, change):
    checkpoints = _saved(tmp_path)
    path = tmp_path / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"progress\.json: not a federated training's progress"):
        checkpoints.load()


def test_a_value_that_is_missing_is_refused(tmp_path):
    checkpoints = _saved(tmp_path)
    path = tmp_path / "progress.json"
    content = json.loads(path.read_text())
    del content["stopped"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="has other values"):
        checkpoints.load()
