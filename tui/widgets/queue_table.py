"""The queue as a table: one row per cell in run order, with what it does now or why it does not run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.actions.registry import by_id
from fts.jobs.status import declared, formatting, naming
from fts.jobs.status.conditions import is_live, running_trials
from fts.jobs.status.memoize import Once
from fts.state.values import Job, JobStatus, Trial, TrialStatus
from fts.tui.data import table_rows
from fts.tui.data.curve_comparison import broken
from fts.tui.render.text import Line, Span, clip, heading, with_role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.tui.data.view import View

PLACE = 2  # columns of the place in the queue at least
CELL, STATE = 8, 10  # columns of a cell's name, and of its state (`cancelled` and a blank)
BAR, LEAST_BAR = 10, 5  # columns of the bar, and at least
BEST, MORE_BEST = 9, 10  # columns of `best AUC`, and how many more a longer heading may take: `best val_accuracy ↑`
REASON = 88 - 57  # columns of `now / why` if further columns follow it
EXTRA = 110  # width of the table from which further columns follow
MORE = 12  # how many more columns a long name may take: `200M/h5 NDX 2pct#12`


@dataclass(frozen=True)
class ColumnWidths:
    """Widths of the columns. Long names first take free room, then from the bar, then from the reason."""

    cell: int
    bar: int  # 0: no bar
    reason: int | None  # None: it is the last column and takes the rest
    best: int = BEST
    trials: int = 7  # `22/50  `, a blank before it
    place: int = PLACE

    @staticmethod
    def of(names: Iterable[str], width: int, best: str = "", trials: int = 7, place: int = PLACE) -> ColumnWidths:
        more = min(max((formatting.width(name) for name in names), default=0), CELL + MORE) - CELL
        more = max(more, 0)
        if width < 70:
            return ColumnWidths(CELL + min(more, MORE // 2), 0, None, trials=trials, place=place)
        more_best = min(max(formatting.width(best) - BEST, 0), MORE_BEST)
        wider = more_best + trials - 7 + place - PLACE
        lacking = max(more + wider - max(width - EXTRA, 0), 0) if width >= EXTRA else more + wider
        bar = max(BAR - lacking, LEAST_BAR)
        reason = REASON - max(lacking - (BAR - bar), 0)
        return ColumnWidths(CELL + more, bar, reason if width >= EXTRA else None, BEST + more_best, trials, place)


def paint(view: View, width: int, height: int) -> list[Line]:
    """Paints heading and rows. With more jobs than rows it scrolls; running and failed ones stay visible."""
    rows = table_rows.jobs_of(view)
    names = naming.names_of(view.snapshot.jobs)
    columns = _columns((view.snapshot.jobs, view.snapshot.studies), width, lambda: _columns_of(view, width))
    has_head = has_heading(view, width)
    entries = table_rows.queue_lines(view, height - has_head)
    seen = sum(isinstance(each, Job) for each in entries)
    part = f"{seen} of {len(rows)} rows" if seen < len(rows) else ""
    lines: list[Line] = [_heading(view, columns, width, part)] if has_head else []
    if not rows:
        lines.extend(_empty(view, width))
        return lines[:height]
    best = best_ids(view)
    place = _places((view.snapshot.jobs,), None, lambda: _place_of(view))
    for found in entries:
        if isinstance(found, table_rows.StudyHeading):
            lines.append(_study(view, found, width))
        else:
            lines.append(_row(view, found, names[found.id], place[found.id], found.id in best, columns, width))
    return lines


_columns: Once[ColumnWidths] = Once()


def _columns_of(view: View, width: int) -> ColumnWidths:
    jobs = view.snapshot.jobs
    fronts = max((len(job.front) for job in jobs), default=0)
    most = max((job.trials_wanted for job in jobs), default=0)
    trials = max(7, 2 * len(str(most)) + 3)  # numbers must not be cut or touch
    values = (f"{declared.shown(job.best_value)}   " for job in jobs if len(job.goals) == 1)
    best = max((f"front {fronts}   " if fronts else best_of(view), *values), key=formatting.width)
    place = max(PLACE, len(str(len(jobs))))
    return ColumnWidths.of(naming.names_of(jobs).values(), width, best, trials, place)


def _study(view: View, head: table_rows.StudyHeading, width: int) -> Line:
    """Paints the line above the rows of a study:
    `train  data / size · best value ↓ .2264 (mnist/S) · 2 of 4 cells done · 2h10 left`.

    A narrow line drops the axes first, then the other parts.
    """
    sums = _sums(view)[head.study]
    study = declared.declared(view.snapshot, head.study)
    axes = " / ".join(axis.label or axis.name for axis in study.axes if len(axis.values) > 1)
    folded = f"{head.hidden} folded, c unfolds" if head.hidden else ""
    left = f"{formatting.left(sums.seconds_left)} left" if sums.seconds_left is not None else ""
    parts = [folded, sums.done, sums.failed, left, sums.best, axes]  # the most important first
    parts = [part for part in parts if part]
    room = width - 5 - formatting.width(head.study)
    while parts and sum(formatting.width(part) + 3 for part in parts) - 3 > room:
        parts.pop()
    order = (axes, sums.best, sums.done, sums.failed, left, folded)
    text = " · ".join(part for part in order if part in parts)
    return clip((("   ", ""), (head.study, "title"), (f"  {text}", "dim")), width)


@dataclass(frozen=True)
class Sums:
    """Totals of one study's rows, as texts."""

    done: str  # 2 of 4 cells done
    failed: str
    best: str  # best value ↓ .2264 (mnist/S)
    seconds_left: float | None  # until the last row ends; None: unknown, or nothing is left to run


