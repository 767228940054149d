"""What became of each client in each round, as `rounds.csv` tells it."""

from collections.abc import Iterable
from enum import Enum

import numpy as np
import pandas as pd


class State(Enum):
    """Of a client in a round; the value is what a reader is told."""

    TOOK_PART = "took part"
    SLOW = "slow: part of its work"
    DROPPED = "dropped out"
    REJECTED = "update rejected"
    LOST = "site lost"
    UNUSED = "round without result"
    NOT_ASKED = "not asked"


_WORDS = {
    "ok": State.TOOK_PART,
    "straggler": State.SLOW,
    "dropped": State.DROPPED,
    "rejected": State.REJECTED,
    "lost": State.LOST,
    "unused": State.UNUSED,
}
STATES = tuple(State)
IN_THE_MODEL = (State.TOOK_PART, State.SLOW)
MOST_TOLD = 12


def state(status: str) -> State:
    """The state that a `status` of rounds.csv means; what follows its colon is the reason.

    Raises:
        ValueError: an unknown status.
    """
    word = status.split(":", 1)[0].strip()
    if word not in _WORDS:
        raise ValueError(f"rounds.csv: status '{status}' is none of {', '.join(_WORDS)}")
    return _WORDS[word]


def states(rounds: pd.DataFrame, clients: Iterable[str], numbers: Iterable[int]) -> np.ndarray:
    """Every client in every round.

    Args:
        rounds: content of rounds.csv.
        clients: names, the rows of the result.
        numbers: of rounds, the columns of the result.

    Returns:
        int (clients, rounds), positions in STATES; a client without a row in a round was not asked.
    """
    row = {name: i for i, name in enumerate(clients)}
    column = {int(number): i for i, number in enumerate(numbers)}
    positions = np.full((len(row), len(column)), STATES.index(State.NOT_ASKED))
    for entry in rounds[["client", "round", "status"]].itertuples(index=False):
        if entry.client in row and entry.round in column:
            positions[row[entry.client], column[entry.round]] = STATES.index(state(entry.status))
    return positions


def incidents(rounds: pd.DataFrame) -> list[str]:
    """What kept updates out of the model: a sentence for each client and reason, with the rounds.

    Clients that dropped out are counted in one sentence. After MOST_TOLD sentences the rest is counted.
    """
    sentences = []
    status = rounds["status"].map(str.strip)
    states_found = status.map(state)
    out = rounds.assign(status=status)[states_found.isin((State.REJECTED, State.LOST, State.UNUSED))]
    for (client, text), rows in out.groupby(["client", "status"], sort=True):
        reason = text.split(":", 1)[1].strip() if ":" in text else ""
        incident = state(text).value + (f" ({reason})" if reason else "")
        numbers = spans(rows["round"].astype(int))
        sentences.append(f"{client}: {incident} in round{'s' if len(rows) > 1 else ''} {numbers}")
    if len(sentences) > MOST_TOLD:
        sentences[MOST_TOLD:] = [f"and {len(sentences) - MOST_TOLD} more clients and reasons in rounds.csv"]
    if dropped := int((states_found == State.DROPPED).sum()):
        sentences.append(f"{dropped} of {len(rounds)} times a client that was asked dropped out")
    return sentences


def spans(numbers: Iterable[int]) -> str:
    """`1 to 3, 7` of 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = []
    for first, last in runs:
        separator = " to " if last > first + 1 else ", "
        texts.append(str(first) if first == last else f"{first}{separator}{last}")
    return ", ".join(texts)
