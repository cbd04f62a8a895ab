"""Says when an action applies and what it costs: pure functions of a snapshot that return a phrase, or None."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting, naming
from fts.jobs.status.concern import latest_step, step_of
from fts.jobs.status.conditions import is_live, running_trials
from fts.jobs.status.drain import LEAVES, latest_end
from fts.state.user import this_person
from fts.state.values import Event, Job, JobStatus, Snapshot, Trial, TrialStatus, Verb, Worker, WorkerOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMED = 5  # jobs that a question names
ASK_AFTER_S = 300.0  # undoing an older change asks for confirmation


# ---------------------------------------------------------------- why an action does not apply (None: it does)


def always(job: Job | None, snapshot: Snapshot) -> str | None:
    return None


def must_wait(job: Job | None, snapshot: Snapshot) -> str | None:
    assert job is not None
    return None if job.status in (JobStatus.QUEUED, JobStatus.PAUSED) else _is(job)


def pausable(job: Job | None, snapshot: Snapshot) -> str | None:
    assert job is not None
    if job.status is JobStatus.RUNNING and job.asked:
        return f"{naming.cell_name(job)} was already asked to {job.asked}"
    return None if job.status in (JobStatus.QUEUED, JobStatus.RUNNING) else _is(job)


def resumable(job: Job | None, snapshot: Snapshot) -> str | None:
    assert job is not None
    held = job.status is JobStatus.QUEUED and job.hold_reason is not None
    leaving = job.status is JobStatus.RUNNING and job.asked == "pause"
    return None if job.status is JobStatus.PAUSED or held or leaving else _is(job)


def cancellable(job: Job | None, snapshot: Snapshot) -> str | None:
    assert job is not None
    if job.asked == "cancel":
        return f"{naming.cell_name(job)} was already asked to cancel"
    return _is(job) if job.status in formatting.ENDED else None


def retryable(job: Job | None, snapshot: Snapshot) -> str | None:
    assert job is not None
    if job.status not in formatting.ENDED:
        return _is(job)
    refusal = job.retry_refusal(snapshot.again.get(job.id, ()))
    return None if refusal is None else f"{_is(job)}; {refusal}"


def can_unseal(job: Job | None, snapshot: Snapshot) -> str | None:
    assert job is not None
    if not job.task:
        return f"{naming.cell_name(job)}: its study has no test set to open"
    if job.kind != "cell":
        return f"{naming.cell_name(job)} is a {job.kind} job; only a cell has a test set to open"
    if job.best_trial is None:
        return f"{naming.cell_name(job)}: {formatting.without_best(job)}"
    return None if job.status is JobStatus.DONE else _is(job)


def queue_runs(job: Job | None, snapshot: Snapshot) -> str | None:
    return f"the queue is already paused: {snapshot.queue_paused_reason or '-'}" if snapshot.queue_paused else None


def queue_paused(job: Job | None, snapshot: Snapshot) -> str | None:
    return None if snapshot.queue_paused else "the queue is not paused"


def can_ask(order: WorkerOrder) -> Callable[[Job | None, Snapshot], str | None]:
    return lambda job, snapshot: _cannot_ask(snapshot, order)


def asked_to_leave(job: Job | None, snapshot: Snapshot) -> str | None:
    return None if any(worker.asked for worker in live(snapshot)) else "no worker was asked to stop"


def no_worker(job: Job | None, snapshot: Snapshot) -> str | None:
    beating = [worker for worker in live(snapshot) if is_live(worker, snapshot.taken_at)]
    return f"worker {beating[0].id} on {beating[0].host} is running" if beating else None


def undoable(job: Job | None, snapshot: Snapshot) -> str | None:
    return None if latest_undoable(snapshot) else "there is nothing to undo"


def redoable(job: Job | None, snapshot: Snapshot) -> str | None:
    if (undone := latest_redoable(snapshot)) is None:
        return "there is nothing to redo"
    imported = _imported(snapshot)
    newer = any(
        event.id > undone.id
        and event.inverse is not None
        and event.verb not in (Verb.UNDONE, Verb.REDONE)
        and not (event.verb == Verb.ENQUEUED and event.job_id in imported)
        for event in snapshot.journal
    )  # also one that was undone since, as in the transaction that redoes
    return "there is nothing to redo: something else was changed since the last undo" if newer else None


# ---------------------------------------------------------------- what an action costs (None: nothing)


def free(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    return None


def price_of_pause(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    running = [job for job in jobs if job.status is JobStatus.RUNNING]
    if not running:
        return None
    one = len(running) == 1
    does = "writes a checkpoint and frees its memory" if one else "write checkpoints and free their memory"
    return f"{_trials_of(snapshot, running)} {does}; resume continues {'it' if one else 'them'} at the same step"


def price_of_cancel(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    """Says what cancelling running jobs loses: the missing trials and the work of their running trials."""
    running = [job for job in jobs if job.status is JobStatus.RUNNING]
    if not running:
        return None
    missing = sum(max(0, job.trials_wanted - formatting.trials_ended(job)) for job in running)
    kept = sum(job.trials_complete for job in running)
    ids = {job.id for job in running}
    spent = sum(trial.train_seconds for trial in _running_trials(snapshot) if trial.job_id in ids)
    loses = f"; without a retry {formatting.spell(spent)} of training are lost" if spent >= 1 else ""
    stops, checkpoint = ("stops", "checkpoint") if len(running) == 1 else ("stop", "checkpoints")
    return (
        f"{_trials_of(snapshot, running)} {stops}{loses}; {formatting.count(missing, 'trial')} will be missing; "
        f"{formatting.count(kept, 'complete trial')} and the {checkpoint} are kept"
    )


def price_of_retry(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    """Says how many trials run again, and which; for a job that was tried before, also why it ended."""
    told = []
    for job in jobs:
        before = f"; its last attempt ended with: {job.cause}" if job.cause is not None and job.attempt > 1 else ""
        told.append(f"{_names_of(snapshot, [job])} {job.retry_words(snapshot.again.get(job.id, ()))}{before}")
    return "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "") or None


def price_of_unseal(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    names = ", ".join(f"{_names_of(snapshot, [job])} (t{job.best_trial})" for job in jobs)
    return f"opens the test set of {names}: it cannot be sealed again, and every later choice for this cell is biased"


def price_of_pause_queue(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    waiting = sum(job.status is JobStatus.QUEUED for job in snapshot.jobs)
    running = sum(job.status is JobStatus.RUNNING for job in snapshot.jobs)
    runs = (
        f"; {formatting.count(running, 'running job')} {'continues' if running == 1 else 'continue'}" if running else ""
    )
    return f"no new job starts: {formatting.count(waiting, 'job')} in the queue{runs}"


def price_of_resume_queue(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    waiting = sum(job.status is JobStatus.QUEUED and not job.hold_reason for job in snapshot.jobs)
    reason = snapshot.queue_paused_reason or "no reason given"
    return f"{formatting.count(waiting, 'job')} may start (paused because: {reason})"


def runs_a_trial(snapshot: Snapshot) -> bool:
    """Returns whether any trial is running."""
    return bool(_running_trials(snapshot))


def price_of_drain(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    """Returns `the worker stops after t23 of 2B/h1, at the latest 08:41; the queue is unchanged`."""
    trials = _running_trials(snapshot)
    if no_worker(None, snapshot) is None:
        return "No worker is alive. A worker that reconnects stops after its current trial. The queue is unchanged."
    if not trials:
        return "the worker stops at once, because no trial runs; the queue is unchanged"
    ends = [end for trial in trials if (end := latest_end(snapshot, trial)) is not None]
    about = f", at the latest {formatting.when(max(ends), snapshot.taken_at)}" if ends else ""
    names = naming.names_of(snapshot.jobs)
    named = ", ".join(f"t{trial.number} of {names.get(trial.job_id, 'a job')}" for trial in trials)
    return f"the worker stops after {named}{about}; the queue is unchanged"


def price_of_drain_job(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    running = [job for job in snapshot.jobs if job.status is JobStatus.RUNNING]
    if not running:
        return "the worker stops at once, because no job runs; the queue is unchanged"
    left = ", ".join(
        f"{_names_of(snapshot, [job])} "
        f"({formatting.count(job.trials_wanted - formatting.trials_ended(job), 'trial')} left)"
        for job in running
    )
    return f"the worker stops after {left}; the queue is unchanged"


def price_of_undrain(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    asked = [f"worker {worker.id} ({worker.asked})" for worker in live(snapshot) if worker.asked]
    take = "takes" if len(asked) == 1 else "take"
    return f"{', '.join(asked)} {take} jobs again; the request to stop is withdrawn" if asked else None


def price_of_stop(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    trials = _running_trials(snapshot)
    does = "writes a checkpoint at its next step" if len(trials) == 1 else "write checkpoints at their next step"
    what = f"{_names(trials)} {does}" if trials else "no trial runs"
    return f"{what}, then the worker stops; nothing is lost, but nothing runs until you start a worker again"


def price_of_worker(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    waiting = sum(job.status is JobStatus.QUEUED and not job.hold_reason for job in snapshot.jobs)
    if no_worker(None, snapshot) is None:  # it also takes over a silent worker's jobs when their leases end
        waiting += sum(job.status is JobStatus.RUNNING for job in snapshot.jobs)
    told = formatting.count(waiting, "job")
    return f"a worker starts on this machine and takes {told}; it keeps running when you log out"


def price_of_undo(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    """Describes the change that undo would undo if it is old or another person's, so that the user confirms it."""
    event = latest_undoable(snapshot)
    return _asks_first(event, snapshot) if event else None


