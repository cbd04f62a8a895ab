"""Screen 6: the matrix size x horizon with its best values, how they grow with size, and what they rest on.

One question at a time, that of the selected cell: values of another task are no neighbours of these.

Validation only: the test set stays sealed until a person opens it for one cell (`fts final`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fts.jobs.search.importance import ENOUGH
from fts.jobs.status import formatting, naming
from fts.state.values import Job, JobStatus, Margin, Opening, Trial
from fts.tui.data.trial_store import by_number
from fts.tui.data.view import RESULTS, View
from fts.tui.render.text import Line, Placed, Span, labelled, line, rule, with_role, wrapped
from fts.tui.widgets import event_list, learning_curve, queue_table

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = ("tiny", "2M", "20M", "200M", "2B")
COLUMN, INTERVAL = 16, 24  # columns of a cell; where its difference to the baseline stands below with its interval
SEALED = "validation only: the test set is sealed until `fts final` opens it for a cell"
SEALED_BRIEF = "validation only: the test set is sealed"
OPENED = 3  # openings named; more are counted
SHADES = "░▒▓█"
SIGNS = "░▒▓█ from the worst to the best value · ★ best of its horizon · number of trials ended · ► cursor"
SIGNS_BRIEF = "░ worst … █ best value · ★ best of its horizon"


def panes(view: View, width: int, height: int) -> list[Placed]:
    """The matrix above, the scaling curve and the selected cell below (beside it where there is room)."""
    table = [*matrix(view, width), *([legend(view, width)] if view.snapshot.margins else [])]
    table.append(line((SIGNS if width >= formatting.width(SIGNS) else SIGNS_BRIEF, "dim")))
    shown = [*table, *other_questions(view, width), (), *seal_lines(view, width)]
    top = min(len(shown) + 1, height)
    named = question_of(view)
    title = f"results {f'of {named}' if named else 'so far'} · best {_objective(view)} on validation · n trials"
    found = [
        Placed("results", 0, 0, width, 1, lambda w, h: [rule(title, "w writes them" if w >= 70 else "", w, True)]),
        Placed(
            "",
            0,
            1,
            width,
            top - 1,
            lambda w, h: shown,
        ),
    ]
    rest = height - top
    if rest < 3:
        return found
    left = width * 3 // 5 if width >= 100 else width
    found += [
        Placed("", 0, top, left, 1, lambda w, h: [rule("value against size", "", w)]),
        Placed("", 0, top + 1, left, rest - 1, lambda w, h: scaling(view, w, h)),
    ]
    if left < width:
        found.append(Placed("", left + 1, top, width - left - 1, rest, partial(_cell, view)))
    return found


def matrix(view: View, width: int) -> list[Line]:
    """One row per size, one column per horizon: best value, shade, trials, state; below it the baseline's distance."""
    cells = cells_of(view)
    horizons = sorted({horizon for _, horizon in cells}) or [1, 3, 5]
    best = queue_table.best_ids(view)
    roomy = width >= 6 + INTERVAL * len(horizons)
    column = INTERVAL if roomy and view.snapshot.margins else COLUMN
    head: list[Span] = [(formatting.fit("", 6), "")]
    head += [(formatting.fit(f"  h{horizon}", column), "dim") for horizon in horizons]
    lines: list[Line] = [tuple(head)]
    values = [job.best_value for job in cells.values() if job.best_value is not None]
    for size in sizes_of(view):
        spans: list[Span] = [(formatting.fit(size, 6), "")]
        below: list[Span] = [(formatting.fit("", 6), "")]
        for horizon in horizons:
            job = cells.get((size, horizon))
            spans += _matrix_cell(view, job, values, best, column)
            below.append(_difference(view.snapshot.margin(job.id) if job else None, column))
        lines.append(tuple(spans))
        if any(text.strip() for text, _ in below):
            lines.append(tuple(below))
    return lines


def cells_of(view: View) -> dict[tuple[str, int], Job]:
    """The job that stands for each (size, horizon): of several the one that was not cancelled, then the furthest."""
    found: dict[tuple[str, int], Job] = {}
    for job in _asked(view):
        held = found.get((job.budget, job.horizon))
        if job.kind == "cell" and (held is None or _weight(job) > _weight(held)):
            found[job.budget, job.horizon] = job
    return found


def _asked(view: View) -> list[Job]:
    """The jobs that ask what the selected one asks; without one, what the first cell asks."""
    cells = [job for job in view.snapshot.jobs if job.kind == "cell"]
    first = view.job or next(iter(cells), None)
    return [job for job in view.snapshot.jobs if first and _question(job) == _question(first)]


