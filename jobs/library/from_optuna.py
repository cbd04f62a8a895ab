"""Reads a recorded Optuna study as the history of a job: the draws, reports and results of each trial."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs import functions
from fts.jobs.api.function import VALUE, FunctionStudy
from fts.jobs.api.goals import CONSTRAINTS
from fts.jobs.api.load import installed
from fts.jobs.api.spec import NAME, BadSpec, md5_of
from fts.jobs.api.study import Metric
from fts.jobs.records.optuna import SQLITE, NoStorage, file_of, opened, shown
from fts.jobs.search.space import data_of, plain_choice
from fts.state import queries, transitions
from fts.state.disk import reading_uri
from fts.state.errors import BadRow
from fts.state.files import expanded, is_file
from fts.state.values import Cause, Direction, TrialStatus, bounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.trial import FrozenTrial

    from fts.state.db import Database

STATES = {"COMPLETE": TrialStatus.COMPLETE, "PRUNED": TrialStatus.PRUNED, "FAIL": TrialStatus.FAILED}
MAX_ATTRIBUTES = 16_000  # characters of JSON, of a trial's user attributes
MAX_STEP = 2**31 - 1
TABLES = {"studies", "trials", "version_info"}  # of Optuna


class NoStudy(LookupError):
    """The storage has no study with this name."""


@dataclass(frozen=True)
class Recorded:
    """A study read from an Optuna storage."""

    name: str
    source: str  # URL of the storage, without password
    goals: dict[str, Direction]  # metric -> direction, the main one first
    trials: tuple[transitions.RecordedTrial, ...]
    left_out: tuple[str, ...]  # a sentence for each trial, and for each trial's attributes, that cannot be imported
    numbers: tuple[int, ...]  # of the trials, in the storage; here they count from 0 without gaps


def read(url: str, name: str | None) -> Recorded:
    """Reads the study with this name, or the only one. Raises NoStorage, NoStudy."""
    if "://" not in url:
        url = SQLITE + str(expanded(url))  # a plain file name
    if (file := file_of(url)) is not None:
        require_storage(file)
    import optuna  # here: 0.4 s
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    source = shown(url)
    try:
        storage = opened(url)
        there = optuna.get_all_study_names(storage)
        if name is None and len(there) == 1:
            name = there[0]
        if name is None or name not in there:
            wanted = "--study is not given" if name is None else f"there is no study {name!r}"
            raise NoStudy(f"{wanted}; {source} has {', '.join(there)[:500] or 'none'}")
        study = optuna.load_study(study_name=name, storage=storage)
        directions, trials = study.directions, study.get_trials(deepcopy=False)
        names = study.metric_names
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0][:200]
        raise NoStorage(f"Optuna cannot read {source}: {reason}") from error
    goals = goals_of(directions, names)
    taken, left_out, numbers = [], [], []
    for trial in trials:
        try:
            ended, without = _storable(recorded(trial, goals))
        except (ValueError, TypeError, BadRow) as odd:
            left_out.append(f"trial {trial.number}, {odd}")
            continue
        taken.append(ended)
        numbers.append(int(trial.number))
        if (size := len(attributes_of(trial))) > MAX_ATTRIBUTES:
            without = f"{size:,} characters, expected at most {MAX_ATTRIBUTES:,}"
        if without:
            left_out.append(f"the user attributes of trial {trial.number}: {without}")
    return Recorded(name, source, goals, tuple(taken), tuple(left_out), tuple(numbers))


def _storable(trial: transitions.RecordedTrial) -> tuple[transitions.RecordedTrial, str]:
    """Returns the trial, and why it has no user attributes, if the database would not accept them. Raises BadRow."""
    try:
        transitions.check_recorded(trial)
    except BadRow as odd:
        if "attrs" not in trial.facts:
            raise
        bare = replace(trial, facts={name: one for name, one in trial.facts.items() if name != "attrs"})
        transitions.check_recorded(bare)
        return bare, str(odd)
    return trial, ""


def require_storage(path: Path) -> None:
    """Raises NoStorage for a file without Optuna's tables: Optuna would add them to it, also to a database of fts."""
    expected = "expected a storage of Optuna: sqlite:///FILE.db"
    if not is_file(path):
        raise NoStorage(f"there is no file {path}; {expected}")
    try:
        with closing(sqlite3.connect(reading_uri(path), uri=True)) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise NoStorage(f"{path} cannot be read: {error}; {expected}") from None
    if not found >= TABLES:
        raise NoStorage(f"{path} has no studies of Optuna: its tables are missing; {expected}")


def goals_of(directions: Sequence[Any], names: Sequence[str] | None) -> dict[str, Direction]:
    """Returns metric -> direction. The names are `value`, or for several goals the study's, else `values_0`, ..."""
    several = [f"values_{n}" for n in range(len(directions))]
    named = names is not None and len(set(names)) == len(several) and all(NAME.fullmatch(one) for one in names)
    known = [VALUE] if len(several) == 1 else list(names) if names is not None and named else several
    return {name: Direction(one.name.lower()) for name, one in zip(known, directions, strict=True)}


