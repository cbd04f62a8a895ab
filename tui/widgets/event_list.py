"""Events, trials and log lines as rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fts.jobs.search.importance import Importance, importance
from fts.jobs.status import declared, formatting, naming
from fts.jobs.status.event_groups import NEWSWORTHY
from fts.state.values import ROLE, Event, Job, Trial, TrialStatus
from fts.tui.data import table_rows
from fts.tui.data.curve_comparison import points
from fts.tui.data.trial_store import by_id, place_of
from fts.tui.render.text import Line, Span, heading, with_role
from fts.tui.widgets import learning_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.tui.data.view import View

EVENT_ROLES = {
    "failed": "failed", "parked": "failed", "trial_failed": "failed", "new_best": "best", "finished": "done",
    "guard": "paused", "worker_lost": "retrying", "paused": "paused", "queue_paused": "paused", "noted": "strong",
}  # fmt: skip


def events(view: View, width: int, height: int) -> list[Line]:
    """The latest newsworthy events, newest first: `08:02 t22 pruned at ep 12`."""
    fresh = [event for event in reversed(view.snapshot.events) if event.verb in NEWSWORTHY][:height]
    if not fresh:
        return [(("nothing has happened yet", "dim"),)]
    return [_event(view, event, width) for event in fresh]


LEAST_EVENT = 24  # columns in which a second event still says something


def event_line(view: View, width: int) -> Line:
    """As many of the latest events as fit into one line, three blanks between them; the last one may be cut."""
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
    """What happened, with cells and trials by their names; a verb without a message speaks for itself."""
    jobs = view.snapshot.jobs
    job = next((job for job in jobs if job.id == event.job_id), None)
    if job is None:
        return naming.name_cells(event.message or str(event.verb).replace("_", " "), jobs)
    name = naming.names_of(jobs)[job.id]
    if brief := trial_words(view, event):
        return f"{name} {brief}"
    if event.verb == "finished" and job.status == "done" and job.best_value is not None:
        if len(job.goals) > 1:
            return f"{name} done, front {len(job.front)}"
        return f"{name} done, best {declared.short(job.best_value)} (t{job.best_trial})"
    if event.verb == "enqueued":
        return f"{name} put in line"
    text = naming.name_cells(event.message or str(event.verb).replace("_", " "), jobs, job.id)
    return text if name in text else f"{name} {text}"


def trial_words(view: View, event: Event) -> str:
    """`t12 new best .6841 (+.0032)`, `t22 pruned at ep 12, .6550`; empty for what is not about a trial's value."""
    number, value = event.data.get("number"), event.data.get("value")
    if not isinstance(number, int):
        return ""
    known = value if isinstance(value, int | float) else None
    scored = f" {declared.short(known)}" if known is not None else ""
    if event.verb == "new_best" and isinstance(event.data.get("front"), list):
        return f"t{number} joins the front, {len(event.data['front'])} on it"
    if event.verb == "new_best":
        before = event.data.get("before")
        gain = ""
        if known is not None and isinstance(before, float):
            by = known - before
            gain = f" ({learning_curve.signed(by, 4) if abs(by) < 10 else f'{by:+.5g}'})"
        return f"t{number} new best{scored}{gain}"
    if event.verb in ("trial_pruned", "trial_complete"):
        trial = by_id(view.trials, event.trial_id)
        epochs = event.data.get("epochs", trial.epochs if trial is not None else None)  # older events know none
        job = next((job for job in view.snapshot.jobs if job.id == event.job_id), None)
        step = declared.step_word(view.snapshot, job)
        after = f" at {step} {epochs}" if isinstance(epochs, int) else ""
        if job is not None and not job.task and isinstance(epochs, int):  # a count; its steps may have other numbers
            after = f" after {epochs} {step}" if epochs else ""
        cause = str(event.data.get("cause") or "")
        how = "pruned" if event.verb == "trial_pruned" else "complete" if cause == "finished" else cause or "complete"
        return f"t{number} {how}{after},{scored or ' no value'}"
    if event.verb == "trial_failed":
        why = event.data.get("message") or event.data.get("cause") or "no cause recorded"
        return f"t{number} failed: {why}"
    return ""


def _event(view: View, event: Event, width: int) -> Line:
    at = formatting.when(event.at, view.now)
    return (
        (f"{at} ", "dim"),
        (formatting.cut(event_words(view, event), width - len(at) - 1), EVENT_ROLES.get(event.verb, "")),
    )


def journal(view: View, width: int, height: int) -> list[Line]:
    """Screen 7: who, what, when, whether it can be undone."""
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


JOURNAL_COLUMNS = ((0, 0), (10, 0), (22, 17))  # of who and what, by the room there is: the message matters most


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


# ---------------------------------------------------------------- trials

