"""Finds what needs the user's decision: failed and held cells, no progress, gaps, a slipped finish, no worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import drain, formatting
from fts.jobs.status.concern import (
    About,
    Concern,
    Word,
    cause_of,
    crew_words,
    failed_again,
    is_seen,
    name_of,
    step_of,
    worker_words,
)
from fts.jobs.status.conditions import is_live, runnable, running, step_seconds
from fts.jobs.status.event_groups import GUARDED
from fts.jobs.status.forecast import slip
from fts.jobs.status.gaps import gaps
from fts.jobs.status.sanitize import clean
from fts.jobs.status.surface import Surface, by, seen
from fts.state.values import JobStatus, NodeState, Snapshot, Trial, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator


LAUNCHES = 3  # failed launches in a row before the user is told; they fail within seconds
STUCK_EPOCHS = 5.0  # a trial is stuck after this many usual epoch times without an epoch
STUCK_AT_LEAST_S = 15 * 60.0
SLIPPED = 0.25  # the slip, as a part of the time that was left when the user last acknowledged it
SLIPPED_AT_LEAST_S = 5 * 60.0


def _unreadable(snapshot: Snapshot) -> Iterator[Concern]:
    """Names rows with values that fts never writes; they are shown as far as they can be read."""
    if snapshot.unreadable:
        first, more = snapshot.unreadable[0], len(snapshot.unreadable) - 1
        reason = f"{first}{f' (and {more} more)' if more else ''}; `fts doctor` says what to do"
        yield Concern(Word.LOOK, reason, f"{first.name}: unreadable. See fts doctor", None)


def decisions(snapshot: Snapshot, now: float, surface: Surface) -> Iterator[Concern]:
    yield from _unreadable(snapshot)
    failed = [job for job in snapshot.jobs if job.status is JobStatus.FAILED]
    fine = len(snapshot.jobs) - len(failed)
    for job in failed:
        if not is_seen(job) and not failed_again(snapshot, job):
            name, cause = name_of(snapshot, job), cause_of(job)
            worker = worker_words(snapshot, now)
            others = f"{crew_words(snapshot, now)}{_fine(fine, 'other cell')}."
            brief = "Worker alive" if "alive" in worker else worker
            log = f"{by('5', surface, job.id)} shows the log"
            retries = job.retry_refusal(snapshot.again.get(job.id, ())) is None
            cures = f"{by('r', surface, job.id)} retries, {log}" if retries else log
            reason = f"{name} failed: {cause} ({cures}). {others}"
            short = f"{name} failed: {cause_of(job, brief=True)}. {brief}{_fine(fine, 'other')}."
            yield Concern(Word.LOOK, reason, short, "r" if retries else "5", job.id, About.FAILED)
    for job in snapshot.jobs:
        if job.status is JobStatus.QUEUED and job.hold_reason and not is_seen(job):
            reason = f"{name_of(snapshot, job)} cannot start: {job.hold_reason}"
            yield Concern(Word.LOOK, reason, f"{name_of(snapshot, job)} is held", "x", job.id, About.FAILED)
    yield from _stuck(snapshot, now)
    yield from _slept(snapshot, now)
    yield from _nodes(snapshot)
    yield from _nobody_works(snapshot, now, surface)
    yield from _slipped(snapshot, now, surface)


def _slipped(snapshot: Snapshot, now: float, surface: Surface) -> Iterator[Concern]:
    """Reports a finish that has slipped since the user last acknowledged it."""
    found = slip(snapshot, now)
    if found is None or found.part <= SLIPPED:
        return
    late = found.finish_at - found.then.finish_at
    if late < SLIPPED_AT_LEAST_S:
        return
    before, after = (
        formatting.when(formatting.honest(at, late), now) for at in (found.then.finish_at, found.finish_at)
    )
    told, why = formatting.when(found.then.taken_at, now), f": {found.cause}" if found.cause else ""
    reason = f"finish slipped {before} → {after} (+{found.part:.0%} since seen {told}){why} ({seen(surface)})"
    short = f"finish slipped by {formatting.spell(late)}. It was {before} · {seen(surface)}"
    yield Concern(Word.LOOK, reason, short, "a", about=About.SLIP)


def _slept(snapshot: Snapshot, now: float) -> Iterator[Concern]:
    """Reports gaps that the user has not acknowledged."""
    seen = max((event.at for event in snapshot.journal if event.verb == Verb.ACKNOWLEDGED), default=0.0)
    for gap in gaps(snapshot):
        if gap.end > seen:
            between = f"{formatting.when(gap.start, now)}–{formatting.clock(gap.end)}"
            reason = f"gap {between}: machine slept or its clock jumped, {formatting.spell(gap.seconds)} without work"
            reason += f" (t{gap.trial} {step_of(snapshot, gap.job_id)} {gap.epoch})"
            yield Concern(Word.LOOK, reason, f"gap {between}", "a", gap.job_id)


def _nodes(snapshot: Snapshot) -> Iterator[Concern]:
    """Reports quarantined nodes, which a person must release, and launch commands that start no agent."""
    seen = max((event.at for event in snapshot.journal if event.verb == Verb.ACKNOWLEDGED), default=0.0)
    for node in snapshot.nodes if running(snapshot) else ():
        reason = clean(node.reason or "")
        if node.state is NodeState.QUARANTINED and node.at > seen and not reason.startswith("by "):  # a person
            cure = f"`fts nodes release {clean(node.id)}` opens it"
            text = f"node {clean(node.id)} is quarantined"
            yield Concern(Word.LOOK, f"{text}: {reason}; {cure}", text, "4")
        elif node.state is NodeState.LOST and node.failures >= LAUNCHES:
            yield Concern(Word.LOOK, f"{reason} ({node.failures} times)", f"no agent on {clean(node.id)}", "4")


def _stuck(snapshot: Snapshot, now: float) -> Iterator[Concern]:
    for trial in snapshot.trials:
        epochs = [e for e in snapshot.epochs if e.trial_id == trial.id]
        if trial.status != "running" or len(epochs) < 3:
            continue
        usual = sorted(step_seconds(trial, epochs)[1:])[
            len(epochs) // 2 - 1
        ]  # without the first, which may include a resume
        quiet = now - max(epochs[-1].at, _resumed_at(snapshot, trial))
        frozen = any(w.guard in GUARDED for w in snapshot.workers if is_live(w, now))
        if quiet > max(STUCK_AT_LEAST_S, STUCK_EPOCHS * usual) and not frozen:
            step = step_of(snapshot, trial.job_id, "epoch")
            reason = f"no {step} for {formatting.spell(quiet)}, usually {formatting.spell(usual)}"
            yield Concern(Word.LOOK, f"t{trial.number}: {reason}", "no progress", "5", trial.job_id)


def _resumed_at(snapshot: Snapshot, trial: Trial) -> float:
    """Returns when the trial last resumed, or 0 if the journal does not reach back that far."""
    own = (e.at for e in reversed(snapshot.events) if e.trial_id == trial.id and e.verb == Verb.TRIAL_RESUMED)
    return next(own, 0.0)


def _nobody_works(snapshot: Snapshot, now: float, surface: Surface) -> Iterator[Concern]:
    waiting = runnable(snapshot)
    if not waiting or any(w.status == "running" for w in snapshot.workers):
        return
    if any(w.status == "lost" for w in snapshot.workers[:1]):
        return  # a loss (losses), not a decision, too
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


def _fine(n: int, what: str) -> str:
    """Returns `, 11 other cells fine`, or nothing without other cells."""
    return f", {formatting.count(n, what)} fine" if n else ""
