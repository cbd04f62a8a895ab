"""Tables of the best values: by size, the best trial of each cell, the trials on a Pareto front."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status import declared, formatting, naming, trial_facts
from fts.tui.data.result_grid import comparable_jobs, grid_of, has_front, no_result
from fts.tui.data.trial_store import by_number
from fts.tui.render.text import Line, line
from fts.tui.widgets import learning_curve, trial_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Trial
    from fts.tui.data.view import View


def scaling(view: View, width: int) -> list[Line]:
    """Paints the best value by size for each horizon, with the trend from three sizes on, and the sample sizes."""
    grid = grid_of(view)
    found: dict[str, dict[str, float]] = {}
    for (size, horizon), job in grid.cells.items():
        if job.best_value is not None:
            found.setdefault(horizon, {})[size] = job.best_value
    if not found:
        return [line((formatting.cut(no_result(view), width), "dim"))]
    lines: list[Line] = []
    for horizon in (each for each in grid.columns if each in found):
        by_size = found[horizon]
        row = "   ".join(f"{size} {formatting.short_score(by_size[size])}" for size in grid.rows if size in by_size)
        known = [by_size[size] for size in grid.rows if size in by_size]
        if len(known) >= 3:
            trend = f"{formatting.short_score(known[0])} → {formatting.short_score(known[-1])} over {len(known)} sizes"
        else:
            trend = f"({'two more sizes are' if len(known) == 1 else 'a third size is'} needed for a slope)"
            if formatting.width(f"scaling {horizon}:  {formatting.spark(known)}  {row}  {trend}") > width:
                trend = "(needs 3 sizes)"
        lines.append(
            (
                ((f"scaling {horizon}:  "), "dim"),
                (formatting.spark(known), "running"),
                (f"  {row}  ", ""),
                (trend, "dim"),
            )
        )
    return [*lines, (), *_rest_on(view)]


def winners(view: View, width: int) -> list[Line]:
    """Paints the best trial of each cell with its parameters: does the best configuration depend on the axes?"""
    grid = grid_of(view)
    jobs = [grid.cells[row, column] for row in grid.rows for column in grid.columns if (row, column) in grid.cells]
    wanted = {(job.id, job.best_trial) for job in jobs}
    trials = {trial.job_id: trial for trial in view.snapshot.trials if (trial.job_id, trial.number) in wanted}
    if not trials:
        return [line((formatting.cut(no_result(view), width), "dim"))]
    names = naming.names_of(view.snapshot.jobs)
    first = min(max(formatting.width(names[job.id]) for job in jobs), 24) + 1
    best = max(8, *(len(declared.short(job.best_value)) + 1 for job in jobs))
    drawn = ShownParameters.of(view, list(trials.values()), width - first - 6 - best)
    head = formatting.fit("", first) + formatting.fit_right("trial", 6) + formatting.fit_right("best", best)
    lines: list[Line] = [line((head + drawn.head, "dim"))]
    for job in jobs:
        trial = trials.get(job.id)
        if trial is None:
            lines.append(line((formatting.fit(names[job.id], first), ""), ("     —", "dim")))
            continue
        lines.append(
            line(
                (formatting.fit(names[job.id], first), "focus" if job.id == view.job_id else ""),
                (formatting.fit_right(f"t{trial.number}", 6), ""),
                (formatting.fit_right(declared.short(job.best_value), best), "best"),
                (drawn.by(trial), ""),
            )
        )
    return [*lines, *drawn.more]


def on_front(view: View, width: int) -> list[Line]:
    """Paints the trials on the selected cell's front: a column for each goal, then the parameters."""
    job, goals = view.job, has_front(view)
    shown = [] if job is None else [trial for n in job.front if (trial := by_number(view.trials, n)) is not None]
    if job is None or not shown:
        return [line((formatting.cut(no_result(view), width), "dim"))]
    study = declared.of_job(view.snapshot, job)
    columns = {study.word(name, goal): name for name, goal in goals.items()}
    widths = {word: min(max(formatting.width(word), 7), 16) for word in columns}
    drawn = ShownParameters.of(view, shown, width - 6 - sum(widths.values()) - 2 * len(widths))
    head = formatting.fit_right("trial", 6) + "".join("  " + formatting.fit_right(w, widths[w]) for w in columns)
    lines = [line((head + drawn.head, "dim"))]
    for trial in shown:
        metrics = {trial.metric: trial.value, **trial_facts.metrics_of(trial)}
        values = "".join(
            "  " + formatting.fit_right(declared.short(metrics.get(name), small=widths[word]), widths[word])
            for word, name in columns.items()
        )
        number = formatting.fit_right(f"t{trial.number}", 6)
        lines.append(line((number, ""), (values, "best"), (drawn.by(trial), "")))
    return [*lines, *drawn.more]


