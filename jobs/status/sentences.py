"""Turns the status into whole sentences that can be read aloud: no glyphs, no columns, units in words.

`fts status --plain` prints them, for screen readers and logs; messages to a phone consist of them. Sentences about
events are in `event_sentences`.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING

from fts.jobs.status import declared, drain, formatting, naming
from fts.jobs.status.conditions import running_trials
from fts.jobs.status.nodes import state_of
from fts.state.values import Direction, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.jobs.status.summary import Glance
    from fts.state.values import Job, Snapshot, Trial

MOST = 14  # jobs with a sentence of their own

UNITS = {
    "kB": "kilobytes", "MB": "megabytes", "GB": "gigabytes", "TB": "terabytes", "B": "bytes", "W": "watts",
    "s": "seconds", "min": "minutes", "h": "hours",
}  # fmt: skip
# abbreviations and glyphs with their words, replaced in this order
WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"`([^`]*)`", r'"\1"'),
        (r"(?<=\d) ?°C", " degrees"),
        (r"(?<=\d) ?%", " percent"),
        (r"\s*(?:→|(?<=\d)–(?=\d)|…(?=\s*\S))\s*", " to "),
        (r"…", ""),
        (r"\s*±\s*", ", plus or minus "),
        (r"(?<=\S) < (?=\d)", ", less than "),
        (r"(?<=\S) > (?=\d)", ", more than "),
        (r"\s*·\s*", ", "),
        (r"\(\+(\d+) more\)", r"and \1 more"),
        (r"(?<![\w/.=-])t(\d+)\b(?![-/=.\w])", r"trial \1"),
        (r"(?<![\w/.=-])ep (\d+)", r"epoch \1"),
        (r"\bOOM\b", "out of memory"),
        (r"(?<![\w.])\.(\d)", r"0.\1"),
        (r"\b(\d+)d(\d+)h\b", r"\g<1> days \g<2> hours"),
        (r"\b(\d+)h(\d\d)\b", r"\g<1> hours \g<2> minutes"),
        (r"\b(\d+)d\b", r"\g<1> days"),
        (r"\b(\d+)h\b", r"\g<1> hours"),
        (r"\b(\d+)m\b", r"\g<1> minutes"),
        (r"\b(\d+)s\b", r"\g<1> seconds"),
        (r"(?<=\d) (kB|MB|GB|TB|B|W|s|min|h)\b(?!/)", ""),  # by `_unit`
        (r"\b1 (second|minute|hour|day|degree|watt|gigabyte|megabyte|byte)s\b", r"1 \1"),
        (r"[◌►‖✓✗⊘↻⊗★●•↓↑█▓▒░▕▏┊┃↵]", ""),
        (r" +(?=[,.;:)])", ""),
        (r" {2,}", " "),
    )
)


def aloud(text: str) -> str:
    """Replaces glyphs, abbreviations and units by words."""
    for pattern, words in WORDS:
        text = pattern.sub(_unit if not words and "kB" in pattern.pattern else words, text)
    return text.strip()


def _unit(found: re.Match[str]) -> str:
    return f" {UNITS[found[1]]}"


def sentence_of(text: str) -> str:
    """Returns the text in words, with a capital and a full stop."""
    text = aloud(text)
    return formatting.full_stop(text[:1].upper() + text[1:]) if text else ""


# ---------------------------------------------------------------- the status


def sentences(glance: Glance) -> list[str]:
    """Returns the whole status as sentences."""
    past = glance.mode.startswith("REPLAY")
    told = [f"this is how it was {_moment(glance.now, time.time())}"] if past else []
    told += [_verdict(glance)]
    told += [f"also: {concern.reason}" for concern in glance.verdict.concerns[1:]]
    leaving = (drain.sentence(glance.snapshot, worker, glance.now) for worker in drain.draining(glance.snapshot))
    told += [f"DRAINING: {text}" for text in leaving if text not in _verdict(glance)]
    told += [finish(glance), *_absence(glance), *_jobs(glance), *_nodes(glance)]
    return [sentence_of(text) for text in told if text]


def verdict_sentence(glance: Glance) -> str:
    """Returns `LOOK: 20M/h3 failed: ...`, without replacing abbreviations."""
    return formatting.full_stop(_verdict(glance))


def _verdict(glance: Glance) -> str:
    return f"{glance.verdict.word}: {glance.verdict.reason}"


def finish_sentence(glance: Glance) -> str:
    """Returns `finish` with a capital and without a full stop."""
    return sentence_of(finish(glance)).rstrip(".")


def cell_sentence(glance: Glance, job: Job) -> str:
    """Returns `Cell mnist/S is done: 20 of 20 trials, best val_loss 0.3491 (smaller is better).`"""
    return sentence_of(_job(glance, job, naming.names_of(glance.snapshot.jobs)[job.id]))


def finish(glance: Glance) -> str:
    """Says when the work will be done, that nothing is left to do, or why the time is unknown."""
    snapshot, eta = glance.snapshot, glance.forecast
    waiting = sum(job.status is JobStatus.QUEUED for job in snapshot.jobs)
    if waiting and snapshot.queue_paused:
        wait = f"{formatting.count(waiting, 'job')} {'waits' if waiting == 1 else 'wait'}"
        return f"there is no end while the queue is paused: {wait}"
    if (
        eta.finish_rounded is not None
        and eta.half_width_s is not None
        and not (glance.is_blind and not glance.has_worker)
    ):
        when = f"{_moment(eta.finish_rounded, glance.now)}, plus or minus {formatting.spell(eta.half_width_s)}"
        record = f"; {eta.record}" if eta.judged else ""
        if glance.will_go_on:
            return f"the work will be done {when}{record}"
        if glance.has_worker:
            return f"every worker stops before the end; if one continues at once, the work will be done {when}"
        return f"no worker is alive; if one starts now, the work will be done {when}"
    if glance.is_blind:
        return "the end is not known, because the database cannot be read"
    counts = Counter(job.status for job in snapshot.jobs)
    held = sum(bool(job.hold_reason) and job.status is JobStatus.QUEUED for job in snapshot.jobs)
    if counts[JobStatus.RUNNING] or counts[JobStatus.QUEUED] > held:
        return "it is not known yet when the work will be done"
    if counts[JobStatus.PAUSED] or held:
        parts = [(counts[JobStatus.PAUSED], "paused"), (held, "held")]
        stopped = " and ".join(
            f"{formatting.count(n, 'job')} {'is' if n == 1 else 'are'} {how}" for n, how in parts if n
        )
        return f"nothing else can run: {stopped}"
    return "all jobs have ended" if snapshot.jobs else "no job is in the queue"


def _moment(at: float, now: float) -> str:
    """Formats a time: `today at 14:20`, `on Saturday at 14:20`, `on 3 November at 14:20`."""
    day, here = formatting.moment(at), formatting.moment(now)
    clock = time.strftime("%H:%M", day)
    if day[:3] == here[:3]:
        return f"today at {clock}"
    if abs(at - now) < 6 * formatting.DAY:
        return f"on {time.strftime('%A', day)} at {clock}"
    return f"on {day.tm_mday} {time.strftime('%B', day)} at {clock}"


def _absence(glance: Glance) -> list[str]:
    away = glance.away
    if away is None:
        return []
    ended = f"{formatting.count(away.done, 'cell')} done, {formatting.count(away.trials, 'trial')} ended"
    ended += f" ({away.trials_failed} of them failed)" if away.trials_failed else ""
    bad = f"{formatting.count(away.failed, 'cell')} failed, {away.lost} lost with their worker"
    heat = f"{formatting.count(away.guard_pauses, 'pause')} because of heat"
    told = [f"since {_moment(away.since, glance.now).removeprefix('on ')}: {ended}, {bad}, {heat}"]
    if away.best_after is not None:
        of = f" of {away.best_cell}" if away.best_cell else ""
        before = f" from {formatting.score(away.best_before)}" if away.best_before is not None else ""
        told.append(f"the best {_bare(away.metric)}{of} went{before} to {formatting.score(away.best_after)}")
    if away.joined:
        told.append(f"{formatting.count(away.joined, 'trial')} joined a front")
    return told


def _bare(word: str) -> str:
    return word.rstrip(" ↓↑")


def _jobs(glance: Glance) -> Iterable[str]:
    """Yields a sentence per important job, and one that counts the others."""
    jobs, names = glance.snapshot.jobs, naming.names_of(glance.snapshot.jobs)
    chosen = listed(jobs)
    for job in chosen:
        yield _job(glance, job, names[job.id])
    if rest := Counter(str(job.status) for job in jobs if job.id not in {each.id for each in chosen}):
        counts = (f"{formatting.count(n, 'job')} {state}" for state, n in rest.items())
        yield f"in addition, {', '.join(counts)}"


def _nodes(glance: Glance) -> Iterable[str]:
    """Yields how many nodes there are and how many slots are taken, then a sentence per node that is not up."""
    found = glance.snapshot.nodes
    if not found:
        return
    taken, slots = sum(node.busy for node in found), sum(node.slots for node in found)
    yield f"{formatting.count(len(found), 'node')}: {taken} of {formatting.count(slots, 'slot')} taken"
    for node in found:
        state = state_of(node, glance.now)
        if state != "up":
            yield f"node {node.id} is {state}" + (f": {node.reason}" if node.reason else "")


def listed(jobs: Sequence[Job]) -> list[Job]:
    """Chooses at most MOST jobs: running and failed ones first, then queued, then ended; keeps their order."""
    first = [job for job in jobs if job.status in (JobStatus.RUNNING, JobStatus.FAILED)]
    rest = [job for job in jobs if job.status not in (JobStatus.RUNNING, JobStatus.FAILED)]
    kept = {job.id for job in (first + rest)[:MOST]}
    return [job for job in jobs if job.id in kept]


STATES = {
    JobStatus.QUEUED: "is queued", JobStatus.RUNNING: "is running", JobStatus.PAUSED: "is paused",
    JobStatus.DONE: "is done", JobStatus.FAILED: "has failed", JobStatus.CANCELLED: "was cancelled",
}  # fmt: skip


def _job(glance: Glance, job: Job, name: str) -> str:
    """Describes a job: `cell S is running: 6 of 12 trials, best loss 0.5375 (smaller is better), ...`."""
    wanted = formatting.count(job.trials_wanted, "trial")
    parts = [f"{formatting.trials_ended(job)} of {wanted}", *best_words(glance.snapshot, job)]
    lost = glance.lost(job)
    if not lost:
        parts += [_at(glance, trial, job) for trial in _live(glance, job)]
        left = glance.seconds_left(job)
        parts += [f"{formatting.about(left)} left"] if left is not None and glance.has_worker else []
    if job.status is JobStatus.FAILED:
        parts.append(f"the cause: {job.message or job.cause or 'none recorded'}")
    elif job.hold_reason:
        parts.append(f"it is held: {job.hold_reason}")
    elif job.asked:
        parts.append(f"it was asked to {job.asked}")
    state = f"is lost, {lost.replace('free', 'another worker may take it')}" if lost else STATES[job.status]
    return f"{'cell' if job.kind in ('', 'cell') else job.kind} {name} {state}: {', '.join(parts)}"


def best_words(snapshot: Snapshot, job: Job) -> list[str]:
    """Returns `best loss 0.5375 (smaller is better)`, or the number of trials on the Pareto front."""
    if len(job.goals) > 1:
        return [f"{formatting.count(len(job.front), 'trial')} on the front of {', '.join(job.goals)}"]
    if job.best_value is None:
        return []
    kind = declared.of_job(snapshot, job).word(job.metric, None)
    which = "smaller" if job.direction is Direction.MINIMIZE else "larger"
    return [f"best {kind} {formatting.score(job.best_value)} ({which} is better)"]


def _live(glance: Glance, job: Job) -> list[Trial]:
    return sorted(running_trials(glance.snapshot, job), key=lambda trial: trial.number)


def _at(glance: Glance, trial: Trial, job: Job) -> str:
    step = declared.of_job(glance.snapshot, job).step
    steps = job.steps
    if not trial.epochs:
        return f"trial {trial.number} has begun"
    return f"trial {trial.number} has done {formatting.count(trial.epochs, step)}" + (f" of {steps}" if steps else "")
