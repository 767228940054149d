"""The epochs of a DCGAN: steps, checkpoint, grid, history; resumable after each epoch, bit for bit."""

import math
import time
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.errors import InputError
from medimg.pipeline.pixels import PixelCache, as_pixels
from medimg.style.figures import save
from medimg.training.checkpoint import Checkpoints
from medimg.training.progress import Progress
from synthetic.images.classes import ClassMix
from synthetic.images.loss_figure import loss_figure
from synthetic.images.noise import order
from synthetic.images.plan import GanPlan
from synthetic.images.private import PrivateDiscriminator
from synthetic.images.samples import write_grid
from synthetic.images.step import NetworkSteps

RECORDS = 20
LOSSES = ("real_loss", "fake_loss", "generator_loss")


class Training:
    """Runs the epochs from the newest checkpoint on.

    Args:
        folder: of the synthetic Dataset.
        steps: of the networks.
        plan: settled.
        cache: pixels of the training part.
        conditions: (N, classes) of its rows.
        mix: classes of the images to be made.
        private: the private side, or None.
        sample_every: epochs between grids; 0: only the last.
        listener: called with what is done, how far, and of how many.
    """

    def __init__(
        self,
        folder: Path,
        steps: NetworkSteps,
        plan: GanPlan,
        cache: PixelCache,
        conditions: np.ndarray,
        mix: ClassMix,
        private: PrivateDiscriminator | None,
        sample_every: int,
        listener,
    ):
        self.folder, self.checkpoints = folder / "training", Checkpoints(folder / "checkpoints")
        self.steps, self.plan, self.cache = steps, plan, cache
        self.conditions, self.mix, self.private = conditions, mix, private
        self.sample_every, self.listener = sample_every, listener
        self.total = plan.epochs * plan.steps_per_epoch
        if private:
            self.total = min(self.total, private.steps_allowed)
        # Each record computes epsilon anew, which takes about a second, so some epochs are written down together.
        # A resumed training is within a stretch that is written down already.
        self.stretch = math.ceil(plan.epochs / RECORDS)

    def run(self) -> pd.DataFrame:
        """Train to the end; the history, one row an epoch."""
        saved = self.checkpoints.state()
        progress, history = saved or (Progress(), [])
        if saved:
            self.checkpoints.restore(**self.steps.trackables())
        size = self.plan.steps_per_epoch
        epochs = math.ceil(self.total / size)
        if self.private:
            self.private.require_counted(min(progress.total_epochs * size, self.total))
        for epoch in range(progress.total_epochs, epochs):
            last = min((epoch + 1) * size, self.total)
            history.append(self._epoch(epoch, epoch * size, last))
            progress.total_epochs = epoch + 1
            self._grid(epoch + 1, epochs)
            atomic.write_csv(self.folder / "history.csv", pd.DataFrame(history))
            self.checkpoints.save(progress, history, **self.steps.trackables())
        table = pd.DataFrame(history)
        atomic.write_csv(self.folder / "history.csv", table)
        save(loss_figure(table), self.folder / "losses.png")
        return table

    def _epoch(self, epoch: int, first: int, last: int) -> dict:
        started = time.monotonic()
        self._record(epoch, first)
        shuffled = order(self.steps.seed, epoch, len(self.conditions))
        losses: dict[str, list] = {name: [] for name in LOSSES}
        for number in range(first, last):
            fakes = self.mix.drawn(self._fakes, np.random.default_rng([self.steps.seed, number, 1]))
            step_losses = self._discriminator_step(shuffled, number - first, number, fakes)
            if (number + 1) % self.plan.discriminator_steps == 0:
                step_losses |= self.steps.generator_step(fakes, number)
            for name, value in step_losses.items():
                losses[name].append(value)
            self.listener("steps", number + 1, self.total)
        means = {name: float(np.mean(v)) if v else float("nan") for name, v in losses.items()}
        self._check(means, epoch)
        # How long a private epoch took tells how many images were drawn.
        seconds = {} if self.private else {"seconds": round(time.monotonic() - started, 3)}
        return {"epoch": epoch + 1, **means, **seconds}

    def _record(self, epoch: int, first: int) -> None:
        if self.private and epoch % self.stretch == 0:
            self.private.record(first, min(first + self.stretch * self.plan.steps_per_epoch, self.total))

    @property
    def _fakes(self) -> int:
        # A private batch may be large for its noise; the generator needs no more than a plain one.
        return min(self.plan.batch_size, 64) if self.private else self.plan.batch_size

    def _discriminator_step(self, shuffled, place: int, number: int, fakes) -> dict:
        if self.private:
            return self.private.step(self.steps, self.cache, self.conditions, fakes, number)
        size = self.plan.batch_size
        rows = shuffled[place * size : (place + 1) * size]
        pixels = as_pixels(self.cache.take(rows))
        return self.steps.discriminator_step(pixels, self.conditions[rows], fakes, number)

    def _grid(self, epoch: int, epochs: int) -> None:
        if epoch == epochs or (self.sample_every and epoch % self.sample_every == 0):
            path = self.folder / f"samples-{epoch:04d}.png"
            write_grid(self.steps.gan, self.mix, path, self.steps.seed)

    def _check(self, means: dict, epoch: int) -> None:
        for name, value in means.items():
            if math.isinf(value) or (math.isnan(value) and name == "fake_loss"):
                raise InputError(
                    f"--generator-learning-rate {self.steps.options.generator_learning_rate}: {name} became {value} "
                    f"in epoch {epoch + 1}; use smaller rates"
                )