def _sums(view: View) -> dict[str, Sums]:
    """Returns the totals by study, cached per snapshot."""
    left = view.glance.forecast.seconds_left
    lost = tuple(job.id for job in view.snapshot.jobs if view.glance.lost(job))
    return _totals((view.snapshot.jobs, left), lost, lambda: _sums_of(view))


_totals: Once[dict[str, Sums]] = Once()


def _sums_of(view: View) -> dict[str, Sums]:
    own: dict[str, list[Job]] = {}
    for job in view.snapshot.jobs:
        own.setdefault(job.study, []).append(job)
    best, names = best_ids(view), naming.names_of(view.snapshot.jobs)
    left = view.glance.forecast.seconds_left
    found = {}
    for study, jobs in own.items():
        states = Counter(job.status for job in jobs)
        won = [job for job in jobs if job.id in best]
        text = _best_words(view, jobs)
        if won and len({job.best_value for job in won}) == 1:
            first = min(won, key=lambda job: job.id)  # whatever the order of the queue
            also = f" and {len(won) - 1} more" if len(won) > 1 else ""
            text += f" {declared.short(first.best_value)} ({names[first.id].removeprefix(study + '/')}{also})"
        fronts = [job for job in jobs if has_front(job) and job.front]
        if len(jobs) == 1 and fronts:
            text = f"{text}: {formatting.count(len(fronts[0].front), 'trial')}"
        failed = f"{states[JobStatus.FAILED]} failed" if states[JobStatus.FAILED] else ""
        done = f"{states[JobStatus.DONE]} of {formatting.count(len(jobs), 'cell')} done"
        seconds = [left[job.id] for job in jobs if job.id in left and not view.glance.lost(job)]
        found[study] = Sums(done, failed, text, max(seconds, default=None))
    return found


def _best_words(view: View, jobs: Sequence[Job]) -> str:
    """Returns `best value ↓` or `front of loss ↓, latency ↓`; `best` if the cells of a study differ in their goals."""
    kinds = dict.fromkeys((job.metric, job.direction, has_front(job)) for job in jobs)
    if len(kinds) > 1:
        return "best"
    job = jobs[0]
    study = declared.of_job(view.snapshot, job)
    if has_front(job):
        return f"front of {', '.join(study.word(name, goal) for name, goal in job.goals.items())}"
    return f"best {study.word(job.metric, job.direction)}"


def best_of(view: View) -> str:
    """Returns the heading of the best values: `best AUC`, `best val_loss ↓`, `front`; `best` if the metrics differ."""
    return _heads((view.snapshot.jobs, view.snapshot.studies), None, lambda: _best_of(view))


_heads: Once[str] = Once()


def _best_of(view: View) -> str:
    jobs = view.snapshot.jobs
    fronts = any(has_front(job) for job in jobs)
    metrics = dict.fromkeys((job.study, job.metric, job.direction) for job in jobs if not has_front(job))  # few
    words = dict.fromkeys(declared.declared(view.snapshot, study).word(name, goal) for study, name, goal in metrics)
    if fronts:
        return "best" if words else "front"
    return "best" if len(words) > 1 else f"best {next(iter(words), '')}".rstrip()