def recorded(trial: FrozenTrial, goals: Mapping[str, Direction]) -> transitions.RecordedTrial:
    """Converts an Optuna trial. Raises ValueError if it cannot be imported."""
    if trial.state.name not in STATES:
        raise ValueError(f"it has not ended ({trial.state.name.lower()})")
    if trial.datetime_start is None:
        raise ValueError("it has no start time")
    status = STATES[trial.state.name]
    reports = {step: finite_or_none(value) for step, value in sorted(trial.intermediate_values.items())}
    if (odd := next((step for step in reports if not 0 <= step <= MAX_STEP), None)) is not None:
        raise ValueError(f"it has reported at step {odd}, expected 0 to {MAX_STEP}")
    best = next(iter(goals.values())).best(reports.values())
    step_of_best = next((step for step, value in reports.items() if value is not None and value == best), None)
    values = list(trial.values or ())
    value = values[0] if status is TrialStatus.COMPLETE and values else best
    value = None if status is TrialStatus.FAILED else value  # its last report is no value of a trial that failed
    cause = {TrialStatus.COMPLETE: Cause.FINISHED, TrialStatus.PRUNED: Cause.PRUNED}.get(status, Cause.CODE_ERROR)
    message = trial.system_attrs.get("fail_reason") if status is TrialStatus.FAILED else None
    if status is TrialStatus.COMPLETE and not (values and all(finite_or_none(one) is not None for one in values)):
        returned = ", ".join(map(str, values)) or "None"
        status, cause, message, value = TrialStatus.FAILED, Cause.DIVERGED, f"it returned {returned}", None
    ended = (trial.datetime_complete or trial.datetime_start).timestamp()
    attributes = attributes_of(trial)
    facts: dict[str, Any] = {"optuna_trial": trial.number}
    if len(goals) > 1 and status is TrialStatus.COMPLETE:
        facts["metrics"] = dict(zip(goals, values, strict=True))
    if trial.constraints:
        facts[CONSTRAINTS] = {str(name): float(one) for name, one in trial.constraints.items()}
    if trial.user_attrs and len(attributes) <= MAX_ATTRIBUTES:
        facts["attrs"] = json.loads(attributes)
    return transitions.RecordedTrial(
        status, value, draws_of(trial), reports, trial.datetime_start.timestamp(), ended, cause,
        best_epoch=step_of_best, message=str(message)[:1000] if message else None, facts=facts,
    )  # fmt: skip


def attributes_of(trial: FrozenTrial) -> str:
    """Returns the user attributes as JSON."""
    return json.dumps({str(name): one for name, one in trial.user_attrs.items()}, default=str)


def draws_of(trial: FrozenTrial) -> tuple[transitions.PastDraw, ...]:
    """Returns the draws of a trial. Raises BadSpace for a choice that cannot be recorded."""
    return tuple(
        transitions.PastDraw(name, plain_choice(name, value), data_of(name, trial.distributions[name]))
        for name, value in trial.params.items()
    )


def finite_or_none(value: float) -> float | None:
    return float(value) if math.isfinite(bounded(value)) else None


@dataclass(frozen=True)
class PreparedJob:
    """The job that a recorded study becomes."""

    name: str
    row: dict[str, Any]
    declaration: dict[str, Any]


def prepare(found: Recorded, name: str | None, objective: str | None, folder: Path) -> PreparedJob:
    """Checks the study and describes its job. With an `objective`, more trials of this function can extend it.

    Raises BadSpec, BadObjective.
    """
    name = name or functions.clean(found.name)
    if not NAME.fullmatch(name) or name in installed():
        raise BadSpec(f"the study's name would be {name!r}; give one of a-z, A-Z, 0-9 and _.- with --name")
    functions.refuse_name_of_jobs(name)
    if not found.trials:
        lack = "can be recorded here" if found.left_out else "has ended"
        raise BadSpec(f"the study {found.name!r} of {found.source} has no trial that {lack}")
    study, trials = FunctionStudy(name), len(found.trials)
    metric, direction = next(iter(found.goals)), str(next(iter(found.goals.values())))
    goals = {name: str(goal) for name, goal in found.goals.items()} if len(found.goals) > 1 else {}
    aims: dict[str, Any] = {"metric": metric, "direction": direction} | ({"goals": goals} if goals else {})
    row: dict[str, Any]
    if objective is not None:
        (cell,) = functions.cells(objective, folder, trials, study=name, **aims)
        row, declaration = study.row(cell), functions.declaration([cell])
    else:  # without a function the job can be read, but no more trials of it can run
        spec = {
            "study": name, "experiment": name, "kind": "cell", "trials": trials, **aims,
            "imported_from": found.source, "imported_study": found.name,
        }  # fmt: skip
        row = {
            "study": name, "experiment": name, "kind": "cell", "cell": name, "labels": {}, "metric": metric,
            "direction": direction, "trials_wanted": trials, "spec": spec, "spec_md5": md5_of(spec),
        }  # fmt: skip
        declaration = study.declaration()
        declaration |= {"metrics": [asdict(Metric(one, goal=str(goal))) for one, goal in found.goals.items()]}
    return PreparedJob(name, row, declaration)


def take_over(db: Database, found: Recorded, made: PreparedJob) -> int:
    """Imports a study as a job that is done; returns the job's number. Raises BadSpec if there is such a study."""
    with db.write():  # both writes in one transaction
        if there := next((job for job in queries.jobs(db) if job.study == made.name), None):
            here = f"there is a study {made.name!r} here (job {there.id})"
            raise BadSpec(f"{here}; give this one another name with --name")
        transitions.declare_study(db, made.name, made.declaration)
        return transitions.import_history(db, made.row, found.trials, f"{found.name} in {found.source}")
