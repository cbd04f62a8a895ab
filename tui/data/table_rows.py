"""Selects and orders the rows of each table: filter, sort, and the window of rows that fits."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from fts.frozen import dataclass
from fts.jobs.status import declared, formatting, naming
from fts.jobs.status.memoize import Once
from fts.state.values import Direction, Event, Job, JobStatus, Trial
from fts.tui.data.trial_store import OrderedTrials, TrialStore
from fts.tui.data.trial_time import seconds_of
from fts.tui.data.view import EVENTS, QUEUE, TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.tui.data.view import Details, View

Row = TypeVar("Row")

JOB_SORTS = {"c": "cell", "s": "state", "t": "trials", "b": "best", "r": "run order"}
TRIAL_SORTS = {"t": "number", "s": "state", "v": "value", "e": "epochs", "m": "minutes", "a": "architecture"}
EVENT_SORTS = {"t": "time", "w": "who", "v": "verb"}
SORTS = {QUEUE: JOB_SORTS, TRIALS: TRIAL_SORTS, EVENTS: EVENT_SORTS}  # by screen: letter typed after `o`, column
PARAM = "parameter "  # prefix of a parameter's column: a parameter may be called `value`, too


def column_word(column: str) -> str:
    """Returns the name of a column for display."""
    return column.removeprefix(PARAM)


def jobs_of(view: View) -> list[Job]:
    """Returns the rows of the queue, filtered and sorted."""
    asked = (view.filter, view.sort, view.reverse, view.folded)
    return _jobs((view.snapshot.jobs, view.snapshot.studies), asked, lambda: _jobs_of(view))


_jobs: Once[list[Job]] = Once()  # cached: one key needs them several times, and there may be thousands


def _jobs_of(view: View) -> list[Job]:
    rows, studies = in_order(view.snapshot.jobs), declared.studies_of(view.snapshot)
    if view.filter:
        rows = [job for job in rows if matches(view.filter, _job_text(job), {"state": str(job.status)}, job.labels)]
    order: dict[str, Callable[[Job], Any]] = {
        "cell": lambda j: (studies.index(j.study), declared.of_job(view.snapshot, j).place(j)),
        "state": lambda j: str(j.status),
        "trials": lambda j: formatting.trials_ended(j) / max(j.trials_wanted, 1),
        "best": lambda j: _best_first(j.best_value, j.direction),
    }
    return grouped(view, _sorted(rows, order.get(view.sort), view.reverse))


def grouped(view: View, rows: list[Job]) -> list[Job]:
    """Groups the rows by study, the oldest study first, and folds studies; does nothing if there is one study."""
    if not is_grouped(view):
        return rows
    found = []
    for study in declared.studies_of(view.snapshot):
        own = [job for job in rows if job.study == study]
        found += [folded_row(own)] if study in view.folded and own else own
    return found


def folded_row(jobs: Sequence[Job]) -> Job:
    """Returns the row that a folded study shows: the running cell, else the best, else the first."""
    running = next((job for job in jobs if job.status is JobStatus.RUNNING), None)
    valued = [job for job in jobs if job.best_value is not None]
    best = min(valued, key=lambda job: job.direction.key(job.best_value or 0.0), default=None)
    return running or best or jobs[0]


def is_grouped(view: View) -> bool:
    """Returns whether the queue shows a heading for each study."""
    return len(declared.studies_of(view.snapshot)) > 1


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """Orders jobs from past to future: ended ones by the time of their end, then running ones, then the queue."""
    ended = [job for job in jobs if job.ended_at is not None and job.status in ENDED]
    rest = [job for job in jobs if job.ended_at is None or job.status not in ENDED]
    return sorted(ended, key=lambda job: (job.ended_at or 0.0, job.id)) + rest


ENDED = (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)


def trials_of(view: View) -> Sequence[Trial]:
    """Returns the rows of the trial table, newest first unless sorted."""
    asked = (view.job_id, view.filter, view.sort, view.reverse)
    return _trials((view.details.trials, view.snapshot.trials), asked, lambda: _trials_of(view))


_trials: Once[Sequence[Trial]] = Once()  # cached: there may be ten thousand


def _trials_of(view: View) -> Sequence[Trial]:
    trials = view.trials
    live = {t.id: t for t in view.snapshot.trials if t.job_id == view.job_id}
    places: Sequence[int] = range(len(trials))
    if view.filter:
        found = (matches(view.filter, _trial_text(t), {"state": str(t.status)}, t.params) for t in trials)
        places = [n for n, does in enumerate(found) if does]
    order: dict[str, Callable[[Trial], Any]] = {
        "number": lambda t: t.number,
        "state": lambda t: str(t.status),
        "value": lambda t: _best_first(t.value, t.direction),
        "epochs": lambda t: t.epochs,
        "minutes": lambda t: seconds_of(view, view.job, t),
        "architecture": lambda t: t.architecture,
    }
    name = view.sort.removeprefix(PARAM)
    key = order.get(view.sort) if name == view.sort else lambda t: _in_order(t.params.get(name))
    if key is None:
        places = places[::-1]
    else:
        places = _sorted(places, lambda n: key(live.get(trials[n].id, trials[n])), view.reverse)
    if isinstance(trials, TrialStore):
        return OrderedTrials(trials, places, live)
    return [live.get(trials[n].id, trials[n]) for n in places]


def events_of(view: View) -> list[Event]:
    """Returns the rows of the journal, newest first unless sorted."""
    asked = (view.filter, view.sort, view.reverse)
    return _events((view.details.events, view.snapshot.events), asked, lambda: _events_of(view))


_events: Once[list[Event]] = Once()


def _events_of(view: View) -> list[Event]:
    rows: Sequence[Event] = view.details.events or view.snapshot.events
    if view.filter:
        rows = [
            e for e in rows if matches(view.filter, f"{e.verb} {e.who} {e.message}", {"who": e.who, "verb": e.verb})
        ]
    order: dict[str, Callable[[Event], Any]] = {
        "time": lambda e: e.id,
        "who": lambda e: e.who,
        "verb": lambda e: e.verb,
    }
    if view.sort in order:
        return _sorted(rows, order[view.sort], view.reverse)
    return list(reversed(rows))


def log_of(view: View) -> list[str]:
    """Returns the log lines that pass the level filter."""
    lines: Sequence[str] = view.details.log
    if view.level:
        lines = [text for text in lines if level_of(text) >= LEVELS.index(view.level)]
    return list(lines)


def lines_added(before: Details, after: Details, level: str) -> int:
    """Returns how many lines of a level were appended to the log between two reads."""
    if before.log_path != after.log_path or after.log is before.log:
        return 0
    new = after.log[len(after.log) - min(max(after.log_lines - before.log_lines, 0), len(after.log)) :]
    return sum(level_of(text) >= LEVELS.index(level) for text in new)


LEVELS = ("", "warning", "error")


def level_of(text: str) -> int:
    low = text.lower()
    if "error" in low or "traceback" in low or "failed" in low:
        return 2
    return 1 if "warn" in low else 0


def matches(query: str, text: str, fields: dict[str, str], own: Mapping[str, Any] | None = None) -> bool:
    """Returns whether `text` contains every word of `query` and no `!word`.

    `state:failed` searches one field, `size:L` an axis or a parameter of `own`.
    """
    text = text.lower()
    for word in query.lower().split():
        wanted = not word.startswith("!")
        word = word.lstrip("!")
        name, _, value = word.partition(":")
        given = [each for axis, each in (own or {}).items() if axis.lower() == name]
        if value and (name in fields or given):
            found = value in fields.get(name, "").lower() or any(_has(each, value) for each in given)
        else:
            found = word in text
        if word and found is not wanted:
            return False
    return True


def _has(given: Any, value: str) -> bool:
    """Returns whether a text contains the searched value, or another value is equal to it."""
    shown = str(given).lower()
    return value in shown if isinstance(given, str) else value in (shown, formatting.number(given))


def window(rows: int, height: int, cursor: int) -> tuple[int, int]:
    """Returns (first, last + 1) of the rows to show. Scrolls by half a screen, so that most keys repaint two rows."""
    if rows <= height:
        return 0, rows
    block = max(height // 2, 1)
    first = cursor // block * block - (height - block) // 2
    first = min(max(first, 0), rows - height)
    return first, first + height


def cursor_in(rows: Sequence[Job], job_id: int | None) -> int:
    """Returns the index of a job in the rows of the queue; 0 if it is not there."""
    return _places((rows,), None, lambda: {job.id: n for n, job in enumerate(rows)}).get(job_id or 0, 0)


_places: Once[dict[int, int]] = Once()


def pinned_window(rows: Sequence[Job], height: int, cursor: int) -> list[int]:
    """Returns the indexes of the rows to show: a window around the cursor, always with running and failed rows."""
    if len(rows) <= height:
        return list(range(len(rows)))
    kept = (JobStatus.RUNNING, JobStatus.FAILED)
    pinned = _pinned((rows,), None, lambda: [n for n, job in enumerate(rows) if job.status in kept])
    pinned = pinned[: max(height // 3, 1)]
    first, last = window(len(rows), height, cursor)
    shown = set(range(first, last))
    for n in pinned:
        if n in shown:
            continue
        far = max((m for m in shown if m not in pinned and m != cursor), key=lambda m: abs(m - cursor), default=None)
        if far is None:  # only the cursor fits
            break
        shown.discard(far)
        shown.add(n)
    return sorted(shown)


_pinned: Once[list[int]] = Once()


@dataclass(frozen=True)
class StudyHeading:
    """The line above the rows of a study."""

    study: str
    hidden: int  # rows that are folded


def queue_lines(view: View, height: int) -> list[Job | StudyHeading]:
    """Returns the lines of the queue below its heading: rows, with a study heading above those of each study."""
    rows = jobs_of(view)
    cursor = cursor_in(rows, view.job_id)
    if not is_grouped(view) or not rows:
        return list[Job | StudyHeading](rows[n] for n in pinned_window(rows, height, cursor))
    counts = Counter(job.study for job in rows)
    every = Counter(job.study for job in jobs_of(replace(view, folded=frozenset()))) if view.folded else counts
    room = height
    while True:  # with fewer rows, fewer studies may need a heading
        shown = [rows[n] for n in pinned_window(rows, max(room, 1), cursor)]
        heads = len({job.study for job in shown})
        if len(shown) + heads <= height or room <= 1:
            break
        room -= 1
    lines: list[Job | StudyHeading] = []
    for job in shown:
        if not lines or job.study != getattr(lines[-1], "study", None):
            lines.append(StudyHeading(job.study, every[job.study] - counts[job.study]))
        lines.append(job)
    return lines[:height] if height > 1 else list[Job | StudyHeading](shown)


def _job_text(job: Job) -> str:
    parts = (
        naming.cell_name(job),
        job.experiment,
        job.study,
        job.status,
        *job.labels.values(),
        job.hold_reason,
        job.cause,
        job.message,
    )
    return " ".join(str(part) for part in parts if part)


def _trial_text(trial: Trial) -> str:
    parts = (f"t{trial.number}", trial.status, trial.architecture, trial.cause, trial.message, *trial.badges)
    return " ".join(str(part) for part in parts if part)


def _in_order(value: object) -> tuple[int, Any] | None:
    """Returns the sort key of a parameter's value: numbers before words; None if the trial did not draw it."""
    if value is None:
        return None
    return (0, value) if isinstance(value, int | float) and not math.isnan(value) else (1, str(value))


def _best_first(value: float | None, direction: Direction) -> float | None:
    """Returns the sort key of an objective value: smaller is better for every goal; None if there is no value."""
    if value is None or not math.isfinite(value):
        return None
    return direction.key(value)


def _sorted(rows: Sequence[Row], key: Callable[[Row], Any] | None, reverse: bool) -> list[Row]:
    """Sorts rows by a key; rows whose key is None come last in both directions."""
    if key is None:
        return list(rows)
    keyed = [(key(row), row) for row in rows]
    known = sorted((each for each in keyed if each[0] is not None), key=lambda each: each[0], reverse=reverse)
    return [row for _, row in known] + [row for found, row in keyed if found is None]
