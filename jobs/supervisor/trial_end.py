"""Writes the end of a trial to the database: status, cause, value, badges, facts, goals and constraints."""

from __future__ import annotations

import json
import math
import sys
from contextlib import suppress
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.goals import CONSTRAINTS, INFEASIBLE, constraints_of, goals_of, pruning_of, several, violations
from fts.jobs.api.spec import BadSpec, trial_folder
from fts.jobs.api.study import Cell, Finished, Study
from fts.jobs.records.trial_roles import role_of
from fts.jobs.supervisor import shared_checkpoints
from fts.jobs.supervisor.attempt import AttemptEnd, Ended
from fts.jobs.supervisor.progress_events import TrialEnded
from fts.jobs.supervisor.trial_record import CHANGED_TO, CODE_CHANGED, MOVED, OTHER_HARDWARE
from fts.jobs.trial.error_text import with_place
from fts.state import queries, transitions
from fts.state.errors import BadRow
from fts.state.files import link_below, remove
from fts.state.values import HUGE, Cause, Direction, Epoch, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.supervisor.trial_record import TrialRecord
    from fts.jobs.supervisor.work import Work

RESULT_FACTS = (
    "value", "best_epoch", "last_value", "val_loss", "val_auc", "auc_low", "auc_high", "badges", "peak_bytes",
)  # fmt: skip
MAX_ATTRIBUTES = 16_000  # characters of JSON per trial


def close(work: Work, record: TrialRecord, end: AttemptEnd, number: int, peak: int, pruned_for: str | None) -> None:
    """Finishes a trial, which is number `number` of its search.

    `peak`: highest bytes of its process tree in this claim; 0 where the study plans its memory.
    """
    study, cell, trial, role = work.study, record.cell, record.trial, role_of(record.trial)
    facts = end.facts
    if end.how is Ended.FAILED:
        status, cause = TrialStatus.FAILED, facts.get("cause", Cause.CODE_ERROR)
    elif end.how is Ended.PRUNED:
        status, cause = TrialStatus.PRUNED, Cause.PRUNED
    else:
        status, cause = TrialStatus.COMPLETE, facts["reason"]
        if cause == Cause.DIVERGED or facts.get("value") is None:
            status, cause = TrialStatus.FAILED, Cause.DIVERGED
    # a pruned trial may have sent its result before it received the prune command: ignore it, so that records agree
    result = {} if end.how is Ended.PRUNED else facts
    known = {name: result[name] for name in RESULT_FACTS if result.get(name) is not None}
    recorded = record.reread()
    if peak:  # of the whole tree; the process reports only its own
        known["peak_bytes"] = max(peak, recorded.peak_bytes or 0)
    if role is not None:
        known["badges"] = [*known.get("badges", ()), role]
    elif cell.kind == "cell" and number < len(cell.warm_start):
        known["badges"] = [*known.get("badges", ()), "warm"]
        if getattr(cell, "space", {}) is None and status is not TrialStatus.FAILED:
            record.warn_undrawn(cell.warm_start[number])
    if CHANGED_TO in recorded.facts:  # any of its attempts ran changed code
        known["badges"] = [*known.get("badges", ()), CODE_CHANGED]
    if OTHER_HARDWARE in recorded.facts:
        known["badges"] = [*known.get("badges", ()), MOVED]
    if end.how is Ended.RESULT:
        study.on_result(Finished(work.db, work.places, work.claim.job, f"worker {work.claim.worker_id}"), facts)
    if end.how is Ended.PRUNED or cause in (Cause.TIME_LIMIT, Cause.OUT_OF_MEMORY, Cause.CANNOT_FIT):
        known |= best_so_far(queries.epochs(work.db, trial.id), study, cell)
    message = pruned_for if end.how is Ended.PRUNED else facts.get("message")
    outcome = GoalOutcome()
    if status is not TrialStatus.FAILED:
        complete = status is TrialStatus.COMPLETE
        of_pruned = {CONSTRAINTS: facts.get(CONSTRAINTS)} if facts.get("fact") == "pruned" else {}
        outcome = goal_outcome(cell, facts if complete else of_pruned, complete)
    if outcome.cause is not None:
        status, cause = TrialStatus.FAILED, outcome.cause
        message = with_place(outcome.message or "", facts.get("where"))
        known.pop("value", None)
    if outcome.badges:
        known["badges"] = [*known.get("badges", ()), *outcome.badges]
    declared = {one.name: result[one.name] for one in study.facts if result.get(one.name) is not None}
    if result.get("metrics"):
        declared["metrics"] = result["metrics"]  # from a function that returned several numbers
    by_itself = end.how is not Ended.PRUNED or facts.get("fact") == "pruned"  # else it is unknown how far it came
    if by_itself and (attrs := kept_attributes(facts.get("user_attrs"))):
        declared["attrs"] = attrs  # from trial.set_user_attr
    declared |= outcome.facts
    end_it = partial(transitions.finish_trial, work.db, work.claim, trial.id)
    try:
        end_it(status, cause, message=message, facts=declared, **known)
    except BadRow as refused:  # for example 5,000 metrics
        status = TrialStatus.FAILED
        end_it(status, Cause.CODE_ERROR, message=str(refused))
    if study.drops_checkpoints and status is not TrialStatus.FAILED:  # a failed one may be continued
        _drop_checkpoints(work, trial.number)
    record.tell(TrialEnded(work.claim.job, record.reread()))


