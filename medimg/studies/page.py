"""What a study leaves: study.json, its table as study.md, its figure, and a page that needs no other file."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure

from medimg import atomic
from medimg.evaluation.intervals import Measured
from medimg.studies.measured import FAILS, HOLDS, LEAST_SEEDS, OPEN, Verdict, over_seeds
from medimg.studies.outcome import StudyOutcome
from medimg.style.figures import COLOURS, save, styled
from medimg.style.pages import inlined, template
from medimg.style.words import interval, seconds_text
from medimg.untrusted.json_file import read_json

# From here on a value is shown without decimals.
_LARGE = 1000


def write(out: Path, outcome: StudyOutcome, verdicts: list[Verdict]) -> dict:
    """Write all of it, study.json last.

    Args:
        out: the study's folder.
        outcome: what was run.
        verdicts: one a claim.

    Returns:
        The content of study.json.
    """
    study, rows = outcome.study, _rows(outcome)
    picture = save(_figure(outcome, rows), out / "study.png")
    content = {
        **_identity(out),
        "question": study.question,
        "source": study.source,
        "datasets": list(outcome.data),
        "command": outcome.command,
        "seconds": outcome.course.seconds,
        "seeds": outcome.seeds,
        "scale": asdict(outcome.course.scale),
        "cuts": list(outcome.course.cuts),
        "failed": outcome.course.failed,
        "notes": list(study.notes),
        "rows": rows,
        "claims": [asdict(one) for one in verdicts],
        "conclusion": _conclusion(verdicts),
    }
    atomic.write_text(out / "study.md", markdown(content, study.metrics))
    page = template("studies", "study.html").render(
        study=content,
        title=study.name,
        metrics=list(study.metrics),
        figure=inlined(picture),
        text=worded,
        failures=failures(content["failed"]),
        took=seconds_text,
        least_seeds=LEAST_SEEDS,
        has_starts=any(row["starts"] for row in rows),
        grouped=any(row["group"] for row in rows),
        figure_metric=" and ".join(study.figure),
    )
    atomic.write_text(out / "study.html", page)
    atomic.write_json(out / "study.json", content)
    return content


def markdown(content: dict, metrics) -> str:
    """The table, with what it needs beside it."""
    names = ["cell", *metrics, "seeds", "seconds"]
    if any(row["starts"] for row in content["rows"]):
        names.insert(1, "starts from")
    lines = [f"# {content['study']}: {', '.join(content['datasets'])}", "", content["question"], ""]
    lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in content["rows"]:
        cells = [row["label"], *([row["starts"] or "–"] if "starts from" in names else [])]
        cells += [worded(row["metrics"].get(name)) for name in metrics]
        lines.append("| " + " | ".join([*cells, str(row["seeds"]), f"{row['seconds']:.0f}"]) + " |")
    lines += ["", content["conclusion"], ""]
    if content["cuts"]:
        lines += ["Cut: " + "; ".join(content["cuts"]) + ".", ""]
    if content["failed"]:
        lines += ["Could not be run: " + "; ".join(failures(content["failed"])) + ".", ""]
    return "\n".join([*lines, f"`{content['command']}`: {seconds_text(content['seconds'])}.", ""])


def failures(failed: dict[str, str]) -> list[str]:
    """A cell and why it could not be run, each."""
    return [f"{label} ({why})" for label, why in failed.items()]


def worded(measured: dict | None) -> str:
    """A value with its interval; large ones, such as bytes, whole; of how many seeds, where some have none."""
    if not measured or measured["value"] is None:
        return interval(measured)
    is_large = abs(measured["value"]) >= _LARGE
    text = f"{measured['value']:,.0f}" if is_large else interval(measured)
    seeds = measured.get("seeds")
    return text + (f" (of {seeds} seed{'s' if seeds > 1 else ''})" if seeds else "")


def _identity(out: Path) -> dict:
    """By which a folder is known to be of this study."""
    study = read_json(out / "study.json", needed=("study", "data", "options"))
    return {key: study[key] for key in ("study", "data", "options")}


def _rows(outcome: StudyOutcome) -> list[dict]:
    values, rows = outcome.values(), []
    for cell in outcome.study.cells:
        done = outcome.done[cell.label]
        if not done:
            continue
        rows.append(
            {
                "label": cell.label,
                "group": cell.group,
                "cell": cell.name,
                "starts": outcome.starts.get(cell.label, "vote of its members" if cell.votes else ""),
                "seeds": len(done),
                "seconds": sum(one.seconds for one in done) / len(done),
                "metrics": {t: _summed(each, len(done)) for t, each in values[cell.label].items() if each},
                "folders": [{step: str(path) for step, path in one.folders.items()} for one in done],
            }
        )
    return rows


def _summed(each: list[Measured], seeds: int) -> dict:
    """Over seeds; of how many, where that is not all."""
    defined = sum(one.value is not None for one in each)
    return over_seeds(each)._asdict() | ({"seeds": defined} if defined < seeds else {})


def _conclusion(verdicts: list[Verdict]) -> str:
    """One paragraph: does what the source claims hold here."""
    if not verdicts:
        return "The source gives no number to hold this against."
    counts = Counter(one.verdict for one in verdicts)
    summed = "; ".join(f"{verdict}: {counts[verdict]}" for verdict in (HOLDS, FAILS, OPEN) if counts[verdict])
    each = [f"Claimed: {one.claim.says}. Measured: {one.measured}: {one.verdict}." for one in verdicts]
    return " ".join([*([f"Of {len(verdicts)} claims: {summed}."] if each[1:] else []), *each])


def _figure(outcome: StudyOutcome, rows: list[dict]) -> Figure:
    """A line a cell, by group in colour, a panel a metric beneath the other: legible on a narrow screen."""
    titles = outcome.study.figure
    with styled():
        figure = Figure(figsize=(6.4, 0.5 + len(titles) * (0.8 + 0.34 * len(rows))))
        for axes, title in zip(figure.subplots(len(titles), squeeze=False)[:, 0], titles, strict=True):
            _panel(axes, title, rows)
        figure.suptitle(f"{outcome.study.name}: {', '.join(outcome.data)}", wrap=True)
    return figure


def _panel(axes, title: str, rows: list[dict]) -> None:
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for place, row in enumerate(rows):
        measured, colour = row["metrics"].get(title), COLOURS[groups.index(row["group"]) % len(COLOURS)]
        if measured:
            axes.plot(measured["value"], place, "o", color=colour)
            if None not in measured.values():
                axes.hlines(place, measured["low"], measured["high"], color=colour)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=title)
