"""The actions of people on the queue: pause, resume, cancel, retry, pause the queue, drain a worker, note, acknowledge.

Each action is one transaction, for all given jobs or none. Each job gets an event; the last event holds the undo step
of the whole action (fts.state.transitions.undo).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.state import liveness
from fts.state.errors import BadRow, NoSuchRow, WrongStatus
from fts.state.models import ALL, FlagRow, JobRow, WorkerRow
from fts.state.rows import to_job
from fts.state.ticket_rows import missing_tickets, send_ticket
from fts.state.transitions.base import (
    MAX_CHANGE,
    Row,
    change_job,
    emit,
    get_flag,
    get_job,
    get_worker,
    numbers,
    short,
    this_person,
    transaction,
)
from fts.state.transitions.moving import listed
from fts.state.transitions.retrying import living_twin, reset_failed, runnable_again
from fts.state.trial_usage import id_list
from fts.state.values import Cause, Change, Verb, WorkerOrder, strength_of

if TYPE_CHECKING:
    from fts.state.db import Database


Decide = Callable[[Row], "tuple[Verb, Row, str] | None"]  # job -> verb, changes, words; None: nothing to do


def pause(db: Database, job_ids: Iterable[int], who: str | None = None, dry_run: bool = False) -> Change:
    """Pauses a queued job; asks a running one to write a checkpoint and free its memory."""

    def decide(job: Row) -> tuple[Verb, Row, str] | None:
        if job["status"] == "queued":
            return Verb.PAUSED, {"status": "paused", "cause": Cause.PAUSED.value, "message": None}, "paused"
        if job["status"] == "running" and job["asked"] != "pause":
            return Verb.PAUSE_ASKED, {"asked": "pause"}, "asked to pause at its next step, with a checkpoint"
        _refuse_unless(job, done=("paused", "running"), action="paused")
        return None

    return _each(db, job_ids, decide, who, dry_run)


def resume(db: Database, job_ids: Iterable[int], who: str | None = None, dry_run: bool = False) -> Change:
    """Queues a paused job again, lets a held one start, and withdraws the pause request of a running one."""

    def decide(job: Row) -> tuple[Verb, Row, str] | None:
        if job["status"] == "paused":
            changes = {"status": "queued", "hold_reason": None, "cause": None, "message": None}
            return Verb.RESUMED, changes, "queued again"
        if job["status"] == "queued" and job["hold_reason"] is not None:
            return Verb.UNHELD, {"hold_reason": None}, f"no longer held ({job['hold_reason']})"
        if job["status"] == "running" and job["asked"] == "pause":
            return Verb.RESUMED, {"asked": None}, "continues: the request to pause was withdrawn"
        _refuse_unless(job, done=("queued", "running"), action="resumed")
        return None

    return _each(db, job_ids, decide, who, dry_run)


def cancel(db: Database, job_ids: Iterable[int], who: str | None = None, dry_run: bool = False) -> Change:
    """Cancels a waiting job (undo or retry queues it again); asks a running one to stop at its next step."""

    def decide(job: Row) -> tuple[Verb, Row, str] | None:
        if job["status"] in ("queued", "paused"):
            kept = f"; {_trials(_ended(job))} kept" if _ended(job) else ""
            changes = {"status": "cancelled", "cause": Cause.KILLED.value, "message": None, "ended_at": db.now()}
            return Verb.CANCELLED, changes, f"cancelled{kept}"
        if job["status"] == "running" and job["asked"] != "cancel":
            words = (
                f"asked to stop at its next step: {max(0, job['trials_wanted'] - _ended(job))} of "
                f"{job['trials_wanted']} trials will be missing; the running trial keeps its checkpoint"
            )
            return Verb.CANCEL_ASKED, {"asked": "cancel"}, words
        _refuse_unless(job, done=("cancelled", "running"), action="cancelled")
        return None

    return _each(db, job_ids, decide, who, dry_run)


def retry(db: Database, job_ids: Iterable[int], who: str | None = None, dry_run: bool = False) -> Change:
    """Queues an ended job again at its old place: its failed trials run again by number, the others are kept.

    A trial that failed by its own fault (diverged) does not run again. Raises WrongStatus if nothing is left to run.
    """

    def decide(job: Row) -> tuple[Verb, Row, str] | None:
        if job["status"] in ("done", "failed", "cancelled"):
            again = [trial["number"] for trial in runnable_again(db, job["id"])]
            known = replace(to_job(job), twin=living_twin(db, job))
            if refusal := known.retry_refusal(again):
                raise WrongStatus(f"job {job['id']} cannot be retried: {refusal}")
            cleared = dict.fromkeys(("cause", "message", "ended_at", "acknowledged_at", "hold_reason"))
            stay = _ended(job) - len(again)
            kept = f"; {_trials(stay)} kept" if stay > 0 else ""
            words = f"retried: {known.words_of_retry(again)}{kept}"
            return Verb.RETRIED, {"status": "queued", "idle_attempts": 0} | cleared, words
        _refuse_unless(job, done=("queued",), action="retried")
        return None

    def effect(job: Row) -> list[Row]:
        return reset_failed(db, job["id"], runnable_again(db, job["id"]))

    return _each(db, job_ids, decide, who, dry_run, effect)


def _ended(job: Row) -> int:
    """Returns the number of ended trials: pruned ones are not missing."""
    return int(job["trials_complete"] + job["trials_pruned"] + job["trials_failed"])


def _trials(n: int) -> str:
    return f"{n} trial{'' if n == 1 else 's'}"


def _refuse_unless(job: Row, done: tuple[str, ...], action: str) -> None:
    if job["status"] not in done:
        raise WrongStatus(f"job {job['id']} is {job['status']} and cannot be {action}")


def _each(
    db: Database,
    job_ids: Iterable[int],
    decide: Decide,
    who: str | None,
    dry_run: bool,
    effect: Callable[[Row], list[Row]] = lambda job: [],
) -> Change:
    """Applies one decision to all jobs or none; the last event holds the undo step of all.

    `effect` changes the trials of a changed job and returns their undo step.
    """
    ids = listed(job_ids)
    with transaction(db, dry_run):
        jobs = [get_job(db, job_id) for job_id in ids]
        plan = [(job, decided) for job in jobs if (decided := decide(job)) is not None]
        if not plan:
            states = ", ".join(f"job {job['id']} is already {_state(job)}" for job in jobs[:5])
            return Change(f"nothing to do: {states}", None, tuple(ids), dry_run)
        inverse = {"jobs": [_undo_step(job, changes) for job, (_, changes, _) in plan]}
        if trials := [entry for job, _ in plan for entry in effect(job)]:
            inverse["trials"] = trials
        event_id, said = None, []
        for job, (verb, changes, words) in plan:
            said.append(f"job {job['id']} ({job['experiment']}): {words}")
            undo_step = inverse if job is plan[-1][0] else None
            data = _change_waiting(db, job, changes)
            event_id = emit(db, verb, who or this_person(), said[-1], job_id=job["id"], data=data, inverse=undo_step)
    message = "; ".join(said[:5]) + (f"; and {len(said) - 5} more" if len(said) > 5 else "")
    return Change(message, None if dry_run else event_id, tuple(job["id"] for job, _ in plan), dry_run)


def _state(job: Row) -> str:
    """Returns "queued", or "asked to pause"."""
    return f"asked to {job['asked']}" if job["asked"] else str(job["status"])


def _undo_step(job: Row, changes: Row) -> Row:
    """Returns the undo step of one job, with the values that the undo must find."""
    expect = {"status": changes.get("status", job["status"]), "attempt": job["attempt"]}
    if "asked" in changes:
        expect["asked"] = changes["asked"]
    return {"id": job["id"], "expect": expect, "set": {name: job[name] for name in changes}}


def _change_waiting(db: Database, job: Row, changes: Row) -> Row:
    data = change_job(db, job, **changes)
    now = job | changes
    if now["status"] == "queued" and now["hold_reason"] is None:
        send_ticket(db)
    return data


def pause_queue(db: Database, reason: str, who: str | None = None, dry_run: bool = False) -> Change:
    """Pauses the queue: no job is claimed, running jobs go on. The reason is shown with the queue."""
    with transaction(db, dry_run):
        if flag := get_flag(db, "queue_paused"):
            return Change(f"nothing to do: the queue is paused already ({flag['reason']})", None, (), dry_run)
        set_flag(db, "queue_paused", "1", short(reason), who or this_person())
        inverse = {"flags": [{"name": "queue_paused", "expect": "1", "set": None}]}
        message = f"queue paused: {reason}"
        event_id = emit(db, Verb.QUEUE_PAUSED, who or this_person(), message, data={"reason": reason}, inverse=inverse)
    return Change(message, None if dry_run else event_id, (), dry_run)


def resume_queue(db: Database, who: str | None = None, dry_run: bool = False) -> Change:
    """Resumes the queue: jobs are claimed again. Sends the tickets that workers took in vain meanwhile."""
    with transaction(db, dry_run):
        flag = get_flag(db, "queue_paused")
        if flag is None:
            return Change("nothing to do: the queue is not paused", None, (), dry_run)
        FlagRow.delete().where(FlagRow.name == "queue_paused").execute(db)
        missing_tickets(db)
        was = {"value": flag["value"], "reason": flag["reason"]}
        inverse = {"flags": [{"name": "queue_paused", "expect": None, "set": was}]}
        message = f"queue resumed (it was paused: {flag['reason']})"
        data = {"reason": flag["reason"]}
        event_id = emit(db, Verb.QUEUE_RESUMED, who or this_person(), message, data=data, inverse=inverse)
    return Change(message, None if dry_run else event_id, (), dry_run)


def ask_worker(
    db: Database, worker_id: int | None, what: WorkerOrder | None, who: str | None = None, dry_run: bool = False
) -> Change:
    """Asks one worker, or all live ones (None), to stop; `what` None withdraws the request."""
    if what is not None and what not in list(WorkerOrder):
        raise BadRow(f"a worker can be asked {', '.join(WorkerOrder)}, not {str(what)[:40]!r}")
    with transaction(db, dry_run):
        workers = _live_workers(db, worker_id)
        changed = [worker for worker in workers if worker["asked"] != what]
        if not changed:
            return Change(f"nothing to do: {_crew(workers)} already {_asked_words(what)}", None, (), dry_run)
        for worker in changed:
            WorkerRow.update(asked=what).where(WorkerRow.id == worker["id"]).execute(db)
        if what is None:
            missing_tickets(db)
        back = [{"id": w["id"], "expect": {"asked": what}, "set": {"asked": w["asked"]}} for w in changed]
        message = f"{_crew(changed)} {_asked_words(what)}"
        data = {"workers": [worker["id"] for worker in changed], "asked": what}
        event_id = emit(db, Verb.WORKER_ASKED, who or this_person(), message, data=data, inverse={"workers": back})
    return Change(message, None if dry_run else event_id, (), dry_run)


def record_request(
    db: Database, what: WorkerOrder, who: str, worker_id: int | None = None, can_withdraw: bool = True
) -> int:
    """Records that a file or a signal asked this worker, or all live ones (None), to stop; always writes one event.

    Keeps a stronger order. A request that cannot be withdrawn, such as a signal, cannot be undone.
    """
    with transaction(db):
        workers = _live_workers(db, worker_id)
        weaker = [
            worker
            for worker in workers
            if strength_of(worker["asked"] and WorkerOrder(worker["asked"])) < what.strength
        ]
        for worker in weaker:
            WorkerRow.update(asked=what).where(WorkerRow.id == worker["id"]).execute(db)
        back = [{"id": w["id"], "expect": {"asked": what}, "set": {"asked": w["asked"]}} for w in weaker]
        inverse = {"workers": back} if back and can_withdraw else None
        data = {"workers": [worker["id"] for worker in workers], "asked": what}
        message = f"{_crew(workers)} {_asked_words(what)} by {who}"
        return emit(db, Verb.WORKER_ASKED, who, message, data=data, inverse=inverse)


def _live_workers(db: Database, worker_id: int | None) -> list[Row]:
    """Returns the running workers with a live process; a dead process on this machine cannot receive an order."""
    if worker_id is None:
        running = db.rows(WorkerRow.select(ALL).where(WorkerRow.status == "running"))
        found = [worker for worker in running if not has_died(db, worker)]
        if not found:
            died = f": the process of {_crew(running)} has died" if running else ""
            raise NoSuchRow(f"no worker is running{died}")
        return found
    worker = get_worker(db, worker_id)
    if worker["status"] != "running":
        raise WrongStatus(f"worker {worker_id} is {worker['status']}, not running")
    if has_died(db, worker):
        raise WrongStatus(f"worker {worker_id} is not running: its process {worker['pid']} has died")
    return [worker]


def has_died(db: Database, worker: Row) -> bool:
    """Whether a worker that is recorded as running is a dead process of this machine."""
    return liveness.is_gone(worker["host"], worker["pid"], db.path.absolute().parent)


def _crew(workers: list[Row]) -> str:
    return ("workers " if len(workers) > 1 else "worker ") + ", ".join(str(worker["id"]) for worker in workers)


def _asked_words(what: WorkerOrder | None) -> str:
    return {
        None: "continues: the request to stop was withdrawn",
        WorkerOrder.DRAIN_JOB: "asked to stop after this job",
        WorkerOrder.DRAIN_TRIAL: "asked to stop after this trial",
        WorkerOrder.STOP: "asked to stop at the next step, with a checkpoint",
    }[what]


def note(db: Database, text: str, job_id: int | None = None, who: str | None = None) -> Change:
    """Adds a person's note to the events."""
    with transaction(db):
        if job_id is not None:
            get_job(db, job_id)
        event_id = emit(db, Verb.NOTED, who or this_person(), str(short(text)), job_id=job_id)
    return Change(f"noted: {text[:80]}", event_id, () if job_id is None else (job_id,))


