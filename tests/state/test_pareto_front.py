"""The front of several goals is that of all complete trials, and reading it does not read them all again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fts.state import pareto_front, queries, transitions
from fts.state.db import Database, open_database
from fts.state.values import Cause, Claim

GOALS = {"loss": "minimize", "latency": "minimize"}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "fts.db", create=True)
    yield opened
    opened.close()


def claimed(db: Database, trials: int) -> Claim:
    spec = {"metric": "loss", "goals": GOALS, "trials": trials}
    row = {"experiment": "e", "kind": "cell", "study": "s", "labels": {}, "trials_wanted": trials, "spec": spec}
    transitions.enqueue(db, [row | {"metric": "loss", "direction": "minimize"}])
    worker = transitions.register_worker(db, "h", 1, 1.0, 1)
    claim = transitions.claim(db, worker, 60.0)
    assert claim is not None
    return claim


def run(db: Database, claim: Claim, number: int, loss: float | None, latency: float = 0.0) -> None:
    fields = {"params": {}, "effective": {"n": number}, "architecture": "", "objective": "loss", "seed": 1}
    trial = transitions.start_trial(db, claim, number, **fields)
    if loss is None:
        transitions.finish_trial(db, claim, trial, "failed", Cause.CODE_ERROR, message="broken")
    else:
        facts = {"metrics": {"loss": loss, "latency": latency}}
        transitions.finish_trial(db, claim, trial, "complete", Cause.FINISHED, value=loss, facts=facts)


def anew(db: Database) -> tuple[int, ...]:
    pareto_front._KNOWN.clear()
    return queries.job(db, 1).front


def test_it_grows_with_each_trial_and_equals_one_that_was_read_anew(db: Database) -> None:
    claim, chance = claimed(db, 60), random.Random(1)
    for number in range(60):
        broken = chance.random() < 0.2
        run(db, claim, number, None if broken else chance.randrange(8), chance.randrange(8))
        grown = queries.job(db, 1).front
        assert grown == anew(db)
        assert queries.job(db, 1).best_trial == (grown[0] if grown else None)


def test_only_trials_that_may_have_ended_since_are_read(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claimed(db, 40)
    for number in range(30):
        run(db, claim, number, float(number), float(-number))
    assert len(queries.job(db, 1).front) == 30
    read: list[int] = []
    point_of = pareto_front.point_of

    def counted(*given: Any) -> Any:
        read.append(1)
        return point_of(*given)

    monkeypatch.setattr(pareto_front, "point_of", counted)
    run(db, claim, 30, 0.5, 0.5)
    assert len(queries.job(db, 1).front) == 30 and len(read) <= 2, "once in the transition, once by the reader"


def test_what_was_taken_back_is_not_remembered(db: Database) -> None:
    claim = claimed(db, 9)
    run(db, claim, 0, 5.0, 5.0)
    before = queries.job(db, 1).front
    with pytest.raises(RuntimeError), db.write():
        run(db, claim, 1, 1.0, 1.0)
        assert queries.job(db, 1).front == (1,)
        raise RuntimeError
    assert queries.job(db, 1).front == before == (0,)
    run(db, claim, 1, 9.0, 9.0)
    assert queries.job(db, 1).front == anew(db) == (0,)


def test_a_failed_trial_that_runs_again_joins_the_front(db: Database) -> None:
    claim = claimed(db, 9)
    for number, loss in enumerate((5.0, None, 6.0)):
        run(db, claim, number, loss, loss or 0.0)
    assert queries.job(db, 1).front == (0,)
    transitions.fail_job(db, claim, Cause.CODE_ERROR, "broken")
    transitions.retry(db, [1])
    again = transitions.claim(db, claim.worker_id, 60.0)
    assert again is not None
    trial = queries.trial(db, 1, 1).id
    transitions.rerun_trial(db, again, trial)
    facts = {"metrics": {"loss": 1.0, "latency": 1.0}}
    transitions.finish_trial(db, again, trial, "complete", Cause.FINISHED, value=1.0, facts=facts)
    assert queries.job(db, 1).front == anew(db) == (1,)