def has_front(job: Job) -> bool:
    """Returns whether a job has several goals, so that no single trial is the best."""
    return "goals" in job.spec and len(job.goals) > 1


_places: Once[dict[int, int]] = Once()


def _place_of(view: View) -> dict[int, int]:
    return {job.id: n + 1 for n, job in enumerate(table_rows.in_order(view.snapshot.jobs))}


def height_of(view: View) -> int:
    """Returns the lines of all rows, including the study headings."""
    studies = declared.studies_of(view.snapshot)
    return len(view.snapshot.jobs) + (len(studies) if len(studies) > 1 else 0)


def has_heading(view: View, width: int) -> bool:
    """Returns whether to show the heading: a narrow table has it only for a sort or filter."""
    return width >= 70 or bool(view.sort or view.filter)


def best_ids(view: View) -> set[int]:
    """Returns the ids of the best cells of each study (PatchTST: per task and horizon). Equal ones are all the best."""
    return _winning((view.snapshot.jobs,), None, lambda: _best_ids(view))


_winning: Once[set[int]] = Once()


def _best_ids(view: View) -> set[int]:
    best: dict[tuple[str, ...], list[Job]] = {}
    for job in view.snapshot.jobs:
        if job.best_value is None or job.kind != "cell" or has_front(job):
            continue
        key = (job.study, job.task, str(job.horizon), job.metric, str(job.direction))
        held = best.setdefault(key, [job])[0]
        if held.best_value is None or job.direction.better(job.best_value, held.best_value):
            best[key] = [job]
        elif job.best_value == held.best_value:
            best[key].append(job)
    return {job.id for jobs in best.values() for job in jobs}


def why(view: View, job: Job, room: int = formatting.ENDLESS) -> str:
    """Returns what a job does now, or why it does not run: the longest text that fits `room` columns; never empty."""
    texts = reasons(view, job)
    return next((text for text in texts if formatting.width(text) <= room), texts[-1])


def reasons(view: View, job: Job) -> tuple[str, ...]:
    """Returns what a job does now, or why it does not run, as texts, the longest first."""
    if job.status is JobStatus.RUNNING:
        return _now(view, job)
    if job.status is JobStatus.DONE:
        failed = f" · {job.trials_failed} failed" if job.trials_failed else ""
        if has_front(job) and job.front:
            one = "trial" if len(job.front) == 1 else "trials"
            return (f"{one} {' '.join(f't{number}' for number in job.front)}{failed}",)
        if job.best_trial is None:
            return (formatting.without_best(job),)  # which counts those that failed
        name = naming.best_name(job, view.snapshot.trials)
        best = f"best {name}"
        texts = (f"{best} {margin(view, job)}".rstrip() + failed, best + failed)
        return texts if job.kind != "baseline" else (*texts, name)  # names are long
    if job.status is JobStatus.FAILED:
        cause = "OOM" if job.cause == "out of memory" else str(job.cause or "no cause recorded")
        where = f" in t{job.trials_complete + job.trials_pruned + job.trials_failed}"
        whole = f": {job.message}" if job.message else where
        first = whole.split(", ")[0]  # of `asked 131 GB, 128 GB are there`
        retries = " · r retries" if by_id("retry").applies_to(job, view.snapshot) else ""
        return f"{cause}{retries}{whole}", f"{cause}{retries}{first}", cause + first, cause + retries, cause
    if job.status is JobStatus.PAUSED:
        return _with_hint(_since(view, job, "paused"), "p resumes it")
    if job.status is JobStatus.CANCELLED:
        return _with_hint(_since(view, job, "cancelled"), "r puts it back in the queue")
    if job.hold_reason:
        return f"held: {job.hold_reason}", f"held: {job.hold_reason.split(', ')[0]}"
    if view.snapshot.queue_paused:
        paused = "queue paused · P resumes"
        return f"{paused} ({view.snapshot.queue_paused_reason or 'by you'})", paused, "queue paused"
    ahead = _ahead((view.snapshot.jobs,), None, lambda: _ahead_of(view)).get(job.id, 0)
    if not any(is_live(worker, view.now) for worker in view.snapshot.workers):
        return ("no worker · W starts one",) if ahead == 0 else (f"{ahead} before it, no worker",)
    if job.is_passed_over:
        whole = job.message or ""
        what = whole.partition("; ")[0]
        if job.waits_for_study:
            return whole, what, "its study does not answer", "no answer"
        return whole, what, f"waits {what.partition(' waits ')[2]}" if job.left_slot else what[3:], "waits for GPU/node"
    return ("next",) if ahead == 0 else (f"{ahead} before it",)


