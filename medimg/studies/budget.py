"""What of a study fits into a time: first seeds fall out, then cells that no claim needs, then epochs, then rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medimg.data.dataset import Dataset
from medimg.studies.declared import LENGTHS, Cell, Study
from medimg.studies.running import Done, Runner, Scale
from medimg.style.words import listed, seconds_text

# A pilot learns from about so many rows.
PILOT_ROWS = 500
# Fewer epochs than this share teach nothing; from there on rows are cut, to this share.
SHORTEST = Scale(0.3, 0.25)
# Cells that take more than so many times their prediction are the reason of a cut, and it says so.
_AS_PREDICTED = 1.5
_OF_SOME_ROWS = ("explain",)


@dataclass(frozen=True)
class Cost:
    """Seconds of a cell whose own factor (`Cell.cost`) is 1.

    Attributes:
        fixed: whatever is trained.
        trained: by its epochs, of all rows.
        pilot: that predicted it.
        steps: folder of a step of that pilot -> its seconds.
        ends: cell's name -> seconds of its last step, of what the pilot trained; of studies that have them foretold.
    """

    fixed: float
    trained: float
    pilot: float = 0.0
    steps: dict[Path, float] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)

    def of(self, cell: Cell, scale: Scale) -> float:
        """Of a cell at a scale; of one that follows another its last step's."""
        if cell.follows and cell.name in self.ends:
            return self.ends[cell.name]
        return cell.cost * (self.fixed + self.trained * scale.length * scale.rows)


def pilot(runner: Runner, cell: Cell, foretold: tuple[str, dict] | None = None) -> Cost:
    """Predict what cells cost from two epochs of the first, on a part of the rows where there are many.

    Args:
        runner: that keeps the pilot like any cell.
        cell: the first.
        foretold: the study's.
    """
    rows = len(Dataset.load(runner.data[cell.data]).rows("train"))
    # Two epochs: of the first nobody knows what was start-up.
    scale = Scale(0.0, min(1.0, PILOT_ROWS / max(rows, 1)), least=2)
    short = scale.applied(cell)
    short = replace(short, steps=(*short.steps, *([foretold] if foretold else ())))
    done = runner.run(short, 0)
    others = (*_OF_SOME_ROWS, foretold[0] if foretold else "")
    full = {step: max((its[key] for key in LENGTHS if key in its), default=1) for step, its in cell.steps}
    each = {step: result.get("seconds_each") or 0.0 for step, result in done.results.items()}
    trained = sum(full.get(step, 1) * seconds for step, seconds in each.items()) / scale.rows
    spent = sum(result.get("times", 0) * each[step] for step, result in done.results.items())
    # What judges or attacks takes longer of more rows; a training's own start-up, and what reads some rows, does not.
    judged = sum(its for step, its in done.took.items() if step not in others and not done.results[step].get("times"))
    unforetold = done.seconds - (done.took[foretold[0]] if foretold else 0.0)
    fixed = max(0.0, unforetold - judged - spent) + judged / scale.rows
    ends = _ends(done, cell, done.results[foretold[0]]["seconds"]) if foretold else {}
    return Cost(fixed / cell.cost, trained / cell.cost, done.seconds, runner.kept(short, 0), ends)


def _ends(done: Done, cell: Cell, told: dict[str, float]) -> dict[str, float]:
    """Seconds of cells' last steps: those of the pilot's, with what is told of each in the place of what is of it."""
    took = done.took[cell.steps[-1][0]]
    rest = max(0.0, took - told[cell.name]) if cell.name in told else took
    return {name: rest + its for name, its in told.items()} | {cell.name: took}


def scale_for(study: Study, cost: Cost, seconds: float) -> Scale:
    """How long cells train, and on how many rows, so that those that claims need fit once.

    Args:
        study: with the cells that were asked for.
        cost: that the pilot predicts.
        seconds: that there are.
    """
    claimed = [cell for cell in study.cells if cell.label in study.claimed]
    needed = claimed or [cell for cell in study.cells if not cell.votes]
    # Where even the shortest does not fit, the costliest waits for a larger budget: all of them would teach nothing. Of
    # cells that no claim needs it is the last, and the first stays: later ones may share its steps.
    while len(needed) > (0 if claimed else 1) and sum(cost.of(cell, SHORTEST) for cell in needed) > seconds:
        needed.remove(max(needed, key=lambda cell: cell.cost) if claimed else needed[-1])
    # What costs nothing of its own shares the steps of another.
    alone = [cell for cell in study.cells if cell.cost and not cell.votes]
    needed = needed or [min(alone, key=lambda cell: cell.cost)]
    fixed, whole = (sum(cost.of(cell, Scale(length)) for cell in needed) for length in (0.0, 1.0))
    if whole <= seconds:
        return Scale()
    room = max(seconds - fixed, 0.0) / max(whole - fixed, 1e-9)
    length = max(SHORTEST.length, room)
    return Scale(length, min(1.0, max(SHORTEST.rows, room / length)))


