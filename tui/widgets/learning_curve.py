"""Chart of a trial's curve with the best trial, the median and the middle half of its cell, and the prune line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.jobs.search.prune_line import line_ahead, value_of
from fts.jobs.status import declared, formatting, naming
from fts.jobs.status.conditions import step_seconds
from fts.jobs.status.declared import ARROWS
from fts.jobs.status.memoize import Once
from fts.jobs.status.trial_facts import metrics_of as reported_metrics
from fts.state.values import Direction, Job, JobStatus, Trial, TrialStatus
from fts.tui.data.curve_comparison import ENOUGH, Comparison, Points, broken, compare, train_val_gap
from fts.tui.data.trial_store import by_number
from fts.tui.data.view import RESULTS, SPARE, View
from fts.tui.render.chart import STYLES, Band, Plot, Series, paint, value_range
from fts.tui.render.text import Line, line, rule, wrapped
from fts.tui.widgets.history import history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Epoch

JUDGED = 200  # latest trials that are looked at, for their pace and for whether they report steps


def title(view: View) -> str:
    """Returns the title of the chart: `20M/h3 t23  val AUC by epoch`."""
    job, trial = view.job, view.trial
    if job is None:
        return "no cell selected"
    if without_steps(view):
        return f"{view.name}  {declared.metric_word(view.snapshot, job)} by trial"
    name = view.name + (f" t{trial.number}" if trial else "")
    kind = metric_words(view, trial) if trial else "curve"
    return f"{name}  {kind} by {declared.of_job(view.snapshot, job).step}"


def titled(view: View, width: int, height: int, text: str, hint: str) -> list[Line]:
    """Paints title, chart and conclusion."""
    verdict = line((verdict_line(view, width), "dim"))
    plot = chart(view, width, height - 2)[: max(height - 2, 0)]
    blank = [()] * (height - 2 - len(plot))
    return [rule(text, hint, width, view.focus == "curve"), *plot, *blank, verdict]


def without_steps(view: View) -> bool:
    """Returns whether the selected cell has complete trials and none reports steps; then the chart shows its trials."""
    if view.job is None or not view.job.trials_complete:
        return False
    trials = view.trials
    return _stepless((trials,), None, lambda: not any(trial.epochs for trial in trials[-JUDGED:]))


_stepless: Once[bool] = Once()


def metric_words(view: View, trial: Trial) -> str:
    """Returns the shown metric as the study calls it (`val AUC`), else its name with the arrow of its goal."""
    study, name = declared.declared(view.snapshot, view.job.study if view.job else ""), metric_of(view, trial)
    found = study.metric(name)
    if found is not None and found.label:
        return f"val {found.label}" if name.startswith("val_") else found.label
    if name == trial.metric:
        return study.word(name, trial.direction)
    return f"{name} {ARROWS[Direction(found.goal)]}" if found is not None and found.goal in tuple(Direction) else name


def metric_of(view: View, trial: Trial) -> str:
    """Returns the metric to show: the one that `m` has chosen if the trial has it, else the objective."""
    known = metrics_of(view, trial)
    return view.metric if view.metric in known else known[0]


def metrics_of(view: View, trial: Trial) -> list[str]:
    """Returns the metrics of a trial's steps that `m` goes through, the objective first if its steps have it."""
    known = [curve for curve in view.details.curves.values() if curve]
    epochs = view.epochs(trial.id) or (known[-1] if known else ())  # before its first step those of another trial
    study = declared.declared(view.snapshot, view.job.study if view.job else "")
    deciding = view.deciding_metric(trial)
    names = [trial.metric, deciding, *(metric.name for metric in study.metrics)]
    names += sorted(name for epoch in epochs[-1:] for name in epoch.metrics if name not in names)
    reported = [name for name in names if any(value_of(each, name, deciding) is not None for each in epochs[-3:])]
    return list(dict.fromkeys(reported)) or [trial.metric]


def next_metric(view: View) -> tuple[str, str]:
    """Returns (next metric for `m`, sentence if there is none). After the last metric the objective ("") follows."""
    if view.screen == RESULTS:
        names = metrics_of_results(view)
        now = view.metric if view.metric in names else next(iter(names), "")
    else:
        trial = view.trial
        names = [] if trial is None else metrics_of(view, trial)
        now = "" if trial is None else metric_of(view, trial)
    if len(names) < 2:
        return view.metric, f"{names[0]} is the only metric that these trials report" if names else "no metric yet"
    at = names.index(now) + 1
    return (names[at], "") if at < len(names) else ("", "")


