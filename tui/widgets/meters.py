"""The meters (memory, temperature, load, power, disk) with limits and history, and sentences on guard and workers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.actions.run import Thresholds, heat_limits, memory_marks
from fts.jobs.status import drain, formatting, naming
from fts.jobs.status.conditions import is_live
from fts.jobs.status.event_groups import WORKER_LOST, is_guard_off, is_guard_on
from fts.tui.data.gaps import GAP_S, Point, binned, measured_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Sample, Trial, Worker
    from fts.tui.data.view import View
    from fts.tui.render.text import Line, Span

NAME = 6
UNKNOWN = "not available here"  # there is no sensor
BAR = 10
NOW_S = 60.0  # an older sample is not the present state; a worker measures every 10 s


@dataclass(frozen=True)
class Meter:
    """One quantity: its share of the whole, value, limits, history."""

    name: str
    part: float | None  # 0..1; None: unknown; below 0: no bar, because the whole is not known
    text: str  # the value
    limits: tuple[str, ...]  # texts about the limits, the longest first; the first that fits is shown
    history: tuple[Point, ...]
    role: str = ""
    marks: tuple[tuple[float, str], ...] = ()  # (share, sign) of the limits, drawn into the bar


def meters(view: View, limits: Thresholds | None = None) -> list[Meter]:
    """Returns the five meters of the latest sample of a live worker. An unknown value is not shown as zero."""
    limits = limits or heat_limits()
    now = latest(view)
    past = view.details.samples or ((now,) if now else ())
    peaks = view.details.peaks or past
    if now is not None and now.at > peaks[-1].at:  # the day is read once a minute
        peaks = (*peaks, now)
    found = [_memory(now, peaks), _heat(now, peaks, limits), _gpu(now, past), _power(now, past), _disk(now, past)]
    return found if now is not None else [replace(each, text=_unmeasured(view)) for each in found]


def _unmeasured(view: View) -> str:
    """Returns why there is no sample at all."""
    alive = any(is_live(worker, view.now) for worker in view.snapshot.workers)
    return "not measured yet" if alive else f"unknown, {_absent(view)}"


def _absent(view: View) -> str:
    """Returns what happened to the worker if none is live; a silent one may still train and guard."""
    last = next((worker for worker in view.snapshot.workers if worker.status == "running"), None)
    return "no worker" if last is None else "worker died" if last.gone else "worker silent"


def latest(view: View) -> Sample | None:
    """Returns the newest sample of a live worker; None if it is older than NOW_S."""
    return max(recent(view), key=lambda s: s.at, default=None)


def recent(view: View) -> list[Sample]:
    """Returns the latest sample of each live worker, if not older than NOW_S."""
    alive = {worker.id for worker in view.snapshot.workers if is_live(worker, view.now)}
    return [each for each in view.snapshot.samples if each.worker_id in alive and abs(view.now - each.at) <= NOW_S]


def rows(view: View, width: int, spark_columns: int, which: Sequence[str]) -> list[Line]:
    """Paints one line per meter: `mem  ███████▌··  92/128 GB ▂▅▆▆▇▇▇ soft 110`."""
    lines: list[Line] = []
    for meter in meters(view):
        if meter.name not in which:
            continue
        spans: list[Span] = [(formatting.fit(meter.name, NAME), "dim")]
        if meter.part is None:
            spans.append((meter.text, "dim"))
        else:
            spans += bar(meter)
            spans.append((" " + formatting.fit(meter.text, 12), ""))
            if spark_columns:
                spans.append(
                    (
                        formatting.fit(formatting.spark(binned(meter.history, spark_columns, view.now)), spark_columns),
                        "dim",
                    )
                )
            room = width - sum(formatting.width(text) for text, _ in spans) - 1
            limits = next((text for text in meter.limits if formatting.width(text) <= room), "")
            spans.append((" " + limits, "limit" if meter.role else "dim"))
        lines.append(tuple(spans))
    return lines


SOFT, HARD = "┊", "┃"  # | and ! in ASCII


def bar(meter: Meter, columns: int = BAR) -> list[Span]:
    """Paints a bar with its limits; of two limits in one column the hard one."""
    if meter.part is None or meter.part < 0:
        return [(" " * columns, "")]
    chars = [(char, meter.role or "running") for char in formatting.bar(meter.part, columns)]
    for share, sign in sorted(meter.marks, key=lambda mark: mark[1] == HARD):
        chars[min(max(int(share * columns), 0), columns - 1)] = (sign, "limit")
    spans: list[Span] = []
    for char, role in chars:
        if spans and spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + char, role)
        else:
            spans.append((char, role))
    return spans


def guard_word(view: View) -> str:
    """Returns `ok`, or the state of the guard."""
    guards = [w.guard for w in view.snapshot.workers if is_live(w, view.now)]
    if not guards:
        absent = _absent(view)
        return f"{'unknown' if absent == 'worker silent' else 'off'}, {absent}"
    worst = next((word for word in ("cooling", "frozen", "warm", "unknown") if word in guards), "normal")
    return "ok" if worst == "normal" else worst


def guard_line(view: View, width: int = 999, limits: Thresholds | None = None, pauses: bool = True) -> str:
    """Returns the longest sentence about the guard that fits into `width`; the shortest one is cut if necessary."""
    texts = guard_words(view, limits or heat_limits(), pauses)
    return next((text for text in texts if formatting.width(text) <= width), formatting.cut(texts[-1], width))


def guard_words(view: View, limits: Thresholds, pauses: bool = True) -> tuple[str, ...]:
    """Returns sentences about what the guard does and when it acts, the longest first."""
    worker = next((w for w in view.snapshot.workers if w.status == "running"), None)
    if worker is None:
        return ("guard: no worker, nothing to guard", "guard: no worker")
    if not is_live(worker, view.now):
        since = formatting.to_the_second(worker.heartbeat_at, view.now)
        if worker.gone:
            return ("guard: off, its worker has died", "guard: off, worker died")
        return (f"guard: unknown, its worker has been silent since {since}", "guard: unknown, worker silent")
    if worker.guard in ("frozen", "cooling"):
        below = limits.thaw if worker.guard == "frozen" else limits.cool
        why = worker.guard_message or "too warm"
        short = f"guard {worker.guard}: resumes below {below:.0f}°C"
        return (f"guard {worker.guard}: {why}; resumes below {below:.0f}°C", short)
    if worker.guard == "unknown":
        return ("guard: temperature unknown, no thermometer answers", "guard: temperature unknown")
    acts = f"freezes at {limits.warning:.0f}°C, stops at {limits.critical:.0f}°C"
    last = last_pause(view) if pauses else ""
    short = f"guard: armed, freezes at {limits.warning:.0f}°C"
    if last:
        return (
            f"guard: armed ({worker.guard}), {acts}; {last}",
            f"guard: armed, {last}",
            f"guard: armed, {acts}",
            short,
        )
    return (f"guard: armed ({worker.guard}), {acts}", f"guard: armed, {acts}", short)


def last_pause(view: View) -> str:
    """Returns `last pause 03:12–03:23`; empty if the journal has none."""
    began = None
    found = ""
    for event in view.details.events or view.snapshot.events:
        if is_guard_on(event) and began is None:
            began = event.at
        elif is_guard_off(event) and began is not None:
            found, began = f"last pause {formatting.when(began, view.now)}–{formatting.clock(event.at)}", None
    return found


def worker_line(view: View, worker: Worker) -> str:
    """Returns `worker 2 on spark (pid 4242) · up 3d04h · ...`; the age is rounded so that an idle screen stays still.

    The age of a worker without heartbeats ends with its last heartbeat.
    """
    name = f"worker {worker.id} on {worker.host} (pid {worker.pid})"
    if worker.status == "stopped" and _was_lost(view, worker):
        up = _lasted(worker.heartbeat_at - worker.started_at)
        return f"{name} · lost, last heartbeat {formatting.to_the_second(worker.heartbeat_at, view.now)}, was up {up}"
    if worker.status == "stopped":
        at = worker.stopped_at or worker.heartbeat_at
        return f"{name} · stopped {formatting.when(at, view.now)} after {_lasted(at - worker.started_at)}"
    alive = is_live(worker, view.now)
    up = _lasted((view.now if alive else worker.heartbeat_at) - worker.started_at)
    if not alive:
        how = "lost" if worker.status == "lost" else "died" if worker.gone else "silent"
        return f"{name} · {how}, last heartbeat {formatting.to_the_second(worker.heartbeat_at, view.now)}, was up {up}"
    drains = drain.sentence(view.snapshot, worker, view.now).removeprefix(f"worker {worker.id} ")
    draining = f" · DRAINING: {drains}" if worker.asked else ""
    return f"{name} · up {up} · {formatting.count(worker.slots, 'slot')} · heartbeat ok{draining}"


def _was_lost(view: View, worker: Worker) -> bool:
    """Returns whether a stopped worker was found dead, so that its last heartbeat is its end."""
    return any(e.verb in WORKER_LOST and e.data.get("worker_id") == worker.id for e in view.snapshot.events)


def _lasted(seconds: float) -> str:
    """Formats a duration to the minute; below one minute in steps of 5 s, so that an idle screen stays still."""
    return formatting.absence(seconds) if seconds >= formatting.MINUTE else formatting.spell(seconds // 5 * 5)


def resume_line(view: View) -> str:
    """Returns where running trials would resume after a kill, for studies that write a checkpoint after each epoch."""
    after_each = {job.id for job in view.snapshot.jobs if job.task}
    live = [trial for trial in view.snapshot.trials if trial.status == "running" and trial.job_id in after_each]
    parts = [f"{trial_name(view, trial)} resumes at ep {trial.epochs}" for trial in live]
    return "if killed now: " + ", ".join(parts) if parts else ""


def trial_name(view: View, trial: Trial) -> str:
    """Returns `20M/h3 t23`, with the cell because two slots may both run their t5."""
    name = naming.names_of(view.snapshot.jobs).get(trial.job_id)
    return f"t{trial.number}" if name is None else f"{name} t{trial.number}"


def trial_marks(view: View, trial: Trial) -> str:
    """Returns the memory limits of a trial, `soft 2.4 ┊ hard 2.8 GB`; empty if no worker has recorded them."""
    found = view.details.limits.get(trial.id)
    return "" if found is None else f"soft {gigabytes(found[0])} ┊ hard {gigabytes(found[1])} GB"


def _memory(now: Sample | None, past: Sequence[Sample]) -> Meter:
    if now is None or now.total is None or now.available is None:
        return Meter("mem", None, UNKNOWN, (), ())
    used = now.total - now.available
    part = used / now.total
    history = tuple((s.at, 1 - s.available / s.total) for s in past if s.available is not None and s.total)
    limits, marks, role = memory_words(now, used)
    text = f"{used / formatting.GB:.0f}/{formatting.size(now.total)}"
    return Meter("mem", part, text, limits, history, role, marks)


def memory_words(now: Sample, used: int) -> tuple[tuple[str, ...], tuple[tuple[float, str], ...], str]:
    """Returns (texts about the limits, marks, role). Above soft a trial halves its batch; above hard it is killed and
    restarted with half the batch."""
    more = f"  trials {formatting.size(now.trial_rss)}" if now.trial_rss is not None else ""
    more += f"  swap {formatting.size(now.swap_used)}" if now.swap_used else ""
    found = memory_marks(now.total) if now.total else None
    if found is None or not now.total:
        return (more.strip(), ""), (), ""
    soft, hard = found
    both = f"soft {gigabytes(soft)} ┊ hard {gigabytes(hard)} GB"
    headroom = f"  headroom {formatting.size(max(soft - used, 0))}"
    limits = (both + headroom + more, both + headroom, both, f"soft {gigabytes(soft)} GB", f"soft {gigabytes(soft)}")
    marks = ((soft / now.total, SOFT), (hard / now.total, HARD))
    return limits, marks, "failed" if used >= hard else "retrying" if used >= soft else ""


def gigabytes(count: float) -> str:
    """Formats 110, or 24.1 below 100 GB, where whole numbers could hide the difference between two limits."""
    return f"{count / formatting.GB:.0f}" if count >= 100 * formatting.GB else f"{count / formatting.GB:.1f}"


def _heat(now: Sample | None, past: Sequence[Sample], limits: Thresholds) -> Meter:
    if now is None or now.temperature is None:
        return Meter("temp", None, UNKNOWN, (), ())
    known = [s for s in past if s.temperature is not None]
    history = tuple((s.at, s.temperature) for s in known if s.temperature is not None)
    role = "failed" if now.temperature >= limits.warning else "retrying" if now.temperature >= limits.warm else ""
    pause, both = f"pause {limits.warning:.0f}", f"pause {limits.warning:.0f} ┊ resume {limits.thaw:.0f}"
    stop = f"{both} ┃ stop {limits.critical:.0f}"
    texts = [stop, both, pause]
    if known:
        top = max(known, key=lambda s: s.temperature or 0.0)
        at = f" at {formatting.clock(top.at)}" if len(known) > 1 else ""
        peak = f"  max {top.temperature:.0f}"
        texts[:0] = [stop + peak + at, both + peak + at, both + peak]
    marks = ((limits.warning / limits.critical, SOFT), (1.0, HARD))
    return Meter(
        "temp", now.temperature / limits.critical, f"{now.temperature:.0f}°C", tuple(texts), history, role, marks
    )


def _gpu(now: Sample | None, past: Sequence[Sample]) -> Meter:
    if now is not None and now.gpu_percent is not None:
        history = tuple((s.at, s.gpu_percent) for s in past if s.gpu_percent is not None)
        memory = formatting.size(now.gpu_memory) if now.gpu_memory is not None else ""
        idle = _idle(past)
        texts = (f"{idle}  memory {memory}" if idle and memory else "", idle, memory)
        return Meter("gpu", now.gpu_percent / 100, f"{now.gpu_percent:.0f}%", tuple(filter(None, texts)), history)
    if now is not None and now.cpu_percent is not None:
        history = tuple((s.at, s.cpu_percent) for s in past if s.cpu_percent is not None)
        return Meter("cpu", now.cpu_percent / 100, f"{now.cpu_percent:.0f}%", ("no GPU",), history)
    return Meter("cpu", None, UNKNOWN, (), ())


IDLE_PERCENT = 5.0  # a GPU below this utilization counts as idle


def _idle(past: Sequence[Sample]) -> str:
    """Returns `idle 14 min of 24 h`, of the measured time; empty if less than an hour was measured."""
    known = [sample for sample in past if sample.gpu_percent is not None]
    idle = measured = 0.0
    for sample, after in pairwise(known):
        if (seconds := after.at - sample.at) <= GAP_S:
            measured += seconds
            idle += seconds if (sample.gpu_percent or 0.0) < IDLE_PERCENT else 0.0
    if measured < formatting.HOUR:
        return ""
    return f"idle {formatting.spell(idle) if idle else '0 min'} of {measured / formatting.HOUR:.0f} h"


def _power(now: Sample | None, past: Sequence[Sample]) -> Meter:
    if now is None or now.power_w is None:
        return Meter("power", None, UNKNOWN, (), ())
    history = tuple((s.at, s.power_w) for s in past if s.power_w is not None)
    watts = [value for _, value in history]
    top = max((*watts, now.power_w, 1.0))
    hours = measured_s(history) / formatting.HOUR  # gaps without a worker are not counted
    energy = f"{sum(watts) / len(watts) * hours / 1000:.1f} kWh in {hours:.0f} h" if hours >= 1 else ""
    return Meter("power", now.power_w / top, f"{now.power_w:.0f} W", (energy,), history)


def _disk(now: Sample | None, past: Sequence[Sample]) -> Meter:
    if now is None or now.disk_free is None:
        return Meter("disk", None, UNKNOWN, (), ())
    history = tuple((s.at, float(s.disk_free)) for s in past if s.disk_free is not None)
    days = _days_left(past)
    text = f"{formatting.size(now.disk_free)} free"
    left = "" if days is None else f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} h"
    limits = (f"{left} left at this rate", f"{left} left", left) if left else ()
    return Meter("disk", -1.0, text, limits, history)


LEAST_LOSSES = 3  # hours that a forecast of the disk needs


def _days_left(past: Sequence[Sample]) -> float | None:
    """Returns the days until the disk is full, at the median loss per hour (one large file is not a rate); None if it
    does not fill up."""
    hours: dict[int, int] = {}  # hour: free bytes at its last sample
    for sample in past:
        if sample.disk_free is not None:
            hours[int(sample.at // formatting.HOUR)] = sample.disk_free
    known = sorted(hours.items())
    losses = sorted((free - then) / (hour - before) for (before, free), (hour, then) in pairwise(known))
    usual = losses[(len(losses) - 1) // 2] if len(losses) >= LEAST_LOSSES else 0.0
    days = known[-1][1] / usual / 24 if usual > 0 else None
    return days if days is not None and days < 9999 else None