def order(study: Study, cost: Cost | None, scale: Scale, seconds: float) -> list[Cell]:
    """The cells of a seed as they are run: those that a claim needs first, of what can't fit at all the cheapest.

    Args:
        study: with the cells that were asked for.
        cost: that the pilot predicts; None: there is no budget.
        scale: of all cells.
        seconds: that there are.
    """

    def place(cell: Cell) -> tuple:
        too_long = cost.of(cell, scale) if cost and not cell.votes else 0.0
        return (too_long if too_long > seconds else 0.0, cell.label not in study.claimed, bool(cell.votes))

    return sorted(study.cells, key=place)


def fits(
    ahead: Cell,
    cost: Cost,
    scale: Scale,
    done: Sequence[tuple[Cell, float]],
    left: float,
    before: tuple[Cell, Done] | None = None,
) -> bool:
    """Whether another cell fits, by what those that are done took against their prediction.

    What costs nothing by itself shares the steps of another, without which it would have to do them: it never fits.
    What follows another takes as much longer than foretold as the last step of that one; without it, all its steps.

    Args:
        ahead: the cell.
        cost: that the pilot predicted.
        scale: of all cells.
        done: cells that are finished, and the seconds of their own steps.
        left: seconds, and those of the cell's own steps that the pilot has done.
        before: the finished cell that it follows.
    """
    if ahead.follows and ahead.name in cost.ends:
        if before is None:
            whole = replace(ahead, follows=False)
            return cost.ends[ahead.name] + cost.of(whole, scale) * _pace(cost, scale, done) <= left
        cell, its = before
        foretold = cost.ends.get(cell.name, 0.0)
        slower = its.took[cell.steps[-1][0]] / foretold if foretold else 1.0
        return cost.ends[ahead.name] * slower <= left
    return bool(ahead.cost) and cost.of(ahead, scale) * _pace(cost, scale, done) <= left


def _alike(cells: Sequence[Cell], shorter: Scale) -> list[str]:
    """Those that a cut leaves with no difference, such as one and three epochs, in words."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(repr((cell.data, shorter.applied(cell).steps)), []).append(cell)
    differed = [its for its in groups.values() if len({repr(cell.steps) for cell in its}) > 1]
    return [f"what {listed([cell.label for cell in its], len(its))} differ in is cut away" for its in differed]


def _pace(cost: Cost, scale: Scale, done: Sequence[tuple[Cell, float]]) -> float:
    """Seconds that cells took over those predicted; 1 of none."""
    predicted = sum(cost.of(cell, scale) for cell, _ in done)
    return sum(its for _, its in done) / predicted if predicted else 1.0


def cuts(
    study: Study,
    seeds: int,
    cost: Cost,
    seconds: float,
    scale: Scale,
    done: dict[str, list],
    finished: Sequence[tuple[Cell, float]],
) -> tuple[str, ...]:
    """What was left out, in sentences; none of a study that is whole.

    Args:
        study: with the cells that were asked for.
        seeds: that were asked for.
        cost: that the pilot predicted.
        seconds: that there were.
        scale: of all cells.
        done: label -> a finished cell a seed.
        finished: cells, and the seconds of their own steps.
    """
    sentences = []
    fewer = [f"{label} {len(its)}" for label, its in done.items() if 0 < len(its) < seeds]
    if fewer:
        sentences.append(f"fewer seeds than {seeds}: {listed(fewer, len(fewer))}")
    absent = [label for label, its in done.items() if not its]
    if absent:
        sentences.append(f"left out: {listed(absent, len(absent))}")
    if scale.length < 1:
        shorter = Scale(scale.length, least=scale.least)
        trained = [cell for cell in study.cells if done.get(cell.label) and not cell.votes]
        uncut = [cell.label for cell in trained if shorter.applied(cell).steps == cell.steps]
        but = f", but of what has no number of them that could be cut: {listed(uncut, len(uncut))}" if uncut else ""
        sentences.append(f"trained for {scale.length:.0%} of the epochs or rounds{but}")
        sentences.extend(f"{text}, so these are one training" for text in _alike(trained, shorter))
    if scale.rows < 1:
        sentences.append(f"on {scale.rows:.0%} of the training patients")
    if sentences:
        whole = seconds_text(seeds * sum(cost.of(cell, Scale()) for cell in study.cells))
        pace = _pace(cost, scale, finished)
        slower = f" (cells took {pace:.1f} times what was predicted)" if pace > _AS_PREDICTED else ""
        sentences.insert(0, f"the whole was predicted to take {whole}{slower}, and {seconds_text(seconds)} were given")
    return tuple(sentences)
