"""What a checkpoint keeps of a training's progress, numbers that are none among it."""

import json
import math

import tensorflow as tf

from medimg.training.checkpoint import Checkpoints
from medimg.training.progress import Progress


def test_measures_that_are_no_number_come_back(tmp_path):
    """A validation part of one class has no AUROC, and before the first epoch the best is infinitely bad."""
    progress = Progress()
    history = [{"loss": 0.5, "val_auroc": math.nan, "val_loss": math.inf, "best": -math.inf}]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(progress, history, weight=tf.Variable(1.0))
    again, rows = checkpoints.state()
    assert json.dumps(again.to_dict()) == json.dumps(progress.to_dict())
    assert json.dumps(rows) == json.dumps(history)