def _with_hint(text: str, hint: str) -> tuple[str, ...]:
    return (f"{text} · {hint}", text) if text else (hint,)


_ahead: Once[dict[int, int]] = Once()


def _ahead_of(view: View) -> dict[int, int]:
    """Returns by job id how many jobs wait before it."""
    waiting = (j for j in view.snapshot.jobs if j.status is JobStatus.QUEUED and not j.hold_reason)
    return {job.id: n for n, job in enumerate(waiting)}


def margin(view: View, job: Job) -> str:
    """Returns `base +0.012`, the AUC minus the best baseline's, with ? if its interval contains 0; as `fts status`."""
    found = view.snapshot.margin(job.id)
    if found is None:
        return ""
    return f"base {found.auc:+.3f}" + ("?" if found.auc_low <= 0 <= found.auc_high else "")


def _since(view: View, job: Job, verb: str) -> str:
    for event in reversed(view.snapshot.journal):
        several = event.data.get("jobs")  # a foreign row may hold anything
        if event.verb == verb and (event.job_id == job.id or (isinstance(several, list) and job.id in several)):
            who = str(event.data.get("asked_by") or event.who)  # the worker that pauses names who asked
            return f"by {who.split('@')[0]} {formatting.when(event.at, view.now)}"
    return ""


def _now(view: View, job: Job) -> tuple[str, ...]:
    live = sorted(running_trials(view.snapshot, job), key=lambda trial: trial.number)
    trial = next(iter(live), None)
    beside = f" +{len(live) - 1}" if len(live) > 1 else ""  # of parallel trials only the first one is named
    if job.asked:
        return (f"asked to {job.asked}",)
    if lost := view.glance.lost(job):
        return lost, lost.removeprefix("worker ")
    worker = next((w for w in view.snapshot.workers if w.id == job.worker_id), None)
    if worker is not None and worker.guard in ("frozen", "cooling"):
        guard = f"{worker.guard}: {worker.guard_message or 'too warm'}"
        return f"guard {guard}", guard
    if trial is None:
        return ("between trials",)
    values = curve_values(view, job, trial)
    planned, step = declared.steps_of(job), declared.step_word(view.snapshot, job)
    done = f"{step} {trial.epochs}/{planned}" if planned is not None else f"{step} {trial.epochs}"
    if (curve := view.epochs(trial.id)) and curve[0].epoch == 0:  # steps counted from 0: the fifth is step 4
        done = f"{trial.epochs}/{planned} {step}" if planned is not None else f"{step} {curve[-1].epoch}"
    own = [one for one in view.snapshot.trials if one.job_id == job.id]
    named = f"{naming.trial_name(job, trial.number, trial.architecture)}{beside}"
    if job.trials_complete and not any(one.epochs for one in own):
        text = f"{named} for {formatting.left(view.now - trial.started_at)}"  # it reports no steps
        return f"{text} {margin(view, job)}".rstrip(), text
    text = f"{named} {done}"
    drawn = f"{text} {formatting.spark(values[-8:])}".rstrip()
    return f"{drawn} {margin(view, job)}".rstrip(), drawn, text


def curve_values(view: View, job: Job, trial: Trial) -> list[float]:
    """Returns the objective by step; nan where a value is missing."""
    return [value for _, value in broken(view.epochs(trial.id), trial.metric, job.deciding_metric)]


def _heading(view: View, columns: ColumnWidths, width: int, part: str) -> Line:
    number = f"{'#':>{2 + columns.place}s}"
    if width < 70:
        return heading(f"{number} cell", width, view.sort, view.reverse, view.filter, part)
    name = formatting.fit(best_of(view), columns.best)
    text = f"{number} {'cell':{columns.cell}s} {'state':{STATE}s}{'trials':{columns.bar + columns.trials}s}{name} eta  "
    text += "now / why" if columns.reason is None else formatting.fit("now / why", columns.reason + 1)
    if columns.reason is not None:
        text += f"{'done by':13s}{'samples/s' if _has_speed(view) else '':>9s}"
    return heading(text, width, view.sort, view.reverse, view.filter, part)


