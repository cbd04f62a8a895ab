"""One more trial costs the same after 150 trials and after 2,000: statements, rows, work of SQLite, bytes told."""

from __future__ import annotations

import threading
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor.child import TrialProcess
from fts.jobs.supervisor.history import JobHistory
from fts.jobs.supervisor.progress_events import TrialEnded
from fts.jobs.supervisor.template import Template
from fts.jobs.worker.worker import run_job
from fts.state import transitions
from fts.state.database import Database
from fts.state.db import open_database
from tests.fts_process import Study
from tests.jobs.many import copy_trials
from tests.state.helpers import claimed, enqueued, new_db, started

FEW, MANY = 150, 2_000
MORE = 7  # trials that run after them
EVERY = 100  # instructions of SQLite's machine between two counts
SLACK = 1.15  # a tree of ten times the pages is a level deeper
OBJECTIVE = """
def objective(trial):
    x = trial.suggest_float("x", -10.0, 10.0)
    trial.report(x, 0)
    return (x - 2.0) ** 2 + (trial.suggest_categorical("kind", ["a", "b"]) == "b")
"""


@dataclass
class Cost:
    statements: int = 0
    rows: int = 0
    instructions: int = 0
    told: int = 0  # bytes, to processes

    def since(self, before: Cost) -> Cost:
        return Cost(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


class Counter:
    """Counts what the supervisor's thread does, trial by trial; in the place of a console."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.ended = Cost(), list[Cost]()
        self.me = threading.get_ident()
        execute, rows, connection = Database.execute_sql, Database.rows, Database._connection
        send, know = TrialProcess.send, Template.know

        def counted_sql(db: Database, sql: str, params: Any = None) -> Any:
            self.add(statements=1)
            return execute(db, sql, params)

        def counted_rows(db: Database, query: Any) -> Any:
            found = rows(db, query)
            self.add(rows=len(found))
            return found

        def counted_connection(db: Database, *words: Any, **options: Any) -> Any:
            opened = connection(db, *words, **options)
            opened.set_progress_handler(lambda: self.add(instructions=EVERY), EVERY)
            return opened

        def counted_send(child: TrialProcess, message: dict[str, Any], *more: Any) -> None:
            self.add(told=len(str(message)))
            send(child, message, *more)

        def counted_know(template: Template, told: Any, *more: Any) -> None:
            self.add(told=sum(len(str(one)) for one in replace_told(template, told)))
            know(template, told, *more)

        for owner, name, counted in (
            (Database, "execute_sql", counted_sql), (Database, "rows", counted_rows),
            (Database, "_connection", counted_connection), (TrialProcess, "send", counted_send),
            (Template, "know", counted_know),
        ):  # fmt: skip
            patch.setattr(owner, name, counted)

    def add(self, **counts: int) -> None:
        if threading.get_ident() == self.me:
            self.now = replace(self.now, **{name: getattr(self.now, name) + n for name, n in counts.items()})

    def tell(self, event: Any) -> None:
        if isinstance(event, TrialEnded):
            self.ended.append(self.now)

    def close(self) -> None:
        """Nothing is open."""


def replace_told(template: Template, told: Any) -> list[Any]:
    """What the template does not know yet."""
    known = template.known.past if template.known.name == told.name else {}
    return [one for number, one in told.past.items() if known.get(number) is not one]


def cost_of_a_trial(folder: Path, count: int, process: str, sampler: str) -> Cost:
    """The usual cost of one more trial after so many; every other one may have exports, too."""
    study = Study(folder)
    (folder / "train.py").write_text(OBJECTIVE)
    words = ("enqueue", "train.py:objective", "--process", process, "--sampler", sampler, "--trials")
    study.ok(*words, "1")
    places, settings = Places(study.outputs / "fts.db", folder / "data"), WorkerSettings(poll_s=0.1)
    assert run_job(places, settings, 1) == 0
    db = open_database(places.db)
    copy_trials(db, 1, 1, count)
    db.close()
    study.ok(*words, str(count + MORE))
    with pytest.MonkeyPatch.context() as patch:
        counter = Counter(patch)
        assert run_job(places, settings, 1, counter) == 0  # type: ignore[arg-type]  # the same
    costs = [after.since(before) for before, after in zip(counter.ended, counter.ended[1:], strict=False)]
    assert len(costs) == MORE - 1
    return Cost(*(int(median(column)) for column in zip(*map(astuple, costs), strict=True)))


@pytest.mark.parametrize(
    ("process", "sampler"), [("fresh", "tpe"), pytest.param("reused", "random", marks=pytest.mark.slow)]
)
def test_one_more_trial_costs_the_same_after_2000_trials_as_after_150(tmp_path: Path, process: str, sampler: str):
    few, many = (cost_of_a_trial(tmp_path / str(count), count, process, sampler) for count in (FEW, MANY))
    for name in ("statements", "rows", "instructions", "told"):
        assert getattr(many, name) <= SLACK * getattr(few, name), (few, many)
    assert many.rows < 60 and many.told < 4_000, many


def test_trials_that_draw_from_the_same_range_share_it_in_memory(tmp_path: Path):
    """A history that is read trial by trial would hold it once for each of a hundred thousand trials."""
    db = new_db(tmp_path)
    enqueued(db)
    claim = claimed(db)
    history = JobHistory(db, claim.job_id)
    for number in range(3):
        trial = started(db, claim, number, params={})
        transitions.record_draw(db, claim, trial, 0, "x", 0.5, {"kind": "float", "low": 0.0, "high": 1.0})
        transitions.finish_trial(db, claim, trial, "complete", "finished", value=0.5)
        history.refresh()
    ranges = [past.distributions["x"] for past in history.past()]
    assert len(ranges) == 3 and ranges[0]["high"] == 1.0
    assert all(each is ranges[0] for each in ranges)
    db.close()
