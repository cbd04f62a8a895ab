"""What a command does for each of many cells does not grow with the number of all cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.cli import selection
from fts.jobs.records import searches
from fts.jobs.records.searches import Searches
from fts.state import queries, transitions
from fts.state.values import Job
from tests.cli.study import runner
from tests.state.helpers import new_db, spec

CELLS = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """So many cells in line, the first three twice."""
    db = new_db(tmp_path)
    rows = [cell(n) for n in range(CELLS)] + [cell(n) | {"spec": {"n": n, "again": True}} for n in range(3)]
    transitions.enqueue(db, rows, "test")
    db.close()
    return tmp_path


def cell(n: int) -> dict[str, Any]:
    row = spec(1, study="many", experiment=f"many_{n}", cell=f"c{n}", labels={"n": n, "m": 1}, spec={"n": n})
    return {name: value for name, value in row.items() if name not in ("budget", "horizon", "task", "tier")}


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Callable[[], int]:
    """How often a function of a module has been called since."""
    calls: list[None] = []
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *words: (calls.append(None), real(*words))[1])
    return lambda: len(calls)


@pytest.mark.parametrize("words", [("results", "--csv"), ("report",)])
def test_each_cell_finds_its_other_searches_without_a_look_at_every_cell(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    calls = counted(monkeypatch, searches, "_cell_of")
    monkeypatch.chdir(folder)
    said = runner(folder, capsys)(*words)
    assert said.code == 0, said
    assert 0 < calls() < 10 * CELLS
    if words[0] == "results":
        assert said.out.count("older search: job") == 3


def test_a_word_for_a_job_is_read_once_not_once_for_each_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = counted(monkeypatch, selection, "matcher")
    said = runner(folder, capsys)("why", "7")
    assert said.code == 0, said
    assert calls() == 1


def test_the_searches_of_a_cell_are_those_of_its_name_and_its_axes(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    one = cell(1)
    rows = [one, one | {"spec": {"again": 1}}, one | {"spec": {"k": 1}, "labels": {"k": 1}}, cell(2)]
    transitions.enqueue(db, rows, "test")
    jobs = queries.jobs(db)
    first = job_of(jobs, 1)
    assert [job.id for job in Searches(jobs).newer(first)] == [2]
    other = Searches(jobs).on_other_axes(first)
    assert other is not None and other.id == 3
    transitions.cancel(db, [2, 3], "test")
    jobs = queries.jobs(db)
    assert Searches(jobs).newer(first) == [] and Searches(jobs).on_other_axes(first) is None
    assert Searches(jobs).newer(job_of(jobs, 4)) == []
    db.close()


def job_of(jobs: tuple[Job, ...], number: int) -> Job:
    return next(job for job in jobs if job.id == number)