def not_sent(db: Database, sentence: str) -> int:
    """Records why a message to a person could not be sent. The sentence must not contain the address."""
    with transaction(db):
        return emit(db, Verb.NOT_SENT, "notify", str(short(sentence)))


def acknowledge(
    db: Database,
    user: str,
    job_ids: Iterable[int] | None = None,
    dry_run: bool = False,
    forecast: dict[str, Any] | None = None,
) -> Change:
    """Marks ended jobs (None: all) as seen by this user; also counts as a key press.

    `forecast`: the forecast that the user saw (values.SeenForecast as a dictionary); the event keeps it.
    """
    with transaction(db, dry_run):
        unseen = JobRow.select(JobRow.id).where(
            JobRow.acknowledged_at.is_null(), JobRow.status.in_(["done", "failed", "cancelled"])
        )
        if job_ids is not None:
            unseen = unseen.where(JobRow.id.in_(listed(job_ids)))
        seen = [row["id"] for row in db.rows(unseen)]
        touch_key(db, user)
        if not seen and forecast is None:
            return Change("nothing to acknowledge", None, (), dry_run)
        JobRow.update(acknowledged_at=db.now()).where(JobRow.id.in_(id_list(seen))).execute(db)
        message = f"{numbers(seen)} acknowledged" if seen else "forecast acknowledged; no job had ended"
        data = {"jobs": seen} | ({"forecast": forecast} if forecast is not None else {})
        event_id = emit(db, Verb.ACKNOWLEDGED, user, message, data=data, limit=MAX_CHANGE)
    return Change(message, None if dry_run else event_id, tuple(seen), dry_run)


def touch_key(db: Database, user: str) -> None:
    """Records that this user pressed a key now; what ends later is news to them. Writes no event."""
    with transaction(db):
        set_flag(db, f"last_key:{short(user, 100)!s}", "1", None, user)


def set_flag(db: Database, name: str, value: str, reason: str | None, who: str) -> None:
    """Sets a flag inside a transaction; the caller writes the event."""
    row = {"name": name, "value": value, "reason": reason, "who": who, "at": db.now()}
    FlagRow.delete().where(FlagRow.name == name).execute(db)
    FlagRow.insert(row).execute(db)
