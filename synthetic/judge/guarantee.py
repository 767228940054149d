"""The formal guarantee in one sentence: only what the synthetic Dataset's own privacy entry says, or none."""

from medimg.privacy import ledger
from synthetic.judge.subject import Subject

NONE = (
    "No formal guarantee: the generator was not trained with differential privacy; the tests above can show a leak, "
    "and never that there is none."
)


def sentence(subject: Subject) -> str:
    """Of privacy.json in the synthetic Dataset, else of its preparation's `privacy`, else that there is none."""
    content = ledger.read(subject.synthetic.root)
    entry = content or subject.origin.get("privacy")
    epsilon = entry.get("epsilon") if isinstance(entry, dict) else None
    if isinstance(epsilon, dict):
        epsilon = epsilon.get("pld")
    if not isinstance(epsilon, int | float):
        return NONE
    delta = entry.get("delta", 0.0)
    return (
        f"Formal guarantee, as the privacy ledger says: (epsilon, delta) = ({epsilon:.3g}, {delta:g}) for one "
        f"{entry.get('unit', 'patient')}; its assumptions are part of it."
    )