def _question(job: Job) -> tuple[str, str, str, str]:
    """What two values must have in common to stand in one matrix: `1pct`, tier, whose prices, how it is judged."""
    return job.task.removeprefix("threshold_"), job.tier, naming.ticker_of(job), str(job.spec.get("cv") or "")


def _questions(view: View) -> list[str]:
    """Every question of the study by what tells it from the others, the shown one first; none where there is one."""
    shown = [_question(job) for job in _asked(view)[:1]]
    asked = list(dict.fromkeys([*shown, *(_question(job) for job in view.snapshot.jobs if job.kind == "cell")]))
    differ = [len(set(parts)) > 1 for parts in zip(*asked, strict=True)]
    names = [" ".join(part for part, says in zip(parts, differ, strict=True) if says and part) for parts in asked]
    return [name or "one split" for name in names] if len(asked) > 1 else []


def question_of(view: View) -> str:
    """What the selected cell asks, where the study asks several questions: `2pct a25`; else nothing."""
    return next(iter(_questions(view)), "")


def other_questions(view: View, width: int) -> list[Line]:
    """Which questions are not in this matrix."""
    others = _questions(view)[1:]
    return (
        [line((formatting.cut(f"not in this table: {', '.join(others)}; [ and ] go there", width), "dim"))]
        if others
        else []
    )


def _weight(job: Job) -> tuple[bool, bool, int, int]:
    return job.status is not JobStatus.CANCELLED, job.best_value is not None, formatting.trials_ended(job), job.id


def _difference(margin: Margin | None, column: int) -> Span:
    """`+.012 [-.004, +.028]` of AUC; where that does not fit the ? of the queue for an interval that holds 0."""
    if margin is None:
        return formatting.fit("", column), ""
    open_ = margin.auc_low <= 0 <= margin.auc_high
    text = f"  {learning_curve.signed(margin.auc)}"
    between = f" [{learning_curve.signed(margin.auc_low)}, {learning_curve.signed(margin.auc_high)}]"
    text += between if column >= INTERVAL else "?" if open_ else ""
    return formatting.fit(text, column), "dim" if open_ else "done" if margin.auc > 0 else "failed"


def legend(view: View, width: int) -> Line:
    """What stands below each value."""
    asked = {job.id for job in _asked(view)}
    rivals = {margin.rival for margin in view.snapshot.margins if margin.job_id in asked}
    rival = f" ({next(iter(rivals))})" if len(rivals) == 1 else ""
    full = f"below: its best trial's AUC minus the best baseline's{rival}, 95 % interval, paired by day"
    brief = "below: AUC minus the best baseline's, 95 % interval" if width >= 78 else "below: AUC minus the baseline's"
    return line((full if formatting.width(full) <= width else brief, "dim"))


def seal_lines(view: View, width: int) -> list[Line]:
    """That the test set is sealed, or for which cell it was opened, when, by whom, for which trial, what it said."""
    opened = view.details.openings
    if not opened:
        return [line((SEALED if width >= len(SEALED) else SEALED_BRIEF, "dim"))]
    names = naming.names_of(view.snapshot.jobs)
    told = [
        f"test set of {names.get(o.job_id, o.experiment)} opened {formatting.when(o.at, view.now)} by {o.who} "
        f"for t{o.trial}{_tested(o)}"
        for o in opened[-OPENED:]
    ]
    more = f" and {len(opened) - OPENED} more" if len(opened) > OPENED else ""
    told[-1] += f"{more}; sealed for every other cell"
    return [line((formatting.cut(text, width), "look")) for text in told]


def _tested(opened: Opening) -> str:
    """`: test AUC .671`, once its one evaluation is done."""
    scores = opened.scores or {}
    known = [scores[name] for name in ("auc", "auc_low", "auc_high") if isinstance(scores.get(name), int | float)]
    if not known:
        return ", not evaluated yet"
    between = f" [{', '.join(formatting.short_score(value, 3) for value in known[1:])}]" if len(known) == 3 else ""
    return f": test AUC {formatting.short_score(known[0], 3)}{between}"


def sizes_of(view: View) -> list[str]:
    """The sizes in the queue, smallest first; the four of the study when it is empty."""
    known = {job.budget for job in _asked(view) if job.kind == "cell"}
    ordered = [size for size in SIZES if size in known] + sorted(known - set(SIZES))
    return ordered or list(SIZES[1:])


