"""Turns events and the status into news for a person: each thing once, a condition only after it has lasted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.status import formatting
from fts.jobs.status.concern import About, Concern, Word
from fts.jobs.status.conditions import is_live, runnable, running
from fts.jobs.status.sanitize import clean
from fts.jobs.status.sentences import cell_sentence, finish_sentence, verdict_sentence
from fts.state.values import Event, JobStatus, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.jobs.status.summary import Glance

CLEAR_S = 600.0  # a condition that was gone for this long is news when it comes back
MOST_LINES, LONGEST_LINE = 12, 250  # so that the verdict and the finish fit in, too
NOTHING: Mapping[str, int] = MappingProxyType({})
LOST = "lost:"  # begins the key of a lost worker
FAILED = (Verb.FAILED, Verb.PARKED, Verb.HELD)
OF_EVENTS = (Verb.FINISHED, *FAILED, Verb.WORKER_LOST)
WORDS = {  # words for a title about several news
    About.DONE: "done",
    About.FAILED: "failed",
    About.GUARD: "guard",
    About.LOST: "worker lost",
    About.IDLE: "nothing left to run",
    About.SLIP: "finish slipped",
    About.DISK: "disk",
}


@dataclass(frozen=True)
class News:
    """One thing to report."""

    about: About
    text: str
    at: float


@dataclass
class Memory:
    """What was already turned into news; stored as JSON in the mailbox file."""

    event: int  # the last event that was read
    busy: bool = False  # at the last look a job ran or could run
    told: dict[str, float] = field(default_factory=dict)  # reported condition -> when it was last true
    lost: list[int] = field(default_factory=list)  # lost workers that were reported
    since: dict[str, float] = field(default_factory=dict)  # present condition -> when it began
    event_at: float = 0.0  # time of the last event that was read; 0: not known


def collect(memory: Memory, glance: Glance, events: Sequence[Event], hold_s: float) -> list[News]:
    """Returns what is new since the last call and updates `memory`; `events` are those after `memory.event`."""
    found = [one for event in events if (one := _of_event(memory, glance, event)) is not None]
    if events:
        memory.event, memory.event_at = events[-1].id, events[-1].at
    found += _of_conditions(memory, glance, hold_s)
    found += _of_idleness(memory, glance)
    of_cells = (About.DONE, About.FAILED)  # already filtered by the settings of the cell's own study
    kept = [one for one in found if one.about in of_cells or one.about in wanted(glance, None)]
    return [replace(one, text=clean(one.text)) for one in kept]


def wanted(glance: Glance, study: str | None) -> frozenset[About]:
    """Returns the kinds of messages that [notify] of a study chooses (None: of any study); without that table, all."""
    studies = glance.snapshot.studies
    names = {job.study for job in glance.snapshot.jobs} if study is None else {study}
    asked: set[About] = set()
    for name in names:
        record = studies.get(name)
        on = record.declaration.get("notify") if record is not None else None
        asked |= {About(word) for word in on if word in set(About)} if isinstance(on, list) else set(About)
    return frozenset(asked or (About if not names else ()))


def _of_event(memory: Memory, glance: Glance, event: Event) -> News | None:
    if event.verb not in OF_EVENTS:
        return None
    if event.verb == Verb.WORKER_LOST:
        worker = event.data.get("worker_id")
        if worker in memory.lost:
            return None
        if isinstance(worker, int):
            memory.lost = [*memory.lost[-50:], worker]
        return News(About.LOST, formatting.full_stop(event.message), event.at)
    about = About.DONE if event.verb == Verb.FINISHED else About.FAILED
    job = next((job for job in glance.snapshot.jobs if job.id == event.job_id), None)
    if job is not None and about not in wanted(glance, job.study):
        return None
    if about is About.DONE and job is not None and job.status is JobStatus.DONE:
        return News(about, cell_sentence(glance, job), event.at)
    concern = next((one for one in glance.verdict.concerns if one.job_id == event.job_id and one.about is about), None)
    return News(about, formatting.full_stop(concern.reason if concern else event.message), event.at)


def _of_conditions(memory: Memory, glance: Glance, hold_s: float) -> list[News]:
    found: list[News] = []
    holding: dict[str, tuple[About, Concern]] = {}
    for concern in glance.verdict.concerns:
        if concern.about is not None and (key := _key(glance, concern)) is not None:
            holding.setdefault(key, (concern.about, concern))
    for key, (about, concern) in holding.items():
        began = memory.since.setdefault(key, glance.now)
        known = key in memory.told
        if not known and glance.now - began < (
            sure_after(hold_s) if about is About.LOST and _is_gone(glance) else hold_s
        ):
            continue
        memory.told[key] = glance.now
        if not known:
            found.append(News(about, formatting.full_stop(concern.reason), glance.now))
            if about is About.LOST:
                memory.lost = [*memory.lost[-50:], int(key.removeprefix(LOST))]
    memory.since = {key: at for key, at in memory.since.items() if key in holding}
    memory.told = {key: at for key, at in memory.told.items() if key in holding or glance.now - at < CLEAR_S}
    return found


def _key(glance: Glance, concern: Concern) -> str | None:
    """Returns a key that identifies the condition; None if no message is sent about it."""
    match concern.about:
        case About.DISK:
            return "disk"
        case About.GUARD:
            return "guard" if concern.word is Word.ACT else None  # a short pause is not reported
        case About.SLIP:
            seen = glance.snapshot.seen
            return None if seen is None else f"slip:{seen.taken_at:.0f}"
        case About.LOST:
            silent = [w for w in glance.snapshot.workers if w.status == "running"]
            latest = max(silent, key=lambda w: w.heartbeat_at, default=None)
            return None if latest is None else f"{LOST}{latest.id}"  # a worker marked as lost has an event instead
        case _:
            return None


def sure_after(hold_s: float) -> float:
    """Returns the seconds until a dead worker is reported, because another worker may replace it at once."""
    return min(hold_s, 3.0)


def _is_gone(glance: Glance) -> bool:
    """Returns whether a silent worker's process is known to be dead, so that there is no need to wait longer."""
    return any(worker.gone for worker in glance.snapshot.workers)


