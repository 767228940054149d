"""A site's part in secure sums over the updates that it holds: masked, or in ciphertexts under the sites' own key."""

import hashlib

import numpy as np

from federated.config import FederateConfig
from federated.flower.envelope import Envelope
from federated.flower.policy import PolicyError
from federated.flower.session import Session
from federated.secure import ckks_client, client, handing
from federated.secure.ckks_client import CkksClient
from federated.secure.ckks_keys import CkksKeys
from federated.secure.client import MaskingClient
from federated.secure.errors import ForgedSumError
from federated.secure.keys import Identity
from federated.secure.terms import SumTerms
from medimg import atomic
from medimg.errors import InputError
from medimg.untrusted.printable import printable

_FORGED = "a forged sum"
_STAGES = {"masking": client.STAGES, "ckks": ckks_client.STAGES}


class SiteSums:
    """Of one training.

    Args:
        session: of the coordinator.
        config: options.
        roster: all sites' public keys, of `Session.checked_roster`.
        plan: digest of the plan.

    Attributes:
        held: number of the round, the update that stays here, flat, and the digest of what it started from.
    """

    def __init__(self, session: Session, config: FederateConfig, roster: dict[str, bytes], plan: str):
        self._session, self._config, self._roster = session, config, roster
        self._identity: Identity = session.keys.identity(session.answers.with_suffix(".jsonl"))
        # Sites whose plans differ, or whose coordinator is another process, have no key in common.
        self._about = hashlib.sha256(f"{plan}{session.id[0]}".encode()).hexdigest()
        self.held: tuple[int, np.ndarray, str] | None = None
        self._running: MaskingClient | CkksClient | None = None
        self._receiver: handing.Receiver | None = None

    def hold(self, number: int, vectors: list[np.ndarray], start: str) -> None:
        """Keep the update of a round, which it started from."""
        flat = np.concatenate([np.ravel(vector) for vector in vectors])
        # Noise in shares is added exactly: float32 would round it.
        flat = flat if self._config.shares_noise else flat.astype(np.float32)
        self.held, self._running = (number, flat, start), None

    def stage(self, message: Envelope, weight: float) -> bytes:
        """The answer to a stage of the sum over what is held.

        Args:
            message: names round and stage.
            weight: of the update.

        Raises:
            PolicyError, RefusedError, RejectedError, TooFewClientsError: why there is none.
        """
        number, stage = int(message.fields["round"]), message.fields["stage"]
        stages = _STAGES[self._config.secure]
        if self.held is None or self.held[0] != number:
            raise PolicyError(f"round {number}: no update of it is held here")
        content = message.arrays["content"][0].tobytes()
        if stage == stages[0]:
            running = self._joined(content)
            self._session.policy.check_terms(running.terms, number, self.held[2])
            if (running.terms.limit, running.terms.bits) != (self._config.secure_limit, self._config.secure_bits):
                raise PolicyError(f"round {number}: the secure sum has another limit than the plan, which would tell")
            self._check_shares(running.terms)
            self._running = running
        elif self._running is None or stage not in stages:
            raise PolicyError(f"'{printable(stage, 30)}' of a secure sum that was not begun")
        given = {"advertise": (), "mask": (content, self.held[1], weight), "encrypt": (self.held[1], weight)}
        try:
            made = getattr(self._running, stage)(*given.get(stage, (content,)))
        except ForgedSumError:
            # Whether it opens tells of the key, so that nobody has a second look.
            self._session.once.settle(_FORGED, "")
            raise
        if stage == stages[-1]:
            self.held = self._running = None
        return made

    def _check_shares(self, terms: SumTerms) -> None:
        """Refuse a sum that could be opened with less noise than the plan counts on.

        Raises:
            PolicyError: it could.
        """
        if not self._config.shares_noise:
            return
        if terms.max_weight != 1.0:
            # In steps coarser than the grid each site's share would be rounded by itself, and the sum have another.
            raise PolicyError(f"round {terms.round}: the secure sum has coarser steps than the noise was drawn on")
        counted_on = self._config.secure_threshold
        if terms.threshold < counted_on:
            raise PolicyError(
                f"round {terms.round}: the secure sum opens from {terms.threshold} sites on, and the noise is that of "
                f"{counted_on}: with fewer it would be less than the plan counts on"
            )

    def _joined(self, terms: bytes) -> MaskingClient | CkksClient:
        if self._config.secure == "masking":
            return MaskingClient(self._identity, self._roster, terms)
        if self._session.once.knows(_FORGED):
            raise PolicyError("--secure ckks: was asked to open a forged sum before, and opens none of this run again")
        keys = self._kept()
        if keys is None:
            raise PolicyError("--secure ckks: the sites have not agreed on a key")
        return CkksClient(self._identity, self._roster, terms, keys)

    def key(self, message: Envelope) -> tuple[dict, dict]:
        """A stage of agreeing on the key of CKKS: want it, hand it to those who do, take it.

        Raises:
            PolicyError, RefusedError, RejectedError: why not.
        """
        if self._config.secure != "ckks":
            raise PolicyError("no key is agreed on without --secure ckks")
        stage, content = message.fields["stage"], [array.tobytes() for array in message.arrays.get("content", [])]
        keys = self._kept()
        if stage == "want":
            self._receiver = handing.Receiver(self._identity, self._roster, self._about)
            wanted = [] if keys else [self._receiver.advertise()]
            return {}, {"content": [np.frombuffer(raw, np.uint8) for raw in wanted]}
        if stage == "hand":
            keys = keys or self._keep(self._made(float(message.fields["max_weight"])))
            made = [handing.hand(self._identity, self._roster, self._about, raw, keys.to_bytes()) for raw in content]
            public = np.frombuffer(keys.public, np.uint8)
            return {}, {"content": [np.frombuffer(raw, np.uint8) for raw in made], "public": [public]}
        if stage != "take" or self._receiver is None:
            raise PolicyError(f"'{printable(stage, 30)}' of a key that was not asked for")
        if keys is None:
            self._keep(CkksKeys.from_bytes(self._receiver.receive(content[0])))
        return {}, {}

    def _made(self, max_weight: float) -> CkksKeys:
        try:
            return CkksKeys.generate(len(self._roster), self._config.secure_limit, max_weight)
        except InputError as error:
            # It is of the coordinator's own numbers.
            raise PolicyError(str(error)) from error

    @property
    def _path(self):
        # Beside the records, and gone with them.
        return self._session.records() / f"{self._about[:32]}.ckks"

    def _kept(self) -> CkksKeys | None:
        return CkksKeys.from_bytes(self._path.read_bytes()) if self._path.is_file() else None

    def _keep(self, keys: CkksKeys) -> CkksKeys:
        with atomic.replacing(self._path) as temporary:
            temporary.chmod(0o600)
            temporary.write_bytes(keys.to_bytes())
        return keys
