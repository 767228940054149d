"""What came of a study: its finished cells, and what each of them measured."""

from dataclasses import dataclass

import numpy as np

from medimg.comparison.paired import difference
from medimg.comparison.reading import read
from medimg.evaluation.exact_differences import counted_for_difference
from medimg.evaluation.intervals import Measured, cluster_bootstrap
from medimg.evaluation.metrics import METRICS
from medimg.run import Run
from medimg.studies.course import Course
from medimg.studies.declared import Study
from medimg.studies.measured import measured_at
from medimg.studies.ranks import mean_ranks
from medimg.studies.running import Done


@dataclass(frozen=True)
class StudyOutcome:
    """Of a study.

    Attributes:
        study: with the cells as they were run.
        seeds: that were asked for.
        course: what was run of it.
        starts: cell's label -> where its weights start.
        data: names of the Datasets.
        command: as it was given.
        bootstrap: resamples for intervals.
    """

    study: Study
    seeds: int
    course: Course
    starts: dict[str, str]
    data: tuple[str, ...]
    command: str
    bootstrap: int

    @property
    def done(self) -> dict[str, list[Done]]:
        """Seeds' finished cells, by label."""
        return self.course.done

    def values(self) -> dict[str, dict[str, list[Measured]]]:
        """Label -> title -> a value a seed, none where a seed has none; nothing where none has."""
        paths = {title: where for title, where in self.study.metrics.items() if isinstance(where, str)}
        table, groups = {}, {}
        for cell in self.study.cells:
            each = {
                title: [
                    measured_at(one.results, path.replace("{cell}", cell.name)) or Measured()
                    for one in self.done[cell.label]
                ]
                for title, path in paths.items()
            }
            is_there = {title: any(one.value is not None for one in values) for title, values in each.items()}
            table[cell.label] = {title: values if is_there[title] else [] for title, values in each.items()}
            if self.done[cell.label]:
                groups.setdefault(cell.group, {})[cell.label] = table[cell.label]
        for title in self.study.metrics.keys() - paths.keys():
            for cells in groups.values():
                for label, ranks in mean_ranks(cells, self.study.metrics[title]).items():
                    table[label][title] = ranks
        return table

    def paired(self, first: str, second: str, title: str) -> list[Measured] | None:
        """Differences of two cells' Runs, seed by seed, each on the same resamples of the same test patients.

        Args:
            first: label.
            second: label of what is subtracted.
            title: of a metric.

        Returns:
            None where it is no metric of a Run, or the Runs were tested on different rows.
        """
        where = self.study.metrics[title]
        step, _, name = where.partition(".metrics.") if isinstance(where, str) else ("", "", "")
        if name not in METRICS:
            return None
        return _paired(self.done[first], self.done[second], step, METRICS.index(name), self.bootstrap)


def _paired(first: list[Done], second: list[Done], step: str, column: int, resamples: int) -> list[Measured] | None:
    gaps = []
    for pair in zip(first, second, strict=False):
        one, other = (read(Run.load(done.folders[step])) for done in pair)
        if not one.rows.equals(other.rows):
            return None
        patients = one.rows["patient"]
        values = [each.predictions.measure(np.ones((1, len(patients))))[0, 0, column] for each in (one, other)]
        draws = [
            cluster_bootstrap(each.predictions.measure, patients, resamples)[:, 0, column] for each in (one, other)
        ]
        gap = difference(*values, *draws, counted_for_difference(one.predictions, patients, METRICS[column]))
        gaps.append(Measured.of(gap.value, gap.low, gap.high))
    return gaps
