"""A promise is told only where its events give it: epsilon is counted anew from what `privacy.json` says was done.

The file of a stranger, or one that was edited, may name any epsilon. Whether the events are those of the training is
its maker's word; that the epsilon is theirs is not.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of, largest
from medimg.privacy.ledger import is_private, read, segments_of
from medimg.privacy.segments import Segment, events_of, united
from medimg.privacy.spending import FILE
from medimg.privacy.statement import own_runs
from medimg.untrusted.printable import printable

# Versions of the accountants differ by less; as a share.
TOLERANCE = 0.01
# Different mechanisms, and accounts of sites or folds: each takes up to a second to count.
MOST_COUNTED = 2048
_RESTORE = "restore it: it says what was spent"


def promised(folder: Path) -> dict | None:
    """Content of a `privacy.json` whose epsilons are at least what its events give; None where there is no file.

    Args:
        folder: of a Run, or a synthetic Dataset.

    Raises:
        InputError: it can't be read, or promises more than that.
    """
    content = read(folder)
    if content is not None:
        try:
            _check(content)
        except InputError as error:
            raise InputError(f"{Path(folder) / FILE}: {error}; {_RESTORE}") from error
    return content


def promise_of(folder: Path, options: Mapping) -> dict | None:
    """What a Run that leaves its folder must say: `promised`, None when it was not trained privately.

    Args:
        folder: the Run.
        options: of its config.yaml.

    Raises:
        InputError: as of `promised`, or it is gone though the options ask for privacy.
    """
    content = promised(folder)
    if content is None and is_private(options):
        raise InputError(f"{Path(folder) / FILE}: missing, though the Run was trained privately; {_RESTORE}")
    return content


def _check(content: dict) -> None:
    if not isinstance(content["events"], list):
        raise InputError("'events' is no list")
    if not content["events"] and "epsilon" not in content:
        # Begun, and nothing done yet.
        return
    delta, segments = content.get("delta"), segments_of(content)
    if type(delta) is not float or not 0.0 < delta < 1.0:
        raise InputError(f"delta {str(delta)[:40]} is no number between 0 and 1")
    _require_accounts(content, segments)
    _require_told(content, segments)
    parts = _met(content, segments)
    if len(parts) + len({segment.mechanism for segment in segments}) > MOST_COUNTED:
        raise InputError(f"more than {MOST_COUNTED} accounts and mechanisms, which no training has")
    each = {name: epsilon_of(events_of(united(some), content["unit"]), delta) for name, some in parts.items()}
    most = largest(each.values())
    _require(content.get("epsilon"), most, "")
    for name, site in (content.get("sites") or {}).items():
        _require(site.get("epsilon"), each[name], f"site {name}: ")
    together, of_parts = content.get("dataset"), content.get("folds") or content.get("members")
    # Of built-in data each fold knew itself alone, which earlier versions have told of all.
    if together and not (of_parts and together.get("runs") == 1):
        _require(together.get("epsilon"), most, "all Runs on the Dataset together: ")


def _met(content: dict, segments: tuple[Segment, ...]) -> dict[str, tuple[Segment, ...]]:
    """The steps that a patient, or a client, may have met: of each site, of each fold that tests others, or all."""
    if "folds" in content:
        runs = [fold["run"] for fold in content["folds"]]
        return {run: tuple(s for s in segments if s.run != run) for run in runs}
    if "sites" in content:
        return {
            name: tuple(s for s in segments if s.run != content["run"] or s.phase == name) for name in content["sites"]
        }
    return {"": segments}


def _require_accounts(content: dict, segments: tuple[Segment, ...]) -> None:
    """Refuse what names no account, or has steps that none counts."""
    if content.get("unit") not in ("patient", "client"):
        raise InputError(f"unit '{str(content.get('unit'))[:40]}' is neither patient nor client")
    sites = content.get("sites")
    if sum(name in content for name in ("sites", "folds", "members")) > 1:
        raise InputError("it is of sites, folds or members, of one of these alone")
    if "sites" in content and not _are_accounts(sites.values() if isinstance(sites, dict) else None):
        raise InputError("'sites' names no accounts")
    for name in ("folds", "members"):
        parts = content.get(name)
        if name in content and not _are_accounts(parts if isinstance(parts, list) else None, "run"):
            raise InputError(f"'{name}' names no accounts")
    # The steps of a fold are left out for the patients that it tests: another must have met them.
    if "folds" in content and not _are_different([fold["run"] for fold in content["folds"]]):
        raise InputError("'folds' names fewer than two different Runs")
    own = {segment.unit for segment in segments if segment.run in own_runs(content)}
    if own != {content["unit"]}:
        raise InputError(f"no step of its own protects a {content['unit']}")
    if not isinstance(content.get("dataset") or {}, dict):
        raise InputError("'dataset' is no account")
    if sites is not None:
        lost = {s.phase for s in segments if s.run == content["run"]} - set(sites)
        if lost:
            raise InputError(f"steps of {', '.join(sorted(lost))[:80]} are in no site's account")


def _require_told(content: dict, segments: tuple[Segment, ...]) -> None:
    """Refuse what would be told in words and is not what was done, or is no text of one line."""
    own = [segment for segment in segments if segment.run in own_runs(content)]
    each = [sum(s.steps for s in own if s.phase == site) for site in (content.get("sites") or {})]
    parts = any(name in content for name in ("folds", "members"))
    if not parts and content.get("steps") != (max(each) if each else sum(segment.steps for segment in own)):
        raise InputError(f"'steps' is {str(content.get('steps'))[:40]}, and its events have others")
    numbers = {name: content.get(name) for name in ("steps", "l2_norm_clip", "expected_units", "budget_epsilon")}
    for name, value in numbers.items():
        left_out = value is None and name != "steps"
        if not left_out and (type(value) not in (int, float) or not 0 <= value < math.inf):  # pyright: ignore
            raise InputError(f"'{name}' is no number of at least 0")
    assumptions = content.get("assumptions")
    if not isinstance(assumptions, list) or not assumptions:
        raise InputError("'assumptions' names none")
    words = [content.get(name, "") for name in ("status", "mechanism", "neighbouring", "composition", "accountant")]
    for text in (*words, *assumptions):
        if not isinstance(text, str) or printable(text, None) != text:
            raise InputError(f"'{printable(text, 40)}' is no text of one line")


def _are_accounts(values, *needed: str) -> bool:
    return bool(values) and all(isinstance(one, dict) and all(name in one for name in needed) for one in values)


def _are_different(runs: list) -> bool:
    return all(isinstance(run, str) for run in runs) and len(set(runs)) == len(runs) > 1


def _require(stated: object, found: dict[str, float], whose: str) -> None:
    values = stated if isinstance(stated, dict) else {}
    for figure, least in found.items():
        value = math.inf if values.get(figure) == "infinite" else values.get(figure)
        if type(value) not in (int, float):
            raise InputError(f"{whose}epsilon '{figure}' is missing or no number")
        if value < least * (1.0 - TOLERANCE):  # pyright: ignore[reportOptionalOperand]
            raise InputError(f"{whose}epsilon {value:.4g} ({figure}) is less than the {least:.4g} that its events give")
