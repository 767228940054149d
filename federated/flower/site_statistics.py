"""A site's part in statistics before the first round: each question answered as it is, or in a masked sum of all sites.

A coordinator that asks freely could have a single site or patient by the difference of two sums. So all runs have one
list of sites, and a run one set of rows, one way in which statistics leave, and of each kind as few questions as are
needed; and a sum is of all the sites on the list or of none.
"""

import hashlib
import json

import numpy as np

from federated.flower import protocol
from federated.flower.envelope import Envelope
from federated.flower.kinds import answer_of
from federated.flower.once import Once
from federated.flower.policy import PolicyError
from federated.flower.session import LONGEST_NAME, Session
from federated.secure.client import STAGES, MaskingClient
from federated.secure.whole import check_whole, to_words
from federated.statistics.names import SKETCHES
from federated.statistics.search import MOST_ROUNDS, MOST_ROUNDS_OF_DOUBLE
from medimg.untrusted.printable import printable

# Different questions that a run has, by kind: as many as `federated.statistics.fit` and generators ask.
_QUESTIONS = {
    "counts": MOST_ROUNDS,
    "categories": SKETCHES,
    "sums": 2,
    "generator names": SKETCHES,
    "generator places": MOST_ROUNDS_OF_DOUBLE,
    "generator counts": 3,
}
_MOST = 64  # of all kinds, by number
# Of questions: which rows are counted, of all but the first kind.
_ROWS = "the rows of statistics"
# The site's own record of whom it has summed statistics with.
PARTNERS = "statistics.json"


class SiteStatistics:
    """Of one session.

    Args:
        session: of the coordinator.
    """

    def __init__(self, session: Session):
        self._session = session
        self._running: tuple[int, MaskingClient, np.ndarray] | None = None

    def answer(self, message: Envelope) -> tuple[dict, dict]:
        """A question's answer, or a stage of the masked sum of it over all sites.

        Raises:
            PolicyError, RefusedError, RejectedError, TooFewClientsError: why there is none.
            InputError: the rows are too few, or do not fit the question.
        """
        session, masked = self._session, "stage" in message.fields
        session.policy.check_statistics(masked)
        if session.private:
            raise PolicyError("statistics: this session is private, and none of the rows that it protects leave")
        if masked:
            return {}, {"content": [np.frombuffer(self._stage(message), np.uint8)]}
        return {}, {"answer": [self._computed(message.fields["request"], "as they are")]}

    def _computed(self, request: dict, way: str) -> np.ndarray:
        """The site's own answer, once it is on record what was asked."""
        session = self._session
        session.check_patients()
        if "schema" in request:
            session.check_schema(request["schema"])
        if "model" in request:
            session.policy.check_model(request["model"])
        session.policy.check_run(session.run, session.folder)
        session.settle_rows()
        once, kind = session.once, printable(request["kind"], LONGEST_NAME)
        once.settle(f"how statistics '{kind}' leave", way)
        # Sums over other rows, or ever more intervals, would show single values by their differences.
        once.settle("the columns of statistics", _digest(request.get("schema")))
        if kind != "missing":
            once.settle(_ROWS, _digest(request.get("known")))
        once.settle(f"statistics '{kind}'", _digest(request), _QUESTIONS.get(kind, 1))
        answer = answer_of(request.get("model"))
        return answer(session.client, {**request, "fewest": session.policy.fewest_patients})

    def _stage(self, message: Envelope) -> bytes:
        fields, stage = message.fields, message.fields["stage"]
        number, content = int(fields["question"]), message.arrays["content"][0].tobytes()
        if not 0 < number <= _MOST:
            raise PolicyError(f"question {number}: no run has as many")
        if stage == STAGES[0]:
            self._running = None
            self._running = self._joined(number, fields, content)
        elif self._running is None or self._running[0] != number or stage not in STAGES:
            raise PolicyError(f"question {number}: '{printable(stage, 30)}' of a sum that was not begun")
        _, client, words = self._running
        given = {"advertise": (), "mask": (content, words)}
        made = getattr(client, stage)(*given.get(stage, (content,)))
        if stage == STAGES[-1]:
            self._running = None
        return made

    def _joined(self, number: int, fields: dict, terms: bytes) -> tuple[int, MaskingClient, np.ndarray]:
        """What the site has to add up, and its part in the sum."""
        session, request = self._session, fields["request"]
        roster = session.checked_roster("masking", fields["roster"])
        identity = session.keys.identity(session.answers.with_suffix(".statistics.jsonl"))
        client = MaskingClient(identity, roster, terms, whole=True)
        session.policy.check_terms(client.terms, number, protocol.question_digest(session.run, fields))
        if set(client.terms.clients) != set(roster):
            raise PolicyError(f"question {number}: its sum is not of all sites on the list")
        session.once.settle(f"question {number}", _digest(request))
        answer = self._computed(request, "in masked sums")
        if not check_whole(client.terms, len(answer)):
            raise PolicyError(f"question {number}: the sum has another limit or length than all have, which would tell")
        self._settle_partners(fields["roster"])
        return number, client, to_words(answer, len(roster))

    def _settle_partners(self, roster: dict) -> None:
        """One list of sites over all runs, for as long as the policy lists the same: statistics have no noise, and two
        sums over the same rows would differ by whoever is on one list alone.

        Raises:
            PolicyError: another run's sums were over other sites.
        """
        policy = self._session.policy
        listed = _digest({party.name: party.identity.hex() for party in policy.sites})
        try:
            Once(self._session.folder / PARTNERS).settle(listed, _digest(roster))
        except PolicyError as error:
            raise PolicyError(
                "sites: masked statistics of this site were summed with other sites before, and the two sums would "
                "differ by single ones; once its policy lists the sites of now in 'sites', it answers"
            ) from error


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