def metrics_of_results(view: View) -> list[str]:
    """Returns the metrics of the selected cell's results that `m` goes through, the objective first."""
    job = view.job
    if job is None or job.task:  # the study of daily bars has one metric to judge by
        return []
    best = next((t for t in view.snapshot.trials if t.job_id == job.id and t.number == job.best_trial), None)
    reported = {} if best is None else reported_metrics(best)
    return list(dict.fromkeys([job.metric, *(name for name in job.goals if name in reported), *sorted(reported)]))


def summary(view: View) -> str:
    """Returns `now .6803  best .6841`; `last` instead of `now` if the trial does not run."""
    trial, best = view.trial, best_trial(view)
    if trial is None:
        return ""
    if without_steps(view):
        return f"best {declared.short(view.job.best_value)}" if view.job is not None else ""
    found = comparison_of(view, trial)
    called = "now" if is_at_work(view, trial) else "last"
    missing = "" if trial.epochs else f"no {_step(view)} yet"  # a curve that is not read yet
    now = f"{called} {declared.short(found.live[-1][1])}" if found.live else missing
    decides = metric_of(view, trial) == trial.metric
    return f"{now}  best {declared.short(best.value)}".lstrip() if best and decides else now


def is_at_work(view: View, trial: Trial) -> bool:
    """Returns whether a live worker runs the trial now."""
    job = view.job
    running = job is not None and job.status is JobStatus.RUNNING and not view.glance.lost(job)
    return running and trial.status is TrialStatus.RUNNING


def _step(view: View) -> str:
    """Returns the study's word for a step: `epoch`."""
    return declared.of_job(view.snapshot, view.job).step if view.job is not None else "epoch"


def chart(view: View, width: int, height: int, axis: bool = True, notes: bool = True) -> list[Line]:
    """Paints the plot, or a sentence about why there is none and when it is expected."""
    job, trial = view.job, view.trial
    if job is None:
        return [line(("no cell selected", "dim"))]
    if without_steps(view) and (painted := history(view, width, height, notes)):
        return painted
    if trial is None or not view.epochs(trial.id):
        return [line((row, "dim")) for row in wrapped(no_curve(view, job, trial), width)[:height]]
    found = comparison_of(view, trial)
    plot, ticks = _plot(view, found, height, notes)
    return paint(plot, width, height, axis, ticks)


def verdict_line(view: View, width: int = 999) -> str:
    """Returns the conclusion, with as many of its parts as fit completely:
    `7 of 22 earlier trials gained enough from here to beat the best · 2 of 22 that came this far were pruned`.
    """
    trial, job = view.trial, view.job
    if job is not None and without_steps(view):
        text = f"{formatting.count(job.trials_ended, 'trial')} without {_step(view)}s, one value each"
        return formatting.cut(text if job.kind != "baseline" else f"{text}, fitted at once", width)
    if trial is None:
        return ""
    found = comparison_of(view, trial)
    parts = []
    ended = trial.ended_at is not None
    if found.beats_best is not None and not ended:
        parts.append(f"{share(found.beats_best)} earlier trials gained enough from here to beat the best")
    if found.pruned_later is not None and not ended:
        parts.append(f"{share(found.pruned_later)} that came this far were pruned")
    if (ends := trial_end(view, trial)) is not None:
        parts.append(f"ends by {formatting.when(ends, view.now)}")
    if (gap := gap_words(view, trial)) is not None:
        parts.append(gap)
    if (epochs := view.epochs(trial.id)) and epochs[-1].samples_per_s > 0:  # nan if the study does not report it
        parts.append(f"{epochs[-1].samples_per_s:.0f} samples/s{_pace(view, trial)}")
    if ended:
        parts.insert(0, _end_words(trial))
    if not parts:
        few = f"{formatting.count(found.others, 'earlier trial')} to compare with, chances need {ENOUGH}"
        return formatting.cut(few, width)
    joined = formatting.cut(parts[0], width)
    for part in parts[1:]:
        if formatting.width(joined) + 3 + formatting.width(part) <= width:
            joined += f" · {part}"
    return joined


def _end_words(trial: Trial) -> str:
    """Returns how a trial ended, and why if not complete: `t23 pruned: 0.6379 at epoch 5, median 0.5871`."""
    why = trial.message or trial.cause if trial.status is not TrialStatus.COMPLETE else ""
    return f"t{trial.number} {trial.status}" + (f": {why}" if why and str(why) != str(trial.status) else "")


def gap_words(view: View, trial: Trial) -> str | None:
    """Returns `train/val AUC gap +.041`: at the latest epoch of a running trial, at the best epoch of an ended one."""
    gap = train_val_gap(view.epochs(trial.id), None if trial.ended_at is None else trial.best_epoch)
    return None if gap is None else f"train/val AUC gap {signed(gap)}"


