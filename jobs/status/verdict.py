"""Says in one word whether a person has to act, why, and which key deals with it: the first line of every screen.

First match wins, worst first: BLIND (I cannot see), ACT (compute is being lost now), LOOK (a decision waits),
IDLE (nothing left to run), WELL. One pure function of a Snapshot; `fts status` and the monitor share it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fts.jobs.status import declared, drain, formatting, naming
from fts.jobs.status.conditions import Limits, is_disk_low, is_live, runnable, running, silent_worker, step_seconds
from fts.jobs.status.event_groups import FAILED, GUARDED, RETRIED, TRIAL_RESTARTED, WORKER_LOST, guard_since
from fts.jobs.status.forecast import slip
from fts.jobs.status.gaps import gaps
from fts.jobs.status.surface import Surface, by, seen
from fts.state.scheduling import FULL_DISK, OF_DISK, ends_with_room
from fts.state.values import Cause, Event, Job, JobStatus, Snapshot, Trial, Verb, Worker

if TYPE_CHECKING:  # only a full disk needs it
    from collections.abc import Iterator

    from fts.jobs.status.disk_usage import Kept


class Word(StrEnum):
    WELL = "WELL"  # nothing to do
    LOOK = "LOOK"  # a decision waits, nothing is burning
    ACT = "ACT"  # compute is being lost now
    IDLE = "IDLE"  # nothing left to run
    BLIND = "BLIND"  # the data are older than 15 s, or cannot be read


EXIT_CODES = {Word.WELL: 0, Word.LOOK: 10, Word.ACT: 11, Word.IDLE: 12, Word.BLIND: 13}


class About(StrEnum):
    """What a message to a person is about (jobs/notify), in the words of study.toml."""

    DONE = "cell done"
    FAILED = "failed"  # a cell failed, or cannot start
    GUARD = "guard"  # a long pause because of heat
    LOST = "worker lost"
    IDLE = "idle"  # nothing is left to run
    SLIP = "slip"  # the finish is much later than the one that was acknowledged
    DISK = "disk"  # little space is left, or the queue was paused because of the disk


@dataclass(frozen=True)
class Concern:
    """One thing that is not as it should be."""

    word: Word
    reason: str
    short: str  # for 80 columns; its first sentence for 60
    key: str | None = None  # the key of the monitor that deals with it
    job_id: int | None = None
    about: About | None = None  # None: nobody is sent a message about it


@dataclass(frozen=True)
class Verdict:
    """Whether a person is needed, and for what."""

    word: Word
    reason: str
    short: str
    key: str | None
    concerns: tuple[Concern, ...]  # all of them, worst first: "yours: 2 decisions"

    @property
    def decisions(self) -> int:
        """How many things wait for a person."""
        return sum(concern.word in (Word.ACT, Word.LOOK) for concern in self.concerns)


def judge(
    snapshot: Snapshot,
    now: float,
    *,
    read_age_s: float = 0.0,
    problem: str | None = None,
    kept: Kept | None = None,
    locked_by: str | None = None,
    limits: Limits | None = None,
    surface: Surface = Surface.MONITOR,
) -> Verdict:
    """The verdict at `now` (seconds since the epoch) on data last read `read_age_s` ago; infinitely long ago: never.

    `problem` is why the latest read failed, if it did; a problem of the schema blinds at once, others after
    `limits.blind_after_s`. `kept` is what checkpoints weigh, where the disk is full.
    `locked_by` is who holds the database's lock while `silent_worker` is silent, where that is somebody else.
    `surface` is where the sentences are read: they name its keys or its commands.
    """
    limits = limits or Limits()
    if math.isinf(read_age_s):  # there is nothing to judge, and an empty picture would pass for an empty queue
        return _verdict(next(_blind(read_age_s, problem, limits)))
    now = seen_at(now, read_age_s)
    found = [*_blind(read_age_s, problem, limits), *_act(snapshot, now, limits, kept, locked_by, surface)]
    found += _look(snapshot, now, limits, surface)
    if not any(c.word in (Word.BLIND, Word.ACT) for c in found):
        found.extend(_idle(snapshot, surface))
    if not found:
        found.append(_well(snapshot, now))
    found.sort(key=lambda concern: ORDER.index(concern.word))
    return _verdict(found[0], *found[1:])


def _verdict(first: Concern, *others: Concern) -> Verdict:
    return Verdict(first.word, first.reason, first.short, first.key, (first, *others))


LONGEST_NAME = 28  # columns in a sentence, so that what it says is seen, too
STALE_S = 3.0  # a live picture is re-read every second


def seen_at(now: float, read_age_s: float) -> float:
    """The moment that old data show: nobody is silent for the time in which we have not looked."""
    return now - read_age_s if STALE_S <= read_age_s < math.inf else now


ORDER = (Word.BLIND, Word.ACT, Word.LOOK, Word.IDLE, Word.WELL)


# ---------------------------------------------------------------- concerns, worst first


def _blind(read_age_s: float, problem: str | None, limits: Limits) -> Iterator[Concern]:
    if problem and ("schema" in problem or read_age_s > limits.blind_after_s):
        yield Concern(Word.BLIND, problem, problem, "ctrl+r")
    elif math.isinf(read_age_s):
        yield Concern(Word.BLIND, "database not read yet", "database not read yet", "ctrl+r")
    elif read_age_s > limits.blind_after_s:
        yield Concern(
            Word.BLIND,
            f"cannot read the database for {formatting.spell(read_age_s)}",
            "cannot read the database",
            "ctrl+r",
        )


def _act(
    snapshot: Snapshot, now: float, limits: Limits, kept: Kept | None, locked_by: str | None, surface: Surface
) -> Iterator[Concern]:
    waits = silent_worker(snapshot, now, limits) if locked_by else None
    if waits is None:
        yield from _silent_workers(snapshot, now, limits, surface)
    else:
        yield from _locked(waits, str(locked_by), now, limits, kept)
    if locked_by != FULL_DISK:
        yield from _disk(snapshot, limits, kept, surface)
    yield from _guard(snapshot, now, limits)
    lost = [e for e in snapshot.events if e.verb in WORKER_LOST and now - e.at < formatting.HOUR]
    if len(lost) >= limits.crash_loop:
        yield Concern(Word.ACT, f"crash loop: {len(lost)} workers lost within an hour", "crash loop", "7")
    yield from _restarts(snapshot, now, limits)
    for job in snapshot.jobs:
        if job.status is JobStatus.FAILED and _failed_again(snapshot, job) and not _seen(job):
            reason = f"{_name(snapshot, job)} failed again after retry: {_cause(job)}"
            yield Concern(Word.ACT, reason, reason, "x", job.id, About.FAILED)


def _locked(worker: Worker, by: str, now: float, limits: Limits, kept: Kept | None) -> Iterator[Concern]:
    """A worker beats by writing: while another holds the lock it cannot, and its trials train on."""
    if by == FULL_DISK:
        said = f"the disk is full: worker {worker.id} (pid {worker.pid}) waits and goes on by itself when there is room"
        yield Concern(
            Word.ACT, f"{said}; {_room(kept) or 'free space'}", "disk full: the worker waits", None, about=About.DISK
        )
        return
    word = Word.ACT if now - worker.heartbeat_at > limits.locked_s else Word.LOOK
    reason = f"database locked by {by}: worker {worker.id} (pid {worker.pid}) waits, training continues"
    yield Concern(word, reason, f"database locked by {by}", None)


def _restarts(snapshot: Snapshot, now: float, limits: Limits) -> Iterator[Concern]:
    """A trial process that keeps dying begins again and again from the same checkpoint."""
    found: dict[int | None, list[Event]] = {}
    for event in snapshot.events:
        if event.verb in TRIAL_RESTARTED and now - event.at < formatting.HOUR:
            found.setdefault(event.job_id, []).append(event)
    for job in (*running(snapshot), *runnable(snapshot)) if found else ():
        events = found.get(job.id, [])
        if len(events) < limits.crash_loop:
            continue
        ids = {event.trial_id for event in events}
        one = next((t for t in snapshot.trials if {t.id} == ids), None)
        which = f"t{one.number}" if one is not None else "trials"
        loop = f"crash loop: {which} of {_name(snapshot, job)} restarted {len(events)} times"
        yield Concern(Word.ACT, f"{loop} within an hour", loop, "5", job.id)


def _silent_workers(snapshot: Snapshot, now: float, limits: Limits, surface: Surface) -> Iterator[Concern]:
    waiting = runnable(snapshot) or running(snapshot)
    if not waiting or any(is_live(worker, now, limits) for worker in snapshot.workers):
        return
    silent = [w for w in snapshot.workers if w.status == "running"]
    if silent:
        worker = max(silent, key=lambda w: w.heartbeat_at)
        behind = now < worker.heartbeat_at
        quiet = "since the clock was set back" if behind else f"for {formatting.spell(now - worker.heartbeat_at)}"
        last = formatting.to_the_second(worker.heartbeat_at, now)
        state = "died" if worker.gone else f"silent {quiet}"
        reason = f"worker {worker.id} {state} (last {last}{_at_work(snapshot, worker)})"
        reason += _claim_ends(snapshot, worker, now) or f"; {_waiting(snapshot)}"
        start = f"{by('W', surface)} starts one"
        brief = f"worker {worker.id} {state}. {start}"
        yield Concern(Word.ACT, f"{reason}. {start}", brief, "W", about=About.LOST)
    elif any(w.status == "lost" for w in snapshot.workers[:1]):
        reason = f"worker lost; {_waiting(snapshot)}. {by('W', surface)} starts one"
        yield Concern(Word.ACT, reason, "worker lost", "W", about=About.LOST)


def _disk(snapshot: Snapshot, limits: Limits, kept: Kept | None, surface: Surface) -> Iterator[Concern]:
    """`212 MB free < 2 GB. Checkpoints 118 GB: fts gc frees 74 GB`; in brief what to do first."""
    if snapshot.queue_paused and (snapshot.queue_paused_reason or "").startswith(OF_DISK):
        yield from _paused_by_disk(snapshot, kept, surface)
        return
    if not is_disk_low(snapshot, limits):
        return
    free = formatting.size(min(s.disk_free for s in snapshot.samples if s.disk_free is not None))
    cure = _room(kept) or "fts gc frees checkpoints"
    held = f"Checkpoints {formatting.size(kept.all)}: " if kept is not None else ""
    reason = f"disk: {free} free < {formatting.size(limits.disk_low)}. {held}{cure} ({by('4', surface)} shows it)"
    yield Concern(Word.ACT, reason, f"disk: {free} free. {held}{cure}", "4", about=About.DISK)


# words of fts.state.files for what more room does not mend
NOT_OF_ROOM = (
    "is not followed",
    "may not write",
    "read-only",
    "input/output error",
    "expected a folder",
    "its name has",
)


def _room(kept: Kept | None) -> str:
    """What `fts gc` would free; nothing where nobody has looked."""
    if kept is None:
        return ""
    return f"fts gc frees {formatting.size(kept.freed)}" if kept.freed else "fts gc frees nothing, make room elsewhere"


def _paused_by_disk(snapshot: Snapshot, kept: Kept | None, surface: Surface) -> Iterator[Concern]:
    """A worker met a full disk and paused the queue: one that lives goes on by itself when there is room again."""
    why = snapshot.queue_paused_reason or ""
    if any(job.status is JobStatus.QUEUED for job in snapshot.jobs):
        other = any(word in why for word in NOT_OF_ROOM)
        cure, resumes = "Mend that" if other else "Make room", f"{by('P', surface)} resumes it"
        if not other and (gc := _room(kept)):
            cure += f" ({gc})"
        if ends_with_room(why) and any(
            w.status == "running" and not w.gone for w in snapshot.workers
        ):  # it may be unable to beat
            resumes = f"the worker goes on by itself ({by('P', surface)}: at once)"
        reason = f"the queue was paused by a worker, {why.rstrip('.')}. {cure}, then {resumes}"
        brief = "queue paused: files cannot be written" if other else "queue paused: disk full"
        yield Concern(Word.ACT, reason, f"{brief}. {by('P', surface)} resumes it", "P", about=About.DISK)


def _guard(snapshot: Snapshot, now: float, limits: Limits) -> Iterator[Concern]:
    for worker in snapshot.workers:
        if worker.status != "running" or worker.guard not in GUARDED:
            continue
        began = guard_since(snapshot.events, worker)
        seconds = now - began if began else 0.0
        why = worker.guard_message or "too warm"
        since = f"paused {formatting.clock(began)}, " if began else ""
        word = Word.ACT if seconds > limits.guard_pause_s else Word.LOOK
        yield Concern(word, f"guard {worker.guard}: {since}{why}", f"guard {worker.guard}", "4", about=About.GUARD)


def _unreadable(snapshot: Snapshot) -> Iterator[Concern]:
    """Rows that hold what no fts writes: shown as far as they can be read, and named."""
    if snapshot.unreadable:
        first, more = snapshot.unreadable[0], len(snapshot.unreadable) - 1
        reason = f"{first}{f' (and {more} more)' if more else ''}; `fts doctor` says what to do"
        yield Concern(Word.LOOK, reason, f"{first.name}: unreadable. See fts doctor", None)


def _look(snapshot: Snapshot, now: float, limits: Limits, surface: Surface) -> Iterator[Concern]:
    yield from _unreadable(snapshot)
    failed = [job for job in snapshot.jobs if job.status is JobStatus.FAILED]
    fine = len(snapshot.jobs) - len(failed)
    for job in failed:
        if not _seen(job) and not _failed_again(snapshot, job):
            name, cause = _name(snapshot, job), _cause(job)
            worker = _worker_words(snapshot, now, limits)
            others = f"{worker}, guard {_guard_word(snapshot)}{_fine(fine, 'other cell')}."
            brief = "Worker alive" if "alive" in worker else worker
            log = f"{by('5', surface, job.id)} shows the log"
            retries = job.retry_refusal(snapshot.again.get(job.id, ())) is None
            cures = f"{by('r', surface, job.id)} retries, {log}" if retries else log
            reason = f"{name} failed: {cause} ({cures}). {others}"
            short = f"{name} failed: {_cause(job, brief=True)}. {brief}{_fine(fine, 'other')}."
            yield Concern(Word.LOOK, reason, short, "r" if retries else "5", job.id, About.FAILED)
    for job in snapshot.jobs:
        if job.status is JobStatus.QUEUED and job.hold_reason and not _seen(job):
            reason = f"{_name(snapshot, job)} cannot start: {job.hold_reason}"
            yield Concern(Word.LOOK, reason, f"{_name(snapshot, job)} is held", "x", job.id, About.FAILED)
    yield from _stuck(snapshot, now, limits)
    yield from _slept(snapshot, now)
    yield from _nobody_works(snapshot, now, surface)
    yield from _slipped(snapshot, now, limits, surface)


def _slipped(snapshot: Snapshot, now: float, limits: Limits, surface: Surface) -> Iterator[Concern]:
    """The finish has slipped since this person last acknowledged it."""
    found = slip(snapshot, now)
    if found is None or found.part <= limits.slipped:
        return
    late = found.finish_at - found.then.finish_at
    if late < limits.slipped_at_least_s:
        return
    before, after = (
        formatting.when(formatting.honest(at, late), now) for at in (found.then.finish_at, found.finish_at)
    )
    told, why = formatting.when(found.then.taken_at, now), f": {found.cause}" if found.cause else ""
    reason = f"finish slipped {before} → {after} (+{found.part:.0%} since seen {told}){why} ({seen(surface)})"
    short = f"finish slipped by {formatting.spell(late)}. It was {before} · {seen(surface)}"
    yield Concern(Word.LOOK, reason, short, "a", about=About.SLIP)


def _slept(snapshot: Snapshot, now: float) -> Iterator[Concern]:
    """A gap that nobody has acknowledged since."""
    seen = max((event.at for event in snapshot.events if event.verb == Verb.ACKNOWLEDGED), default=0.0)
    for gap in gaps(snapshot):
        if gap.end > seen:
            between = f"{formatting.when(gap.start, now)}–{formatting.clock(gap.end)}"
            reason = f"gap {between}: machine slept or its clock jumped, {formatting.spell(gap.seconds)} without work"
            reason += f" (t{gap.trial} {_step(snapshot, gap.job_id)} {gap.epoch})"
            yield Concern(Word.LOOK, reason, f"gap {between}", "a", gap.job_id)


def _stuck(snapshot: Snapshot, now: float, limits: Limits) -> Iterator[Concern]:
    for trial in snapshot.trials:
        epochs = [e for e in snapshot.epochs if e.trial_id == trial.id]
        if trial.status != "running" or len(epochs) < 3:
            continue
        usual = sorted(step_seconds(trial, epochs)[1:])[len(epochs) // 2 - 1]  # the first one may include a resume
        quiet = now - max(epochs[-1].at, _resumed_at(snapshot, trial))
        frozen = any(w.guard in GUARDED for w in snapshot.workers)
        if quiet > max(limits.stuck_at_least_s, limits.stuck_epochs * usual) and not frozen:
            step = _step(snapshot, trial.job_id, "epoch")
            reason = f"no {step} for {formatting.spell(quiet)}, usually {formatting.spell(usual)}"
            yield Concern(Word.LOOK, f"t{trial.number}: {reason}", "no progress", "5", trial.job_id)


def _resumed_at(snapshot: Snapshot, trial: Trial) -> float:
    """When it was last continued, as far as the journal reaches back."""
    own = (e.at for e in reversed(snapshot.events) if e.trial_id == trial.id and e.verb == Verb.TRIAL_RESUMED)
    return next(own, 0.0)


def _nobody_works(snapshot: Snapshot, now: float, surface: Surface) -> Iterator[Concern]:
    waiting = runnable(snapshot)
    if not waiting or any(w.status == "running" for w in snapshot.workers):
        return
    start = f"{by('W', surface)} starts one"
    stopped = [w for w in snapshot.workers if w.status == "stopped"]
    if not stopped:
        if not any(w.status == "lost" for w in snapshot.workers):
            yield Concern(Word.LOOK, f"{len(waiting)} queued, no worker. {start}", "no worker", "W")
        return
    latest = max(stopped, key=lambda w: w.stopped_at or 0.0)
    at = formatting.when(latest.stopped_at or latest.heartbeat_at, now)
    how = drain.how_it_left(snapshot, latest)
    yield Concern(Word.LOOK, f"worker {how} at {at}, {len(waiting)} queued. {start}", f"worker {how}", "W")


def _idle(snapshot: Snapshot, surface: Surface) -> Iterator[Concern]:
    if runnable(snapshot) or running(snapshot):
        return
    jobs = snapshot.jobs
    if not jobs:
        function = " or `fts enqueue train.py:objective`" if surface is Surface.COMMAND_LINE else ""
        yield Concern(
            Word.IDLE,
            f"the queue is empty: {by('e', surface)}{function} fills it",
            "queue is empty",
            "e",
            about=About.IDLE,
        )
        return
    waiting = [job for job in jobs if job.status is JobStatus.QUEUED]
    if snapshot.queue_paused and waiting:
        why = f" ({snapshot.queue_paused_reason})" if snapshot.queue_paused_reason else ""
        yield Concern(
            Word.IDLE,
            f"the queue is paused{why}, {formatting.waits(len(waiting))}",
            "queue paused",
            "P",
            about=About.IDLE,
        )
        return
    paused = sum(job.status is JobStatus.PAUSED for job in jobs)
    held = sum(bool(job.hold_reason) for job in waiting)
    done = sum(job.status is JobStatus.DONE for job in jobs)
    if paused or held:
        parts = [f"{done} done"] + [f"{n} {word}" for n, word in ((paused, "paused"), (held, "held")) if n]
        yield Concern(Word.IDLE, "no job can run: " + ", ".join(parts), "no job can run", "p", about=About.IDLE)
        return
    ended = max((job.ended_at for job in jobs if job.ended_at), default=None)
    at = f" {formatting.day_clock(ended)}" if ended else ""
    lacking = ((sum(job.status is s for job in jobs), s) for s in (JobStatus.FAILED, JobStatus.CANCELLED))
    parts = [formatting.count(done, "result"), *(f"{n} {status}" for n, status in lacking if n)]
    said = f"finished{at}: {', '.join(parts)}"
    more = f"{';' if parts[1:] else ','} {_afterwards(done, surface)}" if done else ""
    yield Concern(Word.IDLE, said + more, said, "6", about=About.IDLE)


def _afterwards(done: int, surface: Surface) -> str:
    """What to do with results: the monitor's key writes its view, the command the report."""
    what = ("it" if done == 1 else "them") if surface is Surface.MONITOR else "the report"
    return f"{by('w', surface)} writes {what}"


