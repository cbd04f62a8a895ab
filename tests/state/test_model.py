"""The transitions against a small model of the queue, driven by hypothesis: random orders of everything at once.

The model knows only what must hold: each job is in one state, the line has an order, a claim is one token. If the two
ever disagree, hypothesis prints the shortest sequence that shows it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fts.state import queries, tickets, transitions
from fts.state.db import Database
from fts.state.errors import CannotUndo, StaleToken, WrongStatus
from fts.state.transitions import order
from fts.state.values import Cause, Claim
from tests.state.helpers import LEASE_S, epoch, interrupt, live_trial, new_db, spec, started

WAITING = ("queued", "paused")
ACTS = ["epoch", "end", "interrupt", "release", "fail", "finish", "oom"]
PICK = st.integers(0, 7)  # the how-manieth of those it applies to


@dataclass
class ModelJob:
    status: str = "queued"
    asked: str | None = None
    attempt: int = 0
    idle: int = 0
    live: str | None = None  # status of its live trial
    epochs: int = 0  # of the live trial
    ended: int = 0  # trials
    lost: bool = False  # its latest attempt ended with its worker


@dataclass
class Model:
    jobs: dict[int, ModelJob] = field(default_factory=dict)
    line: list[int] = field(default_factory=list)  # every job that is not over, in the order of rank
    queue_paused: bool = False

    def waiting(self) -> list[int]:
        return [job for job in self.line if self.jobs[job].status in WAITING]


class QueueMachine(RuleBasedStateMachine):
    """Two workers and a person at one queue."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.db: Database = new_db(Path(self.folder.name))
        self.model = Model()
        self.workers = [transitions.register_worker(self.db, f"host{n}", n, 1.0, 9) for n in (1, 2)]
        self.claims: list[Claim] = []  # every claim ever made, the old ones too
        self.db.execute_sql("PRAGMA synchronous = OFF")  # no power is lost here, and each step is three times faster
        for n in (1, 2, 3):
            self._enqueue(n)

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            self.folder.cleanup()

    # A person

    @rule(n=st.integers(1, 5))
    def enqueue(self, n: int) -> None:
        self._enqueue(n)

    def _enqueue(self, n: int) -> None:
        live = [job for job, row in self.model.jobs.items() if row.status in (*WAITING, "running")]
        same = [job for job in live if queries.job(self.db, job).spec["horizon"] == n]
        (result,) = transitions.enqueue(self.db, [spec(n)])
        assert result.created is (not same)
        if result.created:
            self.model.jobs[result.job_id] = ModelJob()
            self.model.line.append(result.job_id)

    def _one(self, pick: int, *statuses: str) -> tuple[int, ModelJob] | None:
        fitting = [(job, row) for job, row in self.model.jobs.items() if row.status in statuses]
        return fitting[pick % len(fitting)] if fitting else None

    @rule(pick=PICK, dry=st.booleans())
    def pause(self, pick: int, dry: bool) -> None:
        if (found := self._one(pick, "queued", "running", "paused")) is None:
            return
        job, row = found
        transitions.pause(self.db, [job], dry_run=dry)
        if not dry and row.status == "queued":
            row.status = "paused"
        elif not dry and row.status == "running":
            row.asked = "pause"

    @rule(pick=PICK)
    def resume(self, pick: int) -> None:
        if (found := self._one(pick, "queued", "running", "paused")) is None:
            return
        job, row = found
        transitions.resume(self.db, [job])
        if row.status == "paused":
            row.status = "queued"
        elif row.status == "running" and row.asked == "pause":
            row.asked = None

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        if (found := self._one(pick, "queued", "running", "paused")) is None:
            return
        job, row = found
        transitions.cancel(self.db, [job])
        if row.status == "running":
            row.asked = "cancel"
        else:
            row.status = "cancelled"

    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        if (found := self._one(pick, "failed", "cancelled")) is None:
            return
        job, row = found
        try:
            transitions.retry(self.db, [job])
        except WrongStatus as error:
            assert "has the same specification and has not ended" in str(error)
            return
        row.status, row.idle, row.lost = "queued", 0, False

    @rule(pick=PICK, to=st.sampled_from(["top", "bottom", "up", "down"]))
    def move(self, pick: int, to: str) -> None:
        if (found := self._one(pick, *WAITING)) is None:
            return
        job, waiting = found[0], self.model.waiting()
        transitions.move(self.db, [job], to)
        i = waiting.index(job)
        target = {"top": 0, "bottom": len(waiting), "up": max(0, i - 1), "down": i + 1}[to]
        waiting.remove(job)
        waiting.insert(target, job)
        assert [row.id for row in queries.jobs(self.db, WAITING)] == waiting
        self._relearn_line()

    def _relearn_line(self) -> None:
        """Where the others come to stand between the waiting ones is the ranks' business, not the model's."""
        ranks = {job.id: (job.rank, job.id) for job in queries.jobs(self.db)}
        self.model.line.sort(key=lambda job: ranks[job])

    @rule(paused=st.booleans())
    def pause_queue(self, paused: bool) -> None:
        if paused:
            transitions.pause_queue(self.db, "test")
        else:
            transitions.resume_queue(self.db)
        self.model.queue_paused = paused

    @rule(n=st.integers(1, 2))
    def undo_and_redo_is_where_we_were(self, n: int) -> None:
        before = self._shape()
        try:
            undone = transitions.undo(self.db, n)
        except CannotUndo:
            assert self._shape() == before
            return
        assert len(undone) == n
        transitions.redo(self.db, n)
        assert self._shape() == before

    def _shape(self) -> list[Any]:
        jobs = [(j.id, j.status, j.rank, j.asked, j.cause, j.hold_reason) for j in queries.jobs(self.db)]
        return [*sorted(jobs), queries.flag(self.db, "queue_paused") is not None]

    # Workers

    @rule(who=st.integers(0, 1))
    def claim(self, who: int) -> None:
        self._claim(who)

    def _claim(self, who: int) -> None:
        self.db.execute_sql("DELETE FROM huey_task WHERE id IN (SELECT id FROM huey_task LIMIT 1)")  # as a look does
        claim = transitions.claim(self.db, self.workers[who], LEASE_S)
        runnable = [job for job in self.model.line if self.model.jobs[job].status == "queued"]
        if self.model.queue_paused:
            assert claim is None
            return
        while runnable and self.model.jobs[runnable[0]].idle >= self._allowed(runnable[0]):
            self.model.jobs[runnable.pop(0)].status = "failed"
        assert (claim.job_id if claim else None) == (runnable[0] if runnable else None)
        if claim:
            row = self.model.jobs[claim.job_id]
            row.status, row.attempt, row.idle = "running", row.attempt + 1, row.idle + 1
            assert (claim.attempt, claim.token) == (row.attempt, row.attempt)
            self.claims.append(claim)

    def _allowed(self, job: int) -> int:
        """Attempts without progress: killing a worker says little about its job."""
        return 30 if self.model.jobs[job].lost else 3

    @rule(who=st.integers(0, 1), acts=st.lists(st.sampled_from(ACTS), min_size=1, max_size=4))
    def claim_and_work(self, who: int, acts: list[str]) -> None:
        before = len(self.claims)
        self._claim(who)
        for act in acts if len(self.claims) > before else []:
            self._write(self.claims[-1], act)

    @precondition(lambda self: self.claims)
    @rule(pick=st.integers(0, 50), act=st.sampled_from(ACTS))
    def write(self, pick: int, act: str) -> None:
        late = [c for c in self.claims if self.model.jobs[c.job_id].status == "running" and not self._is_latest(c)]
        choice = late if late and pick % 2 else self.claims  # the interesting ones: woken up after a handover
        self._write(choice[pick // 2 % len(choice)], act)

    def _is_latest(self, claim: Claim) -> bool:
        row = self.model.jobs[claim.job_id]
        return row.status == "running" and row.attempt == claim.token

    def _write(self, claim: Claim, act: str) -> None:
        """Any claim ever made tries to write; only the latest one of a running job may."""
        row = self.model.jobs[claim.job_id]
        if self._is_latest(claim):
            getattr(self, f"_{act}")(claim, row)
            return
        before = self._shape()
        try:
            transitions.release_job(self.db, claim, Cause.DRAINED)
            raise AssertionError("a stale claim was let in")
        except StaleToken:
            assert self._shape() == before

    def _trial(self, claim: Claim, row: ModelJob) -> int:
        live = live_trial(self.db, claim.job_id)
        assert (live.status.value if live else None) == row.live
        if live is None:
            row.live, row.epochs = "running", 0
            return started(self.db, claim, row.ended)
        if row.live == "interrupted":
            transitions.resume_trial(self.db, claim, live.id)
            row.live = "running"
        return live.id

    def _epoch(self, claim: Claim, row: ModelJob) -> None:
        trial = self._trial(claim, row)
        row.epochs += 1
        row.idle = 0
        transitions.record_epoch(self.db, claim, trial, epoch(row.epochs))
        transitions.record_epoch(self.db, claim, trial, epoch(row.epochs))

    def _end(self, claim: Claim, row: ModelJob) -> None:
        trial = self._trial(claim, row)
        transitions.finish_trial(self.db, claim, trial, "complete", Cause.FINISHED, value=1.0 / (row.ended + 1))
        row.live, row.idle, row.ended = None, 0, row.ended + 1

    def _interrupt(self, claim: Claim, row: ModelJob) -> None:
        self._trial(claim, row)
        interrupt(self.db, claim, Cause.STALLED)
        row.live = "interrupted"

    def _release(self, claim: Claim, row: ModelJob) -> None:
        transitions.release_job(self.db, claim, Cause.DRAINED)
        row.idle = max(0, row.idle - 1)
        self._left(row, "queued")

    def _oom(self, claim: Claim, row: ModelJob) -> None:
        transitions.release_job(self.db, claim, Cause.OUT_OF_MEMORY)
        self._left(row, "queued")

    def _fail(self, claim: Claim, row: ModelJob) -> None:
        transitions.fail_job(self.db, claim, Cause.CODE_ERROR, "x")
        row.asked = None
        self._left(row, "failed")

    def _finish(self, claim: Claim, row: ModelJob) -> None:
        transitions.finish_job(self.db, claim)
        row.asked = None
        self._left(row, "done")

    def _left(self, row: ModelJob, status: str) -> None:
        row.status = {None: status, "pause": "paused", "cancel": "cancelled"}[row.asked]
        row.asked, row.lost = None, False
        if row.live:
            row.live = "interrupted"

    @rule(who=st.integers(0, 1))
    def worker_dies(self, who: int) -> None:
        held = [c.job_id for c in self.claims if self._held_by(c, self.workers[who])]
        released = transitions.reconcile(self.db, f"host{who + 1}", lambda pid, started_at: False)
        assert sorted(released) == sorted(held)
        for job in held:
            asked = self.model.jobs[job].asked
            self._left(self.model.jobs[job], "queued")
            self.model.jobs[job].lost = asked is None
        self.workers[who] = transitions.register_worker(self.db, f"host{who + 1}", who + 1, 2.0, 9)

    def _held_by(self, claim: Claim, worker_id: int) -> bool:
        return self._is_latest(claim) and claim.worker_id == worker_id

    # What must hold at any moment

    @invariant()
    def the_two_agree(self) -> None:
        if not hasattr(self, "db"):
            return
        rows = {job.id: job for job in queries.jobs(self.db)}
        assert set(rows) == set(self.model.jobs)
        for number, row in self.model.jobs.items():
            job = rows[number]
            told = (job.status.value, job.asked, job.attempt, job.idle_attempts, job.trials_complete)
            assert told == (row.status, row.asked, row.attempt, row.idle, row.ended)
            assert (job.lease_until is not None) == (job.status == "running")
            assert [trial.number for trial in queries.trials(self.db, number)] == list(
                range(row.ended + bool(row.live))
            )

    @invariant()
    def no_runnable_job_lacks_a_ticket(self) -> None:
        if hasattr(self, "db") and not self.model.queue_paused:
            assert tickets.waiting_tickets(self.db) >= tickets.runnable_jobs(self.db)


QueueMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestQueue = QueueMachine.TestCase


class LongQueueMachine(QueueMachine):
    """The same, for an hour at which nobody waits."""


LongQueueMachine.TestCase.settings = settings(
    max_examples=500, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestQueueAtLength = pytest.mark.slow(LongQueueMachine.TestCase)


def test_a_line_stays_a_line_whatever_is_moved() -> None:
    from hypothesis import given

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.data())
    @settings(max_examples=200, deadline=None)
    def holds(ranks: list[float], data: st.DataObject) -> None:
        line = [(job, rank) for job, rank in enumerate(sorted(ranks), start=1)]
        jobs = [job for job, _ in line]
        moved = data.draw(st.lists(st.sampled_from(jobs), unique=True, min_size=1))
        wanted = data.draw(
            st.sampled_from([order.up(line, moved), order.down(line, moved)]) | st.permutations(jobs).map(list)
        )
        after = dict(line) | order.new_ranks(line, wanted, moved if wanted in (order.up(line, moved),) else jobs)
        assert sorted(jobs, key=lambda job: (after[job], job)) == wanted

    holds()
