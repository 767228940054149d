"""A real ledger of sites, for what is told of it."""

from collections.abc import Sequence
from pathlib import Path

from medimg.privacy.assumptions import Circumstances
from medimg.privacy.ledger import Ledger
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.spending import Spending, Stretch
from medimg.privacy.terms import Account, Terms


def assumed(_: Circumstances) -> list[str]:
    """What the guarantee rests on."""
    return ["Protected is one unit of split 'train'."]


def write_ledger(folder: Path, sites: Sequence[str], unit: str = "patient", delta: float = 1e-4) -> dict:
    """`privacy.json` of sites of which each has made one step more than the one before; its summary."""
    mechanism = Mechanism.shuffle(1, 2.0)
    spending = Spending(folder, unit, None)
    spending.reserve(lambda spent: [Stretch(name, "d", mechanism, ((0, len(sites)),)) for name in sites])
    terms = Terms(delta, None, 0.5, 2, unit=unit, mechanism="of updates", composition="the largest")
    ledger = Ledger(spending, terms, Circumstances(), dict.fromkeys(sites, Account(mechanism, "d", {})), assumed)
    ledger.record_sites({name: (0, number) for number, name in enumerate(sites, start=1)})
    ledger.complete()
    return ledger.summary()
