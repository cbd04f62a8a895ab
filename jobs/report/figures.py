"""Draws the charts of the page, one function each; a function returns None if there are too few data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.jobs.report.data import is_finite
from fts.jobs.report.statistics import parameters_of
from fts.jobs.report.svg import Chart, Scale, categories, linear, logarithmic, shortened
from fts.jobs.search.importance import ranks
from fts.jobs.status import trial_facts
from fts.state.pareto_front import front
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.report.data import CellReport, StudyReport
    from fts.jobs.report.predicted import Bin
    from fts.jobs.report.statistics import CellImportance
    from fts.state.values import Trial

MOST_CHARTS = 24  # of one kind; the page says how many are left out
MOST_POINTS = 1500  # in one chart
MOST_LINES = 150
MOST_RANKED = 400  # latest trials in a contour
MOST_OF_A_KIND = 12_000  # points in all charts of one kind, so that the page opens quickly
MOST_PARAMETERS = 6
ENOUGH = 10  # fewest complete trials for parallel coordinates, slices and contours
GRID = 22  # fields of a contour in each direction
WIDE_RANGE = 50.0  # ratio of highest to lowest value above which the scale is logarithmic


# ---------------------------------------------------------------- scales


def scale_of_values(values: Sequence[float], also: Sequence[float] = ()) -> Scale:
    """Returns a scale for finite values; outliers may lie outside, so that the others stay apart. Includes `also`."""
    known = sorted(value for value in values if math.isfinite(value)) or [0.0]
    low, high = known[0], known[-1]
    if len(known) >= ENOUGH:
        inner = known[len(known) // 20], known[-1 - len(known) // 20]
        room = 1.5 * ((inner[1] - inner[0]) or abs(inner[0]) or 1.0)
        low, high = max(low, inner[0] - room), min(high, inner[1] + room)
    low, high = min([low, *also]), max([high, *also])
    if low > 0 and high / low > WIDE_RANGE:
        return logarithmic(low, high)
    return linear(low, high)


def scale_of_parameter(name: str, cell: CellReport, values: Sequence[Any]) -> Scale:
    """Returns a scale for a parameter: linear or logarithmic as it is drawn, or one place per choice."""
    one = cell.space.get(name, {})
    if any(not isinstance(value, int | float) or isinstance(value, bool) for value in values):
        known = list(one.get("choices", ())) or sorted({repr(v): v for v in values}.values(), key=str)
        return categories(known if all(value in known for value in values) else sorted(set(values), key=str))
    low, high = one.get("low", min(values)), one.get("high", max(values))
    low, high = min(low, *values), max(high, *values)
    if (one.get("log") or (not one and low > 0 and high / low > WIDE_RANGE)) and low > 0:
        return logarithmic(low, high)
    return linear(low, high)


def thinned(trials: Sequence[Trial], most: int) -> list[Trial]:
    """Returns at most `most` evenly chosen trials, with the last one."""
    every = max(1, -(-len(trials) // most))
    return list(trials[::-1][::every][::-1])


def points_each(charts: int) -> int:
    """Returns the most points of each chart if there are so many charts."""
    return min(MOST_POINTS, max(100, MOST_OF_A_KIND // max(1, charts)))


def shade(place: float) -> str:
    """Returns the CSS class of a trial's place in its cell, from best (q1) to worst (q5)."""
    return f"q{min(int(place * 5), 4) + 1}"


def places(cell: CellReport, trials: Sequence[Trial]) -> list[float]:
    """Returns each trial's place by rank: 0 for the best, 1 for the worst."""
    if len(trials) < 2:
        return [0.0] * len(trials)
    return [(rank - 1) / (len(trials) - 1) for rank in ranks([cell.key(trial.value or 0.0) for trial in trials])]


def tooltip(trial: Trial) -> str:
    """Returns a trial's tooltip for a reader without JavaScript; the script shows its parameters too."""
    return f"t{trial.number}: {trial_facts.number(trial.value)}" if trial.value is not None else ""


