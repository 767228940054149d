"""Reporting checklists, filled from a report's data where that is known: a table of items, each with its answer."""

from medimg.report import claim, stard_ai, tripod_ai

# Key of report.json -> name, source, items.
CHECKLISTS = {
    "tripod_ai": ("TRIPOD+AI", tripod_ai.SOURCE, tripod_ai.ITEMS),
    "claim": ("CLAIM 2024", claim.SOURCE, claim.ITEMS),
    "stard_ai": ("STARD-AI", stard_ai.SOURCE, stard_ai.ITEMS),
}


def filled(report: dict) -> dict[str, list[dict]]:
    """Of each checklist one entry an item: `item`, `topic`, `asks`, and `answer` or `not_available`, why.

    Args:
        report: the other sections of report.json.
    """
    return {
        key: [{"item": number, "topic": topic, "asks": asks, **answer(report)} for number, topic, asks, answer in items]
        for key, (_, _, items) in CHECKLISTS.items()
    }