def _of_idleness(memory: Memory, glance: Glance) -> list[News]:
    """Reports once that the last job that could run has ended."""
    if running(glance.snapshot) or runnable(glance.snapshot):
        memory.busy = True
        return []
    idle = next((one for one in glance.verdict.concerns if one.about is About.IDLE), None)
    if not memory.busy or idle is None:
        return []
    memory.busy = False
    return [News(About.IDLE, formatting.full_stop(idle.reason), glance.now)]


def has_live_worker(glance: Glance) -> bool:
    """Returns whether a worker is alive, with more patience than elsewhere: it may only be slow."""
    return any(is_live(worker, glance.now, silent_beats=12) for worker in glance.snapshot.workers)


def title_of(news: Sequence[News], study: str, left_out: Mapping[str, int] = NOTHING) -> str:
    """Returns the title: `fts bank: mnist/S is done ...`, or `fts bank: 3 done, 1 failed`.

    `left_out`: the number of older news that were dropped, by their kind.
    """
    study = clean(study)
    if len(news) == 1 and not left_out:
        return formatting.cut(f"fts {study}: {news[0].text}", 120)
    counts = {About(kind): n for kind, n in left_out.items()}
    for one in news:
        counts[one.about] = counts.get(one.about, 0) + 1
    parts = [
        f"{n} {WORDS[about]}" if about in (About.DONE, About.FAILED) else WORDS[about] for about, n in counts.items()
    ]
    return formatting.cut(f"fts {study}: {', '.join(parts)}", 120)


def body_of(
    news: Sequence[News], glance: Glance, now: float, again: bool, left_out: Mapping[str, int] = NOTHING
) -> str:
    """Returns the body: the news, then verdict and finish as in `fts status`."""
    lines = ["This message may have reached you before."] if again else []
    shown = list(news)[-MOST_LINES:]
    if earlier := len(news) - len(shown) + sum(left_out.values()):
        lines.append(f"{earlier} earlier: `fts events` lists them.")
    lines += [_line(one, now) for one in shown]
    now_ = [verdict_sentence(glance), f"{finish_sentence(glance)}."]
    text = " ".join(lines)
    lines += ["", *(sentence for sentence in now_ if sentence.partition(": ")[2] not in text or ": " not in sentence)]
    return "\n".join(lines).rstrip()


def _line(news: News, now: float) -> str:
    """Formats one of the news; adds its time if it is older than two minutes."""
    text = formatting.cut(news.text, LONGEST_LINE)
    return text if now - news.at < 120 else f"{formatting.when(news.at, now)}: {text}"


def to_json(news: Iterable[News]) -> list[dict[str, Any]]:
    return [{"about": str(one.about), "text": one.text, "at": one.at} for one in news]


def from_json(given: Any) -> list[News]:
    """Converts back from JSON; skips invalid entries."""
    found = []
    for one in given if isinstance(given, list) else []:
        try:
            found.append(News(About(one["about"]), str(one["text"]), float(one["at"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found
