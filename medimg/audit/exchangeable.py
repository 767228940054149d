"""Whether members and non-members of an audit could be told apart without the model, and what a bound then rests on.

The bound of epsilon takes who is a member for chance. Of held-out patients it is, by the draw. Of two parts that
somebody else made it is not, and an attack may find their hospital instead of their membership; so a two-sample test
looks for a difference first, in what is known without the model: simple statistics of the images or the table's
columns, rows of a patient, the mix of labels, and the mix of sites.

Sources: Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017; Phipson and Smyth, Permutation P-values
Should Never Be Zero, 2010.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import rankdata

from medimg.audit.attacks import halves
from medimg.audit.members import AuditSubject
from medimg.audit.statistics import per_patient

# A shift is found where p lies below.
LEVEL = 0.05
PERMUTATIONS = 1999


@dataclass(frozen=True)
class Exchangeability:
    """What is known of members and non-members beside their membership.

    Attributes:
        held_out: membership was drawn at random; nothing is tested then.
        p: that parts drawn alike would differ as much, over all tests together (Bonferroni); None: not tested.
        tests: name -> {"p"} and, of the classifier, {"auc"}.
    """

    held_out: bool
    p: float | None = None
    tests: dict = field(default_factory=dict)

    @property
    def shifted(self) -> bool:
        """A difference was found, so that no bound can be had."""
        return self.p is not None and self.p < LEVEL

    @property
    def clearest(self) -> str:
        """The difference whose test has the smallest p."""
        return min(self.tests, key=lambda name: self.tests[name]["p"])

    def sentence(self) -> str:
        """What the bound rests on, or why there is none."""
        if self.held_out:
            return (
                "Non-members were drawn at random from the training part and held out of it, so they differ from "
                "members in membership alone."
            )
        evidence = f"p = {self.p:.2g}, two-sample test without the model"
        if self.shifted:
            return (
                f"Members (train) and non-members (test) differ in their {self.clearest} by themselves ({evidence}), "
                "so what an attack finds may be that difference, and no bound of epsilon is given. Train with "
                "--audit-holdout 0.1."
            )
        return (
            f"No difference between members (train) and non-members (test) was found without the model ({evidence}); "
            "what the attacks say rests on there being none, which no test can prove. --audit-holdout makes it so."
        )

    def to_dict(self) -> dict:
        """For audit.json."""
        return {
            "basis": "audit-holdout" if self.held_out else "two-sample-test",
            "p": self.p,
            "level": None if self.held_out else LEVEL,
            "shift_found": self.shifted,
            "tests": self.tests,
        }


def exchangeability(subject: AuditSubject, seed: int) -> Exchangeability:
    """Test members against non-members, by patient; where membership was drawn, nothing needs testing.

    Args:
        subject: the Run and its rows.
        seed: of the classifier, the halves and the permutations.
    """
    if subject.held_out:
        return Exchangeability(True)
    patients = per_patient(subject)
    tests = {"content": content_test(patients.content, patients.member, seed)}
    for name, counts in (
        ("label mix", patients.labels),
        ("site mix", patients.sites),
        ("number of rows of a patient", patients.rows),
    ):
        if counts.std(axis=0).any():
            tests[name] = {"p": mix_test(counts, patients.member, seed)}
    smallest = min(test["p"] for test in tests.values())
    return Exchangeability(False, min(1.0, len(tests) * smallest), tests)


def content_test(features: np.ndarray, member: np.ndarray, seed: int) -> dict:
    """A classifier that is fitted on half of the patients tells members among the others, and the other way round.

    Within a half membership is permuted while the classifier, which has not seen it, stays: each half's p is exact,
    and the smaller counts twice.

    Args:
        features: float (P, F), one row a patient.
        member: bool (P,).
        seed: of halves, forest and permutations.

    Returns:
        `auc`, the mean of both halves', and `p`.
    """
    from sklearn.ensemble import RandomForestClassifier

    first = halves(member, np.arange(len(member)), seed)
    areas, values = [], []
    for number, fitted in enumerate((first, ~first)):
        forest = RandomForestClassifier(300, min_samples_leaf=2, class_weight="balanced", random_state=seed)
        forest.fit(features[fitted], member[fitted])
        scores = forest.predict_proba(features[~fitted])[:, 1]
        area, p = _rank_test(scores, member[~fitted], [seed, 10, number])
        areas.append(area)
        values.append(p)
    return {"auc": float(np.mean(areas)), "p": min(1.0, 2 * min(values))}


def mix_test(counts: np.ndarray, member: np.ndarray, seed: int) -> float:
    """p of the difference of mean shares of labels or sites, or numbers of rows, by permuting patients' membership.

    Args:
        counts: float (P, K), each patient's share in each, or number.
        member: bool (P,).
        seed: of the permutations.
    """
    spread = counts.std(axis=0)
    scaled = counts[:, spread > 0] / spread[spread > 0]
    if not scaled.shape[1]:
        return 1.0
    generator = np.random.default_rng([seed, 11])
    drawn = [_difference(scaled, generator.permutation(member)) for _ in range(PERMUTATIONS)]
    return _share_reaching(_difference(scaled, member), np.array(drawn))


def _difference(scaled: np.ndarray, member: np.ndarray) -> float:
    return float(((scaled[member].mean(axis=0) - scaled[~member].mean(axis=0)) ** 2).sum())


def _rank_test(scores: np.ndarray, member: np.ndarray, seed: list[int]) -> tuple[float, float]:
    """AUC, and the p of one so high."""
    ranks, count = rankdata(scores), int(member.sum())
    generator = np.random.default_rng(seed)
    drawn = np.array([ranks[generator.permutation(member)].sum() for _ in range(PERMUTATIONS)])
    total = float(ranks[member].sum())
    area = (total - count * (count + 1) / 2) / (count * (len(member) - count))
    return area, _share_reaching(total, drawn)


def _share_reaching(value: float, drawn: np.ndarray) -> float:
    # A permutation that is the sample itself may differ by rounding.
    return float((1 + (drawn >= value - 1e-9).sum()) / (1 + len(drawn)))
