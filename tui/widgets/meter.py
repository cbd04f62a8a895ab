"""Memory, heat, load and disk as meters with their limits, and as lines over the last day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.commands.desk import Thresholds, heat_limits
from jobs.glance import words
from jobs.glance.verdict import is_live
from state.values import Sample, Worker
from tui.paint import Line, Span
from tui.view import View

NAME = 6
BAR = 10


@dataclass(frozen=True)
class Meter:
    """One quantity: its share of the whole, the value in words, the limits in words, and its history."""

    name: str
    part: float | None  # 0..1; None: unknown; below 0: no bar, because the whole is not known
    text: str
    limits: str
    history: tuple[float, ...]
    role: str = ""


def meters(view: View, limits: Thresholds | None = None) -> list[Meter]:
    """The five meters of the latest sample of the first live worker; unknown is said, never drawn as zero."""
    limits = limits or heat_limits()
    now = latest(view)
    past = view.details.samples or ((now,) if now else ())
    return [_memory(now, past), _heat(now, past, limits), _gpu(now, past), _power(now, past), _disk(view, now, past)]


def latest(view: View) -> Sample | None:
    """The newest sample of a live worker, else the newest there is."""
    return max(view.snapshot.samples, key=lambda s: s.at, default=None)


def rows(view: View, width: int, spark_columns: int, which: Sequence[str]) -> list[Line]:
    """`mem  ███████▌··  92/128 GB ▂▅▆▆▇▇▇ soft 110`, one line per meter."""
    lines: list[Line] = []
    for meter in meters(view):
        if meter.name not in which:
            continue
        spans: list[Span] = [(words.fit(meter.name, NAME), "dim")]
        if meter.part is None:
            spans.append((meter.text, "dim"))
        else:
            spans.append((words.bar(meter.part, BAR) if meter.part >= 0 else " " * BAR, meter.role or "running"))
            spans.append((" " + words.fit(meter.text, 12), ""))
            if spark_columns:
                spans.append((words.fit(words.spark(shrink(meter.history, spark_columns)), spark_columns), "dim"))
            spans.append((" " + meter.limits, "limit" if meter.role else "dim"))
        lines.append(tuple(spans))
    return lines


def shrink(values: Sequence[float], columns: int) -> list[float]:
    """At most `columns` values: the largest of each slice, because limits are crossed by peaks."""
    if len(values) <= columns:
        return list(values)
    step = len(values) / columns
    return [max(values[int(n * step) : max(int((n + 1) * step), int(n * step) + 1)]) for n in range(columns)]


def guard_word(view: View) -> str:
    """`ok`, or the guard's word where it is not."""
    guards = [w.guard for w in view.snapshot.workers if w.status == "running"]
    if not guards:
        return "without worker"
    worst = next((word for word in ("cooling", "frozen", "warm", "unknown") if word in guards), "normal")
    return "ok" if worst == "normal" else worst


def guard_line(view: View, limits: Thresholds | None = None) -> str:
    """What the guard does and when it would act, in a sentence."""
    limits = limits or heat_limits()
    worker = next((w for w in view.snapshot.workers if w.status == "running"), None)
    if worker is None:
        return "guard: no worker, nothing to guard"
    if worker.guard in ("frozen", "cooling"):
        below = limits.thaw if worker.guard == "frozen" else limits.cool
        return f"guard {worker.guard}: {worker.guard_message or 'too warm'}; goes on below {below:.0f}°C"
    if worker.guard == "unknown":
        return "guard: no thermometer answers here, heat is unknown"
    return f"guard: armed ({worker.guard}), freezes at {limits.warning:.0f}°C, stops at {limits.critical:.0f}°C"


def worker_line(view: View, worker: Worker) -> str:
    """`worker 4242 · up 3d04h · heartbeat 2 s ago · ...`; the age is rounded so that an idle screen stays still."""
    up = words.absence(view.now - worker.started_at)
    if worker.status == "stopped":
        at = worker.stopped_at or worker.heartbeat_at
        return f"worker {worker.pid} on {worker.host} · stopped {words.when(at, view.now)} after {up}"
    alive = is_live(worker, view.now)
    beat = "heartbeat ok" if alive else f"silent since {words.seconds_clock(worker.heartbeat_at)}"
    asked = f" · asked to {worker.asked.replace('_', ' ')}" if worker.asked else ""
    return f"worker {worker.pid} on {worker.host} · up {up} · {words.count(worker.slots, 'slot')} · {beat}{asked}"


