"""Site: what a hospital's own process answers its coordinators, by code installed there and as its policy allows."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from federated.audit_log import AuditLog
from federated.audit_log.head import witnessed
from federated.flower import protocol
from federated.flower.envelope import Envelope, WireError, opened, signed
from federated.flower.keys import Keys, Party
from federated.flower.policy import Policy, PolicyError
from federated.flower.session import LONGEST_NAME, Session
from federated.flower.sessions import Sessions
from federated.flower.site_statistics import SiteStatistics
from federated.flower.site_training import SiteTraining
from federated.secure.errors import RefusedError, RejectedError, TooFewClientsError
from federated.statistics.few import FewPatientsError
from medimg.data.dataset import Dataset
from medimg.untrusted.printable import printable

# Refusals whose words hold nothing of the data; of all others they may quote a row, a file or a count.
_TOLD = (PolicyError, WireError, FewPatientsError, RefusedError, RejectedError, TooFewClientsError)
_HEAD = re.compile("[0-9a-f]{64}")


class Site:
    """One hospital in its federations.

    Args:
        dataset: of the site.
        keys: of the site; their name is the client's.
        policy: what it allows.
        folder: its own: records while a training lasts, what was answered, the log.
        say: takes a line of text for every request.

    Raises:
        InputError: the folder can't be written, or another process answers from it.
    """

    def __init__(self, dataset: Dataset, keys: Keys, policy: Policy, folder: Path, say: Callable[[str], None]):
        self._dataset, self._keys, self._policy = dataset, keys, policy
        self._folder, self._say = Path(folder), say
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._last: tuple[bytes, bytes] = (b"", b"")
        self._log = AuditLog(self._folder / "audit.jsonl")
        start = {"event": "start", "site": keys.name, "identity": keys.party.identity.hex(), "policy": policy.digest}
        begun = self._log.head.number
        self._log.begin(start, 0)
        if begun:
            # By another key or policy, perhaps: what it signs from here on is by that one.
            self._log.append(start)
        self._sessions = Sessions(self._folder / "sessions.json")
        self._session: Session | None = None
        self._statistics: SiteStatistics | None = None
        self._training: SiteTraining | None = None

    def answer(self, raw: bytes | None) -> bytes:
        """The answer to a message; to one that is none of an allowed coordinator, nothing.

        Raises:
            WireError: the message can't be used: nobody is answered.
        """
        message, coordinator = self._opened(raw)
        again = hashlib.sha256(raw).digest()
        if self._last[0] == again:
            # The link may deliver a request twice where a node's sign of life was late: nothing is computed anew.
            return self._last[1]
        self._sessions.take(message)
        try:
            fields, arrays = self._answered(message, coordinator)
            answer = signed(message.answer(fields, arrays), self._keys.identity())
        except Exception as error:
            # Whatever a message leads to, the next one is answered.
            why = printable(error, None)
            if not isinstance(error, _TOLD):
                self._say(f"failed: {message.kind}: {type(error).__name__}: {why}")
                kind = printable(message.kind, LONGEST_NAME)
                why = f"'{kind}' can't be answered ({type(error).__name__}); see the site's log"
            fields = {protocol.REFUSED: why}
            answer = signed(message.answer(fields), self._keys.identity())
        self._put_down(message, coordinator, raw, answer, fields)
        self._last = again, answer
        return answer

    def close(self) -> None:
        """Let go of the log; what a training keeps stays, for it to go on."""
        self._log.close()

    def _opened(self, raw: bytes | None) -> tuple[Envelope, Party]:
        if raw is None:
            raise WireError("a message that is not medimg's")
        errors = []
        for party in self._policy.coordinators:
            try:
                return opened(raw, party.name, party.identity, self._keys.name), party
            except WireError as error:
                errors.append(error)
        raise errors[0] if len(errors) == 1 else WireError("a message of no coordinator that the policy allows")

    def _put_down(self, message: Envelope, coordinator: Party, raw: bytes, answer: bytes, fields: dict) -> None:
        why = fields.get(protocol.REFUSED, "")
        about = {
            name: value if type(value := message.fields[name]) is int else printable(value, LONGEST_NAME)
            for name in ("round", "question", "stage", "head")
            if name in message.fields
        }
        if message.kind == protocol.STATISTICS:
            about["leaves"] = "in a masked sum" if "stage" in message.fields else "as it is"
        self._log.append(
            {
                "event": "message",
                "kind": printable(message.kind, LONGEST_NAME),
                "coordinator": coordinator.name,
                "run": self._session.run if self._session else printable(message.fields.get("run", ""), LONGEST_NAME),
                "policy": self._policy.digest,
                "session": printable(message.session),
                "number": message.number,
                **about,
                "request": hashlib.sha256(raw).hexdigest(),
                "answer": hashlib.sha256(answer).hexdigest(),
                "bytes": {"in": len(raw), "out": len(answer)},
                **({"refused": why} if why else {}),
                **({"privacy": fields["privacy"]} if "privacy" in fields else {}),
            }
        )
        what = " ".join(
            [
                printable(message.kind, 20),
                *(f"{name} {printable(about[name], 20)}" for name in ("round", "question", "stage") if name in about),
            ]
        )
        self._say(f"{coordinator.name}: {what}: {f'refused: {why}' if why else f'answered, {len(answer):,} bytes'}")

    def _answered(self, message: Envelope, coordinator: Party) -> tuple[dict, dict]:
        kind = message.kind
        if kind not in protocol.KINDS:
            raise WireError(f"'{printable(kind, 50)}': not known here; is the coordinator's medimg this one?")
        self._policy.check_now()
        if kind == protocol.DESCRIBE:
            self._session = self._training = None
            known = self._dataset, self._keys, self._policy, self._folder
            self._session = Session.begin(message, coordinator, *known)
            self._statistics = SiteStatistics(self._session)
            return self._session.description(), {}
        session = self._session
        if (
            session is None
            or (message.session, coordinator.identity) != session.id
            or (kind not in (protocol.STATISTICS, protocol.PLAN) and not self._training)
        ):
            return {protocol.UNPLANNED: True}, {}
        if kind == protocol.STATISTICS:
            return self._statistics.answer(message)
        if kind == protocol.PLAN:
            self._training = SiteTraining(session, message)
            return self._training.summary, {}
        signature = self._witnessed(message) if kind in (protocol.TRAIN, protocol.FINISH) else {}
        fields, arrays = getattr(self._training, kind)(message)
        if kind == protocol.FINISH:
            self._training, fields = None, {"head": self._log.head.hash}
        return {**fields, **signature}, arrays

    def _witnessed(self, message: Envelope) -> dict:
        """A signature on the head of the coordinator's log: it can tell no other story of what was before."""
        head = message.fields["head"]
        if not isinstance(head, str) or not _HEAD.fullmatch(head):
            raise WireError("the head that it tells is none")
        before = self._session.once.follow("head", head)
        statement = witnessed(self._keys.name, self._session.run, head, before)
        return {"countersigned": self._keys.identity().sign(statement).hex(), "before": before}