@dataclass(frozen=True)
class ShownParameters:
    """Columns for the parameters of some trials: the most important ones that fit."""

    widths: dict[str, int]
    left_out: int

    @staticmethod
    def of(view: View, trials: Sequence[Trial], room: int) -> ShownParameters:
        counts = Counter(name for trial in trials for name in trial.params)
        ranks = {each.name: n for n, each in enumerate(trial_table.importance_of(view))}
        widths: dict[str, int] = {}
        for name in sorted(counts, key=lambda name: (ranks.get(name, len(ranks)), -counts[name], name)):
            columns = min(max(formatting.width(name), 8), 14)
            room -= columns + 1
            if room < 0:
                break
            widths[name] = columns
        return ShownParameters(widths, len(counts) - len(widths))

    @property
    def head(self) -> str:
        return "".join(" " + formatting.fit_right(name, columns) for name, columns in self.widths.items())

    def by(self, trial: Trial) -> str:
        """Returns the parameters of a trial in these columns."""
        drawn = {name: trial.params.get(name, trial_table.ABSENT) for name in self.widths}
        values = {name: formatting.number_in(drawn[name], columns) for name, columns in self.widths.items()}
        return "".join(" " + formatting.fit_right(values[name], columns) for name, columns in self.widths.items())

    @property
    def more(self) -> list[Line]:
        """A line about the parameters without a column."""
        if not self.left_out:
            return []
        return [line((f"{formatting.count(self.left_out, 'more parameter')}: Enter shows the trials of a cell", "dim"))]


def _rest_on(view: View) -> list[Line]:
    """Paints what the values rest on: validation windows, positives, seeds, baselines."""
    comparable = {job.id for job in comparable_jobs(view)}
    trials = [t for t in view.snapshot.trials if t.n_val and t.job_id in comparable]
    lines: list[Line] = []
    if trials:
        n_val = sorted({t.n_val for t in trials if t.n_val})
        n_pos = sorted({t.n_pos for t in trials if t.n_pos})
        text = f"validation windows {_span(n_val)}, positives {_span(n_pos)}; {_replicates(view)}"
        lines.append(line((text, "dim")))
    if selected := _selected(view):
        lines.append(line((selected, "dim")))
    for job in sorted(comparable_jobs(view), key=lambda job: job.horizon):
        if job.kind == "baseline" and job.best_value is not None:
            kind = declared.metric_word(view.snapshot, job)
            name = naming.best_name(job, view.snapshot.trials)
            text = f"best baseline h{job.horizon}: {name}, {kind} {formatting.short_score(job.best_value)}"
            lines.append(line((text, "dim")))
    return lines


def _selected(view: View) -> str:
    """Returns `20M/h3 t12: AUC +.184 against chance · train/val AUC gap +.041` of the selected cell's best trial."""
    job = view.job
    trial = None if job is None else by_number(view.trials, job.best_trial)
    if job is not None and job.kind == "cell" and job.best_trial is None and formatting.trials_ended(job):
        return f"{view.name}: {formatting.without_best(job)}"
    if job is None or trial is None:
        return ""
    parts = []
    if trial.val_auc is not None:
        parts.append(f"AUC {learning_curve.signed(trial.val_auc - 0.5)} against chance")
    if (gap := learning_curve.gap_words(view, trial)) is not None:
        parts.append(gap)
    name = naming.trial_name(job, trial.number, trial.architecture)
    return f"{view.name} {name}: {' · '.join(parts)}" if parts else ""


def _replicates(view: View) -> str:
    """Returns how many replicates there are; only replicate jobs repeat a trial with other seeds."""
    jobs = [job for job in comparable_jobs(view) if job.kind == "replicate"]
    repeats = sum(job.trials_complete for job in jobs)
    if not repeats:
        return "one seed each"
    return f"{formatting.count(repeats, 'replicate')} with other seeds, the rest one seed each"


def _span(values: Sequence[int]) -> str:
    if not values:
        return "unknown"
    return str(values[0]) if values[0] == values[-1] else f"{values[0]}-{values[-1]}"