def is_best(cell: CellReport, trial: Trial) -> bool:
    return cell.best is not None and trial.number == cell.best.number


def key_of(trial: Trial) -> str:
    """Returns the script's key of a trial."""
    return f"{trial.job_id}.{trial.number}"


# ---------------------------------------------------------------- the search


def history(cell: CellReport, most: int = MOST_POINTS, size: tuple[int, int] = (320, 200)) -> str | None:
    """Draws each trial's value and the best value so far."""
    done = cell.complete
    if len(done) < 2:
        return None
    chart = Chart(cell.name, *size, x=linear(0, max(t.number for t in cell.trials), whole=True), y_label=cell.metric)
    every = -(-len(done) // most)
    chart.x_label = "trial" if every == 1 else f"trial (one dot for {every})"
    base = cell.baseline.value if cell.baseline is not None and is_finite(cell.baseline.value) else None
    known = [t.value for t in done if t.value is not None]
    chart.y = scale_of_values(known, also=() if base is None else (base,))
    for trial in thinned(done, most):
        chart.point(trial.number, trial.value, "dot", tooltip(trial), 2, key_of(trial))
    best: list[tuple[int, float]] = []
    for trial in done:
        assert trial.value is not None, "it is complete"
        if not best or cell.key(trial.value) < cell.key(best[-1][1]):
            best.append((trial.number, trial.value))
    chart.line([*best, (max(t.number for t in cell.trials), best[-1][1])], "best", "best so far", steps=True)
    if base is not None:
        chart.level(base, "base", f"baseline: {trial_facts.number(base)}")
    return chart.svg()


def curves(cell: CellReport, step: str) -> str | None:
    """Draws each trial's values over its steps, with the best trial highlighted."""
    done = {number: points for number, points in cell.curves.items() if len(points) > 1}
    if not done:
        return None
    numbers = list(done)[-MOST_LINES:]
    best = None if cell.best is None else cell.best.number
    every = [value for number in {*numbers, *([best] if best in done else [])} for value in done[number].values()]
    chart = Chart(cell.name, x_label=step, y_label=cell.job.deciding_metric)
    chart.x = linear(min(min(p) for p in done.values()), max(max(p) for p in done.values()), whole=True)
    chart.y = scale_of_values(every)
    of = {trial.number: trial for trial in cell.trials}
    for number in numbers:
        if number != best and number in of:
            pruned = of[number].status is TrialStatus.PRUNED
            points, kind = sorted(done[number].items()), "cut" if pruned else "thin"
            chart.line(points, kind, f"t{number}", trial=key_of(of[number]))
    if cell.best is not None and best in done:
        chart.line(sorted(done[best].items()), "best", f"t{best}, the best trial", trial=key_of(cell.best))
    return chart.svg()


def importances(shares: Sequence[CellImportance]) -> str | None:
    """Draws each parameter's mean share over the cells, a dot per cell, and a row for chance."""
    if not any(one.varies for one in shares):
        return None
    names = list(dict.fromkeys(one.name for each in shares for one in each.shares))
    of = {name: [next((o.share for o in each.shares if o.name == name), 0.0) for each in shares] for name in names}
    names.sort(key=lambda name: -math.fsum(of[name]))
    names = names[:14]
    rows = [*names, "chance"]
    of["chance"] = [each.chance for each in shares]
    chart = Chart("", width=560, height=60 + 24 * len(rows), left=150, right=44, x=linear(0, 1, 0), top=8)
    chart.x_label = "share of the variance of ranks"
    bar = math.fsum(of["chance"]) / len(shares)
    for n, name in enumerate(rows):
        mean = math.fsum(of[name]) / len(shares)
        low, high = 1 - (n + 0.8) / len(rows), 1 - (n + 0.2) / len(rows)
        kind = 'class="none"' if name == "chance" else f'class="{"bar" if mean > bar else "pale"}"'
        chart.box(0, low, min(mean, 1.0), high, kind, f"{name}: {mean:.2f}")
        at = chart.top + (n + 0.5) / len(rows) * chart.inner[1]
        chart.text(chart.left - 6, at + 4, shortened(name, 22), anchor="end")
        if len(shares) > 1:
            for share in of[name][:200]:
                chart.parts.append(f'<circle class="dot" cx="{chart.across(share):.1f}" cy="{at:.1f}" r="2"/>')
        chart.text(chart.width - 4, at + 4, f"{mean:.2f}", "label", "end")
    return chart.svg()


def parallel(cell: CellReport, shown: Sequence[str]) -> str | None:
    """Draws parallel coordinates: a line per trial through its parameters and its value; darker is better."""
    done = cell.complete
    names = [name for name in shown if any(name in trial.params for trial in done)]
    if len(done) < ENOUGH or len(names) < 2:
        return None
    order = sorted(zip(places(cell, done), done, strict=True), key=lambda pair: -pair[0])
    lines = [*order[: -MOST_LINES // 3][:: max(1, len(order) * 3 // (2 * MOST_LINES))], *order[-MOST_LINES // 3 :]]
    scales: list[tuple[str, Scale]] = [
        (name, scale_of_parameter(name, cell, [t.params[name] for t in done if name in t.params])) for name in names
    ]
    values = scale_of_values([t.value for t in done if t.value is not None])
    scales.append((cell.metric, values))
    chart = Chart(cell.name, width=max(420, 118 * len(scales)), height=250, left=54, right=54, top=44, bottom=12)
    wide, high = chart.inner
    at = [chart.left + k * wide / (len(scales) - 1) for k in range(len(scales))]
    missing = chart.top + high + 8
    for place, trial in lines:
        points = []
        for x, (name, scale) in zip(at, scales, strict=True):
            value = trial.value if name == cell.metric and scale is values else trial.params.get(name)
            drawn = name in trial.params or scale is values
            points.append((x, chart.top + (1 - chart._within(scale(value))) * high if drawn else missing))
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        chart.path(path, f"way {shade(place)}", tooltip(trial), key_of(trial))
    for x, (name, scale) in zip(at, scales, strict=True):
        chart.parts.append(f'<path class="axis" d="M{x:.1f} {chart.top}V{chart.top + high:.1f}"/>')
        chart.text(x, chart.top - 10, shortened(name, 16), "label", "middle")
        for place, label in scale.ticks:
            chart.text(x + 3, chart.top + (1 - place) * high + 3.5, shortened(label, 10), "tick")
    return chart.svg()


def slices(cell: CellReport, name: str, most: int = MOST_POINTS) -> str | None:
    """Draws a parameter against the value, a dot per trial."""
    done = [trial for trial in cell.complete if name in trial.params]
    if len(done) < ENOUGH:
        return None
    chart = Chart(name, width=250, height=180, y_label=cell.metric)
    chart.x = scale_of_parameter(name, cell, [trial.params[name] for trial in done])
    chart.y = scale_of_values([trial.value for trial in done if trial.value is not None])
    drawn = thinned([trial for trial in done if not is_best(cell, trial)], most)
    for trial in [*drawn, *(trial for trial in done if is_best(cell, trial))]:
        kind, radius = ("star", 4.0) if is_best(cell, trial) else ("dot", 2.4)
        chart.point(trial.params[name], trial.value, kind, tooltip(trial), radius, key_of(trial))
    return chart.svg()


def contour(cell: CellReport, first: str, second: str) -> str | None:
    """Draws the trials over a map of their ranks, interpolated by inverse distance."""
    done = [trial for trial in cell.complete if first in trial.params and second in trial.params]
    if len(done) < ENOUGH + 5:
        return None
    chart = Chart(cell.name, width=340, height=260, x_label=first, y_label=second)
    chart.x = x = scale_of_parameter(first, cell, [trial.params[first] for trial in done])
    chart.y = y = scale_of_parameter(second, cell, [trial.params[second] for trial in done])
    points = [
        (x(trial.params[first]), y(trial.params[second]), place)
        for trial, place in zip(done, places(cell, done), strict=True)
    ][-MOST_RANKED:]
    for i in range(GRID):
        for k in range(GRID):
            at = (i + 0.5) / GRID, (k + 0.5) / GRID
            weights = [1 / ((at[0] - a) ** 2 + (at[1] - b) ** 2 + 1e-4) ** 1.5 for a, b, _ in points]
            mean = math.fsum(w * p for w, (_, _, p) in zip(weights, points, strict=True)) / math.fsum(weights)
            chart.box(
                i / GRID, k / GRID, (i + 1.02) / GRID, (k + 1.02) / GRID, f'class="area" opacity="{1 - mean:.2f}"'
            )
    for trial, place in zip(done[-MOST_RANKED:], places(cell, done)[-MOST_RANKED:], strict=True):
        best = is_best(cell, trial)
        chart.point(
            trial.params[first], trial.params[second], "star" if best else f"ring {shade(place)}", tooltip(trial),
            5 if best else 3, key_of(trial),
        )  # fmt: skip
    return chart.svg()


def pareto(cell: CellReport) -> tuple[str | None, list[Trial]]:
    """Draws two goals against each other; also returns the trials of the Pareto front."""
    goals = cell.goals
    done = [(trial, found) for trial in cell.complete if (found := values_of(cell, trial)) is not None]
    if len(goals) < 2 or len(done) < 2:
        return None, []
    numbers = [trial.number for trial in front(cell.job, cell.trials)]
    best = [k for k, (trial, _) in enumerate(done) if trial.number in numbers]
    one, two = list(goals)[:2]
    chart = Chart(cell.name, width=360, height=260, x_label=one, y_label=two)
    chart.x = scale_of_values([found[0] for _, found in done])
    chart.y = scale_of_values([found[1] for _, found in done])
    for k, (trial, found) in enumerate(done[-MOST_POINTS:], start=max(0, len(done) - MOST_POINTS)):
        kind, radius = ("star", 4.0) if k in best else ("dot", 2.2)
        chart.point(found[0], found[1], kind, tooltip(trial), radius, key_of(trial))
    if len(goals) == 2:
        chart.line(sorted((done[k][1][0], done[k][1][1]) for k in best), "best", "the front")
    return chart.svg(), [done[k][0] for k in best]


def values_of(cell: CellReport, trial: Trial) -> tuple[float, ...] | None:
    """Returns the trial's value for each goal; None if one is unknown."""
    metrics = trial_facts.metrics_of(trial)
    found = [metrics.get(name) for name in cell.goals]
    if all(isinstance(value, int | float) and math.isfinite(value) for value in found):
        return tuple(float(value) for value in found if value is not None)
    return None


def calibration(name: str, bins: Sequence[Bin]) -> str | None:
    if not bins:
        return None
    chart = Chart(name, width=260, height=240, x=linear(0, 1, 0.02), y=linear(0, 1, 0.02))
    chart.x_label, chart.y_label = "forecast", "came true"
    chart.line([(0, 0), (1, 1)], "base", "perfect")
    for one in bins:
        chart.line([(one.forecast, one.share.low), (one.forecast, one.share.high)], "thin")
        chart.point(one.forecast, one.share.value, "star", f"{one.share.value:.2f} of {one.share.n}", 3.4)
    return chart.svg()


def main_parameters(study: StudyReport, shares: Sequence[CellImportance]) -> list[str]:
    """Returns the parameters by importance over all cells; in the order of their draws if it is unknown."""
    total: dict[str, float] = dict.fromkeys(parameters_of(study.cells), 0.0)
    for each in shares:
        for one in each.shares:
            if one.name in total:
                total[one.name] += one.share
    return sorted(total, key=lambda name: -total[name])
