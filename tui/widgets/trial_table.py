"""The trials of a cell as a table: state, value, steps, time, and the most important parameters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.search.importance import ENOUGH, ParameterImportance, chance_of, counts, importance
from fts.jobs.status import declared, formatting
from fts.jobs.status.memoize import Once
from fts.state.values import ROLE, Job, Trial, TrialStatus
from fts.tui.data import table_rows
from fts.tui.data.curve_comparison import points
from fts.tui.data.trial_store import place_of
from fts.tui.data.trial_time import seconds_of
from fts.tui.render.text import Line, Span, heading, with_role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.tui.data.view import View

PARAMS = ("learning_rate", "dropout", "weight_decay", "warmup_steps")  # their columns come first, if drawn
MOST_NOTES = 16  # width of the notes (badges, cause of failure); the details show them completely
MOST = 4  # parameter columns if the trials have no architecture
ABSENT = "·"  # the trial did not draw the parameter
SHORT = {"learning_rate": "lr", "weight_decay": "wd", "warmup_steps": "warm", "architecture": "arch"}


def trials(view: View, width: int, height: int, title: bool = True) -> list[Line]:
    """Paints the table, for screen 2 and for the side pane of the widest Queue (without title)."""
    rows = table_rows.trials_of(view)
    known = rows or view.trials  # a filter without matches keeps the heading
    columns = ParamColumns.of(view, rows, width)
    value = formatting.fit_right(value_word(view), columns.value)
    word = declared.step_word(view.snapshot, view.job)
    step = f" {word:>4s}" if columns.steps else ""
    head = f"   {'t':>{columns.number}s} {'state':11s} {value}{step} {'time':>5s}  "
    head += " ".join(formatting.fit_right(SHORT.get(name, name), each) for name, each in columns.widths.items())
    head += "  architecture" if _are_described(view, known[:SEEN]) else ""
    sort, wanted = (table_rows.column_word(view.sort), view.filter) if title else ("", "")
    lines: list[Line] = [heading(head, width, sort, view.reverse, wanted)]
    if not rows:
        return [*lines, *_no_trials(view)]
    job = view.job
    cursor = place_of(rows, view.trial_id) or 0
    first, last = table_rows.window(len(rows), height - 1, cursor)
    for n in range(first, last):
        selected = n == cursor and title
        lines.append(_trial_row(view, job, rows[n], columns, selected, width))
    missing = 0 if job is None or view.filter else job.trials_ended - len(rows)
    if missing > 0 and not title and len(lines) < height:  # here only the live and the best of many trials are read
        lines.append(((formatting.cut(f"   {missing} more trials: 2 shows them", width), "dim"),))
    return lines


def params(view: View, width: int) -> list[str]:
    """Returns the parameters that have a column, from the left."""
    return list(ParamColumns.of(view, table_rows.trials_of(view), width).widths)


SEEN = 50  # first rows, which decide about the columns


@dataclass(frozen=True)
class ParamColumns:
    """Widths of the columns: parameters, value, notes, number."""

    widths: dict[str, int]
    value: int = 7
    steps: bool = True  # whether there is a column for steps
    notes: int = 0
    number: int = 4  # digits of the largest trial number

    @staticmethod
    def of(view: View, rows: Sequence[Trial], width: int) -> ParamColumns:
        """Returns the columns that fit: of all parameters if trials have an architecture, else of the best four."""
        seen = rows[:SEEN]
        number = max(len(str(view.trials[-1].number if view.trials else 0)), 4)
        drawn = Counter(name for trial in seen for name in trial.params)
        if _are_described(view, seen):
            known = [name for name in PARAMS if name in drawn]
            others = sorted(set(drawn) - set(PARAMS) - {"architecture"})
            shown = [*known, *others][: max((width - 38 - 20) // 8, 0)]
            return ParamColumns(dict.fromkeys(shown, 7), number=number)
        value = max(len(declared.shown(_value(view, trial), 7)) for trial in seen) if seen else 0
        value = min(max(formatting.width(value_word(view)), value, 7), 14)
        steps = any(trial.epochs for trial in seen) or view.job is None or not view.job.trials_complete
        notes = min(max((formatting.width(_notes(trial)) for trial in seen), default=0), MOST_NOTES)
        ranks = {each.name: n for n, each in enumerate(importance_of(view))}
        names = sorted(drawn, key=lambda name: (ranks.get(name, len(ranks)), -drawn[name], name))
        word = max(formatting.width(declared.step_word(view.snapshot, view.job)), 4)
        left, kept = width - 23 - number - value - (word + 1) * steps - (notes + 2 if notes else 0), names[:MOST]
        kept = kept[: max(left // 8, 0)]
        left -= 8 * len(kept)  # each has 7 columns and a blank; long names take the rest
        widths = {}
        for name in kept:
            wide = max(formatting.width(formatting.number(trial.params.get(name, ABSENT))) for trial in seen)
            wide = max(formatting.width(SHORT.get(name, name)), min(wide, 9))
            more = min(max(wide - 7, 0), left, 9)
            widths[name], left = 7 + more, left - more
        return ParamColumns(widths, value, steps, notes, number)


def absent_columns(view: View, width: int) -> set[str]:
    """Returns the fixed columns that these trials do not have: no key sorts by them."""
    rows = table_rows.trials_of(view)
    described = _are_described(view, rows[:SEEN])
    steps = described or ParamColumns.of(view, rows, width).steps
    return {name for name, there in (("architecture", described), ("epochs", steps)) if not there}


def _are_described(view: View, seen: Sequence[Trial]) -> bool:
    """Returns whether the trials have an architecture; before the first trial, whether they will have one."""
    return any(trial.architecture for trial in seen) or (not seen and view.job is not None and bool(view.job.task))


def value_word(view: View) -> str:
    """Returns the heading of the value: `AUC`, `loss`, `val_loss ↓`; before a cell is selected `value`."""
    return "value" if view.job is None else declared.metric_word(view.snapshot, view.job)


def importance_line(view: View, width: int) -> Line | None:
    """Paints `importance in 22 trials (chance .21)  lr ██████▍ .46`, as many parameters as fit; None without any.

    Parameters below the level of chance are dim.
    """
    found = importance_of(view)
    if not found:
        return None
    chance, n = chance_level(view), formatting.count(found[0].n, "trial")
    items = [_item(each, each.share > chance) for each in found]
    sizes = [sum(formatting.width(text) for text, _ in item) for item in items]
    heads = (f"importance in {n} (chance {_share(chance)})", f"importance in {n}")
    wanted = sum(sizes[:NAMED]) + 2 * (len(items) > NAMED)  # the head must leave room for them
    head = next((head for head in heads if formatting.width(head) + wanted <= width), heads[-1])
    spans: list[Span] = [(head, "dim")]
    used = formatting.width(head)
    for at, (item, need) in enumerate(zip(items, sizes, strict=True)):
        if used + need > width - 2 * (at + 1 < len(items)):
            spans.append((" …", "dim"))
            break
        spans += item
        used += need
    return tuple(spans)


NAMED = 4  # parameters in the importance line that are more important than its long head


def _item(each: ParameterImportance, real: bool) -> list[Span]:
    name, bar = SHORT.get(each.name, each.name), formatting.bar(each.share, 8).rstrip(formatting.TROUGH)
    share = f"{' ' if bar else ''}{_share(each.share)}"
    return [(f"  {name} ", "" if real else "dim"), (bar, "running" if real else "dim"), (share, "" if real else "dim")]


def _share(share: float) -> str:
    return f"{share:.2f}".replace("0.", ".", 1)


def importance_of(view: View) -> tuple[ParameterImportance, ...]:
    """Returns the parameter importance of the selected cell, cached per set of trials."""
    trials = view.trials
    return _important((trials,), None, lambda: importance(trials))


_important: Once[tuple[ParameterImportance, ...]] = Once()


def why_no_importance(view: View) -> str:
    """Returns why there is no importance: too few trials with a value, or no parameter varies."""
    trials = view.trials
    n = _valued((trials,), None, lambda: sum(map(counts, trials[-SEEN:])))
    if n < ENOUGH:
        return f"importance: needs {ENOUGH} values, {n} so far"
    return "importance: no parameter varies enough to judge it"


_valued: Once[int] = Once()


def chance_level(view: View) -> float:
    """Returns the importance that a random number may have with so many trials.

    Recomputed by shuffling only after 10 % more trials; scaled in between.
    """
    found, job = importance_of(view), view.job
    if not found or job is None:
        return 0.0
    n = found[0].n
    if not _chance or _chance[0][0] != job.id or not n / 1.1 <= _chance[0][1] <= n:
        _chance[:] = [(job.id, n, chance_of(view.trials, DRAWS, SHUFFLED))]
    _, then, level = _chance[0]
    return level * then / n  # the level of chance falls as 1 / n


DRAWS, SHUFFLED = 59, 100  # takes some milliseconds; more would delay the screen
_chance: list[tuple[int, int, float]] = []  # the last result: (job id, trials, level)


def _trial_row(view: View, job: Job | None, trial: Trial, columns: ParamColumns, selected: bool, width: int) -> Line:
    best = job is not None and trial.number in (job.front or (job.best_trial,))
    role = state_of(view, job, trial)
    lost = role == "lost"
    step = max(formatting.width(declared.step_word(view.snapshot, job)), 4)
    beside = str(trial.facts.get(ROLE, ""))  # baseline or replicate; sign and colour show the state
    seconds = seconds_of(view, job, trial)
    took = formatting.left(seconds) if seconds else "—"
    live = "+" if trial.status is TrialStatus.RUNNING and not lost else " "
    value = declared.shown(_value(view, trial), 7, columns.value)
    spans: list[Span] = [
        ("►" if selected else " ", "key"),
        ("►" if role == "running" else formatting.LOST if lost else formatting.glyph_of(trial.status), role),
        ("★" if best else " ", "best"),
        (f"{trial.number:{columns.number}d}", ""),
        ("•" if trial.id in view.marks else " ", "mark"),
        (formatting.fit(beside or role, 12), role),
        (formatting.fit_right(value, columns.value), "best" if best else ""),
        (f" {trial.epochs:{step}d}" if columns.steps else "", ""),
        (f" {took:>5s}{live} ", ""),
        (" ".join(_param(trial, name, each) for name, each in columns.widths.items()), ""),
        ("  " + trial.architecture if trial.architecture else "", "dim"),
    ]
    if notes := _notes(trial):
        spans.append(("  " + notes, "failed" if role == "failed" else "retrying"))
    painted: Line = tuple(spans)
    if selected:
        used = sum(formatting.width(text) for text, _ in painted)
        painted = with_role((*painted, (" " * max(width - used, 0), "")), "cursor")
    return painted


def state_of(view: View, job: Job | None, trial: Trial) -> str:
    """Returns the status of a trial; `lost` if its worker is silent."""
    lost = trial.status is TrialStatus.RUNNING and job is not None and bool(view.glance.lost(job))
    return "lost" if lost else str(trial.status)


def _notes(trial: Trial) -> str:
    """Returns the badges of a trial and the cause of its failure."""
    notes = [badge for badge in trial.badges if badge != trial.facts.get(ROLE)]
    notes += [str(trial.cause)] if trial.cause and trial.status is TrialStatus.FAILED else []
    return ", ".join(notes)


def _value(view: View, trial: Trial) -> float | None:
    """Returns the recorded value; of a running trial the best so far."""
    if trial.value is not None or trial.ended_at is not None:
        return trial.value
    told = points(view.epochs(trial.id), trial.metric, view.deciding_metric(trial))
    return trial.direction.best(value for _, value in told)


def _param(trial: Trial, name: str, columns: int) -> str:
    absent = ABSENT if trial.params and not trial.architecture else ""
    return formatting.fit_right(formatting.number_in(trial.params.get(name, absent), columns), columns)


def _no_trials(view: View) -> list[Line]:
    if view.filter and view.trials:
        return [((f"   0 of {len(view.trials)} match `{view.filter}`. Esc clears.", "dim"),)]
    job = view.job
    if job is None:
        return [(("   No cell is selected. 1 shows the queue.", "dim"),)]
    name = view.name
    if job.status == "queued":
        waits = f"   {name} has no trial yet: it waits in the queue."
        return [((waits, "dim"),), ((f"   t runs it next (`fts next {job.id}`).", "dim"),)]  # one line would be cut
    return [((f"   {name} has no trial yet.", "dim"),)]
