"""Paints events and log lines as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import declared, formatting, naming
from fts.jobs.status.event_groups import NEWSWORTHY
from fts.tui.data import table_rows
from fts.tui.data.trial_store import by_id
from fts.tui.render.text import Line, Span, broken, heading, with_role, wrapped
from fts.tui.widgets import learning_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Event, Job
    from fts.tui.data.view import View

EVENT_ROLES = {
    "failed": "failed", "parked": "failed", "trial_failed": "failed", "new_best": "best", "finished": "done",
    "guard": "paused", "worker_lost": "retrying", "paused": "paused", "queue_paused": "paused", "noted": "strong",
}  # fmt: skip


def events(view: View, width: int, height: int) -> list[Line]:
    """Paints the latest newsworthy events, newest first: `08:02 20M/h3 t22 pruned at ep 12, .6550`."""
    fresh = [event for event in reversed(view.snapshot.events) if event.verb in NEWSWORTHY][:height]
    if not fresh:
        return [(("nothing has happened yet", "dim"),)]
    return [_event(view, event, width) for event in fresh]


LEAST_EVENT = 24  # columns that a further event in a line needs at least


def event_line(view: View, width: int) -> Line:
    """Paints as many of the latest events as fit into one line; the last one may be cut."""
    spans: list[Span] = []
    used = 0
    for event in reversed(view.snapshot.events):
        if event.verb not in NEWSWORTHY:
            continue
        text = f"{formatting.when(event.at, view.now)} {event_words(view, event)}"
        gap = "   " if spans else ""
        room = width - used - len(gap)
        if spans and formatting.width(text) > room:
            if room >= LEAST_EVENT:
                spans.append((gap + formatting.cut(text, room), EVENT_ROLES.get(event.verb, "")))
            break
        spans.append((gap + text, EVENT_ROLES.get(event.verb, "")))
        used += formatting.width(gap + text)
    return tuple(spans) or (("nothing has happened yet", "dim"),)


def event_words(view: View, event: Event) -> str:
    """Returns what happened, with the names of cell and trial; a very long name without its middle."""
    jobs = view.snapshot.jobs
    job = next((job for job in jobs if job.id == event.job_id), None)
    if job is None:
        return message_of(event, jobs)
    name = naming.names_of(jobs)[job.id]
    return _words(view, event, job, name).replace(name, formatting.cut_middle(name, LONGEST_NAME))


LONGEST_NAME = 24  # columns


def _words(view: View, event: Event, job: Job, name: str) -> str:
    """Returns the sentence of an event of a job: from its data if possible, else its message, else its verb."""
    jobs = view.snapshot.jobs
    if brief := trial_words(view, event):
        return f"{name} {brief}"
    if event.verb == "finished" and job.status == "done" and job.best_value is not None:
        if len(job.goals) > 1:
            return f"{name} done, front {len(job.front)}"
        return f"{name} done, best {declared.short(job.best_value)} ({naming.best_name(job, view.snapshot.trials)})"
    if event.verb == "enqueued":
        return f"{name} enqueued"
    text = message_of(event, jobs)
    return text if event.verb != "noted" and naming.is_named(event.message, job) else f"{name} {text}"


def message_of(event: Event, jobs: Sequence[Job]) -> str:
    """Returns the stored message with the names of cells; the note of a person as it was written."""
    if event.verb == "noted":
        return event.message
    return naming.name_cells(event.message or str(event.verb).replace("_", " "), jobs, event.job_id)


def trial_words(view: View, event: Event) -> str:
    """Returns `t12 new best .6841 (+.0032)` or `t22 pruned at ep 12, .6550`; empty if not about a trial's value."""
    number, value = event.data.get("number"), event.data.get("value")
    if not isinstance(number, int):
        return ""
    job = next((job for job in view.snapshot.jobs if job.id == event.job_id), None)
    name = naming.trial_name(job, number, _baseline(view, job, event.trial_id))
    known = value if isinstance(value, int | float) else None
    scored = f" {declared.short(known)}" if known is not None else ""
    if event.verb == "new_best" and isinstance(event.data.get("front"), list):
        return f"{name} joins the front, {len(event.data['front'])} on it"
    if event.verb == "new_best":
        before = event.data.get("before")
        gain = ""
        if known is not None and isinstance(before, float):
            by = known - before
            gain = f" ({_gain(by)})"
        return f"{name} new best{scored}{gain}"
    if event.verb in ("trial_pruned", "trial_complete"):
        trial = by_id(view.trials, event.trial_id)
        epochs = event.data.get("epochs", trial.epochs if trial is not None else None)  # older events lack it
        step = declared.step_word(view.snapshot, job)
        after = f" at {step} {epochs}" if isinstance(epochs, int) and epochs > 0 else ""  # a baseline has none
        if job is not None and not job.task and isinstance(epochs, int):  # a count: its steps may have other numbers
            after = f" after {epochs} {step}" if epochs else ""
        cause = str(event.data.get("cause") or "")
        how = "pruned" if event.verb == "trial_pruned" else "complete" if cause == "finished" else cause or "complete"
        return f"{name} {how}{after},{scored or ' no value'}"
    if event.verb == "trial_failed":
        why = event.data.get("message") or event.data.get("cause") or "no cause recorded"
        return f"{name} failed: {why}"
    return ""


