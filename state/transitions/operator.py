"""What people ask of the queue: move, pause, resume, cancel, retry, hold it all, drain a worker, note, acknowledge.

Every action is one transaction. Of several jobs it takes all or none; each job gets its event, and the last of them
carries the way back for the whole action (fts.state.transitions.undo).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from peewee import IntegrityError

from fts.state import liveness
from fts.state.errors import BadRow, NoSuchRow, WrongStatus
from fts.state.models import ALL, FlagRow, JobRow, WorkerRow
from fts.state.rows import to_job
from fts.state.ticket_rows import missing_tickets, send_ticket
from fts.state.transitions.base import (
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
from fts.state.transitions.retrying import living_twin, put_back, runnable_again
from fts.state.values import Cause, Change, Verb, WorkerOrder, strength_of

if TYPE_CHECKING:
    from fts.state.db import Database


Decide = Callable[[Row], "tuple[Verb, Row, str] | None"]  # job -> verb, changes, words; None: nothing to do for it


def pause(db: Database, job_ids: Iterable[int], who: str | None = None, dry_run: bool = False) -> Change:
    """A queued job is held back; a running one is asked to write a checkpoint, free its memory and wait."""

    def decide(job: Row) -> tuple[Verb, Row, str] | None:
        if job["status"] == "queued":
            return Verb.PAUSED, {"status": "paused", "cause": Cause.PAUSED.value, "message": None}, "paused"
        if job["status"] == "running" and job["asked"] != "pause":
            return Verb.PAUSE_ASKED, {"asked": "pause"}, "asked to pause at its next step, with a checkpoint"
        _refuse_unless(job, done=("paused", "running"), action="paused")
        return None

    return _each(db, job_ids, decide, who, dry_run)


def resume(db: Database, job_ids: Iterable[int], who: str | None = None, dry_run: bool = False) -> Change:
    """A paused job goes back in line, a held one may start, and a running one that was asked to pause need not."""

    def decide(job: Row) -> tuple[Verb, Row, str] | None:
        if job["status"] == "paused":
            changes = {"status": "queued", "hold_reason": None, "cause": None, "message": None}
            return Verb.RESUMED, changes, "back in line"
        if job["status"] == "queued" and job["hold_reason"] is not None:
            return Verb.UNHELD, {"hold_reason": None}, f"no longer held ({job['hold_reason']})"
        if job["status"] == "running" and job["asked"] == "pause":
            return Verb.RESUMED, {"asked": None}, "continues: the request to pause was withdrawn"
        _refuse_unless(job, done=("queued", "running"), action="resumed")
        return None

    return _each(db, job_ids, decide, who, dry_run)


def cancel(db: Database, job_ids: Iterable[int], who: str | None = None, dry_run: bool = False) -> Change:
    """A waiting job leaves the line (undo or retry brings it back); a running one is asked to stop at its next step."""

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
    """An ended job goes back to its old place in line: its failed trials run again by number, its others are kept.

    A trial that failed by its own fault (diverged) is not run again. Raises WrongStatus where nothing is left to run.
    """

    def decide(job: Row) -> tuple[Verb, Row, str] | None:
        if job["status"] in ("done", "failed", "cancelled"):
            again = [trial["number"] for trial in runnable_again(db, job["id"])]
            known = replace(to_job(job), twin=living_twin(db, job))
            if refusal := known.retry_refusal(again):
                raise WrongStatus(f"job {job['id']} cannot be retried: {refusal}")
            cleared = dict.fromkeys(("cause", "message", "ended_at", "acknowledged_at", "hold_reason"))
            words = f"retried with {_trials(_ended(job))} kept; {known.retry_words(again)}"
            return Verb.RETRIED, {"status": "queued", "idle_attempts": 0} | cleared, words
        _refuse_unless(job, done=("queued",), action="retried")
        return None

    def effect(job: Row) -> list[Row]:
        return put_back(db, job["id"], runnable_again(db, job["id"]))

    return _each(db, job_ids, decide, who, dry_run, effect)


def _ended(job: Row) -> int:
    """Trials that count towards the number wanted: pruned ones are not missing."""
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
    """Runs one decision over several jobs, all or none; the last event carries the way back for all.

    `effect` changes the trials of a job that was changed, and returns the way back of that.
    """
    ids = listed(job_ids)
    with transaction(db, dry_run):
        jobs = [get_job(db, job_id) for job_id in ids]
        plan = [(job, decided) for job in jobs if (decided := decide(job)) is not None]
        if not plan:
            states = ", ".join(f"job {job['id']} is already {_state(job)}" for job in jobs[:5])
            return Change(f"nothing to do: {states}", None, tuple(ids), dry_run)
        inverse = {"jobs": [_way_back(job, changes) for job, (_, changes, _) in plan]}
        if trials := [entry for job, _ in plan for entry in effect(job)]:
            inverse["trials"] = trials
        event_id, said = None, []
        for job, (verb, changes, words) in plan:
            said.append(f"job {job['id']} ({job['experiment']}): {words}")
            last = job is plan[-1][0]
            way_back = inverse if last else None
            data = _change_waiting(db, job, changes)
            event_id = emit(db, verb, who or this_person(), said[-1], job_id=job["id"], data=data, inverse=way_back)
    message = "; ".join(said[:5]) + (f"; and {len(said) - 5} more" if len(said) > 5 else "")
    return Change(message, None if dry_run else event_id, tuple(job["id"] for job, _ in plan), dry_run)


def _state(job: Row) -> str:
    """ "queued", or "asked to pause"."""
    return f"asked to {job['asked']}" if job["asked"] else str(job["status"])


def _way_back(job: Row, changes: Row) -> Row:
    """The compensating change of one job, with what must still hold for it to be right."""
    expect = {"status": changes.get("status", job["status"]), "attempt": job["attempt"]}
    if "asked" in changes:
        expect["asked"] = changes["asked"]
    return {"id": job["id"], "expect": expect, "set": {name: job[name] for name in changes}}


def _change_waiting(db: Database, job: Row, changes: Row) -> Row:
    try:
        data = change_job(db, job, **changes)
    except IntegrityError as error:
        raise WrongStatus(f"the specification of job {job['id']} is already in the queue as another job") from error
    now = job | changes
    if now["status"] == "queued" and now["hold_reason"] is None:
        send_ticket(db)
    return data


def pause_queue(db: Database, reason: str, who: str | None = None, dry_run: bool = False) -> Change:
    """No job is claimed any more; running ones go on. The reason is shown wherever the queue is."""
    with transaction(db, dry_run):
        if flag := get_flag(db, "queue_paused"):
            return Change(f"nothing to do: the queue is paused already ({flag['reason']})", None, (), dry_run)
        set_flag(db, "queue_paused", "1", short(reason), who or this_person())
        inverse = {"flags": [{"name": "queue_paused", "expect": "1", "set": None}]}
        message = f"queue paused: {reason}"
        event_id = emit(db, Verb.QUEUE_PAUSED, who or this_person(), message, data={"reason": reason}, inverse=inverse)
    return Change(message, None if dry_run else event_id, (), dry_run)


def resume_queue(db: Database, who: str | None = None, dry_run: bool = False) -> Change:
    """Jobs are claimed again; the tickets that were looked at in vain meanwhile are sent anew."""
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
    """Asks one worker, or all live ones (None), to leave; None withdraws the wish."""
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


def record_wish(
    db: Database, what: WorkerOrder, who: str, worker_id: int | None = None, can_withdraw: bool = True
) -> int:
    """A file or a signal asked this worker, or all live ones (None), to leave: one event, whatever was asked before.

    A stronger order that stands is kept. What cannot be withdrawn, such as a signal, cannot be undone either.
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
    """Those that can hear it: one of this machine whose process has died cannot, whatever its row says."""
    if worker_id is None:
        running = db.rows(WorkerRow.select(ALL).where(WorkerRow.status == "running"))
        found = [worker for worker in running if not _has_died(db, worker)]
        if not found:
            died = f": the process of {_crew(running)} has died" if running else ""
            raise NoSuchRow(f"no worker is running{died}")
        return found
    worker = get_worker(db, worker_id)
    if worker["status"] != "running":
        raise WrongStatus(f"worker {worker_id} is {worker['status']}, not running")
    if _has_died(db, worker):
        raise WrongStatus(f"worker {worker_id} is not running: its process {worker['pid']} has died")
    return [worker]