def _matrix_cell(view: View, job: Job | None, values: Sequence[float], best: set[int], column: int) -> Line:
    if job is None:
        return ((formatting.fit("  —", column), "dim"),)
    role = "best" if job.id in best else ""
    sign = formatting.glyph_of(job.status)
    if job.status is JobStatus.DONE:
        sign = "★" if job.id in best else " "
    text = formatting.short_score(job.best_value)
    shade = _shade(job.best_value, values, _objective(view)) if job.best_value is not None else " "
    count = f"{formatting.trials_ended(job):3d}" if job.best_value is not None else "   "
    cell: Line = (
        (formatting.fit(f"  {text}", 8), role),
        (shade, "running"),
        (f" {count}", "dim"),
        (formatting.fit(sign, column - 13), "best" if sign == "★" else str(job.status)),
    )
    if job.id != view.job_id or view.screen != RESULTS:
        return cell
    return with_role(((" ►", "key"), (formatting.fit(text, 6), role), *cell[1:]), "cursor")


def _shade(value: float, values: Sequence[float], objective: str) -> str:
    low, high = min(values), max(values)
    part = (value - low) / (high - low) if high > low else 0.5
    part = part if "AUC" in objective else 1 - part
    return SHADES[min(int(part * 4), 3)]


def scaling(view: View, width: int, height: int) -> list[Line]:
    """Best value by size for each horizon, and an honest word about the slope."""
    if height < 3:
        return []
    sizes = sizes_of(view)
    found: dict[int, dict[str, float]] = {}
    for (size, horizon), job in cells_of(view).items():
        if job.best_value is not None:
            found.setdefault(horizon, {})[size] = job.best_value
    if not found:
        return [line((formatting.cut(no_result(view), width), "dim"))]
    lines: list[Line] = []
    for horizon in sorted(found):
        by_size = found[horizon]
        row = "   ".join(f"{size} {formatting.short_score(by_size[size])}" for size in sizes if size in by_size)
        known = [by_size[size] for size in sizes if size in by_size]
        if len(known) >= 3:
            trend = f"{formatting.short_score(known[0])} → {formatting.short_score(known[-1])} over {len(known)} sizes"
        else:
            trend = f"({'two more sizes are' if len(known) == 1 else 'a third size is'} needed for a slope)"
            if formatting.width(f"scaling h{horizon}:  {formatting.spark(known)}  {row}  {trend}") > width:
                trend = "(needs 3 sizes)"
        lines.append(
            (
                ((f"scaling h{horizon}:  "), "dim"),
                (formatting.spark(known), "running"),
                (f"  {row}  ", ""),
                (trend, "dim"),
            )
        )
    return [*lines, (), *_rest_on(view)][:height]


def no_result(view: View) -> str:
    """Why there is no value to show: none has come yet, or the selected cell has ended without one."""
    if view.job is not None and view.job.kind == "cell" and view.job.status in formatting.ENDED:
        return f"{view.name}: {formatting.without_best(view.job)}"
    return "no result yet: the first value appears when a trial has ended"


def _rest_on(view: View) -> list[Line]:
    """What the values rest on: validation windows, positives, seeds, baselines."""
    asked = {job.id for job in _asked(view)}
    trials = [t for t in view.snapshot.trials if t.n_val and t.job_id in asked]
    lines: list[Line] = []
    if trials:
        n_val = sorted({t.n_val for t in trials if t.n_val})
        n_pos = sorted({t.n_pos for t in trials if t.n_pos})
        text = f"validation windows {_span(n_val)}, positives {_span(n_pos)}; {_replicates(view)}"
        lines.append(line((text, "dim")))
    if said := _selected(view):
        lines.append(line((said, "dim")))
    for job in _asked(view):
        if job.kind == "baseline" and job.best_value is not None:
            kind = "AUC" if formatting.objective_of(job, view.snapshot.trials).endswith("auc") else "loss"
            text = f"best baseline h{job.horizon}: {kind} {formatting.short_score(job.best_value)} (t{job.best_trial})"
            lines.append(line((text, "dim")))
    return lines


def _selected(view: View) -> str:
    """`20M/h3 t12: AUC .184 above chance · train/val AUC gap +.041`, of the selected cell's best trial."""
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
    return f"{view.name} t{trial.number}: {' · '.join(parts)}" if parts else ""


def _replicates(view: View) -> str:
    """How many seeds a best value has been trained with: only a replicate job repeats a trial with other seeds."""
    jobs = [job for job in _asked(view) if job.kind == "replicate"]
    repeats = sum(job.trials_complete for job in jobs)
    if not repeats:
        return "one seed each"
    return f"{formatting.count(repeats, 'replicate')} with other seeds, the rest one seed each"


