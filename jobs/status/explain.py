"""Explains why a job is not running, with the scheduler's own predicate and the state of the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import conditions, drain, formatting, naming
from fts.jobs.status.conditions import is_live, running_trials, taken_slots
from fts.jobs.status.event_groups import GUARDED, stuck_sentence, stuck_slots, waiting_since
from fts.state.scheduling import QueueContext, runnable_reason
from fts.state.values import Job, JobStatus, Snapshot, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence


def why(job: Job, snapshot: Snapshot) -> list[str]:
    """Returns sentences, the deciding one first. For a running job: which worker runs it and until when."""
    now = snapshot.taken_at
    name = f"job {job.id} ({naming.cell_name(job)})"
    if job.status is JobStatus.RUNNING:
        return _running(job, name, snapshot, now)
    context = QueueContext(snapshot.queue_paused, snapshot.queue_paused_reason, again=snapshot.again)
    reason = runnable_reason(job, context)
    if reason is not None:
        return [f"{name} is not running: {reason}", *_ended(job)]
    return _waiting(job, name, snapshot, now)


def _running(job: Job, name: str, snapshot: Snapshot, now: float) -> list[str]:
    worker = next((w for w in snapshot.workers if w.id == job.worker_id), None)
    died = worker is not None and worker.gone
    silent = worker is not None and not died and not is_live(worker, now)
    told = [
        _whether_it_runs(job, name, snapshot, died)
        if not silent or worker is None
        else _of_silent_worker(name, worker, now),
        f"worker {job.worker_id} {'ran' if died or silent else 'runs'} it, attempt {job.attempt}",
    ]
    died = died or silent  # what follows is about a worker that works
    if job.parallel > 1 and not died:
        told.append(_side_by_side(job, snapshot))
    if job.lease_until is not None:
        left = job.lease_until - now
        told.append(
            f"its lease ends in {formatting.spell(left)}"
            if left > 0
            else f"its lease ran out {formatting.spell(-left)} ago: another worker may take it over now"
        )
    if worker is not None and not died:
        if worker.asked:
            told.append(f"DRAINING: {drain.sentence(snapshot, worker, now)}")
        told += [stuck_sentence(event, now) for event in stuck_slots(snapshot.journal, worker)]
        if worker.guard in GUARDED:
            told.append(f"the heat guard of its worker is {worker.guard}: {worker.guard_message or 'too warm'}")
    if not died and (event := waiting_since(snapshot.events, job)) is not None:
        looks = "`fts nodes` lists the nodes" if " for a node" in event.message else "`fts doctor` checks the machine"
        told.append(f"{looks}; `fts pause {job.id}` ends the wait and frees the slot")
    if job.asked:
        told.append(f"it was asked to {job.asked}; it does so at its next step")
    return told


def _of_silent_worker(name: str, worker: Worker, now: float) -> str:
    quiet_s = now - worker.heartbeat_at
    quiet = f"for {formatting.spell(quiet_s)}" if quiet_s > 0 else "since the clock was set back"
    return f"not known whether {name} is running: worker {worker.id} on {worker.host} is silent {quiet}"


def _whether_it_runs(job: Job, name: str, snapshot: Snapshot, died: bool) -> str:
    """Says whether a job recorded as running does run: its worker may have died, or its trial may wait."""
    if died:
        takes = "a new worker on its machine takes over the job at once"
        return f"{name} is not running: worker {job.worker_id} has died; {takes}"
    wait = waiting_since(snapshot.events, job)
    if wait is None:
        return f"{name} is running"
    return f"{name} is running, but its trial waits since {formatting.seconds_clock(wait.at)}: {wait.message}"


def _side_by_side(job: Job, snapshot: Snapshot) -> str:
    """Says how many trials of a parallel job run at once, and what the next one waits for."""
    live = running_trials(snapshot, job)
    if not live:
        return f"up to {job.parallel} of its trials may run at once"
    named = ", ".join(f"t{trial.number}" for trial in live)
    text = f"{len(live)} of at most {job.parallel} trials at once: {named}"
    ahead = live[-1].number + 1 - job.parallel  # the latest result that the next trial must know
    if ahead >= live[0].number and len(live) < job.parallel:
        text += f"; t{live[-1].number + 1} knows t{ahead}, so it starts when t{live[0].number} has ended"
    return text


def _ended(job: Job) -> list[str]:
    return [f"its last message: {job.message}"] if job.message else []


def _waiting(job: Job, name: str, snapshot: Snapshot, now: float) -> list[str]:
    """Explains a job that may start: how many jobs are before it, and which workers could take it."""
    ahead = [other for other in runnable(snapshot) if (other.rank, other.id) < (job.rank, job.id)]
    live = [worker for worker in snapshot.workers if is_live(worker, now)]
    slots = sum(worker.slots for worker in takers(live))
    free = slots - taken_slots(snapshot, takers(live))
    sentences = []
    if not live:
        sentences.append(f"{name} is not running: no worker is alive; start one with `fts worker`")
        sentences += _silent(snapshot, now)
    elif not takers(live):
        asked = "; ".join(drain.sentence(snapshot, worker, now) for worker in live)
        sentences.append(f"{name} is not running: every worker was asked to stop; start another with `fts worker`")
        sentences.append(f"DRAINING: {asked}")
    elif job.is_passed_over:
        sentences.append(f"{name} is not running: {job.message}")
        if job.waits_for_study:
            sentences.append(f"it starts once the study has answered; `fts pause {job.id}` takes it out of the queue")
        else:
            sentences.append("it starts once a slot and what it waits for are free; until then slots run later jobs")
        return sentences
    elif ahead:
        sentences.append(f"{name} is not running: it waits for a slot, {formatting.count(len(ahead), 'job')} before it")
    elif free <= 0:
        workers, verb = formatting.count(len(takers(live)), "worker"), "is" if slots == 1 else "are"
        taken = f"{formatting.count(slots, 'slot')} of {workers} {verb} taken"
        sentences.append(f"{name} is not running: it is next, and {taken}")
    else:
        sentences.append(f"{name} is next and a slot is free: the worker starts it within seconds")
    passed = [other for other in ahead if other.is_passed_over]
    if passed and takers(live):
        one = f"job {passed[0].id} ({naming.cell_name(passed[0])}) waits"
        them = one if len(passed) == 1 else f"{len(passed)} of them wait"
        sentences.append(f"{them} for more than a slot: later jobs may start first")
    if (first := next((other for other in ahead if other not in passed), None)) is not None and takers(live):
        sentences.append(f"next is job {first.id} ({naming.cell_name(first)}); `fts next {job.id}` puts this one first")
    if job.cause is not None and job.attempt:
        why_so = f": {job.message}" if job.message else ""
        sentences.append(f"it has run before: attempt {job.attempt} ended with {job.cause.value}{why_so}")
    return sentences


def takers(workers: Sequence[Worker]) -> list[Worker]:
    """Returns the workers that still take jobs."""
    return [worker for worker in workers if worker.asked is None]


def runnable(snapshot: Snapshot) -> list[Job]:
    """Returns jobs that a free slot would start and run now, without those that the next worker would mark failed."""
    context = QueueContext(snapshot.queue_paused, snapshot.queue_paused_reason)
    return [job for job in conditions.runnable(snapshot) if runnable_reason(job, context) is None]


def _silent(snapshot: Snapshot, now: float) -> list[str]:
    """Names the worker with the last heartbeat, and how long ago that was."""
    crew = [worker for worker in snapshot.workers if worker.status == "running"]
    if not crew:
        return []
    last = max(crew, key=lambda worker: worker.heartbeat_at)
    if last.gone:
        return [f"worker {last.id} on {last.host} has died, {formatting.spell(now - last.heartbeat_at)} ago or less"]
    behind = now < last.heartbeat_at
    quiet = "since the clock was set back" if behind else f"for {formatting.spell(now - last.heartbeat_at)}"
    return [f"worker {last.id} on {last.host} has been silent {quiet}"]
