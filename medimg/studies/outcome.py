"""What came of a study: its finished cells, and what each of them measured."""

from dataclasses import dataclass

from medimg.studies.budget import Plan
from medimg.studies.declared import Study
from medimg.studies.measured import Value, found
from medimg.studies.running import Done


@dataclass(frozen=True)
class Outcome:
    """Of a study.

    Attributes:
        study: with the cells as they were run.
        plan: what of it was run.
        starts: cell's label -> where its weights start.
        done: seeds' finished cells, by label.
        data: names of the Datasets.
        seconds: that all cells took.
        command: as it was given.
    """

    study: Study
    plan: Plan
    starts: dict[str, str]
    done: dict[str, list[Done]]
    data: tuple[str, ...]
    seconds: float
    command: str

    def values(self) -> dict[str, dict[str, list[Value]]]:
        """Label -> title -> a value a seed, where it was measured."""
        table = {}
        for label, seeds in self.done.items():
            each = {title: [found(one.results, path) for one in seeds] for title, path in self.study.metrics.items()}
            table[label] = {title: [v for v in values if v is not None] for title, values in each.items()}
        return table