def _well(snapshot: Snapshot, now: float) -> Concern:
    waiting, busy = len(runnable(snapshot)), running(snapshot)
    names = ", ".join(_name(snapshot, job) for job in busy[:3]) or "starting"
    if crew := drain.draining(snapshot):
        told = "; ".join(drain.sentence(snapshot, worker, now) for worker in crew)
        return Concern(
            Word.WELL, f"DRAINING: {told}. {names} running, {waiting} waiting.", f"DRAINING, {names} running"
        )
    reason = (
        f"{names} running, {waiting} waiting. {_worker_words(snapshot, now, Limits())}, guard {_guard_word(snapshot)}."
    )
    return Concern(Word.WELL, reason, f"{names} running")


# ---------------------------------------------------------------- words


def _name(snapshot: Snapshot, job: Job) -> str:
    """The cell's name, with the job's number where another job has the same; a very long one without its middle."""
    return formatting.cut_middle(naming.names_of(snapshot.jobs)[job.id], LONGEST_NAME)


def _step(snapshot: Snapshot, job_id: int, long: str = "") -> str:
    """The study's word for a step: `ep`, or at length `epoch`."""
    job = next((job for job in snapshot.jobs if job.id == job_id), None)
    if job is not None and long:
        return declared.of_job(snapshot, job).step
    return long or declared.step_word(snapshot, job)


