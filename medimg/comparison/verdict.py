"""What the tests allow one to say, in plain words."""

from medimg.comparison.pairs import ALPHA
from medimg.evaluation.metrics import METRIC_NAMES
from medimg.style.words import p_text, signed

# More sentences about pairs than this are a table, and the table is there.
MOST_SENTENCES = 6


def verdict(result: dict) -> list[str]:
    """Sentences for the head of the page.

    Args:
        result: content of comparison.json without them.
    """
    pairs = result["pairs"]
    decided = [pair for pair in pairs if pair["evidence"]]
    undecided = [pair for pair in pairs if not pair["evidence"]]
    comparisons = [*(_better(result, pair) for pair in decided)]
    comparisons += [_no_evidence(result, pair) for pair in undecided]
    sentences = comparisons[:MOST_SENTENCES]
    if len(pairs) > 1:
        sentences.insert(0, _counted(len(pairs), len(decided)))
    if undecided:
        sentences.append(
            "No evidence of a difference is not evidence of equality: each interval shows how large a difference these "
            "data leave open."
        )
    return [*sentences, *_against_baselines(result), *_over_seeds(result)]


def _counted(pairs: int, decided: int) -> str:
    shown = {0: "None", 1: "One"}.get(decided, str(decided))
    verb = "show" if decided > 1 else "shows"
    more = "; the table of pairs has them all" if pairs > MOST_SENTENCES else ""
    return f"{shown} of {pairs} pairs {verb} evidence of a difference{more}."


def _better(result: dict, pair: dict) -> str:
    first, second = pair["first"], pair["second"]
    if (_effect(pair) > 0) == result["lower_is_better"]:
        first, second = second, first
    word = "lower" if result["lower_is_better"] else "higher"
    return (
        f"{first} has a {word} {_metric(result)} than {second}: {_values(result, pair, first, second)}; "
        f"{_difference(result, pair)}."
    )


def _difference(result: dict, pair: dict) -> str:
    """First less second, as in the figure and in the table of pairs."""
    test = pair[pair["decisive"]]
    return (
        f"{pair['first']} less {pair['second']} {signed(_effect(pair))} (95% interval {signed(test['low'])} to "
        f"{signed(test['high'])}; {_p(result, test)})"
    )


def _no_evidence(result: dict, pair: dict) -> str:
    first, second = pair["first"], pair["second"]
    test = pair[pair["decisive"]]
    values = _values(result, pair, first, second)
    text = f"No evidence of a difference between {first} and {second}: {_metric(result)} {values}"
    if test["low"] is None:
        why = "too few resamples define the difference to test it"
        if pair["decisive"] == "corrected_t":
            why = "it is the same in every fold, which tells nothing of how it would be in others"
        return f"{text}; {why}."
    text += f"; {_difference(result, pair)}"
    if test["p"] is not None and test["p"] < ALPHA:
        text += f"; taken alone it would have {p_text(test['p'])}"
    resampled = pair["bootstrap"]["p_holm"]
    if pair["decisive"] == "corrected_t" and resampled is not None and resampled < ALPHA:
        text += (
            f"; the pooled predictions do differ (bootstrap {p_text(resampled)}), but no more than another choice of "
            "training rows might"
        )
    return text + "."


def _effect(pair: dict) -> float:
    test = pair[pair["decisive"]]
    return test["difference"] if pair["decisive"] == "corrected_t" else test["value"]


def _values(result: dict, pair: dict, first: str, second: str) -> str:
    models = {model["name"]: model for model in result["models"]}
    if pair["decisive"] == "corrected_t":
        a, b = (models[name]["folds"]["mean"] for name in (first, second))
        return f"{a:.3f} against {b:.3f} (means over folds)"
    a, b = (models[name]["metrics"][result["metric"]]["value"] for name in (first, second))
    return f"{a:.3f} against {b:.3f}"


def _p(result: dict, test: dict) -> str:
    count = len(result["pairs"])
    return p_text(test["p_holm"]) + (f", corrected for {count} pairs" if count > 1 else "")


def _against_baselines(result: dict) -> list[str]:
    """Has any Run earned its keep: is one better than every baseline."""
    baselines = [model["name"] for model in result["models"] if model["kind"] == "baseline"]
    runs = [model["name"] for model in result["models"] if model["kind"] == "run"]
    if not baselines:
        return []
    beaten = {name: {base for base in baselines if _beats(result, name, base)} for name in runs}
    winners = [name for name in runs if len(beaten[name]) == len(baselines)]
    listed = ", ".join(baselines)
    if winners:
        return [f"Better than every baseline ({listed}): {', '.join(winners)}."]
    which = "the Run is" if len(runs) == 1 else "none of the Runs is"
    every = "the baseline" if len(baselines) == 1 else "every baseline"
    return [
        f"Against scikit-learn: {which} {'not ' if len(runs) == 1 else ''}shown to be better than {every} ({listed})."
    ]


def _beats(result: dict, run: str, base: str) -> bool:
    for pair in result["pairs"]:
        if pair["evidence"] and (pair["first"], pair["second"]) == (run, base):
            return (_effect(pair) > 0) != result["lower_is_better"]
    return False


def _over_seeds(result: dict) -> list[str]:
    seeds = result["seeds"]
    if seeds is None or seeds["p"] is None:
        return []
    share = f"{100 * seeds['eta_squared']:.0f}%"
    names = ", ".join(seeds["models"])
    if seeds["p"] < ALPHA:
        return [f"Over seeds, {names} differ ({p_text(seeds['p'])}): {share} of the variation lies between models."]
    return [
        f"Over seeds, there is no evidence that {names} differ ({p_text(seeds['p'])}): {share} of the variation lies "
        "between models, the rest between seeds of one model."
    ]


def _metric(result: dict) -> str:
    return METRIC_NAMES[result["metric"]][0]