def price_of_redo(snapshot: Snapshot, jobs: Sequence[Job]) -> str | None:
    event = latest_redoable(snapshot)
    return _asks_first(event, snapshot) if event else None


def price_of_reverting(snapshot: Snapshot, events: Sequence[Event]) -> str | None:
    """Describes those of several changes that are old or another person's."""
    told = [words for event in events if (words := _asks_first(event, snapshot))]
    more = f"; and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return "; ".join(told[:NAMED]) + more or None


# ---------------------------------------------------------------- facts


def live(snapshot: Snapshot) -> list[Worker]:
    return [worker for worker in snapshot.workers if worker.status == "running" and not worker.gone]


def latest_undoable(snapshot: Snapshot) -> Event | None:
    """Returns the event that `undo` would undo."""
    imported = _imported(snapshot)
    for event in reversed(snapshot.journal):
        if event.verb == Verb.ENQUEUED and event.job_id in imported:
            continue  # it was done at once, which cannot be undone
        if event.inverse is not None and event.undone_by is None and event.verb != Verb.UNDONE:
            return event
    return None


def latest_redoable(snapshot: Snapshot) -> Event | None:
    """Returns the undo that `redo` would take back."""
    for event in reversed(snapshot.journal):
        if event.verb == Verb.UNDONE and event.inverse is not None and event.undone_by is None:
            return event
    return None


