"""The files of a federated Run that its report is made of."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medimg.errors import InputError
from medimg.privacy.recount import promised
from medimg.privacy.spending import FILE
from medimg.untrusted.csv_cells import read_csv
from medimg.untrusted.json_file import read_json

FEDERATION = "federation.json"
# A client may be called NA or 007: these columns are text as it stands.
_TEXT = dict.fromkeys(("client", "status"), str)
_HISTORY = ("round", "participants", "bytes_up", "bytes_down", "seconds")
_ROUNDS = ("round", "client", "status", "examples", "bytes_up", "bytes_down", "seconds")
_PARTITION = ("client", "patients", "train", "val", "test", "total_variation")


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of a federated Run.

    Attributes:
        history: one row a round: round, loss, accuracy, val_loss, val_accuracy, val_auroc, participants, bytes_up,
            bytes_down (bytes), seconds, best.
        rounds: one row a client that was asked in a round: round, client, status, examples, loss, accuracy, val_loss,
            val_auroc, bytes_up, bytes_down, seconds.
        partition: of `federated.partition.heterogeneity`, one row a client and the pooled one last.
    """

    history: pd.DataFrame
    rounds: pd.DataFrame
    partition: pd.DataFrame


def read_tables(root: Path) -> Tables:
    """`history.csv`, `rounds.csv` and `partition.csv` of a federated Run.

    Raises:
        InputError: a file is missing, or has not the columns that it should have.
    """
    root = Path(root)
    return Tables(
        history=_table(root / "history.csv", _HISTORY),
        rounds=_table(root / "rounds.csv", _ROUNDS),
        partition=_table(root / "partition.csv", _PARTITION),
    )


def read_federation(root: Path) -> dict:
    """Content of `federation.json`.

    Raises:
        InputError: it is missing or no JSON object, or says of privacy what `privacy.json` does not.
    """
    path = _existing(Path(root) / FEDERATION)
    federation = read_json(path, "train again", ("privacy",))
    _require_promise(path, federation["privacy"], promised(Path(root)))
    return federation


def _require_promise(path: Path, told: object, content: dict | None) -> None:
    """Refuse a promise that is not, word for word, that of the ledger, whose epsilon was counted anew."""
    summed = None if content is None else _promise(content | {"total": content})
    if (told if told is None else _promise(told)) != summed:
        raise InputError(f"{path}: its 'privacy' is not what {FILE} says; restore both")


def _promise(told: object) -> tuple:
    """Unit, delta and epsilons, of all and of each site."""
    try:
        sites = {name: site["epsilon"] for name, site in told["sites"].items()}  # pyright: ignore
        return told["unit"], told["delta"], told["total"]["epsilon"], sites  # pyright: ignore
    except (KeyError, TypeError, AttributeError):
        return ()


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    # Numbers that are not defined are written as nan.
    table = read_csv(_existing(path), converters=_TEXT, keep_default_na=True)
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} is missing; train again")
    return table


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: missing; a finished federated training has it: 'medimg federate ... --resume'")
    return path
