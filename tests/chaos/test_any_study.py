"""Studies that use all there is, through a storm: what they end with is what they end with in peace, bit for bit.

Kills of workers, trial processes, their templates and commands, singly and together; frozen processes; workers with
other slots and threads, a second one on the same database, and one killed before its first claim; more trials asked for
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.any_study import Studies, difference, write_code
from tests.chaos.harness import seeded
from tests.chaos.weather import Weather

GROUPS = {
    "functions": (("declared", "branches", "reused"), 40),
    "histories": (("two_goals", "wordy", "points", "gaussian"), 25),
    "ends": (("shrinks", "alone", "ends", "hangs", "stalls", "diverges"), 30),
    "commands": (("by_report", "by_csv", "by_board", "by_results", "by_output"), 40),
}  # fmt: skip  # studies, losses


@pytest.fixture
def made() -> Iterator[list[Studies]]:
    """Studies whose processes do not outlive the test."""
    found: list[Studies] = []
    yield found
    for each in found:
        each.end()


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_a_storm_changes_nothing_and_leaves_nothing_behind(
    group: str, tmp_path: Path, made: list[Studies], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, losses = GROUPS[group]
    code = write_code(tmp_path / "code")
    peace, storm = Studies(code, tmp_path / "peace", names), Studies(code, tmp_path / "storm", names)
    made += [peace, storm]
    peace.put_in_line()
    peace.finish()
    assert all(job["status"] == "done" for job in peace.record().values()), peace.said()
    monkeypatch.setenv("STORM_PAUSE_S", "0.1")  # longer epochs: more of it is hit
    storm.put_in_line(less=True)
    weather = Weather(storm, seeded(group, losses))
    weather.rage(losses)
    print(dict(weather.losses))
    storm.finish()
    assert difference(peace.record(), storm.record()) == [], storm.said()
    assert storm.leftovers() == []