def _cell(view: View, width: int, height: int) -> list[Line]:
    """Facts of the selected cell's best trial."""
    job = view.job
    if job is None:
        return [rule("no cell selected", "", width)]
    lines: list[Line] = [rule(f"{view.name} · best trial", "2", width)]
    trial = by_number(view.trials, job.best_trial)
    if trial is None:
        text = formatting.without_best(job) if formatting.trials_ended(job) else "no trial has ended yet"
        return [*lines, *(line((part, "dim")) for part in wrapped(text, width))]
    gap = learning_curve.gap_words(view, trial)
    known = [] if gap is None else [labelled("gap", gap.removeprefix("train/val ").replace("gap ", "train/val "))]
    return [*lines, *facts(trial), *known, *against_baseline(view, job), *_importance(view, width)][:height]


def _importance(view: View, width: int) -> list[Line]:
    """What the spread of the cell's trials goes with, one parameter per line."""
    found = event_list.importance_of(view)
    if not found:
        ended = sum(t.value is not None and t.ended_at is not None for t in view.trials)
        return [(), line((f"importance: needs {ENOUGH} values, {ended} so far", "dim"))]
    lines: list[Line] = [(), rule(f"importance · {found[0].n} trials", "", width)]
    lines += [
        labelled(each.name, f"{each.share:.2f} {formatting.bar(each.share, 20).rstrip(formatting.TROUGH)}", width=15)
        for each in found[:8]
    ]
    return [*lines, line(("share of rank variance, each alone; not a cause", "dim"))]


def facts(trial: Trial) -> list[Line]:
    """What a value rests on, one fact per line."""
    interval = ""
    if trial.auc_low is not None and trial.auc_high is not None:
        interval = f"  95 % {formatting.short_score(trial.auc_low, 3)} … {formatting.short_score(trial.auc_high, 3)}"
    gain = ""
    if trial.prior_loss is not None and trial.val_loss is not None:
        gain = f"  prior {formatting.short_score(trial.prior_loss)} (gain {trial.prior_loss - trial.val_loss:+.4f})"
    windows = formatting.count(trial.n_val, "window") if trial.n_val else "— windows"
    rate = f" ({trial.n_pos / trial.n_val:.1%})" if trial.n_val and trial.n_pos is not None else ""
    shown = [
        labelled("trial", f"t{trial.number} {trial.status}, {_best_epoch(trial)}"),
        labelled("AUC", f"{formatting.score(trial.val_auc)}{interval}"),
        labelled("loss", f"{formatting.score(trial.val_loss)}{gain}"),
        labelled("validation", f"{windows}, {trial.n_pos or '—'}{rate} positive"),
        labelled("model", f"{trial.architecture}  {_parameters(trial.n_params)}"),
        labelled(
            "batch", f"{formatting.batch(trial.micro_batch, trial.accumulation) or '—'}, threads {trial.threads or '—'}"
        ),
        labelled(
            "memory", f"predicted {formatting.size(trial.predicted_bytes)}, peak {formatting.size(trial.peak_bytes)}"
        ),
        labelled("data", f"{(trial.data_md5 or '—')[:8]}  labels {(trial.label_md5 or '—')[:8]}"),
        labelled("code", f"{(trial.code_commit or '—')[:10]}{' (changed)' if trial.code_dirty else ''}"),
        labelled("seed", str(trial.seed)),
    ]
    if trial.badges:
        shown.append(labelled("badges", ", ".join(trial.badges), "retrying"))
    return shown


def _best_epoch(trial: Trial) -> str:
    if trial.best_epoch is None:
        return f"at epoch {trial.epochs}"
    return f"best epoch {trial.best_epoch} of {trial.epochs}"


def against_baseline(view: View, job: Job) -> list[Line]:
    """The difference to the best baseline of the same question, with its paired interval."""
    margin = view.snapshot.margin(job.id)
    if margin is None:
        return [labelled("baseline", "none has run for this task yet", "dim")] if job.kind == "cell" else []
    sure = "" if margin.auc_low > 0 or margin.auc_high < 0 else "  (may be chance)"
    interval = f"{margin.auc_low:+.3f} … {margin.auc_high:+.3f}"
    return [
        labelled("baseline", margin.rival),
        labelled("", f"AUC {margin.auc:+.3f}  95 % {interval}{sure}"),
        labelled("", f"loss {margin.loss:+.4f}  on {margin.n} windows"),
    ]


def _parameters(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.2f}B params" if count >= 1e9 else f"{count / 1e6:.2f}M params"


def _span(values: Sequence[int]) -> str:
    if not values:
        return "unknown"
    return str(values[0]) if values[0] == values[-1] else f"{values[0]}-{values[-1]}"


def _objective(view: View) -> str:
    for job in _asked(view):
        return "AUC" if formatting.objective_of(job, view.snapshot.trials).endswith("auc") else "loss"
    return "value"