def _drop_checkpoints(work: Work, number: int) -> None:
    """Deletes the checkpoints of an ended trial, as `fts gc` does; after a kill before this line, `fts gc` does it."""
    outputs, job = work.places.outputs, work.claim.job
    checkpoints = trial_folder(outputs, job.experiment, job.id, number) / "checkpoint"
    with suppress(OSError):  # a folder that cannot be read now: the trial has ended all the same
        if link_below(checkpoints, outputs) is None:
            shared_checkpoints.forget(checkpoints)
            remove(checkpoints, outputs)


@dataclass(frozen=True)
class GoalOutcome:
    """What is recorded besides the trial's value."""

    facts: dict[str, Any] = field(default_factory=dict)
    badges: tuple[str, ...] = ()
    cause: Cause | None = None  # why the result is not valid; None: it is valid
    message: str | None = None


def goal_outcome(cell: Any, result: Mapping[str, Any], complete: bool) -> GoalOutcome:
    """Returns goals and constraints of a complete or pruned trial; values may be missing only in a pruned one."""
    metrics = {**_numbers(result.get("metrics"))}
    every = several(cell) and not getattr(cell, "is_baseline", False)  # a baseline needs only the deciding goal
    if complete:
        metrics.setdefault(cell.metric, result.get("value"))
        if every and (missing := _missing_goals(cell, metrics, result.get("message"))) is not None:
            return missing
    found = _numbers(result.get(CONSTRAINTS))
    declared = constraints_of(cell)
    try:
        found |= violations(declared, _numbers(result.get("user_attrs")) | metrics)
    except BadSpec as missing:
        if complete:
            return GoalOutcome(cause=Cause.CODE_ERROR, message=str(missing))
        found = {}  # with only some of the constraints it could look feasible
    if odd := [name for name, value in found.items() if value is None or not math.isfinite(value)]:
        if complete:
            return GoalOutcome(cause=Cause.CODE_ERROR, message=f"the constraint {', '.join(odd)} is no finite number")
        found = {}
    facts: dict[str, Any] = {CONSTRAINTS: found} if found else {}
    if complete and (every or (several(cell) and len(metrics) > 1)):
        facts["metrics"] = metrics
    violated = complete and any(value > 0 for value in found.values())
    return GoalOutcome(facts, (INFEASIBLE,) if violated else ())


def _missing_goals(cell: Any, metrics: Mapping[str, Any], told: str | None) -> GoalOutcome | None:
    goals = goals_of(cell)
    if missing := [name for name in goals if name not in metrics]:
        reported = ", ".join(metrics)[:200]
        expected, absent = ", ".join(goals), ", ".join(missing)
        return GoalOutcome(
            cause=Cause.CODE_ERROR,
            message=f"the study has the goals {expected}, the trial reported {reported} and no {absent}",
        )
    if odd := [name for name in goals if metrics[name] is None or not math.isfinite(metrics[name])]:
        found = f"{', '.join(odd)} is nan, infinite or beyond {HUGE:g}; expected a finite number"
        return GoalOutcome(cause=Cause.DIVERGED, message=told or found)
    return None


def _numbers(result: Any) -> dict[str, Any]:
    """Returns numbers by name; None stands for NaN, infinities and whole numbers beyond them."""
    if not isinstance(result, dict):
        return {}
    numbers = {
        name: v for name, v in result.items() if v is None or (isinstance(v, int | float) and not isinstance(v, bool))
    }
    return {name: None if v is None or abs(v) > sys.float_info.max else v for name, v in numbers.items()}


def best_so_far(epochs: Sequence[Epoch], study: Study, cell: Cell) -> dict[str, Any]:
    """Returns the best value of a trial without a result; it is recorded but never ranked, because of the status."""
    scored = [(epoch.value, epoch) for epoch in epochs if epoch.value is not None]
    if not scored:
        return {}
    decides, goal = pruning_of(cell)
    value, best = min(scored, key=lambda pair: Direction(goal).key(pair[0]))
    if decides != cell.metric:
        return {"value": best.number(cell.metric), "best_epoch": best.epoch}
    kept = {metric.name: best.number(metric.name) for metric in study.metrics if metric.name in RESULT_FACTS}
    return kept | {"value": value, "best_epoch": best.epoch, "last_value": scored[-1][0]}


def kept_attributes(attributes: Any) -> dict[str, Any]:
    """Returns the attributes set with set_user_attr, in order, up to MAX_ATTRIBUTES characters."""
    kept: dict[str, Any] = {}
    room = MAX_ATTRIBUTES
    for name, value in attributes.items() if isinstance(attributes, dict) else ():
        room -= len(json.dumps([name, value]))
        if room < 0:
            break
        kept[name] = value
    return kept


def message_of(end: AttemptEnd) -> str:
    if end.stop_request is not None and end.stop_request.message:
        return with_place(end.stop_request.message, end.facts.get("place")) + str(end.facts.get("lost", ""))
    message = str(end.facts.get("message") or "")
    by_signal = end.how is Ended.STOPPED and end.stop_request is None and not message
    return "a signal from outside stopped the trial process" if by_signal else message
