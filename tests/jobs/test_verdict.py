"""A trial that is about to be pruned does not begin another step, and one that hears nothing goes on."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor.attempt import AttemptEnd, Ended, RunningAttempt
from fts.jobs.supervisor.history import JobHistory
from fts.jobs.supervisor.trial_runner import TrialRunner
from fts.jobs.supervisor.work import Work
from fts.jobs.trial import process
from fts.jobs.trial.process import Commands
from fts.state import queries
from fts.study import objective as trial
from fts.study.build import build_trial
from fts.study.cell import TrialSpec
from fts.study.study import PatchTST
from tests.cli.study import CELL, add_epoch, claim, make_study, places_of, start_trial
from tests.jobs.science import cells_of, make_data
from tests.jobs.test_process import spawn

PATIENCE_S = 60.0  # never asserted, only so that a hanging test ends
TELLS_AN_EPOCH_AND_WHAT_IT_HEARS = """
spec = json.loads(sys.stdin.readline())
say(fact='epoch', number=4, epoch=1)
heard = json.loads(sys.stdin.readline()) if spec['spec']['cell']['pruner'] != 'none' else None
say(fact='result', number=4, heard=heard)
"""


class Told:
    """Orders whose other end the test holds."""

    def __init__(self) -> None:
        read_end, self.fd = os.pipe()
        self.orders = Commands(read_end)

    def say(self, **command: Any) -> None:
        os.write(self.fd, json.dumps(command).encode() + b"\n")


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    os.close(told.fd)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TrialSpec:
    folder = tmp_path_factory.mktemp("verdict")
    places = Places(folder / "outputs" / "fts.db", make_data(folder / "data").root)
    (cell,) = cells_of(places, trials=1, epochs=3, pruner="halving")
    architecture = cell.space["architecture"]["choices"][0]
    params = {"architecture": architecture, "learning_rate": 1e-3, "weight_decay": 1e-3, "warmup_steps": 10}
    return TrialSpec(
        cell=cell, number=4, params=params | {"dropout": 0.1}, seed=1, threads=1, device="cpu",
        data_root=str(places.data), folder=str(folder / "trial"), log_path=str(folder / "log"),
        checkpoint_every_s=86_400.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "last", [{"do": "go on", "number": 4, "epoch": 2}, {"do": "prune", "number": 4}, {"do": "stop"}]
)
def test_a_wait_ends_with_the_verdict_on_its_epoch_or_another_order(told: Told, last: dict[str, Any]) -> None:
    waits = threading.Thread(target=told.orders.await_verdict, args=(4, 2, PATIENCE_S))
    waits.start()
    told.say(do="go on", number=4, epoch=1)  # a late one
    waits.join(0.1)
    assert waits.is_alive()
    told.say(**last)
    waits.join(PATIENCE_S / 2)
    assert not waits.is_alive()


@pytest.mark.parametrize("own", [True, False])
def test_orders_end_their_process_only_where_it_is_the_trials_own(own: bool) -> None:
    """A test that held orders ended its pytest process two minutes later."""
    read_end, write_end = os.pipe()
    left = threading.Event()
    orders = Commands(read_end, left.set if own else None)
    os.close(write_end)
    assert orders.next() is None
    assert left.wait(PATIENCE_S if own else 0.1) == own


def test_a_second_sigterm_in_the_middle_of_the_first_waits_for_nothing(told: Told) -> None:
    """Supervisor and batch system may both send one: the handler waited for a lock that its own thread held."""

    def again(*_: Any) -> Any:
        told.orders.ask_stop()  # as a handler may, at any line
        return again

    def first() -> None:
        sys.settrace(again)
        told.orders.ask_stop()

    asks = threading.Thread(target=first, daemon=True)
    asks.start()
    asks.join(10.0)
    assert told.orders.stop_asked() and not asks.is_alive()


def test_a_wait_ends_when_nobody_answers(told: Told) -> None:
    told.orders.await_verdict(4, 2, 0.01)
    assert not told.orders.stop_asked()


def test_a_pruned_trial_ends_before_its_next_step(told: Told, spec: TrialSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "VERDICT_S", PATIENCE_S)
    monkeypatch.setattr(process, "STEP_EVERY_S", 0.0)  # every step is told
    kinds = []
    for fact in trial.trial_facts(spec, told.orders, build_trial):
        kinds.append(fact["fact"])
        if fact["fact"] == "epoch":
            told.say(do="prune", number=4)
    assert kinds[-2:] == ["epoch", "pruned"]


def test_an_unanswered_trial_ends_as_one_that_is_spared(
    told: Told, spec: TrialSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(answer: bool) -> list[dict[str, Any]]:
        found = []
        for fact in trial.trial_facts(spec, told.orders, build_trial):
            if fact["fact"] == "epoch" and answer:
                told.say(do="go on", number=4, epoch=fact["epoch"])
            if fact["fact"] in ("epoch", "result"):
                timed = ("seconds", "samples_per_s", "peak_bytes")
                found.append({name: value for name, value in fact.items() if name not in timed})
        return found

    monkeypatch.setattr(process, "VERDICT_S", PATIENCE_S)
    spared = results(answer=True)
    monkeypatch.setattr(process, "VERDICT_S", 0.001)
    assert results(answer=False) == spared
    assert [fact["fact"] for fact in spared] == ["epoch", "epoch", "epoch", "result"]


@pytest.mark.parametrize(
    ("pruner", "verdict", "heard", "how"),
    [
        ("halving", None, {"do": "go on", "number": 4, "epoch": 1}, "result"),
        ("halving", Ended.PRUNED, {"do": "prune", "number": 4}, "pruned"),
        ("none", None, None, "result"),
    ],
)
def test_the_supervisor_answers_each_epoch_of_a_cell_with_a_pruner(
    tmp_path: Path, pruner: str, verdict: Ended | None, heard: dict[str, Any] | None, how: str
) -> None:
    with spawn(TELLS_AN_EPOCH_AND_WHAT_IT_HEARS, tmp_path) as child:
        attempt = RunningAttempt(child, lambda _: verdict, lambda: None, poll_s=0.1, grace_s=1.0)
        end: AttemptEnd = attempt.run({"cell": {"pruner": pruner}}, 4)
    assert (end.how, end.facts["heard"]) == (how, heard)


def test_the_record_of_a_pruned_trial_does_not_tell_whether_it_heard_the_verdict_in_time(tmp_path: Path) -> None:
    told = {"value": 0.6, "val_auc": 0.6, "auc_low": 0.5, "auc_high": 0.7, "badges": ["collapsed"], "peak_bytes": 7}
    records = []
    for n, facts in enumerate(({}, told)):  # it stopped, or it had come to its own result at its last epoch
        db = make_study(tmp_path / str(n), budgets=("2M",), horizons=(1,))
        claimed = claim(db)
        add_epoch(db, claimed, start_trial(db, claimed), 1, 0.7)
        work = Work(
            db,
            places_of(tmp_path / str(n)),
            WorkerSettings(),
            None,
            claimed,
            PatchTST(),
            CELL,
            None,
            lambda *_: None,
            JobHistory(db, claimed.job_id),
        )  # type: ignore[arg-type]
        TrialRunner(work, queries.trial(db, claimed.job_id, 0))._close(AttemptEnd(Ended.PRUNED, facts))
        trial = queries.trial(db, claimed.job_id, 0)
        records.append(replace(trial, started_at=0.0, ended_at=None))
        db.close()
    assert records[0] == records[1]
    assert (str(records[0].status), records[0].value, records[0].best_epoch) == ("pruned", 0.7, 1)