PARAMS = ("learning_rate", "dropout", "weight_decay", "warmup_steps")  # whose columns stand first, where they are drawn
MOST = 4  # columns of parameters where no word describes a trial
ABSENT = "·"  # a branch that did not draw the parameter
SHORT = {"learning_rate": "lr", "weight_decay": "wd", "warmup_steps": "warm", "architecture": "arch"}


def trials(view: View, width: int, height: int, title: bool = True) -> list[Line]:
    """Screen 2, and the side pane of the widest Queue."""
    rows = table_rows.trials_of(view)
    known = rows or view.trials  # a filter that shows no row changes no heading
    columns = ParamColumns.of(view, rows, width)
    value = formatting.fit_right(_value_word(view), columns.value)
    step = formatting.fit_right(declared.step_word(view.snapshot, view.job), 4)
    head = f"   {'t':>4s} {'state':11s} {value} {step} {'time':>5s} "
    head += " ".join(formatting.fit_right(SHORT.get(name, name), each) for name, each in columns.widths.items())
    head += "  architecture" if any(trial.architecture for trial in known[:SEEN]) or not known else ""
    sort, wanted = (view.sort, view.filter) if title else ("", "")
    lines: list[Line] = [heading(head, width, sort, view.reverse, wanted)]
    if not rows:
        return [*lines, *_no_trials(view)]
    job = view.job
    cursor = place_of(rows, view.trial_id) or 0
    first, last = table_rows.window(len(rows), height - 1, cursor)
    for n in range(first, last):
        selected = n == cursor and title
        lines.append(_trial_row(view, job, rows[n], columns, selected, width))
    return lines


SEEN = 50  # rows by which the columns are chosen


