"""Some of the random command lines of `benchmarks.command_lines`, of its seed."""

import pytest

from benchmarks.command_lines import SEED, ended, run


@pytest.mark.slow
def test_random_command_lines_end_as_they_should(tmp_path):
    counts, faults = run(tmp_path, 60, SEED)
    assert faults == []
    assert sum(counts.values()) == 60
    # Not all of them stop at the first word.
    assert sum(count for (_, how), count in counts.items() if how in ("done", "problems found")) >= 3


def test_what_ends_otherwise_is_a_fault(monkeypatch):
    assert ended(["models"]) == ("done", "")
    assert ended(["evaluate", "nowhere"]) == ("refused", "")
    assert ended(["evaluate"]) == ("refused", "")

    def broken(*_):
        raise KeyError("image")

    monkeypatch.setattr("medimg.commands.installation.table", broken)
    how, said = ended(["models"])
    assert how == "TRACEBACK"
    assert "KeyError 'image'" in said
