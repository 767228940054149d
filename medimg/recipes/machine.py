"""What a recipe knows of the machine: cores, memory, GPUs, and the weights at hand."""

import os
from dataclasses import dataclass

from medimg.models.at_hand import Backbone, backbones


@dataclass(frozen=True)
class Machine:
    """What there is to compute with.

    Attributes:
        cores: of the processor that this process may use.
        memory: GB.
        gpus: how many.
        backbones: weights at hand.
    """

    cores: int
    memory: float
    gpus: int
    backbones: tuple[Backbone, ...]

    def words(self) -> str:
        """One line."""
        names = ", ".join(backbone.name for backbone in self.backbones) or "no weights at hand"
        return f"{self.cores} cores, {self.memory:.0f} GB, {self.gpus} GPUs; {names}"


def machine(weights: str) -> Machine:
    """Of this machine, with the weights of `--weights`: a file, a folder of files, or none.

    Raises:
        InputError: there is no such file or folder, or no file in it is known by its hash.
    """
    import psutil
    import tensorflow as tf

    return Machine(
        len(os.sched_getaffinity(0)),
        psutil.virtual_memory().total / 1e9,
        len(tf.config.list_physical_devices("GPU")),
        backbones(weights),
    )