def _baseline(view: View, job: Job | None, trial_id: int | None) -> str:
    """Returns the name of the baseline that a trial of a baseline job fits; empty for other jobs, or if unknown."""
    if job is None or job.kind != "baseline":
        return ""
    started = (each for each in view.snapshot.journal if each.trial_id == trial_id and each.verb == "trial_started")
    return next((each.message.partition(" starts: ")[2] for each in started), "")


def _gain(by: float) -> str:
    """Returns +.0032, -12.5, or for a gain that four decimals would show as 0, -8.2e-6."""
    if 0 < abs(by) < 0.0005:
        mantissa, exponent = f"{by:+.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return learning_curve.signed(by, 4) if abs(by) < 10 else f"{by:+.5g}"


def _event(view: View, event: Event, width: int) -> Line:
    at = formatting.when(event.at, view.now)
    return (
        (f"{at} ", "dim"),
        (formatting.cut(event_words(view, event), width - len(at) - 1), EVENT_ROLES.get(event.verb, "")),
    )


def journal(view: View, width: int, height: int) -> list[Line]:
    """Paints the table of screen 7: when, who, what, whether it can be undone."""
    rows = table_rows.events_of(view)
    who, what = JOURNAL_COLUMNS[sum(width >= least for least in (70, 100))]
    head = f"   {'when':12s}" + (f" {'who':{who}s}" if who else "") + (f" {'what':{what}s}" if what else "")
    lines: list[Line] = [heading(f"{head} message", width, view.sort, view.reverse, view.filter)]
    if not rows:
        total = len(view.details.events or view.snapshot.events)
        missing = f"0 of {total} match `{view.filter}`. Esc clears." if total else "nothing has happened yet"
        return [*lines, ((f"   {missing}", "dim"),)]
    cursor = next((n for n, event in enumerate(rows) if event.id == view.event_id), 0)
    first, last = table_rows.window(len(rows), height - 1, cursor)
    lines += [_journal_row(view, rows[n], n == cursor, width) for n in range(first, last)]
    return lines


JOURNAL_COLUMNS = ((0, 0), (10, 0), (22, 17))  # widths of who and what on narrow, medium and wide panes


def _journal_row(view: View, event: Event, selected: bool, width: int) -> Line:
    who, what = JOURNAL_COLUMNS[sum(width >= least for least in (70, 100))]
    used, role = 16 + who + bool(who) + what + bool(what), EVENT_ROLES.get(event.verb, "")
    undo = "u" if event.inverse is not None and event.undone_by is None else "↻" if event.undone_by else " "
    spans: Line = (
        ("►" if selected else " ", "key"),
        (undo, "key" if undo == "u" else "dim"),
        ("•" if event.id in view.marks else " ", "mark"),
        (formatting.fit(formatting.when(event.at, view.now), 12), "dim"),
        (" " + formatting.fit(event.who, who) if who else "", ""),
        (" " + formatting.fit(str(event.verb).replace("_", " "), what) if what else "", role),
        (" " + formatting.fit(event_words(view, event), max(width - used, 1)), "" if what else role),
    )
    return with_role(spans, "cursor") if selected else spans


# ---------------------------------------------------------------- logs


def log(view: View, width: int, height: int) -> list[Line]:
    """Paints the end of the log, or the part that the user has scrolled to; wraps long lines."""
    lines = table_rows.log_of(view)
    if not lines:
        missing: list[Line] = [((row, "dim"),) for row in wrapped(no_log(view), width)]
        return missing[:height]
    end = max(len(lines) - view.scroll, min(height, len(lines)))
    rows: list[Line] = []
    for text in reversed(lines[max(end - height, 0) : end]):
        parts = broken(text, width)
        left = max(height // 2, 1)  # rows of one line at most: a progress bar may be very long
        if len(parts) > left:
            parts = [*parts[: left - 1], formatting.cut(parts[left - 1] + " " * width, width)]
        role = LEVEL_ROLES.get(table_rows.level_of(text), "")
        rows[:0] = [_log_row(part, view.search, role) for part in parts]
        if len(rows) >= height:
            break
    return rows[-height:] if height > 0 else []


def no_log(view: View) -> str:
    """Returns why there is no log to show."""
    if view.details.log_problem:
        return view.details.log_problem
    if view.level and view.details.log:
        lines = formatting.count(len(view.details.log), "line")
        return f"no line of level {view.level} among {lines}. s changes the level."
    trial = view.trial
    if trial is None:
        return "no trial, no log yet"
    return f"t{trial.number} has written no log yet" if trial.log_path else f"t{trial.number} has no log file"


LEVEL_ROLES = {2: "failed", 1: "retrying"}


def log_line(text: str, search: str, width: int) -> Line:
    """Paints a log line in one row; cuts it if it is longer."""
    return _log_row(formatting.cut(text, width), search, LEVEL_ROLES.get(table_rows.level_of(text), ""))


def _log_row(text: str, search: str, role: str) -> Line:
    """Paints a row with the search match marked."""
    at = text.lower().find(search.lower()) if search else -1
    if at < 0:
        return ((text, role),)
    end = at + len(search)
    return ((text[:at], role), (text[at:end], "match"), (text[end:], role))
