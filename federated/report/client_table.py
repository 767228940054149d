"""One line a client: what it brought, how often it took part, and where the last such round left it."""

import math
from dataclasses import dataclass

import pandas as pd

from federated.report.attendance import IN_THE_MODEL, state

MEASURES = ("loss", "accuracy", "val_loss", "val_auroc")


@dataclass(frozen=True)
class ClientLine:
    """A client of the report.

    Attributes:
        name: of the client.
        examples: labelled rows that it trains on; None where they are protected.
        patients: that it holds; None likewise.
        asked: rounds in which it was asked.
        took_part: rounds in which its update came into the model.
        last_round: the last of these; None when there is none.
        left: what became of it in the last round in which it was asked, where its update did not come into the model;
            else empty.
        measured: MEASURES -> value in `last_round`; None where undefined.
        bytes_up, bytes_down: bytes, all rounds.
        seconds: all rounds; None likewise.
        notes: of the partition.
    """

    name: str
    examples: int | None
    patients: int | None
    asked: int
    took_part: int
    last_round: int | None
    left: str
    measured: dict[str, float | None]
    bytes_up: float
    bytes_down: float
    seconds: float | None
    notes: tuple[str, ...]


def client_lines(federation: dict, rounds: pd.DataFrame) -> list[ClientLine]:
    """The lines, in the order of federation.json.

    Args:
        federation: its content.
        rounds: content of rounds.csv.
    """
    return [_line(client, rounds[rounds["client"] == client["name"]]) for client in federation["clients"]]


def _line(client: dict, rows: pd.DataFrame) -> ClientLine:
    rows = rows.sort_values("round", kind="stable")
    took = rows[rows["status"].map(state).isin(IN_THE_MODEL)]
    last = took.iloc[-1] if len(took) else None
    stayed = last is not None and last["round"] == rows["round"].iloc[-1]
    return ClientLine(
        name=client["name"],
        examples=client["examples"],
        patients=client["patients"],
        asked=len(rows),
        took_part=len(took),
        last_round=None if last is None else int(last["round"]),
        left="" if stayed else rows["status"].iloc[-1] if len(rows) else "never asked",
        measured={name: _value(last, name) for name in MEASURES},
        bytes_up=float(rows["bytes_up"].sum()),
        bytes_down=float(rows["bytes_down"].sum()),
        seconds=None if client["examples"] is None else float(rows["seconds"].sum()),
        notes=tuple(client.get("notes", ())),
    )


def _value(row: pd.Series | None, name: str) -> float | None:
    value = math.nan if row is None else float(row.get(name, math.nan))
    return None if math.isnan(value) else value
