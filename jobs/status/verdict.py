"""Decides in one word whether a person has to act, why, and which key handles it: the first line of every screen.

The worst concern wins: BLIND (data too old), ACT (compute time is being lost), LOOK (a decision is needed), IDLE
(nothing left to run), WELL. A pure function of a Snapshot, shared by `fts status` and the monitor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status import drain, formatting
from fts.jobs.status.concern import About, Concern, Word, crew_words, name_of
from fts.jobs.status.conditions import runnable, running
from fts.jobs.status.decisions import decisions
from fts.jobs.status.event_groups import waiting_since
from fts.jobs.status.losses import losses
from fts.jobs.status.surface import Surface, by
from fts.state.values import Job, JobStatus, Snapshot

if TYPE_CHECKING:  # only a full disk needs it
    from collections.abc import Iterator, Sequence

    from fts.jobs.status.disk_usage import Kept

EXIT_CODES = {Word.WELL: 0, Word.LOOK: 10, Word.ACT: 11, Word.IDLE: 12, Word.BLIND: 13}


@dataclass(frozen=True)
class Verdict:
    """The worst concern, and all others."""

    word: Word
    reason: str
    short: str
    key: str | None
    concerns: tuple[Concern, ...]  # all, worst first

    @property
    def decisions(self) -> int:
        """Number of concerns that need a person."""
        return sum(concern.word in (Word.ACT, Word.LOOK) for concern in self.concerns)


def judge(
    snapshot: Snapshot,
    now: float,
    *,
    read_age_s: float = 0.0,
    problem: str | None = None,
    kept: Kept | None = None,
    locked_by: str | None = None,
    surface: Surface = Surface.MONITOR,
) -> Verdict:
    """Returns the verdict at `now` (seconds since the epoch) on data read `read_age_s` ago (infinite: never read).

    `problem` is why the latest read failed; a schema problem makes BLIND at once, others after `BLIND_AFTER_S`.
    `kept` is the size of the checkpoints, if the disk is full. `locked_by` names the process that holds the database's
    lock while `silent_worker` is silent. `surface` is where the text is shown: it names keys or commands.
    """
    if math.isinf(read_age_s):  # without data, an empty snapshot would look like an empty queue
        return _verdict(next(_blind(read_age_s, problem)))
    now = seen_at(now, read_age_s)
    found = [*_blind(read_age_s, problem), *losses(snapshot, now, kept, locked_by, surface)]
    found += decisions(snapshot, now, surface)
    if not any(c.word in (Word.BLIND, Word.ACT) for c in found):
        found.extend(_idle(snapshot, surface))
    if not found:
        found.append(_well(snapshot, now))
    found.sort(key=lambda concern: ORDER.index(concern.word))
    return _verdict(found[0], *found[1:])


def _verdict(first: Concern, *others: Concern) -> Verdict:
    return Verdict(first.word, first.reason, first.short, first.key, (first, *others))


BLIND_AFTER_S = 15.0
STALE_S = 3.0  # a live picture is re-read every second


def seen_at(now: float, read_age_s: float) -> float:
    """Returns the time of the data if it is old, so that the time without reads does not count as silence."""
    return now - read_age_s if STALE_S <= read_age_s < math.inf else now


ORDER = (Word.BLIND, Word.ACT, Word.LOOK, Word.IDLE, Word.WELL)


# ---------------------------------------------------------------- concerns, worst first


def _blind(read_age_s: float, problem: str | None) -> Iterator[Concern]:
    if problem and ("schema" in problem or read_age_s > BLIND_AFTER_S):
        yield Concern(Word.BLIND, problem, problem, "ctrl+r")
    elif math.isinf(read_age_s):
        yield Concern(Word.BLIND, "database not read yet", "database not read yet", "ctrl+r")
    elif read_age_s > BLIND_AFTER_S:
        yield Concern(
            Word.BLIND,
            f"cannot read the database for {formatting.spell(read_age_s)}",
            "cannot read the database",
            "ctrl+r",
        )


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
    text = f"finished{at}: {', '.join(parts)}"
    more = f"{';' if parts[1:] else ','} {_afterwards(done, surface)}" if done else ""
    yield Concern(Word.IDLE, text + more, text, "6", about=About.IDLE)


def _afterwards(done: int, surface: Surface) -> str:
    """Says how to write out the results: the monitor's key writes its view, the command the report."""
    what = ("it" if done == 1 else "them") if surface is Surface.MONITOR else "the report"
    return f"{by('w', surface)} writes {what}"


LONGEST_WAIT = 100  # columns of what a trial waits for


def _well(snapshot: Snapshot, now: float) -> Concern:
    waiting, busy = len(runnable(snapshot)), running(snapshot)
    names = ", ".join(name_of(snapshot, job) for job in busy[:3]) or "starting"
    if crew := drain.draining(snapshot):
        text = "; ".join(drain.sentence(snapshot, worker, now) for worker in crew)
        return Concern(
            Word.WELL, f"DRAINING: {text}. {names} running, {waiting} waiting.", f"DRAINING, {names} running"
        )
    doing, brief = _doing(snapshot, busy)
    reason = f"{doing} {waiting} waiting. {crew_words(snapshot, now)}."
    return Concern(Word.WELL, reason, brief)


def _doing(snapshot: Snapshot, busy: Sequence[Job]) -> tuple[str, str]:
    """Says which jobs run, and what the trial of the first other one waits for; also in brief."""
    waits = {job.id: event for job in busy if job.parallel == 1 and (event := waiting_since(snapshot.events, job))}
    runs = ", ".join([name_of(snapshot, job) for job in busy if job.id not in waits][:3])
    running_words = [f"{runs or 'starting'} running"] if runs or not busy else []
    waiting = [(name_of(snapshot, job), waits[job.id]) for job in busy if job.id in waits]
    brief = ", ".join([*running_words, *(f"{name} waits" for name, _ in waiting)][:3])
    if not waiting:
        return f"{running_words[0]},", brief
    name, wait = waiting[0]
    since = f"{name} since {formatting.clock(wait.at)}: {formatting.cut(wait.message, LONGEST_WAIT)}"
    return f"{'; '.join([*running_words, since])};", brief