@dataclass(frozen=True)
class ParamColumns:
    """Which parameters have a column and how wide each is, and that of the value."""

    widths: dict[str, int]
    value: int = 7

    @staticmethod
    def of(view: View, rows: Sequence[Trial], width: int) -> ParamColumns:
        """Those that fit. Where a word describes each trial it has its own column, else the four most important."""
        seen = rows[:SEEN]
        drawn = Counter(name for trial in seen for name in trial.params)
        if not seen or any(trial.architecture for trial in seen):
            known = [name for name in PARAMS if name in drawn]
            others = sorted(set(drawn) - set(PARAMS) - {"architecture"})
            return ParamColumns(dict.fromkeys([*known, *others][: max((width - 38 - 20) // 8, 0)], 7))
        value = min(max(formatting.width(_value_word(view)), 7), 14)
        ranks = {each.name: n for n, each in enumerate(importance_of(view))}
        names = sorted(drawn, key=lambda name: (ranks.get(name, len(ranks)), -drawn[name], name))
        left, kept = width - 32 - value, names[:MOST]
        kept = kept[: max(left // 8, 0)]
        left -= 8 * len(kept)  # seven columns and a blank each; what is left goes to long names
        widths = {}
        for name in kept:
            more = min(max(formatting.width(SHORT.get(name, name)) - 7, 0), left, 9)
            widths[name], left = 7 + more, left - more
        return ParamColumns(widths, value)


def _value_word(view: View) -> str:
    """`AUC`, `loss`, `val_loss ↓`."""
    return "AUC" if view.job is None else declared.metric_word(view.snapshot, view.job)


def importance_line(view: View, width: int) -> Line | None:
    """`importance in 22 trials  lr ██████▍ .46`: as many parameters as fit whole; None where nothing can be said."""
    found = importance_of(view)
    if not found:
        return None
    spans: list[Span] = [(f"importance in {found[0].n} trials", "dim")]
    used = formatting.width(spans[0][0])
    for each in found:
        name = SHORT.get(each.name, each.name)
        bar = formatting.bar(each.share, 8).rstrip(formatting.TROUGH)
        item: list[Span] = [
            (f"  {name} ", ""),
            (bar, "running"),
            (f"{' ' if bar else ''}{each.share:.2f}"[:6].replace("0.", "."), ""),
        ]
        need = sum(formatting.width(text) for text, _ in item)
        if used + need > width - 2 * (each is not found[-1]):
            spans.append((" …", "dim"))
            break
        spans += item
        used += need
    return tuple(spans)


def importance_of(view: View) -> tuple[Importance, ...]:
    """Of the selected cell's trials; computed once for each set of them."""
    trials = view.trials
    if not _latest or _latest[0][0] is not trials:
        _latest[:] = [(trials, importance(trials))]
    return _latest[0][1]


_latest: list[tuple[Sequence[Trial], tuple[Importance, ...]]] = []  # the last one, by the identity of its trials


def _trial_row(view: View, job: Job | None, trial: Trial, columns: ParamColumns, selected: bool, width: int) -> Line:
    best = job is not None and trial.number in (job.front or (job.best_trial,))
    role = str(trial.status)
    beside = str(trial.facts.get(ROLE, ""))  # baseline, replicate; its sign and colour tell the state
    seconds = seconds_of(view, job, trial)
    took = formatting.left(seconds) if seconds else "—"
    live = "+" if trial.status is TrialStatus.RUNNING else " "
    spans: list[Span] = [
        ("►" if selected else " ", "key"),
        ("► "[0] if role == "running" else formatting.glyph_of(trial.status), role),
        ("★" if best else " ", "best"),
        (f"{trial.number:4d}", ""),
        ("•" if trial.id in view.marks else " ", "mark"),
        (formatting.fit(beside or role, 12), role),
        (formatting.fit_right(declared.shown(_value(view, trial), 7), columns.value), "best" if best else ""),
        (f" {trial.epochs:4d} {took:>5s}{live}", ""),
        (" ".join(_param(trial, name, each) for name, each in columns.widths.items()), ""),
        ("  " + trial.architecture if trial.architecture else "", "dim"),
    ]
    notes = [badge for badge in trial.badges if badge != beside]
    notes += [str(trial.cause)] if trial.cause and role == "failed" else []
    if notes:
        spans.append(("  " + ", ".join(notes), "failed" if role == "failed" else "retrying"))
    painted: Line = tuple(spans)
    if selected:
        used = sum(formatting.width(text) for text, _ in painted)
        painted = with_role((*painted, (" " * max(width - used, 0), "")), "cursor")
    return painted


def _value(view: View, trial: Trial) -> float | None:
    """The recorded value; of a running trial the best so far."""
    if trial.value is not None or trial.ended_at is not None:
        return trial.value
    return trial.direction.best(value for _, value in points(view.epochs(trial.id), trial.metric))


def seconds_of(view: View, job: Job | None, trial: Trial) -> float:
    """What it took: its training; of one that does not tell, or has no steps, its whole time."""
    at_once = job is not None and job.kind == "baseline"  # it is fitted at once, without epochs
    untold = not trial.train_seconds and (trial.epochs > 0 or trial.value is not None)
    if trial.ended_at is not None and (at_once or untold):
        return trial.ended_at - trial.started_at
    return view.now - trial.started_at if untold and trial.status is TrialStatus.RUNNING else trial.train_seconds


def _param(trial: Trial, name: str, columns: int) -> str:
    absent = ABSENT if trial.params and not trial.architecture else ""
    return formatting.fit_right(formatting.number(trial.params.get(name, absent)), columns)


def _no_trials(view: View) -> list[Line]:
    if view.filter and view.trials:
        return [((f"   0 of {len(view.trials)} match `{view.filter}`. Esc clears.", "dim"),)]
    job = view.job
    if job is None:
        return [(("   No cell is selected. 1 shows the queue.", "dim"),)]
    name = view.name
    if job.status == "queued":
        return [((f"   {name} has no trial yet: it waits in line. t runs it next (`fts next {job.id}`).", "dim"),)]
    return [((f"   {name} has no trial yet.", "dim"),)]


# ---------------------------------------------------------------- logs


def log(view: View, width: int, height: int) -> list[Line]:
    """The end of the log, or the part the reader has scrolled to; matches of the search are marked."""
    lines = table_rows.log_of(view)
    if not lines:
        return [((no_log(view), "dim"),)]
    end = max(len(lines) - view.scroll, min(height, len(lines)))
    return [log_line(text, view.search, width) for text in lines[max(end - height, 0) : end]]


def no_log(view: View) -> str:
    """Why there is nothing to show."""
    if view.details.log_problem:
        return view.details.log_problem
    if view.level and view.details.log:
        lines = formatting.count(len(view.details.log), "line")
        return f"no line of level {view.level} among {lines}. s changes the level."
    trial = view.trial
    if trial is None:
        return "no trial, no log yet"
    return f"t{trial.number} has written no log yet" if trial.log_path else f"t{trial.number} has no log file"


def log_line(text: str, search: str, width: int) -> Line:
    role = {2: "failed", 1: "retrying"}.get(table_rows.level_of(text), "")
    if not search or search.lower() not in text.lower():
        return ((formatting.cut(text, width), role),)
    text = formatting.cut(text, width)
    at = text.lower().find(search.lower())
    if at < 0:
        return ((text, role),)
    end = at + len(search)
    return ((text[:at], role), (text[at:end], "match"), (text[end:], role))


def cut_lines(lines: list[Line], height: int) -> list[Line]:
    """At most `height` lines; what is left out is counted in the last one."""
    if len(lines) <= height:
        return lines
    left = sum(bool(row) for row in lines[height - 1 :])
    return [*lines[: height - 1], ((f"… {formatting.count(left, 'more line')}: Tab, then z shows all", "dim"),)]
