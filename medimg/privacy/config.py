"""Options of `medimg data ledger`."""

from dataclasses import dataclass

from medimg.options import Config, option


@dataclass(frozen=True)
class LedgerConfig(Config):
    """Options of `medimg data ledger`."""

    delta: float = option(1e-5, "Delta of epsilon.", above=0.0, maximum=0.999999)
    abandon: str | None = option(None, "Id of a Run that never goes on: release its rest.", metavar="ID")
