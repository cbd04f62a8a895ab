"""Lays out the status as lines for a terminal size: tuples of (text, role) pairs.

The command line prints the text, the monitor colours it by role.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from fts.jobs.status import declared, formatting
from fts.jobs.status.absence import NOW, Away, Timeline
from fts.jobs.status.concern import Word
from fts.jobs.status.conditions import is_live, runnable, running
from fts.jobs.status.event_groups import GUARDED
from fts.jobs.status.summary import Glance, timeline_of, timeline_start
from fts.jobs.status.surface import Surface, by, seen
from fts.state.values import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.status.forecast import Forecast

Span = tuple[str, str]
Line = tuple[Span, ...]

STRIP_ROLES = {"█": "running", "·": "dim", "‖": "paused", "✗": "failed", "↻": "retrying", NOW: "strong"}

PIPED_STRIP = 100  # columns of the timeline in a pipe


def lines(glance: Glance, width: int, height: int, tabs: Sequence[str] = (), current: int = 0) -> list[Line]:
    """Returns the lines for a terminal size: 1 below 40x8, 2 below 70x20, 3 at 80x24, 5 at 120x40, 4 at 200x60."""
    if width < 40 or height < 8:
        return [_single(glance, width)]
    if width < 70 or height < 20:
        return [_pocket_first(glance, width), _pocket_second(glance, width)]
    head = header(glance, width, tabs, current)
    if glance.is_missing:
        return [head, fill(verdict_spans(glance, width), (), width)]
    if width < 100 or height < 32:
        return [head, _verdict_and_finish(glance, width), _away_and_night(glance, width)]
    if width < 160 or height < 50:
        verdict = fill(verdict_spans(glance, width), (), width)
        return [head, verdict, _finish(glance, width), _away(glance, width), _night(glance, width)]
    return [head, _wide_verdict(glance, width), _away(glance, width), _night(glance, width, legend=True)]


def _single(glance: Glance, width: int) -> Line:
    """Returns the verdict, and DRAINING if a worker was asked to stop."""
    text = "DRAINING" if glance.drain and "DRAINING" not in glance.verdict.short else ""
    room = width - (len(text) + 1 if text else 0)
    return fill(verdict_spans(glance, room, brief=True), [(text, "look")] if text else (), width)


def plain(line: Line) -> str:
    """Returns the text of a line without trailing blanks."""
    return "".join(text for text, _ in line).rstrip()


def header(glance: Glance, width: int, tabs: Sequence[str] = (), current: int = 0) -> Line:
    """Returns the line with the program, the title, the screens, the age of the data and the clock."""
    stale = "stale" if glance.is_stale else "replay" if glance.mode.startswith("REPLAY") else "dim"
    age = glance.fresh
    if width < 100 and age.startswith("live "):
        age = f"live, {age.removeprefix('live ')} old"
    right: list[Span] = [(age, stale)]
    for told in (glance.drain, glance.mode):
        if told and not glance.mode.startswith("REPLAY"):
            right = [(told, "look"), ("  ", ""), *right]
    right += [("    " if width < 100 else "   ", ""), (formatting.day_clock(glance.clock), "")]
    if tabs and width >= 110:
        names: list[Span] = []
        for n, name in enumerate(tabs):
            names.append(
                (f"[{n + 1} {name}]" if n == current else f"{n + 1} {name}", "title" if n == current else "dim")
            )
            names.append((" ", ""))
        right = [*names, ("  ", ""), *right]
    elif tabs:
        right = [(f"{current + 1} {tabs[current]}", "title"), ("    ", ""), *right]
    return fill([("fts", "title"), ("  ", ""), (glance.title, "dim")], right, width)


def verdict_spans(glance: Glance, width: int, brief: bool = False) -> list[Span]:
    """Returns `LOOK   20M/h5 failed: ...` in at most `width` columns."""
    verdict = glance.verdict
    gap = " " if width < 70 else "  " if width < 100 else "   "
    room = width - len(verdict.word) - len(gap)
    more = f" (+{verdict.decisions - 1} more)" if verdict.decisions > 1 else ""
    text = verdict.reason + more
    if formatting.width(text) > room or brief:
        text = verdict.short + more
    if formatting.width(text) > room:
        text = verdict.short.split(". ")[0]
    return [(str(verdict.word), str(verdict.word).lower()), (gap, ""), (formatting.cut(text, room), "")]


def finish_text(glance: Glance) -> str:
    """Returns `done Sat 14:20 ±9h`, the finish if a worker started now, or why there is no forecast."""
    eta = glance.forecast
    if never := _no_end(glance):
        return never
    if eta.finish_rounded is None or eta.half_width_s is None:
        return "" if not _is_work_left(glance) or glance.is_blind else "finish not known yet"
    if glance.is_blind and not glance.has_worker:
        return ""
    done = "done" if glance.will_go_on else "if continued" if glance.has_worker else "if started now"
    return f"{done} {_moment(eta.finish_rounded, glance.now)} ±{formatting.plus_minus(eta.half_width_s)}"


def _is_work_left(glance: Glance) -> bool:
    """Returns whether a job runs or may start."""
    return bool(runnable(glance.snapshot) or running(glance.snapshot))


def _brief_finish(glance: Glance) -> str:
    """Returns the finish for the line of the verdict, which already says that the queue is paused."""
    if not _no_end(glance):
        return finish_text(glance)
    return "" if glance.verdict.word is Word.IDLE else "no end: queue paused"


def _no_end(glance: Glance) -> str:
    """Says how many jobs wait while the queue is paused; empty if it is not paused or no job waits."""
    if not glance.snapshot.queue_paused:
        return ""
    waiting = sum(job.status is JobStatus.QUEUED for job in glance.snapshot.jobs)
    return f"no end while the queue is paused: {formatting.waits(waiting)}" if waiting else ""


def fill(left: Sequence[Span], right: Sequence[Span], width: int) -> Line:
    """Joins `left`, blanks and `right` to exactly `width` columns; cuts `left` if both do not fit.

    In a pipe nothing is cut, and `right` follows `left` directly.
    """
    if width == formatting.ENDLESS:
        return (*left, ("  ", ""), *right)
    need = sum(formatting.width(text) for text, _ in right)
    if need > width:
        return tuple(cut_spans(list(right), width))
    kept = cut_spans(list(left), width - need - (1 if need else 0))
    used = sum(formatting.width(text) for text, _ in kept)
    return (*kept, (" " * (width - used - need), ""), *right)


def cut_spans(spans: list[Span], width: int) -> list[Span]:
    """Cuts the spans to at most `width` columns."""
    kept: list[Span] = []
    for text, role in spans:
        columns = formatting.width(text)
        if columns > width:
            kept.append((formatting.cut(text, width), role))
            break
        kept.append((text, role))
        width -= columns
    return kept


def _pocket_first(glance: Glance, width: int) -> Line:
    right = [(glance.fresh, "stale" if glance.is_stale else "dim"), (f" {formatting.clock(glance.clock)}", "")]
    return fill(verdict_spans(glance, width - 16, brief=True), right, width)


def _pocket_second(glance: Glance, width: int) -> Line:
    guard = [w for w in glance.snapshot.workers if w.guard in GUARDED and is_live(w, glance.now)]
    if guard:
        return fill([(f"guard {guard[0].guard}: {guard[0].guard_message or 'too warm'}", "paused")], (), width)
    if glance.is_missing:
        return fill((), (), width)
    if math.isinf(glance.read_age_s):
        return fill([(_never_away(glance), "dim")], (), width)
    finish = _brief_finish(glance)
    crew = glance.drain or ("alive" if glance.has_worker else "no worker")
    left = crew + (f" · {finish}" if finish else "")
    happened = glance.away
    right = f"+{happened.done} done {happened.failed} failed" if happened else ""
    return fill([(left, "")], [(right, "failed" if happened and happened.failed else "dim")], width)


def _verdict_and_finish(glance: Glance, width: int) -> Line:
    finish = _brief_finish(glance)
    room = width - formatting.width(finish) - (1 if finish else 0)
    return fill(verdict_spans(glance, room), [(finish, "")], width)


def _away_and_night(glance: Glance, width: int) -> Line:
    strip = [] if _was_never_read(glance) else _strip_spans(timeline_of(glance, 12))
    happened = glance.away
    if happened is None:
        told = _never_away(glance)
        room = formatting.width(told) + 1 + sum(formatting.width(text) for text, _ in strip) <= width
        return fill([(told, "dim")], strip if room else (), width)
    left: list[Span] = [
        (f"away {formatting.absence(happened.seconds)}", ""),
        (f"  +{happened.done} done", "done" if happened.done else "dim"),
        (f"  {happened.failed} failed", "failed" if happened.failed else "dim"),
        (f"  {happened.lost} lost", "retrying" if happened.lost else "dim"),
    ]
    gain, name = f"  {_gain(happened)}", f"{happened.metric} "
    if formatting.width("".join(text for text, _ in (*left, (gain, ""), *strip))) >= width:
        gain = gain.replace(name, "", 1)  # the table below names the metric, too
    left.append((gain, "best" if happened.best_after is not None or happened.joined else "dim"))
    return fill(left, strip, width)


def _finish(glance: Glance, width: int) -> Line:
    return fill(_finish_spans(glance, glance.forecast), [_yours(glance)], width)


def _yours(glance: Glance) -> Span:
    """Returns the number of decisions that the user must take; empty without any while the data is too old."""
    decisions = glance.verdict.decisions
    if not decisions:
        return ("" if glance.is_blind else "no decision waits for you", "dim")
    wait = "waits" if decisions == 1 else "wait"
    return f"{formatting.count(decisions, 'decision')} {wait} for you", "look"


def _finish_spans(glance: Glance, eta: Forecast) -> list[Span]:
    if glance.is_blind and (eta.finish_rounded is None or not glance.has_worker):
        return [("finish not known: the database cannot be read", "dim")]
    if never := _no_end(glance):
        return [(never, "dim")]
    if eta.finish_rounded is None or eta.half_width_s is None or eta.low is None or eta.high is None:
        left = _is_work_left(glance)
        return [(_unseen(glance) if left else _nothing_runs(glance), "dim")]
    low, high = (_moment(formatting.honest(at, eta.half_width_s), glance.now) for at in (eta.low, eta.high))
    record = "if a worker continues after the drain" if glance.has_worker else "if a worker starts now"
    record = eta.record if glance.will_go_on else record
    said = (_moment(eta.finish_rounded, glance.now), "strong")
    interval = f"{low} … {high}" if low != high else "within the same minute"
    return [("finish ", "dim"), said, (f"  (80%: {interval}; {record})", "dim")]


def _nothing_runs(glance: Glance) -> str:
    """Returns `nothing is left to run`, or that paused or held jobs wait."""
    jobs = glance.snapshot.jobs
    paused = sum(job.status is JobStatus.PAUSED for job in jobs)
    held = sum(bool(job.hold_reason) and job.status is JobStatus.QUEUED for job in jobs)
    if not paused and not held:
        return "nothing is left to run"
    stopped = " and ".join(
        f"{formatting.count(n, 'job')} {how}" for n, how in ((paused, "paused"), (held, "held")) if n
    )
    return f"no end: {stopped}"


def _unseen(glance: Glance) -> str:
    """Says why there is no forecast: which budget or study has no ended trial yet."""
    jobs = [*runnable(glance.snapshot), *running(glance.snapshot)]
    new = [job for job in jobs if job.id not in glance.forecast.seconds_left]
    if budgets := ", ".join(dict.fromkeys(job.budget for job in new or jobs if job.budget)):
        return f"finish not known: no cell of {budgets} has run yet"
    studies = ", ".join(dict.fromkeys(job.study for job in new))
    if not studies:
        return "finish not known before a trial has ended"
    return f"finish not known: no trial of {studies} has ended yet"


def _wide_verdict(glance: Glance, width: int) -> Line:
    right: list[Span] = list(_finish_spans(glance, glance.forecast))
    text, role = _yours(glance)
    right.append((f"   {text}", role))
    need = sum(formatting.width(text) for text, _ in right)
    return fill(verdict_spans(glance, width - need - 2), right, width)


def _away(glance: Glance, width: int) -> Line:
    happened = glance.away
    if happened is None:
        return fill([(_never_away(glance), "dim")], (), width)
    control = by("a", glance.surface)
    right: list[Span] = [(control, "key"), (seen(glance.surface).removeprefix(control), "dim")]
    room = width - sum(formatting.width(text) for text, _ in right) - 1
    for heat, since, cell in AWAY_FORMS:  # the first that fits; the gain is always shown
        left = _happened(happened, heat, since)
        if happened.best_cell and cell:
            left.append((f" ({happened.best_cell})", "dim"))
        if sum(formatting.width(text) for text, _ in left) <= room:
            break
    return fill(left, right, width)


# (with the temperature of a guard pause, with the time of the last key press, with the cell of the gain)
AWAY_FORMS = (
    (True, True, True), (False, True, True), (True, True, False), (False, True, False), (False, False, True),
    (False, False, False),
)  # fmt: skip


def _happened(happened: Away, heat: bool, since: bool) -> list[Span]:
    """Returns the numbers of the absence; `heat` adds the temperature of a guard pause, `since` its start time."""
    short = happened.seconds < 20 * formatting.HOUR  # then a time without a day is unambiguous
    last = (
        formatting.clock(happened.since)
        if short
        else formatting.when(happened.since, happened.since + happened.seconds)
    )
    return [
        (f"away {formatting.absence(happened.seconds)}", ""),
        (f" (since {last})" if since else "", "dim"),
        (f"  +{happened.done} done", "done" if happened.done else "dim"),
        (f"  +{formatting.count(happened.trials, 'trial')}", ""),
        (f" ({happened.trials_failed} failed)" if happened.trials_failed else "", "failed"),
        (f"  {happened.failed} failed", "failed" if happened.failed else "dim"),
        (f"  {happened.lost} lost", "retrying" if happened.lost else "dim"),
        (f"  {_pauses(happened, heat)}", "paused" if happened.guard_pauses else "dim"),
        (f"  {_gain(happened)}", "best" if happened.best_after is not None or happened.joined else "dim"),
    ]


def _was_never_read(glance: Glance) -> bool:
    """Returns whether nothing is known yet, so that a strip of idle hours would be made up."""
    return math.isinf(glance.read_age_s)


def _never_away(glance: Glance) -> str:
    if _was_never_read(glance):
        return "database not read yet"
    if glance.surface is Surface.MONITOR:
        return "first visit: press a to mark what you have seen"
    return f"first visit: {by('a', glance.surface)} marks what you have seen"


def _night(glance: Glance, width: int, legend: bool = False) -> Line:
    """Returns the line with the timeline: `last 10 h  22h ▕2M/h5███…▏ 08h`."""
    if _was_never_read(glance):
        return fill((), (), width)
    right: list[Span] = [(f"  {STRIP_WORDS}", "dim")] if legend else []
    span_s = glance.now - timeline_start(glance)
    named = f"last {formatting.spell(span_s)}  "
    edges = 2 * formatting.width(_edge(span_s, glance.now)) + 4  # each with a blank and a border
    width = PIPED_STRIP if width == formatting.ENDLESS else width
    room = width - formatting.width(named) - edges - sum(formatting.width(text) + 1 for text, _ in right)
    return fill([(named, "dim"), *_strip_spans(timeline_of(glance, room), labels=True)], right, width)


STRIP_WORDS = "█ trained · idle ‖ guard ✗ failed ↻ restart ► now"


def _edge(span_s: float, at: float) -> str:
    """Formats the time at an end of the timeline: `22h`, or `22:14` if it is shorter than three hours."""
    return formatting.clock(at) if span_s < 3 * formatting.HOUR else formatting.clock(at)[:2] + "h"


def _strip_spans(strip: Timeline, labels: bool = False) -> list[Span]:
    spans: list[Span] = [(_edge(strip.end - strip.start, strip.start) + " ", "dim")]
    chars = [(char, STRIP_ROLES[char]) for char in strip.cells]
    if labels:
        spans.append(("▕", "dim"))
        _write_labels(chars, strip)
    for char, role in chars:
        if spans[-1][1] == role and role:
            spans[-1] = (spans[-1][0] + char, role)
        else:
            spans.append((char, role))
    if labels:
        spans.append(("▏", "dim"))
    return [*spans, (" " + _edge(strip.end - strip.start, strip.end), "dim")]


def _write_labels(chars: list[Span], strip: Timeline) -> None:
    """Writes each cell's name where it started, unless a failure, a pause or another name is there."""
    free = 0
    for at, name in strip.labels:
        end = at + formatting.width(name)
        if at < free or end >= len(chars) - 1 or any(role not in ("running", "dim") for _, role in chars[at:end]):
            continue
        chars[at:end] = [(name, "strong"), *[("", "strong")] * (end - at - 1)]  # a wide character fills two columns
        free = end + 1


def _pauses(happened: Away, with_heat: bool = True) -> str:
    text = formatting.count(happened.guard_pauses, "guard pause")
    if not happened.guard_pauses:
        return text
    heat = re.findall(r"\d+(?:\.\d+)? ?°C", happened.guard_reason or "") if with_heat else []  # first: the measured one
    return f"{text} ({formatting.spell(happened.guard_seconds)}{f', {heat[0]}' if heat else ''})"


def _gain(happened: Away) -> str:
    name = happened.metric
    if happened.best_after is None:
        return f"front +{happened.joined}" if happened.joined else f"{name} no gain"
    if happened.best_before is None:
        return f"{name} {declared.brief(happened.best_after)} new"
    before, after = declared.brief(happened.best_before), declared.brief(happened.best_after)
    if before == after:  # a gain in the fourth digit
        before, after = declared.short(happened.best_before), declared.short(happened.best_after)
    return f"{name} {before}→{after}"


def _moment(at: float, now: float) -> str:
    return formatting.day_clock(at) if abs(at - now) < 6 * formatting.DAY else formatting.when(at, now)