def _seen(job: Job) -> bool:
    return job.acknowledged_at is not None and job.acknowledged_at >= (job.ended_at or 0.0)


def _failed_again(snapshot: Snapshot, job: Job) -> bool:
    own = [event for event in snapshot.events if event.job_id == job.id and event.verb in RETRIED | FAILED]
    retried = [n for n, event in enumerate(own) if event.verb in RETRIED]
    return bool(retried) and any(event.verb in FAILED for event in own[retried[-1] + 1 :])


def _cause(job: Job, brief: bool = False) -> str:
    if job.cause is Cause.OUT_OF_MEMORY and brief:
        return "OOM"
    return str(job.cause) if job.cause else formatting.cut(job.message or "no cause recorded", 40)


def _fine(n: int, what: str) -> str:
    """`, 11 other cells fine`; nothing where there is no other."""
    return f", {formatting.count(n, what)} fine" if n else ""


def _waiting(snapshot: Snapshot) -> str:
    busy, queued = len(running(snapshot)), len(runnable(snapshot))
    return f"{busy} running, {queued} waiting" if busy else f"{queued} waiting"


def _at_work(snapshot: Snapshot, worker: Worker) -> str:
    """`, t23 ep 9` of the trial it was at."""
    own = {job.id for job in running(snapshot) if job.worker_id == worker.id}
    at = [t for t in snapshot.trials if t.job_id in own and t.ended_at is None]
    return f", t{at[0].number} {_step(snapshot, at[0].job_id)} {at[0].epochs}" if len(at) == 1 else ""


def _claim_ends(snapshot: Snapshot, worker: Worker, now: float) -> str:
    """When others may take over what it held."""
    ends = [job.lease_until for job in running(snapshot) if job.worker_id == worker.id and job.lease_until]
    if not ends:
        return ""
    at = formatting.seconds_clock(max(ends))
    over = "another worker takes over"
    return f". Its lease ends {at}, then {over}" if max(ends) > now else f". Its lease ended {at}: {over}"


def _worker_words(snapshot: Snapshot, now: float, limits: Limits) -> str:
    live = [w for w in snapshot.workers if is_live(w, now, limits)]
    if len(live) > 1:
        return f"{len(live)} workers alive"
    return f"Worker {live[0].id} alive" if live else "No worker"


def _guard_word(snapshot: Snapshot) -> str:
    words_ = {w.guard for w in snapshot.workers if w.status == "running"}
    for word in ("cooling", "frozen", "warm", "unknown"):
        if word in words_:
            return word
    return "ok"