def signed(value: float, digits: int = 3) -> str:
    """Formats a number with sign and without the leading zero: +.041, -.003."""
    return f"{value:+.{digits}f}".replace("0.", ".", 1)


def _pace(view: View, trial: Trial) -> str:
    """Returns `, 3% slower than usual`, against the median of the cell's other trials of the same architecture."""
    now = view.epochs(trial.id)[-1].samples_per_s
    curves = view.details.curves  # of a few hundred trials at most
    similar = [t for t in view.compared_trials if t.id != trial.id and t.architecture == trial.architecture]
    speeds = sorted(curves[t.id][-1].samples_per_s for t in similar if curves[t.id])
    if len(speeds) < 3 or speeds[len(speeds) // 2] <= 0:
        return ""
    part = now / speeds[len(speeds) // 2] - 1
    word = "faster" if part > 0 else "slower"
    return f", {abs(part):.0%} {word} than usual" if abs(part) >= 0.02 else ", as usual"


def share(counted: tuple[int, int]) -> str:
    """Formats `7 of 22`; a percentage would hide how few trials there are."""
    part, whole = counted
    return f"{part} of {whole}"


def trial_end(view: View, trial: Trial) -> float | None:
    """Returns when the running trial will have done all its epochs (it may stop earlier); None if it does not run."""
    job, epochs = view.job, view.epochs(trial.id)
    planned = declared.steps_of(job)
    if job is None or job.status is not JobStatus.RUNNING or view.glance.lost(job) or trial.ended_at is not None:
        return None
    if not epochs or planned is None:
        return None
    took = step_seconds(trial, epochs)
    usual = sorted(took)[len(took) // 2]
    left = planned - len(epochs)
    if left <= 0:
        return epochs[-1].at
    return max(epochs[-1].at + usual, view.now) + (left - 1) * usual  # a late epoch delays all later ones


def best_trial(view: View) -> Trial | None:
    """Returns the best trial of the selected job."""
    job = view.job
    if job is None or job.best_trial is None:
        return None
    return by_number(view.trials, job.best_trial)


def comparison_of(view: View, trial: Trial) -> Comparison:
    """Returns the comparison of a trial, cached because four panes of a screen need it."""
    key = (view.details.curves, view.trials, view.snapshot.epochs, trial, view.metric)
    if _latest and all(old is new for old, new in zip(_latest[0][0], key, strict=True)):
        return _latest[0][1]
    curves = dict(view.details.curves) if view.details.job_id == view.job_id else {}
    for live in view.snapshot.trials:
        if live.job_id == view.job_id:
            curves[live.id] = view.epochs(live.id)
    curves[trial.id] = view.epochs(trial.id)
    known = [t for t in view.trials[-len(curves) - SPARE :] if t.id in curves]
    ahead = line_ahead(view.job, trial, view.trials, curves) if view.job is not None else None
    found = compare(trial, best_trial(view), known, curves, ahead, metric_of(view, trial), view.deciding_metric(trial))
    _latest[:] = [(key, found)]
    return found


_latest: list[tuple[tuple[object, ...], Comparison]] = []  # the last comparison, by the identity of its inputs


def no_curve(view: View, job: Job, trial: Trial | None) -> str:
    """Returns why there is no curve yet and, if known, when it is expected."""
    ended, name, step = formatting.trials_ended(job), naming.names_of(view.snapshot.jobs)[job.id], _step(view)
    if ended and not any(t.epochs for t in view.trials[-JUDGED:]) and (trial is None or job.trials_complete):
        fitted = ", fitted at once" if job.kind == "baseline" else ""
        return f"{name}: {formatting.count(ended, 'trial')} without {step}s{fitted} · 2 lists them"
    if trial is None:
        return f"{name} has no trial yet" + (" · t runs it next" if job.status == "queued" else "")
    known = [t for t in view.trials[-JUDGED:] if t.epochs and t.train_seconds > 0]
    if trial.status is TrialStatus.RUNNING and job.status is JobStatus.RUNNING and known:
        expected = trial.started_at + sum(t.train_seconds / t.epochs for t in known) / len(known)
        if expected > view.now:  # else it is late, or was interrupted before its first epoch
            earlier = formatting.count(len(known), "earlier trial")
            return f"first {step} of t{trial.number} expected {formatting.clock(expected)} (from {earlier})"
    if trial.epochs:
        return f"reading the curve of t{trial.number} ..."
    return f"t{trial.number} has no {step} yet"


def _plot(view: View, found: Comparison, height: int, notes: bool) -> tuple[Plot, list[tuple[float, str]]]:
    series, values = [], []
    if view.overlay and found.median:
        series.append(Series(found.median, "median", "dotted", name="median"))
    if view.overlay and found.best:
        best = best_trial(view)
        curve = view.details.curves.get(best.id, ()) if best is not None and view.trial is not None else ()
        drawn = found.best if not curve or view.trial is None else _broken(view, view.trial, curve)
        series.append(Series(drawn, "best", "dashed", name="best"))
    trial = view.trial
    live = found.live if trial is None else _broken(view, trial, view.epochs(trial.id))
    series.append(Series(live, "live", name="now", ends=notes))
    low_x, high_x = _x_range(view, found)
    for each in series:
        values += [y for x, y in each.points if low_x <= x <= high_x]
    band = Band(found.band) if view.overlay and found.band else None
    if band:
        values += [v for x, low, high in band.points if low_x <= x <= high_x for v in (low, high)]
    if found.prune_line is not None:
        values.append(found.prune_line)
    ticks = [(float(x), str(x)) for x in _ticks(low_x, high_x)]
    if ticks:
        ticks[0] = (ticks[0][0], f"{declared.step_word(view.snapshot, view.job)} {ticks[0][1]}")
    plot = Plot(
        tuple(series),
        (low_x, high_x),
        value_range(values),
        band,
        found.prune_line,
        log_y=view.log_y,
        notes=_notes(view, found, height) if notes else (),
    )
    return plot, ticks if height >= 8 else []


def _broken(view: View, trial: Trial, epochs: Sequence[Epoch]) -> Points:
    return broken(epochs, metric_of(view, trial), view.deciding_metric(trial))


def _x_range(view: View, found: Comparison) -> tuple[float, float]:
    """Returns the range of epochs to show: all, halved once per zoom step, shifted back by the key h, on by l."""
    first, last, span, newest = _window(view, found)
    end = max(min(newest - view.chart_shift * span / 4, last), first + span)
    return end - span, max(end, end - span + 1)


def shifts(view: View) -> tuple[int, int]:
    """Returns how many quarters of its window the chart can be shifted: on to the last step (0 or less), and back."""
    if view.trial is None or not view.epochs(view.trial.id):
        return 0, 0
    first, last, span, newest = _window(view, comparison_of(view, view.trial))
    return -math.ceil(4 * max(last - newest, 0.0) / span), math.ceil(4 * (newest - span - first) / span)


def _window(view: View, found: Comparison) -> tuple[float, float, float, float]:
    """Returns the first and the last step of all curves, the steps of the window, and where it ends if not shifted.

    A zoomed window has the latest steps of the trial in it, not the end of a longer curve beside it.
    """
    lines: list[Points] = [found.live, found.best, found.median]
    last = max((points[-1][0] for points in lines if points), default=1.0)
    planned = declared.steps_of(view.job)
    if planned is not None and found.live and found.live[-1][0] > last / 2:
        last = max(last, min(float(planned), last * 1.5))
    first = min((points[0][0] for points in lines if points), default=1.0)
    span = max((last - first) / 2**view.chart_zoom, 1.0)
    newest = min(last, found.live[-1][0] + span / 4) if found.live and view.chart_zoom else last
    return first, last, span, max(newest, first + span)


def _ticks(low: float, high: float) -> list[int]:
    step = max(round((high - low) / 6), 1)
    return list(range(_ceil(low), int(high) + 1, step))


def _ceil(value: float) -> int:
    return int(-(-value // 1))


def _notes(view: View, found: Comparison, height: int) -> tuple[tuple[int, str, str], ...]:
    best, step = best_trial(view), declared.step_word(view.snapshot, view.job)
    texts = []
    if view.overlay and best and found.best:
        decides = view.trial is None or metric_of(view, view.trial) == view.trial.metric
        reached = declared.short(best.value if decides else found.best[-1][1])
        texts.append((f"{STYLES['dashed']} best t{best.number} {reached}", "best"))
    if found.live:
        trial = view.trial
        name = "now" if trial is not None and is_at_work(view, trial) else f"t{trial.number}" if trial else "last"
        epoch, value = found.live[-1]
        texts.append((f"{STYLES['solid']} {name} {declared.short(value)} {step} {int(epoch)}", "live"))
    if found.prune_line is not None:
        texts.append((f"▁ prune line {declared.brief(found.prune_line)} ({step} {found.prune_at})", "prune"))
    if view.overlay and found.band:
        texts.append((f"░ middle half of {formatting.count(found.others, 'trial')}", "band"))
    if view.overlay and found.median:
        texts.append((f"{STYLES['dotted']} median", "median"))
    falls = view.trial is not None and view.trial.direction is Direction.MINIMIZE
    # Falling curves leave room at the top right, rising ones in the middle.
    first = 0 if falls else max(height - 3 - len(texts), 0) // 2
    return tuple((first + n, text, role) for n, (text, role) in enumerate(texts[: max(height - 2, 1)]))