REVERTS = {"undo": latest_undoable, "redo": latest_redoable}  # what these actions revert


def _imported(snapshot: Snapshot) -> set[int]:
    return {job.id for job in snapshot.jobs if job.status is JobStatus.DONE and job.attempt == 0}


def _running_trials(snapshot: Snapshot) -> list[Trial]:
    return [trial for trial in snapshot.trials if trial.status is TrialStatus.RUNNING]


def _trials_of(snapshot: Snapshot, jobs: Sequence[Job]) -> str:
    """Names the running trials of the jobs: `t23 of 2B/h1 (epoch 9)`."""
    named = []
    for job in jobs:
        live, name = running_trials(snapshot, job), _names_of(snapshot, [job])
        at = [(trial, latest_step(snapshot, trial)) for trial in live]
        word = step_of(snapshot, job.id, long="step")
        steps = (f"t{trial.number} of {name}" + (f" ({word} {step})" if step is not None else "") for trial, step in at)
        named.append(", ".join(steps) or name)
    return ", ".join(named)


def _names_of(snapshot: Snapshot, jobs: Sequence[Job]) -> str:
    """Names the jobs: `2M/h1`, or `2M/h1#7` if the name is not unique."""
    known = naming.names_of(snapshot.jobs)
    return ", ".join(known.get(job.id, naming.cell_name(job)) for job in jobs)


def _names(trials: Sequence[Trial]) -> str:
    return ", ".join(f"t{trial.number}" for trial in trials)


def _is(job: Job) -> str:
    status = "held" if job.status is JobStatus.QUEUED and job.hold_reason else str(job.status)
    return f"{naming.cell_name(job)} is {status}"


def _cannot_ask(snapshot: Snapshot, order: WorkerOrder) -> str | None:
    workers = live(snapshot)
    if not workers:
        return "no worker is running"
    if not all(worker.asked == order for worker in workers):
        return None
    return f"every worker was asked already: it {LEAVES[order]}"


def _asks_first(event: Event, snapshot: Snapshot) -> str | None:
    job = next((job for job in snapshot.jobs if job.id == event.job_id), None)
    return asks_first(event, job, snapshot.user, snapshot.taken_at)


def asks_first(event: Event, job: Job | None, who: str | None, now: float) -> str | None:
    """Names a change that is older than five minutes or that somebody else made; None needs no question.

    `job`: that of the event. A worker that pauses or cancels a running job does what a person has asked for.
    """
    age, author = now - event.at, str(event.data.get("asked_by") or event.who)
    if age <= ASK_AFTER_S and author == (who or this_person()):
        return None
    return f"{_change(event, job)}: {formatting.spell(age)} ago by {author}"


def _change(event: Event, job: Job | None) -> str:
    """Names a change and the job, or all jobs, that it changed."""
    step = event.inverse if isinstance(event.inverse, dict) else {}
    listed = step.get("jobs")
    entries = listed if isinstance(listed, list) else []
    numbers = (entry.get("id") for entry in entries if isinstance(entry, dict))
    ids = list(dict.fromkeys(number for number in numbers if isinstance(number, int)))  # a foreign row may hold others
    if len(ids) < 2:
        named = job is None or naming.is_named(event.message, job)
        return event.message if named else f"job {event.job_id}: {event.message}"
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{str(event.verb).replace('_', ' ')}, of jobs {', '.join(map(str, ids[:NAMED]))}{more}"
