"""What can end a message or a whole secure round."""

from medimg.errors import InputError


class RejectedError(InputError):
    """A client's message or vector can't be used; `client` says whose, `reason` why."""

    def __init__(self, client: str, reason: str):
        super().__init__(f"client {client!r}: {reason}")
        self.client = client
        self.reason = reason


class RefusedError(InputError):
    """A client won't do what the server asks, since it would show more than the sum."""

    def __init__(self, client: str, reason: str):
        super().__init__(f"client {client!r} refuses: {reason}")
        self.client = client
        self.reason = reason


class ForgedSumError(RefusedError):
    """A client is asked to open something else than the sum that was agreed on."""


class TooFewClientsError(InputError):
    """Fewer clients than the threshold are left: the round ends without a sum; `rejected` says who is out, and why."""

    def __init__(self, text: str, rejected: dict[str, str] | None = None):
        super().__init__(text)
        self.rejected = dict(rejected or {})


def require(present: int, threshold: int, stage: str, reasons: dict[str, str] | None = None) -> None:
    """Fail closed below the threshold.

    Raises:
        TooFewClientsError: names the stage, both numbers and why messages were refused.
    """
    if present >= threshold:
        return
    refused = "; ".join(f"{name!r} {reason}" for name, reason in (reasons or {}).items())
    raise TooFewClientsError(
        f"secure aggregation: {present} clients at stage '{stage}', the threshold is {threshold}; nothing of this "
        f"round is revealed{f' ({refused})' if refused else ''}; repeat it with more clients or a lower "
        "--secure-threshold",
        reasons,
    )