def _has_died(db: Database, worker: Row) -> bool:
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
    """A remark of a person, kept in the event log."""
    with transaction(db):
        if job_id is not None:
            get_job(db, job_id)
        event_id = emit(db, Verb.NOTED, who or this_person(), str(short(text)), job_id=job_id)
    return Change(f"noted: {text[:80]}", event_id, () if job_id is None else (job_id,))


def not_sent(db: Database, sentence: str) -> int:
    """A message to a person could not be sent, and why; no address stands in the sentence."""
    with transaction(db):
        return emit(db, Verb.NOT_SENT, "notify", str(short(sentence)))


def acknowledge(
    db: Database,
    user: str,
    job_ids: Iterable[int] | None = None,
    dry_run: bool = False,
    forecast: dict[str, Any] | None = None,
) -> Change:
    """This user has seen the ended jobs (None: all of them); also counts as a key pressed.

    `forecast` is what they were told about the end (values.SeenForecast as a dictionary); the event keeps it.
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
        JobRow.update(acknowledged_at=db.now()).where(JobRow.id.in_(seen)).execute(db)
        message = f"{numbers(seen)} acknowledged" if seen else "forecast acknowledged; no job had ended"
        data = {"jobs": seen} | ({"forecast": forecast} if forecast is not None else {})
        event_id = emit(db, Verb.ACKNOWLEDGED, user, message, data=data)
    return Change(message, None if dry_run else event_id, tuple(seen), dry_run)


def touch_key(db: Database, user: str) -> None:
    """This user is at the keyboard: what ended since then is news to them. No event."""
    with transaction(db):
        set_flag(db, f"last_key:{short(user, 100)!s}", "1", None, user)


def set_flag(db: Database, name: str, value: str, reason: str | None, who: str) -> None:
    """Inside a transaction; the event is the caller's."""
    row = {"name": name, "value": value, "reason": reason, "who": who, "at": db.now()}
    FlagRow.delete().where(FlagRow.name == name).execute(db)
    FlagRow.insert(row).execute(db)