def _row(view: View, job: Job, name: str, place: int, best: bool, columns: ColumnWidths, width: int) -> Line:
    selected = job.id == view.job_id
    lost = bool(view.glance.lost(job))
    role = "lost" if lost else str(job.status)
    glyph = "?" if lost else formatting.glyph_of(job.status)
    ended = formatting.trials_ended(job)
    spans: list[Span] = [
        ("►" if selected else " ", "key"),
        (glyph, role),
        (f"{place:{columns.place}d}", "dim"),
        ("•" if job.id in view.marks else " ", "mark"),
        (formatting.fit(formatting.cut_middle(name, columns.cell), columns.cell), ""),
        (" ", ""),
    ]
    if columns.bar:
        part = ended / job.trials_wanted if job.trials_wanted else 0.0
        bar = "retrying" if lost else role  # not the inverse role `lost`: it would show the empty part as full
        state = "lost" if lost else str(job.status)
        spans += [(state, role), (" " * (STATE - len(state)), ""), (formatting.bar(part, columns.bar), bar)]
    spans += [
        (formatting.fit(f" {ended:2d}/{job.trials_wanted:<3d}", columns.trials + (1 if columns.bar else 0)), ""),
        (formatting.fit_right(declared.best_of(job, columns.best - 3), columns.best - 3), "best" if best else ""),
        ("★" if best else " ", "best"),
        (formatting.fit_right(formatting.left(view.glance.seconds_left(job)), 6), ""),
        (" ", ""),
    ]
    room = columns.reason if columns.reason is not None else width - sum(formatting.width(text) for text, _ in spans)
    reason = why(view, job, room)
    role = {"running": "", "failed": "failed", "paused": "paused"}.get(str(job.status), "dim")
    if columns.reason is not None:
        spans += [(formatting.fit(reason, columns.reason), role), (" ", ""), (_done_by(view, job), "dim")]
    else:
        spans.append((reason, role))
    painted: Line = tuple(spans)
    if selected:
        used = sum(formatting.width(text) for text, _ in painted)
        painted = with_role((*painted, (" " * max(width - used, 0), "")), "cursor")
    return painted


def _done_by(view: View, job: Job) -> str:
    """Returns when a job ends or has ended, if that is known, and the speed of its running trial."""
    seconds = view.glance.seconds_left(job)
    if not view.glance.has_worker or (view.snapshot.queue_paused and job.status is not JobStatus.RUNNING):
        seconds = None  # it is unknown when work goes on
    by = formatting.day_clock(formatting.honest(view.now + seconds, seconds / 2)) if seconds is not None else ""
    if job.ended_at is not None:
        by = formatting.day_clock(job.ended_at)
    own = (t for t in view.snapshot.trials if t.job_id == job.id and t.status is TrialStatus.RUNNING)
    trial = next(own, None)
    epochs = view.epochs(trial.id) if trial and not view.glance.lost(job) else ()
    speed = f"{epochs[-1].samples_per_s:9.0f}" if epochs and epochs[-1].samples_per_s > 0 else " " * 9
    return f"{formatting.fit(by, 13)}{speed}"


def _has_speed(view: View) -> bool:
    """Returns whether to show the speed: only the study of daily bars always reports it."""
    return any(job.task for job in view.snapshot.jobs)


def _empty(view: View, width: int) -> list[Line]:
    if view.filter and view.snapshot.jobs:
        return [((f"   0 of {len(view.snapshot.jobs)} match `{view.filter}`. Esc clears.", "dim"),)]
    texts = [
        "Nothing is queued.",
        "",
        "`fts enqueue train.py:objective --trials 50`   a function in 50 trials",
        "`fts enqueue train.py:objective -m size=S,M`   once for each size: two cells",
        "`fts enqueue --matrix`   the study that is installed with fts",
    ]
    if not view.readonly:
        texts.append("e enqueues any of these with a form")
    fits = [text if formatting.width(text) <= width - 3 else text.partition("   ")[0] for text in texts]
    return [((formatting.cut(f"   {text}".rstrip(), width), "dim" if n else ""),) for n, text in enumerate(fits)]
