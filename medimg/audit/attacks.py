"""Membership scores of the rows from what the model answers, without other models.

`threshold` and `entropy` need no training. The trained attackers are TF-Privacy's, fitted by us: its own cross-fitting
draws folds by row, and images of one patient in two folds would let an attacker recognise the patient. Its random
forest is not used: its grid asks scikit-learn for `max_features="auto"`, which is gone since 1.3.

Sources: Yeom et al., IEEE CSF 2018 (loss threshold); Song and Mittal, USENIX Security 2021 (entropy); Shokri et al.,
IEEE S&P 2017 (trained attackers).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from medimg.audit.signals import Signals
from medimg.errors import InputError

TRAINED = {
    "logistic-regression": "LOGISTIC_REGRESSION",
    "k-nearest-neighbours": "K_NEAREST_NEIGHBORS",
    "mlp": "MULTI_LAYERED_PERCEPTRON",
    "random-forest": None,
}
# A quarter of them must still hold three folds of neighbours.
FEWEST_PATIENTS = 24


@dataclass(frozen=True, eq=False)
class AttackScores:
    """How much each row looks like a member; higher = rather a member.

    Attributes:
        values: float64 (N,); a trained attacker has not seen the patients that it scores.
        for_bound: float64 (N,); besides, scores of the first half owe nothing to the second.
    """

    values: np.ndarray
    for_bound: np.ndarray


def halves(member: np.ndarray, patients: np.ndarray, seed: int) -> np.ndarray:
    """Half of the member patients and half of the others, drawn at random.

    Args:
        member: bool (N,).
        patients: (N,), each a member or not with all rows.
        seed: of the draw.

    Returns:
        bool (N,).
    """
    generator = np.random.default_rng([seed, 2])
    chosen = np.zeros(len(member), bool)
    for kind in (member, ~member):
        names = generator.permutation(np.unique(patients[kind]))
        chosen |= kind & np.isin(patients, names[: (len(names) + 1) // 2])
    return chosen


def attack(
    name: str, signals: Signals, member: np.ndarray, patients: np.ndarray, first_half: np.ndarray, seed: int
) -> AttackScores:
    """Run one attack.

    Args:
        name: threshold, entropy, logistic-regression, k-nearest-neighbours, mlp or random-forest.
        signals: of the model under attack, N rows.
        member: bool (N,).
        patients: (N,).
        first_half: bool (N,), as `halves` draws it.
        seed: of the attackers and of balancing.

    Raises:
        InputError: too few patients for a trained attacker.
    """
    if name == "threshold":
        # Confidence falls strictly with the loss, but does not run into 0.
        return AttackScores(signals.confidence, signals.confidence)
    if name == "entropy":
        return AttackScores(-signals.entropy, -signals.entropy)
    for kind, which in ((member, "members"), (~member, "non-members")):
        count = len(set(patients[kind]))
        if count < FEWEST_PATIENTS:
            raise InputError(
                f"--attack {name}: the {which} are {count} patients and a trained attack needs {FEWEST_PATIENTS}; "
                "use --attack threshold"
            )
    features = signals.features()
    values = _cross_fitted(name, features, member, first_half, seed)
    for_bound = values.copy()
    inner = first_half.nonzero()[0]
    quarter = halves(member[inner], patients[inner], seed + 1)
    for_bound[inner] = _cross_fitted(name, features[inner], member[inner], quarter, seed)
    return AttackScores(values, for_bound)


def _cross_fitted(name, features, member, first_half, seed: int) -> np.ndarray:
    """Each half scored by the attacker that was fitted on the other."""
    scores = np.empty(len(member))
    for fitted_on in (first_half, ~first_half):
        rows = _balanced(member, fitted_on, np.random.default_rng([seed, 3]))
        # Probabilities saturate where log-odds do not tell apart, so columns are put on one scale first.
        centre, spread = features[rows].mean(axis=0), features[rows].std(axis=0)
        scaled = (features - centre) / np.where(spread > 0, spread, 1.0)
        with _seeded(seed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Few iterations of a grid's corner: the grid leaves it.
            attacker = _attacker(name, seed)
            attacker.train_model(scaled[rows], member[rows])
            scores[~fitted_on] = attacker.predict(scaled[~fitted_on])
    return scores


def _balanced(member: np.ndarray, among: np.ndarray, generator) -> np.ndarray:
    """As many members as non-members, in random order: k-NN and mlp know no weights."""
    kinds = [np.flatnonzero(among & member), np.flatnonzero(among & ~member)]
    size = min(map(len, kinds))
    drawn = [generator.choice(rows, size, replace=False) for rows in kinds]
    return generator.permutation(np.concatenate(drawn))


def _attacker(name: str, seed: int):
    if name == "random-forest":
        return _Forest(seed)
    from tensorflow_privacy.privacy.privacy_tests.membership_inference_attack import data_structures, models

    return models.create_attacker(data_structures.AttackType[TRAINED[name]])


class _Forest:
    """A random forest with the library's two methods."""

    def __init__(self, seed: int):
        from sklearn.ensemble import RandomForestClassifier

        self.model = RandomForestClassifier(200, min_samples_leaf=4, random_state=seed)

    def train_model(self, features: np.ndarray, member: np.ndarray) -> None:
        """Fit on (N, F) and bool (N,)."""
        self.model.fit(features, member)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Probability of being a member, (N,)."""
        return self.model.predict_proba(features)[:, 1]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator, which the library's attackers draw from, seeded and put back."""
    before = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        np.random.set_state(before)
