"""What of a study fits into a time: seeds are cut, then cells that no claim needs, then epochs, then rows; and said."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medimg.studies.declared import Cell, Study
from medimg.studies.running import Done, Runner, Scale
from medimg.style.words import listed, seconds_text

# A pilot learns from about so many rows.
PILOT_ROWS = 500
# Fewer epochs than this share teach nothing; from there on rows are cut.
LEAST_LENGTH = 0.3
LEAST_ROWS = 0.02


@dataclass(frozen=True)
class Cost:
    """Seconds of the first cell.

    Attributes:
        fixed: whatever is trained.
        trained: by its epochs, of all rows.
    """

    fixed: float
    trained: float

    def of(self, cell: Cell, scale: Scale) -> float:
        """Of a cell at a scale."""
        return cell.cost * (self.fixed + self.trained * scale.length * scale.rows)


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        seeds: of every cell.
        cells: in the study's order.
        scale: of all cells.
        cuts: what is left out, in sentences.
    """

    seeds: int
    cells: tuple[Cell, ...]
    scale: Scale
    cuts: tuple[str, ...] = ()


def pilot(runner: Runner, cell: Cell, rows: int, seed: int) -> Cost:
    """Predict the first cell's cost from one epoch of it, on a part of the rows where there are many.

    Args:
        runner: that keeps the pilot like any cell.
        cell: the first.
        rows: of its training part.
        seed: of the pilot.
    """
    scale = Scale(1e-9, min(1.0, PILOT_ROWS / max(rows, 1)))
    done = runner.run(scale.applied(cell), seed)
    full = {step: max((its[key] for key in ("epochs", "rounds") if key in its), default=1) for step, its in cell.steps}
    each = {step: result.get("seconds_each") or 0.0 for step, result in done.results.items()}
    trained = sum(full.get(step, 1) * seconds for step, seconds in each.items()) / scale.rows
    spent = sum(result.get("times", 0) * each[step] for step, result in done.results.items())
    return Cost(max(0.0, done.seconds - spent), trained)


def plan(study: Study, seeds: int, cost: Cost, budget: float) -> Plan:
    """Cut until the prediction is under the budget.

    Args:
        study: with the cells that its Datasets allow.
        seeds: asked for.
        cost: of the first cell.
        budget: seconds.
    """
    cells, scale, cuts, wanted = study.cells, Scale(), [], seeds

    def needed() -> float:
        return seeds * sum(cost.of(cell, scale) for cell in cells)

    whole = needed()
    while seeds > 1 and needed() > budget:
        seeds -= 1
    if seeds < wanted:
        cuts.append(f"{seeds} of {wanted} seeds")
    left_out = []
    while needed() > budget and len(cells) > 1:
        spare = [cell for cell in cells[1:] if cell.label not in study.claimed]
        if not spare:
            break
        left_out.insert(0, spare[-1].label)
        cells = tuple(cell for cell in cells if cell is not spare[-1])
    if left_out:
        cuts.append(f"left out: {listed(left_out, len(left_out))}")
    if needed() > budget:
        fixed = seeds * sum(cost.of(cell, Scale(0.0)) for cell in cells)
        room = max(budget - fixed, 0.0) / max(needed() - fixed, 1e-9)
        length = max(LEAST_LENGTH, room)
        scale = Scale(length, min(1.0, max(LEAST_ROWS, room / length)))
        cuts.append(f"{scale.length:.0%} of the epochs or rounds")
        if scale.rows < 1:
            cuts.append(f"{scale.rows:.0%} of the training patients")
    if cuts:
        cuts.insert(0, f"predicted whole: {seconds_text(whole)}, and {seconds_text(budget)} were given; what is run")
    return Plan(seeds, cells, scale, tuple(cuts))


def fits(ahead: Cell, cost: Cost, scale: Scale, done: Sequence[tuple[Cell, Done]], left: float) -> bool:
    """Whether another cell fits into the seconds left, by what those that are done took against their prediction."""
    predicted = sum(cost.of(cell, scale) for cell, _ in done)
    pace = sum(one.seconds for _, one in done) / predicted if predicted else 1.0
    return cost.of(ahead, scale) * pace <= left


def shorter(given: Plan, not_run: Sequence[str]) -> Plan:
    """The plan, with what time did not allow after all."""
    if not not_run:
        return given
    return replace(given, cuts=(*given.cuts, f"no time was left for {listed(not_run, len(not_run))}"))
