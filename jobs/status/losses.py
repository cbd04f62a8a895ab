"""Finds problems that lose compute time now: silent workers, a full disk, heat, crash loops, a failed retry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.concern import (
    About,
    Concern,
    Word,
    cause_of,
    failed_again,
    is_seen,
    latest_step,
    name_of,
    step_of,
    waiting_words,
)
from fts.jobs.status.conditions import (
    disk_low,
    is_disk_low,
    is_live,
    runnable,
    running,
    silent_worker,
)
from fts.jobs.status.event_groups import (
    GUARDED,
    TRIAL_RESTARTED,
    WORKER_LOST,
    guard_since,
    stuck_sentence,
    stuck_slots,
)
from fts.jobs.status.surface import Surface, by
from fts.state.scheduling import FULL_DISK, OF_DISK, resumes_by_itself
from fts.state.values import Event, JobStatus, Snapshot, Worker, WorkerOrder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.jobs.status.disk_usage import Kept

CRASH_LOOP = 3  # workers lost, or restarts of trials of one job, within an hour
LOCKED_S = 120.0  # a worker that cannot write for this long delays the trials after its current one
GUARD_PAUSE_S = 30 * 60.0


def losses(
    snapshot: Snapshot, now: float, kept: Kept | None, locked_by: str | None, surface: Surface
) -> Iterator[Concern]:
    waits = silent_worker(snapshot, now) if locked_by else None
    if waits is None:
        yield from _silent_workers(snapshot, now, surface)
    else:
        yield from _locked(waits, str(locked_by), now, kept)
    if locked_by != FULL_DISK:
        yield from _disk(snapshot, kept, surface)
    yield from _guard(snapshot, now)
    lost = [e for e in snapshot.journal if e.verb in WORKER_LOST and abs(now - e.at) < formatting.HOUR]
    if len(lost) >= CRASH_LOOP and (running(snapshot) or runnable(snapshot)):
        yield Concern(Word.ACT, f"crash loop: {len(lost)} workers lost within an hour", "crash loop", "7")
    yield from _restarts(snapshot, now)
    yield from _stuck_slots(snapshot, now, surface)
    yield from _silent_studies(snapshot)
    for job in snapshot.jobs:
        if job.status is JobStatus.FAILED and failed_again(snapshot, job) and not is_seen(job):
            reason = f"{name_of(snapshot, job)} failed again after retry: {cause_of(job)}"
            yield Concern(Word.ACT, reason, reason, "x", job.id, About.FAILED)


def _locked(worker: Worker, by: str, now: float, kept: Kept | None) -> Iterator[Concern]:
    """Reports a worker that cannot write its heartbeat because the disk is full or the database is locked."""
    if by == FULL_DISK:
        cure = _room(kept) or "free space"
        reason = f"disk full: worker {worker.id} waits and continues by itself when there is room; {cure}"
        yield Concern(Word.ACT, reason, f"disk full: worker {worker.id} waits. {cure}", None, about=About.DISK)
        return
    word = Word.ACT if now - worker.heartbeat_at > LOCKED_S else Word.LOOK
    reason = f"database locked by {by}: worker {worker.id} (pid {worker.pid}) waits, training continues"
    yield Concern(word, reason, f"database locked by {by}", None)


def _restarts(snapshot: Snapshot, now: float) -> Iterator[Concern]:
    """Reports trials that restart again and again from the same checkpoint."""
    found: dict[int | None, list[Event]] = {}
    for event in snapshot.journal:
        if event.verb in TRIAL_RESTARTED and abs(now - event.at) < formatting.HOUR:
            found.setdefault(event.job_id, []).append(event)
    for job in (*running(snapshot), *runnable(snapshot)) if found else ():
        events = found.get(job.id, [])
        if len(events) < CRASH_LOOP:
            continue
        ids = {event.trial_id for event in events}
        one = next((t for t in snapshot.trials if {t.id} == ids), None)
        which = f"t{one.number}" if one is not None else "trials"
        loop = f"crash loop: {which} of {name_of(snapshot, job)} restarted {len(events)} times"
        yield Concern(Word.ACT, f"{loop} within an hour", loop, "5", job.id)


def _silent_studies(snapshot: Snapshot) -> Iterator[Concern]:
    """Reports jobs that cannot start because their study does not answer."""
    silent = [job for job in runnable(snapshot) if job.waits_for_study]
    if silent:
        first = silent[0]
        more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        why = str(first.message).partition("; ")[0]
        reason = (
            f"{name_of(snapshot, first)}{more} cannot start: {why}. `fts pause {first.id}` takes it out of the queue"
        )
        yield Concern(
            Word.ACT, reason, f"{name_of(snapshot, first)}{more} cannot start: its study does not answer", None
        )


def _stuck_slots(snapshot: Snapshot, now: float, surface: Surface) -> Iterator[Concern]:
    """Reports slots whose thread does nothing, such as in a call to a disk that never returns."""
    for worker in snapshot.workers:
        for event in stuck_slots(snapshot.journal, worker) if is_live(worker, now) else ():
            cure = f"`kill -9 {worker.pid}`, then `fts worker`, continues without loss"
            if worker.asked == WorkerOrder.STOP:
                cure = f"The worker ends without it within 3 min, `kill {worker.pid}` ends it sooner; nothing is lost"
            brief = f"slot {event.data['slot']} of worker {worker.id} is stuck. {by('7', surface)} shows where"
            yield Concern(Word.ACT, f"worker {worker.id}: {stuck_sentence(event, now)}. {cure}", brief, "7")


def _silent_workers(snapshot: Snapshot, now: float, surface: Surface) -> Iterator[Concern]:
    waiting = runnable(snapshot) or running(snapshot)
    if not waiting or any(is_live(worker, now) for worker in snapshot.workers):
        return
    silent = [w for w in snapshot.workers if w.status == "running"]
    if silent:
        worker = max(silent, key=lambda w: w.heartbeat_at)
        behind = now < worker.heartbeat_at
        quiet = "since the clock was set back" if behind else f"for {formatting.spell(now - worker.heartbeat_at)}"
        last = formatting.to_the_second(worker.heartbeat_at, now)
        state = "died" if worker.gone else f"silent {quiet}"
        reason = f"worker {worker.id} {state} (last {last}{_at_work(snapshot, worker)})"
        reason += _claim_ends(snapshot, worker, now) or f"; {waiting_words(snapshot)}"
        start = f"{by('W', surface)} starts one"
        brief = f"worker {worker.id} {state}. {start}"
        yield Concern(Word.ACT, f"{reason}. {start}", brief, "W", about=About.LOST)
    elif any(w.status == "lost" for w in snapshot.workers[:1]):
        reason = f"worker lost; {waiting_words(snapshot)}. {by('W', surface)} starts one"
        yield Concern(Word.ACT, reason, "worker lost", "W", about=About.LOST)


def _disk(snapshot: Snapshot, kept: Kept | None, surface: Surface) -> Iterator[Concern]:
    """Reports low disk space: `212 MB free < 2 GB. Checkpoints 118 GB: fts gc frees 74 GB`."""
    if snapshot.queue_paused and (snapshot.queue_paused_reason or "").startswith(OF_DISK):
        yield from _paused_by_disk(snapshot, kept, surface)
        return
    if not is_disk_low(snapshot):
        return
    free = formatting.size(min(s.disk_free for s in snapshot.samples if s.disk_free is not None))
    cure = _room(kept) or "fts gc frees checkpoints"
    held = f"Checkpoints {formatting.size(kept.all)}: " if kept is not None else ""
    low = formatting.size(disk_low(Path(snapshot.path).parent))
    reason = f"disk: {free} free < {low}. {held}{cure} ({by('4', surface)} shows it)"
    yield Concern(Word.ACT, reason, f"disk: {free} free. {held}{cure}", "4", about=About.DISK)


# parts of error messages of fts.state.files that more disk space does not fix
NOT_OF_ROOM = (
    "is not followed",
    "may not write",
    "read-only",
    "input/output error",
    "expected a folder",
    "its name has",
)


def _room(kept: Kept | None) -> str:
    """Says how much `fts gc` would free; empty if unknown."""
    if kept is None:
        return ""
    return _freed(kept) if kept.freed else f"{_freed(kept)}, make room"


def _freed(kept: Kept) -> str:
    return f"fts gc frees {formatting.size(kept.freed) if kept.freed else 'nothing'}"


def _paused_by_disk(snapshot: Snapshot, kept: Kept | None, surface: Surface) -> Iterator[Concern]:
    """Reports a queue that a worker paused because of the disk; a live worker resumes it when there is room."""
    why = snapshot.queue_paused_reason or ""
    if any(job.status is JobStatus.QUEUED for job in snapshot.jobs):
        other = any(word in why for word in NOT_OF_ROOM)
        gc = "" if other else _room(kept)
        cure = "Fix that" if other else f"Make room ({_freed(kept)})" if kept is not None else "Make room"
        resumes = f"{by('P', surface)} resumes it"
        brief = f"queue paused: {'files cannot be written' if other else 'disk full'}. {gc or cure}; "
        # not is_live: on a full disk the worker may be unable to write its heartbeat
        if resumes_by_itself(why) and any(w.status == "running" and not w.gone for w in snapshot.workers):
            resumes = f"the worker continues by itself ({by('P', surface)}: at once)"
        reason = f"the queue was paused by a worker, {why.rstrip('.')}. {cure}, then {resumes}"
        yield Concern(Word.ACT, reason, brief + resumes.split(" (")[0], "P", about=About.DISK)


def _guard(snapshot: Snapshot, now: float) -> Iterator[Concern]:
    for worker in snapshot.workers:
        # a dead one guards nothing any more
        if worker.guard not in GUARDED or not is_live(worker, now, silent_beats=12):
            continue
        began = guard_since(snapshot.journal, worker)
        seconds = now - began if began else 0.0
        why = worker.guard_message or "too warm"
        since = f"paused {formatting.clock(began)}, " if began else ""
        word = Word.ACT if seconds > GUARD_PAUSE_S else Word.LOOK
        yield Concern(word, f"guard {worker.guard}: {since}{why}", f"guard {worker.guard}", "4", about=About.GUARD)


def _at_work(snapshot: Snapshot, worker: Worker) -> str:
    """Returns `, t23 ep 9`: the trial and step at which the worker was."""
    own = {job.id for job in running(snapshot) if job.worker_id == worker.id}
    at = [t for t in snapshot.trials if t.job_id in own and t.ended_at is None]
    if len(at) != 1:
        return ""
    step = latest_step(snapshot, at[0])
    return f", t{at[0].number}" + (f" {step_of(snapshot, at[0].job_id)} {step}" if step is not None else "")


def _claim_ends(snapshot: Snapshot, worker: Worker, now: float) -> str:
    """Says when another worker may take over the worker's jobs."""
    ends = [job.lease_until for job in running(snapshot) if job.worker_id == worker.id and job.lease_until]
    if not ends:
        return ""
    at = formatting.seconds_clock(max(ends))
    if worker.gone:
        return ". A new worker on its machine takes over at once"
    over = "another worker takes over"
    return f". Its lease ends {at}, then {over}" if max(ends) > now else f". Its lease ended {at}: {over}"