def resume_line(view: View) -> str:
    """What a kill would cost now."""
    parts = []
    for trial in view.snapshot.trials:
        if trial.status == "running":
            parts.append(f"t{trial.number} resumes at ep {trial.epochs}")
    return "if killed now: " + ", ".join(parts) if parts else ""


def _memory(now: Sample | None, past: Sequence[Sample]) -> Meter:
    if now is None or now.total is None or now.available is None:
        return Meter("mem", None, "memory: not available here", "", ())
    used = now.total - now.available
    part = used / now.total
    history = tuple(1 - s.available / s.total for s in past if s.available is not None and s.total)
    limits = f"trial {words.size(now.trial_rss)}" if now.trial_rss is not None else ""
    if now.swap_used:
        limits += f" swap {words.size(now.swap_used)}"
    text = f"{used / 1e9:.0f}/{words.size(now.total)}"
    return Meter("mem", part, text, limits, history, "failed" if part > 0.95 else "")


def _heat(now: Sample | None, past: Sequence[Sample], limits: Thresholds) -> Meter:
    if now is None or now.temperature is None:
        return Meter("temp", None, "temperature: not available here", "", ())
    history = tuple(s.temperature for s in past if s.temperature is not None)
    role = "failed" if now.temperature >= limits.warning else "retrying" if now.temperature >= limits.warm else ""
    words_ = f"pause {limits.warning:.0f} ┊ resume {limits.thaw:.0f}"
    if history:
        words_ += f"  max {max(history):.0f}"
    return Meter("temp", now.temperature / limits.critical, f"{now.temperature:.0f}°C", words_, history, role)


def _gpu(now: Sample | None, past: Sequence[Sample]) -> Meter:
    if now is not None and now.gpu_percent is not None:
        history = tuple(s.gpu_percent for s in past if s.gpu_percent is not None)
        memory = words.size(now.gpu_memory) if now.gpu_memory is not None else ""
        return Meter("gpu", now.gpu_percent / 100, f"{now.gpu_percent:.0f}%", memory, history)
    if now is not None and now.cpu_percent is not None:
        history = tuple(s.cpu_percent for s in past if s.cpu_percent is not None)
        return Meter("cpu", now.cpu_percent / 100, f"{now.cpu_percent:.0f}%", "no GPU", history)
    return Meter("cpu", None, "load: not available here", "", ())


def _power(now: Sample | None, past: Sequence[Sample]) -> Meter:
    if now is None or now.power_w is None:
        return Meter("power", None, "power: not available here", "", ())
    history = tuple(s.power_w for s in past if s.power_w is not None)
    top = max((*history, now.power_w, 1.0))
    hours = (past[-1].at - past[0].at) / words.HOUR if len(past) > 1 else 0.0
    energy = f"{sum(history) / len(history) * hours / 1000:.1f} kWh in {hours:.0f} h" if hours >= 1 and history else ""
    return Meter("power", now.power_w / top, f"{now.power_w:.0f} W", energy, history)


def _disk(view: View, now: Sample | None, past: Sequence[Sample]) -> Meter:
    if now is None or now.disk_free is None:
        return Meter("disk", None, "disk: not available here", "", ())
    history = tuple(float(s.disk_free) for s in past if s.disk_free is not None)
    days = _days_left(past)
    text = f"{words.size(now.disk_free)} free"
    limits = f"{days:.0f} days left" if days is not None else ""
    return Meter("disk", -1.0, text, limits, history)


def _days_left(past: Sequence[Sample]) -> float | None:
    known = [s for s in past if s.disk_free is not None]
    if len(known) < 2 or known[-1].at - known[0].at < words.HOUR:
        return None
    first, last = known[0].disk_free or 0, known[-1].disk_free or 0
    lost = (first - last) / (known[-1].at - known[0].at) * words.DAY  # bytes per day
    return last / lost if lost > 0 and last / lost < 9999 else None
