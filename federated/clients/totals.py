"""Sums of statistics over clients that are all in one process: under masks where updates are summed securely."""

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np

from federated.clients.client import Client
from federated.config import FederateConfig
from federated.secure.keys import identities
from federated.secure.whole import whole_sum
from federated.statistics import answer
from federated.statistics.asking import Total
from medimg.data.dataset import Dataset


def totals_of(
    clients: Sequence[Client], config: FederateConfig, answer: Callable[[Dataset, dict], np.ndarray] = answer
) -> Total:
    """What gives the sum of these clients' answers to a question.

    Args:
        clients: all.
        config: whether sums are masked, and how many clients are needed to open one.
        answer: what a client answers of its own Dataset.
    """
    known, number = identities([client.name for client in clients]), count(1)

    def total(request: dict, size: int) -> np.ndarray:
        answers = {client.name: answer(client.dataset, request) for client in clients}
        if config.secure == "none":
            return np.sum(list(answers.values()), axis=0)
        return whole_sum(answers, known, next(number), config.secure_threshold)

    return total
