"""Processes forked from a server that has TensorFlow loaded already, so that each costs its work alone."""

import multiprocessing
import os

import cli

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["cli", "tensorflow", "medimg.training.train", "medimg.evaluation.evaluate"])


def typed(words: list[str]) -> None:
    """`medimg` as a user types it; ends the process."""
    os.environ["MPLBACKEND"] = "Agg"
    cli.medimg(words, prog_name="medimg")


def forked(target, *arguments) -> multiprocessing.Process:
    """A process that has begun; `target` is a module's."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process
