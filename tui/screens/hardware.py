"""Screen 4: memory, temperature, load, power and disk with limits, charts of 24 hours, the guard, the workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical

from fts.jobs.actions.run import heat_limits, memory_marks
from fts.jobs.status import formatting
from fts.jobs.status.event_groups import is_guard_off, is_guard_on
from fts.tui.data.gaps import unbroken_runs
from fts.tui.render.chart import Plot, Series, paint
from fts.tui.render.text import Line, line, rule, wrapped
from fts.tui.screens.base import Breakpoints, MonitorScreen
from fts.tui.widgets import meters as meter
from fts.tui.widgets import nodes
from fts.tui.widgets.pane import Long, Pane, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.values import Sample, Trial
    from fts.tui.data.view import View


def meters(view: View, width: int, height: int) -> list[Line]:
    """Paints a title and the meters."""
    title = rule(f"hardware · guard {meter.guard_word(view)}", _span(view), width, view.focus == "hardware")
    return [title, *meter.rows(view, width, min(max(width - 54, 0), 24), ALL)][:height]


def _span(view: View) -> str:
    """Returns the time that the charts cover: `24 h`, or since the first sample."""
    first = min((sample.at for sample in view.details.samples), default=0.0)
    return f"since {formatting.clock(first)}" if view.now - first < 23 * formatting.HOUR else "24 h"


BREAKPOINTS: Breakpoints = [(0, "-w0"), (40, "-w40"), (120, "-w120")]


class HardwareScreen(MonitorScreen):
    """Meters, charts of a day, then guard and workers; on a wide screen those stand at the right."""

    HORIZONTAL_BREAKPOINTS = BREAKPOINTS
    DEFAULT_CSS = """
    HardwareScreen {
        #meters { height: 6; }
        #day { min-height: 7; }
        #guard { width: 1fr; height: auto; max-height: 50%; }
        #beside { width: 53; display: none; }
        &.-w120 { #guard { display: none; } #beside { display: block; } }
    }
    """

    def panes(self) -> Iterable[Pane]:
        with Horizontal():
            with Vertical():
                yield Pane("hardware", meters, id="meters")
                yield Pane("day", day, id="day")
                yield Pane("guard", guard, rows=rows_of(guard), long=Long(), id="guard")
            yield Pane("guard", guard, wall=True, long=Long(), id="beside")


ALL = ("mem", "temp", "gpu", "cpu", "power", "disk")


def day(view: View, width: int, height: int) -> list[Line]:
    """Paints memory and temperature of the last 24 hours with their limits, or a sentence if nothing was measured."""
    samples = view.details.peaks or view.details.samples
    half = max(height // 2, 3) if _heat(samples) else height - 2  # without temperatures the second part has two lines
    return [
        *_plot(view, "memory used, GB", _memory(samples), _soft(samples), width, half),
        *_plot(view, "temperature, °C", _heat(samples), heat_limits().warning, width, height - half),
    ][:height]


def _soft(samples: tuple[Sample, ...]) -> float | None:
    """Returns the soft memory limit in GB, or None."""
    total = next((s.total for s in reversed(samples) if s.total), None)
    found = memory_marks(total) if total else None
    return None if found is None else found[0] / formatting.GB


def _plot(
    view: View, title: str, found: tuple[tuple[float, float], ...], limit: float | None, width: int, height: int
) -> list[Line]:
    if not found:
        return [rule(title, "", width), line((f"{title.split(',')[0]}: nothing measured in the last 24 h", "dim"))]
    values = [y for _, y in found]
    low_room = height < 4  # too few rows: the limit's line would be next to the label of another value
    far = limit is not None and (low_room or max(values) < limit / 2)  # a limit far above would flatten the curve
    top = max([*values, 0.0 if limit is None or far else limit])
    low = min(values)
    span = (max(low - 0.1 * (top - low + 1), 0.0), top + 0.05 * (top - low + 1))
    since = view.now - formatting.DAY
    first = max(since, found[0][0]) if found[-1][0] - found[0][0] > formatting.HOUR / 2 else found[0][0]
    x = (first, max(view.now, first + 60))
    ticks = [(at, formatting.clock(at)) for at in _hours(*x)]
    digits = 0 if span[1] - span[0] >= height else 1  # decimals of the largest value
    level = None if far else limit
    plot = Plot(tuple(Series(part, "live") for part in unbroken_runs(found)), x, span, level=level, level_role="limit")
    name = "pause" if title.startswith("temp") else "soft limit"
    hint = f"most {max(values):.{digits}f}"
    if limit:
        short = f"{hint} ┊ {name} {limit:.0f}"
        hint = short + (" (above the picture)" if far and not low_room else "")
        hint = hint if formatting.width(title + hint) + 7 <= width else short  # the title is never cut
    return [rule(title, hint, width, view.focus == "day"), *paint(plot, width, height - 1, True, ticks)]


def _hours(first: float, last: float) -> list[float]:
    step = next((s for s in (600, 1800, 3600, 7200, 14400) if (last - first) / s <= 7), 14400)
    start = math.ceil(first / step) * step
    return [start + n * step for n in range(int((last - start) // step) + 1)]


def guard(view: View, width: int, height: int) -> list[Line]:
    """Paints thresholds and pauses of the guard, workers, memory of the running trials, nodes."""
    limits = heat_limits()
    lines: list[Line] = [rule("guard and workers", "", width, view.focus == "guard")]
    lines += _wrapped(meter.guard_line(view, limits=limits, pauses=False), width)
    for text in (
        f"{limits.warm:.0f}°C: warm, trials continue",
        f"{limits.warning:.0f}°C: trials freeze until it is below {limits.thaw:.0f}°C",
        f"{limits.critical:.0f}°C: trials stop at a checkpoint until it is below {limits.cool:.0f}°C",
    ):
        lines += _wrapped(text, width, "dim")
    paused = pauses(view)
    latest = paused[: max((height - 8) // 2, 1)]
    for text in latest:
        lines += _wrapped(text, width, "paused")
    for worker in view.snapshot.workers:
        role = "" if worker.status == "running" else "dim"
        lines += _wrapped(meter.worker_line(view, worker), width, role)
    if not view.snapshot.workers:
        lines += _wrapped("no worker has run here yet: W or `fts worker` starts one", width)
    for text in _trials(view):
        lines += _wrapped(text, width)
    if resume := meter.resume_line(view):
        lines += _wrapped(resume, width, "dim")
    lines += nodes.rows(view, width)
    if earlier := paused[len(latest) :]:
        lines += [(), *_wrapped("earlier pauses", width, "dim")]
        lines += [row for text in earlier for row in _wrapped(text, width, "paused")]
    return lines


def _trials(view: View) -> list[str]:
    """Returns a line about the memory of each running trial. Of several it adds the sum: only that is measured."""
    running = [trial for trial in view.snapshot.trials if trial.status == "running"]
    seen = sum(sample.trial_rss or 0 for sample in meter.recent(view))
    now = f"{formatting.size(seen)} now" if seen and len(running) == 1 else ""
    lines = [f"{meter.trial_name(view, trial)}: {_facts(view, trial, now)}" for trial in running]
    return [*lines, f"the running trials together: {formatting.size(seen)} now"] if len(running) > 1 and seen else lines


def _facts(view: View, trial: Trial, now: str) -> str:
    """Returns what is known of a trial's memory; a new trial has reported nothing yet."""
    known = [
        now,
        f"predicted {formatting.size(trial.predicted_bytes)}" if trial.predicted_bytes is not None else "",
        meter.trial_marks(view, trial),
        f"batch {batch}" if (batch := formatting.batch(trial.micro_batch, trial.accumulation)) else "",
    ]
    return ", ".join(filter(None, known)) or "no memory figures yet"


def pauses(view: View) -> list[str]:
    """Returns the pauses of the guard, newest first: `‖ 03:12–03:23 (11 min) 88°C > 85°C`."""
    found: list[str] = []
    began = None
    for event in view.details.events or view.snapshot.events:
        if is_guard_on(event) and began is None:
            began = event
        elif is_guard_off(event) and began is not None:
            length = formatting.spell(event.at - began.at)
            found.append(
                f"‖ {formatting.when(began.at, view.now)}–{formatting.clock(event.at)} ({length}) {began.message}"
            )
            began = None
    if began is not None:
        found.append(f"‖ since {formatting.when(began.at, view.now)}: {began.message}")
    return found[::-1]


def _memory(samples: tuple[Sample, ...]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (s.at, (s.total - s.available) / formatting.GB) for s in samples if s.total and s.available is not None
    )


def _heat(samples: tuple[Sample, ...]) -> tuple[tuple[float, float], ...]:
    return tuple((s.at, s.temperature) for s in samples if s.temperature is not None)


def _wrapped(text: str, width: int, role: str = "") -> list[Line]:
    return [((row, role),) for row in wrapped(text, width - 1)]
