"""The keys of CKKS sums: a secret context and a key of tags for all clients, a public context for the server."""

import math
import secrets
from dataclasses import dataclass

from federated.secure.keys import KEY_BYTES
from federated.secure.messages import pack, unpack
from federated.secure.tags import COUNT, PRIMES
from federated.secure.terms import SumTerms
from medimg.errors import InputError

DEGREE = 8192
SLOTS = DEGREE // 2
# Beside the vector: its weight, a 1 that counts the client, and the tags of all these.
BESIDE = 2 + COUNT
# 2^-20: rounding costs a client's coordinate at most 4.8e-7. Of larger sums no more digits than these are exact.
GRID, _DIGITS = 2.0**-20, 44
# Nothing is multiplied, so one prime is enough to hold small sums and two hold sums of weighted vectors; the last prime
# encrypts nothing. All are far below the 218 bits that give 128-bit security at this degree.
_CHAINS = (((60, 60), 40, 2.0**18), ((60, 40, 60), 58, 2.0**40))
# Rotations and products need further keys; sums need none.
_WITHOUT = {"save_galois_keys": False, "save_relin_keys": False}


def _bound(clients: int, limit: float, max_weight: float) -> float:
    """Largest absolute value of the sum's coordinates, of which the weight is one, and tags are."""
    return clients * max(max(limit, 1.0) * max(max_weight, 1.0), float(PRIMES.max()) * GRID)


def grid_of(terms: SumTerms) -> float:
    """The step to which vectors and sums are rounded, a power of two: `GRID` for sums up to 2^24.

    Wider bounds are those of weights, by which a mean is divided again.
    """
    exponent = math.ceil(math.log2(_bound(len(terms.clients), terms.limit, terms.max_weight)))
    return max(GRID, 2.0 ** (exponent - _DIGITS))


def largest_of(terms: SumTerms) -> float:
    """Most steps of the grid, at most about 2^44, that a coordinate of an honest sum comes to."""
    clients = len(terms.clients)
    return _bound(clients, terms.limit, terms.max_weight) / grid_of(terms) + clients


@dataclass(frozen=True)
class CkksKeys:
    """Of one run.

    Args:
        secret: context for clients alone; whoever has it can decrypt any client's ciphertext.
        public: context for the server: it encrypts and adds.
        holds: largest absolute sum that doesn't wrap around.
        tags: 32 bytes for clients alone, see `federated.secure.tags`.
    """

    secret: bytes
    public: bytes
    holds: float
    tags: bytes

    @classmethod
    def generate(cls, clients: int, limit: float, max_weight: float) -> "CkksKeys":
        """Keys that hold the sum of `clients` vectors within the bounds.

        Raises:
            InputError: the bounds are beyond 2^40.
        """
        import tenseal

        bound = _bound(clients, limit, max_weight)
        fitting = [chain for chain in _CHAINS if bound <= chain[2]]
        if not fitting:
            raise InputError(
                f"--secure ckks: the sum of {clients} clients up to {limit:g} x weight {max_weight:g} passes 2^40; "
                "lower the bounds"
            )
        primes, scale_bits, holds = fitting[0]
        context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(primes))
        context.global_scale = 2.0**scale_bits
        secret = context.serialize(save_secret_key=True, **_WITHOUT)
        public = context.serialize(save_secret_key=False, **_WITHOUT)
        return cls(secret, public, holds, secrets.token_bytes(KEY_BYTES))

    def holding(self, terms: SumTerms) -> bool:
        """Whether no sum under these terms wraps around."""
        return _bound(len(terms.clients), terms.limit, terms.max_weight) <= self.holds

    def check(self, terms: SumTerms) -> None:
        """Refuse terms under which the sum could wrap around.

        Raises:
            InputError: more clients or wider bounds than the keys were made for.
        """
        if not self.holding(terms):
            raise InputError(
                f"--secure ckks: the keys hold sums up to {self.holds:g}, {len(terms.clients)} clients up to "
                f"{terms.limit:g} x weight {terms.max_weight:g} may pass that; make keys for these bounds"
            )

    def to_bytes(self) -> bytes:
        """All of it, for another client."""
        return pack([self.secret, self.public, self.tags, repr(self.holds).encode()])

    @classmethod
    def from_bytes(cls, content: bytes) -> "CkksKeys":
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: it is something else.
        """
        secret, public, tags, holds = unpack(content)
        return cls(secret, public, float(holds), tags)


def context_of(content: bytes):
    """The TenSEAL context that was serialized."""
    import tenseal

    return tenseal.context_from(content)
