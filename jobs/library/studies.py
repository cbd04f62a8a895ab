"""Runs a study from the script that holds its function, in place of optuna.create_study.

    if __name__ == "__main__":
        study = fts.create_study(name="rf", direction="minimize")
        study.optimize(objective, n_trials=100)    # enqueues, starts a worker if none runs, shows progress
        print(study.best_params)

`n_trials` is the wanted total: the same script run again continues the study, or returns at once. Ctrl-C leaves it
running.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs import axis_words, functions
from fts.jobs.api.bare_cell import CHOICES
from fts.jobs.api.command import question_of
from fts.jobs.api.function import FunctionCell, FunctionStudy
from fts.jobs.api.halving import Halving
from fts.jobs.api.lag import MOST_PARALLEL, PARALLEL
from fts.jobs.api.names import means_jobs
from fts.jobs.api.spec import BadSpec
from fts.jobs.cgroups import usable_cores
from fts.jobs.library.objective import (
    objective_of,
    refuse_at_the_top,
    refuse_inside_a_trial,
    words_that_no_trial_gets,
)
from fts.jobs.library.progress import ProgressLine
from fts.jobs.own_search import OF_OPTUNA
from fts.jobs.python import python
from fts.jobs.records.questions import enqueued_sentence
from fts.jobs.records.searches import begun_cells
from fts.jobs.settings import places
from fts.jobs.status.conditions import is_live, runnable
from fts.jobs.status.explain import why
from fts.jobs.study_file import warm
from fts.jobs.study_file.enqueue import spelled_as_before, take_over
from fts.jobs.trial.running import python_values
from fts.raising import quoted
from fts.state import liveness, queries, transitions
from fts.state.db import Database, open_for_person, open_for_reading
from fts.state.location import has_study
from fts.state.pareto_front import best_of
from fts.state.transitions.base import transaction
from fts.state.values import Job, JobStatus, Worker

if TYPE_CHECKING:
    import pandas as pd
    from optuna import Study as OptunaStudy
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState

POLL_S = 0.25
LOOK_S = 5.0  # between two reads while the database does not change, because a worker may have died
STARTS = 3  # of a worker in a row without an ended trial in between
CURES = {  # a method that only Optuna's study has -> what to do instead
    "add_trial": "`fts import` imports the trials of an Optuna storage",
    "ask": "workers run the trials of a function: study.optimize(objective)",
    "tell": "workers run the trials of a function: study.optimize(objective)",
    "stop": "`fts stop` or `fts cancel` does that",
}
FAILED = (JobStatus.FAILED, JobStatus.CANCELLED)


class NoResult(ValueError):
    """There is no single result: no trial is complete, or there are several cells."""


class StudyFailed(RuntimeError):
    """The study cannot continue by itself. The message says why, and which command helps."""


def create_study(
    name: str | None = None,
    direction: str | None = None,
    sampler: str | None = "tpe",
    pruner: str | None = "median",
    seed: int = 0,
    db: str | Path | None = None,
    *,
    directions: Sequence[str] | None = None,
    goals: Mapping[str, str] | None = None,
    constraints: Mapping[str, str] | None = None,
    prune_by: str | None = None,
    study_name: str | None = None,
    load_if_exists: bool = True,
    **unknown: Any,
) -> Study:
    """Returns a study, without writing anything yet. An existing study of the same name is continued.

    `name` defaults to that of the function's file, `db` to $FTS_DB, else outputs/fts.db. Several goals:
    `directions=["minimize", "maximize"]` in the order of the returned values, or with names `goals={"loss": "minimize",
    "acc": "maximize"}`. Constraints: `{"n_params": "<= 2e6"}`.

    Raises BadSpec for an unknown sampler, pruner or direction. Also accepts Optuna's `study_name`, StudyDirection, and
    `None` for a default.
    """
    if unknown:
        raise BadSpec(
            f"create_study takes no {', '.join(unknown)}: the database is `db`, $FTS_DB or outputs/fts.db; expected "
            "name, direction, sampler, pruner, seed, db, directions, goals, constraints, prune_by"
        )
    if not load_if_exists:
        raise BadSpec("an existing study is always continued; for a new one give another name")
    if name is not None and study_name not in (None, name):
        raise BadSpec(f"name is {quoted(name)} and study_name is {quoted(study_name)}; give one of them")
    name = study_name if name is None else name
    direction, directions = word_of(direction), None if directions is None else [word_of(one) for one in directions]
    goals = None if goals is None else {metric: word_of(one) for metric, one in goals.items()}
    sampler, pruner = "tpe" if sampler is None else sampler, "median" if pruner is None else pruner
    if sum(given is not None for given in (direction, directions, goals)) > 1:
        raise BadSpec("direction, directions and goals mean the same; give only one of them")
    if directions is not None:
        goals = {f"values_{n}": one for n, one in enumerate(directions)}
    for metric, one in (goals or {}).items():
        if one not in CHOICES["direction"]:
            raise BadSpec(f"the goal of {metric} is {quoted(one)}, expected one of {', '.join(CHOICES['direction'])}")
    direction = next(iter((goals or {}).values()), direction or "minimize")
    for what, value in {"direction": direction, "sampler": sampler, "pruner": pruner}.items():
        if value not in CHOICES[what]:
            shown = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
            own = OF_OPTUNA.get(type(value).__name__)
            cure = f"; write {what}={own!r}" if own else f", expected one of {', '.join(CHOICES[what])}"
            raise BadSpec(f"the {what} is {shown:.80}{cure}")
    fields = {"direction": direction, "sampler": sampler, "pruner": pruner, "seed": seed}
    aims = {"goals": dict(goals or {}), "constraints": dict(constraints or {}), "prune_by": prune_by}
    return Study(name, fields | {name: value for name, value in aims.items() if value}, places(db).db)


def word_of(direction: Any) -> Any:
    """Returns `minimize` for StudyDirection.MINIMIZE; anything else unchanged."""
    name = getattr(direction, "name", None)
    return name.lower() if isinstance(name, str) else direction


class Study:
    """A study of a function: `optimize` runs it, the other methods read its results."""

    def __init__(self, name: str | None, fields: Mapping[str, Any], path: Path) -> None:
        self.name, self.path = name, path
        self._fields = dict(fields)
        self._jobs: tuple[int, ...] = ()  # jobs that `optimize` has enqueued or found
        self._first: list[dict[str, Any]] = []  # parameters of the first trials
        self._at_once = 1  # parallel trials of a cell, and slots of a worker that is started for it

    def __repr__(self) -> str:
        return f"<study {self.name or 'without a name yet'} in {self.path}>"

    def __getattr__(self, name: str) -> Any:
        cure = CURES.get(name, "study.optuna() gives the ended trials as a study of Optuna")
        raise AttributeError(f"a study of fts has no {name}; {cure}", name=name, obj=self)

    def enqueue_trial(self, params: Mapping[str, Any], skip_if_exists: bool = False, **unknown: Any) -> None:
        """Adds a first trial with these parameters to each cell. Missing parameters are drawn, as in Optuna.

        Call it before `optimize`, in every run of the script, because first trials are part of the search. Raises
        BadSpec.
        """
        if unknown:
            raise BadSpec(f"enqueue_trial takes no {', '.join(unknown)}; expected params, skip_if_exists")
        if self._jobs:
            raise BadSpec("enqueue_trial was called after optimize; call it before, because first trials come first")
        given = python_values(dict(params))
        if not (skip_if_exists and given in self._first):
            self._first.append(given)

    def optimize(
        self,
        objective: Callable[..., Any] | str,
        n_trials: int = 100,
        axes: Mapping[str, Sequence[axis_words.Value]] | None = None,
        *,
        metric: str = "value",
        space: Mapping[str, Mapping[str, Any]] | None = None,
        timeout: float | None = None,
        show_progress_bar: bool = True,
        n_jobs: int = 1,
        catch: Any = (),
        gc_after_trial: bool = False,
        **unknown: Any,
    ) -> None:
        """Enqueues the function, one cell per combination of the axes, and waits until `n_trials` of each have ended.

        `objective` is a `def` at the top of a file, or "FILE.py:FUNCTION". Ctrl-C leaves the study running.
        `timeout`: after this working time of a cell in seconds, none of its trials starts. `n_jobs`: number of parallel
        trials per cell; trial n then sees only trials 0..n-n_jobs, so that results do not depend on timing. `catch` and
        `gc_after_trial` have no effect: each trial has its own process, and a failed one does not end the search.
        Raises BadObjective or BadSpec before anything is written, StudyFailed if the study cannot continue by itself.
        """
        if unknown := {name: value for name, value in unknown.items() if name != "callbacks" or value}:
            expected = "n_trials, axes, metric, space, timeout, n_jobs, show_progress_bar"
            raise BadSpec(f"optimize takes no {', '.join(unknown)}: workers run the trials; expected {expected}")
        if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or not 1 <= n_jobs <= MOST_PARALLEL:
            raise BadSpec(f"n_jobs is {quoted(n_jobs)}, expected a whole number from 1 to {MOST_PARALLEL:,}")
        if not isinstance(n_trials, int):
            raise BadSpec(f"n_trials is {quoted(n_trials)}, expected a whole number: the total that is wanted")
        seconds = None if timeout is None else _seconds(timeout)
        refuse_inside_a_trial()
        folder = Path.cwd()
        named = objective_of(objective, folder)
        refuse_at_the_top(named, folder)
        pruner = {"halving": Halving()} if self._fields["pruner"] == "halving" else {}
        goals = self._fields.get("goals") or {}
        if goals and metric not in ("value", next(iter(goals))):
            raise BadSpec(f"metric is {metric}, but the first goal is {next(iter(goals))}; remove metric")
        metric = next(iter(goals), metric)
        fields = self._fields | pruner | {"metric": metric, "space": space and {k: dict(v) for k, v in space.items()}}
        fields |= {} if seconds is None else {"timeout_s": seconds}
        fields |= {PARALLEL: n_jobs}
        cells = functions.cells(named, folder, n_trials, axes=axes, study=self.name, **fields)
        cells = warm.started(cells, self._first, n_trials, ("enqueue_trial",))
        self.name = cells[0].study
        progress = ProgressLine(self.name, shown=show_progress_bar)
        if words := words_that_no_trial_gets(named, folder):
            progress.say(
                f"trials import {named.rpartition(':')[0]} without {shlex.join(words)[:200]}: pass what they need as "
                "axes or environment variables"
            )
        self._at_once = n_jobs
        self._jobs = enqueue(self.path, cells, progress.say, () if timeout is None else ("timeout_s",))
        try:
            self._wait(n_trials, progress)
        except KeyboardInterrupt:
            progress.end()
            progress.say(
                f"{self.name} continues without this process: `fts status` shows its progress, `fts pause {self.name}` "
                "stops it; the same call waits for it again"
            )
            if hasattr(sys, "ps1"):
                raise  # at an interactive prompt, which must not exit
            raise SystemExit(130) from None
        progress.end()

    def _wait(self, n_trials: int, progress: ProgressLine) -> None:
        db = open_for_reading(self.path)
        try:
            self._follow(db, n_trials, progress)
        finally:
            db.close()

    def _follow(self, db: Database, n_trials: int, progress: ProgressLine) -> None:
        version, looked, starts, ended, ran = None, 0.0, 0, -1, time.monotonic()
        known = queries.KnownRows()
        while True:
            now = queries.data_version(db)
            if now != version or time.monotonic() - looked > LOOK_S:
                version, looked = now, time.monotonic()
                jobs = [queries.job(db, number) for number in self._jobs]
                left = [job for job in jobs if not _is_over(job, n_trials)]
                progress.show(jobs, n_trials)
                if not left:
                    return _raise_failed(jobs, n_trials)
                if (total := sum(job.trials_ended for job in jobs)) != ended:
                    ended, starts = total, 0
                snapshot = liveness.with_local_facts(queries.snapshot(db, None, known), self.path.parent)
                live = {w.id for w in snapshot.workers if is_live(w, snapshot.taken_at)}
                alive = {w.id: w.asked is None for w in snapshot.workers if _is_there(w, snapshot.taken_at)}
                lost = {job.id for job in left if job.status is JobStatus.RUNNING and job.worker_id not in alive}
                waits = {job.id for job in left} & {job.id for job in runnable(snapshot)}
                waits |= set() if snapshot.queue_paused else lost  # killed workers: the next one takes over
                takes = any(alive.values())
                if waits and not takes:
                    starts += 1
                    start_worker(self.path, starts, progress, self._at_once)
                    version = None
                elif any(job.status is JobStatus.RUNNING and job.worker_id in live for job in left):
                    ran = looked
                elif not waits or looked - ran > LOOK_S:  # a free worker would have taken it by now
                    state = (left[0].status, left[0].hold_reason, snapshot.queue_paused)
                    progress.why(state, why(left[0], snapshot)[0])
            time.sleep(POLL_S)

    # -- results

    def optuna(self, cell: str | int | None = None) -> OptunaStudy:
        """Returns the ended trials as an in-memory Optuna study. `cell` names the cell if there are several."""
        return self._read(cell)[0]

    @property
    def study_name(self) -> str | None:
        return self.name

    @property
    def direction(self) -> StudyDirection:
        return self.optuna().direction

    @property
    def directions(self) -> list[StudyDirection]:
        return list(self.optuna().directions)

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Collection[TrialState] | None = None) -> list[FrozenTrial]:
        """Returns the ended trials as Optuna's."""
        return list(self.optuna().get_trials(deepcopy, None if states is None else tuple(states)))

    @property
    def best_trial(self) -> FrozenTrial:
        """The best complete trial. Raises NoResult if there is none."""
        study, best = self._read(None)
        if len(study.directions) > 1:
            raise NoResult(f"{self.name} has {len(study.directions)} goals, so no trial is the best; read best_trials")
        if best is None:
            raise NoResult(
                f"{self.name or 'the study'} has no best trial: no complete one has a finite and valid value"
            )
        return next(trial for trial in study.trials if trial.user_attrs["trial"].endswith(f":t{best}"))

    @property
    def best_trials(self) -> list[FrozenTrial]:
        """The Pareto front; with one goal the best trial."""
        study, best = self._read(None)
        if best is None:
            return []
        return list(study.best_trials) if len(study.directions) > 1 else [self.best_trial]

    @property
    def best_params(self) -> dict[str, Any]:
        return dict(self.best_trial.params)

    @property
    def best_value(self) -> float:
        value = self.best_trial.value
        assert value is not None, "it is complete"
        return float(value)

    def trials_dataframe(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Returns Optuna's DataFrame; for several cells and without arguments, that of `fts.load(db).trials()`."""
        from fts.jobs.library.reading import Loaded

        if len(self._jobs) > 1 and not args and not kwargs:
            loaded, own = Loaded(self.path), self._jobs
            table = loaded.trials()
            return table[table["job"].isin(own)].reset_index(drop=True)
        of_cell: pd.DataFrame = self.optuna().trials_dataframe(*args, **kwargs)
        return of_cell

    def _read(self, cell: str | int | None) -> tuple[OptunaStudy, int | None]:
        """Returns the study in memory and the number of its best trial."""
        from fts.jobs.library.reading import one_of
        from fts.jobs.records.optuna import in_memory

        db = open_for_reading(self.path)
        try:
            with db.read():
                jobs = self._own(db)
                jobs = [one_of(jobs, cell)] if jobs and cell is not None else jobs
                if len(jobs) != 1:
                    names = ", ".join(job.cell for job in jobs)
                    raise NoResult(
                        f"{self.name} has {len(jobs)} cells ({names:.200}); name one: study.optuna({jobs[0].cell!r})"
                        if jobs
                        else f"there is no study {self.name or 'yet'} in {self.path}; call optimize first"
                    )
                best = best_of(jobs[0], queries.trials(db, jobs[0].id))
                return in_memory(db, jobs[0]), None if best is None else best.number
        finally:
            db.close()

    def _own(self, db: Database) -> list[Job]:
        if self._jobs:
            return [queries.job(db, number) for number in self._jobs]
        return [job for job in begun_cells(queries.jobs(db)) if job.study == self.name]


def enqueue(
    path: Path, cells: Sequence[FunctionCell], say: Callable[[str], None], given: Collection[str] = ()
) -> tuple[int, ...]:
    """Enqueues the cells in one transaction and returns their jobs: new, extended, or already done.

    `given` are fields of how trials run that existing jobs take over.
    """
    study = FunctionStudy(cells[0].study)
    if not has_study(path):
        functions.refuse_name_of_jobs(study.name)  # before a database is created
    db = open_for_person(path)
    try:
        rule = transitions.SameQuestion(question_of, lambda spec: FunctionCell.from_json(spec).identity)
        with transaction(db):
            if means_jobs(study.name):  # asked first: reading thousands of jobs takes a while
                functions.refuse_name_of_jobs(study.name, queries.jobs(db))
            here = spelled_as_before(cells, queries.jobs(db))
            taken = take_over(db, here, given, dry_run=False)
            found = transitions.enqueue(db, [study.row(cell) for cell in here], rule=rule)
            known = queries.studies(db).get(study.name)
            declared = functions.declaration(here, None if known is None else known.declaration)
            transitions.declare_study(db, study.name, declared)
        for cell, one, over in zip(cells, found, taken, strict=True):
            if one.created or one.extended_from is not None or over:
                say(enqueued_sentence(study.title(cell), cell, one, queries.job(db, one.job_id)) + over)
    finally:
        db.close()
    return tuple(one.job_id for one in found)


def start_worker(path: Path, starts: int, progress: ProgressLine, slots: int = 1) -> None:
    """Starts a worker in the background that exits when nothing is left to run. Raises StudyFailed."""
    log = path.parent / "logs" / "worker.log"
    if starts > STARTS:
        raise StudyFailed(f"a worker was started {STARTS} times and ended before any trial had ended; see {log}")
    words = python("-m", "fts.jobs.cli", "--db", str(path), "worker", "--detach", "--until-empty")
    if slots > 1:
        words += ["--slots", str(min(slots, usable_cores()))]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, start_new_session=True
    )
    if done.returncode:  # another process may just have started one
        time.sleep(starts * POLL_S)
        if starts == STARTS:
            lines = done.stderr.strip().splitlines()
            raise StudyFailed(f"no worker could start: {lines[-1] if lines else f'code {done.returncode}'}; see {log}")
    elif done.stdout.strip():
        progress.say(done.stdout.strip().splitlines()[-1])


def _seconds(timeout: Any) -> float:
    try:
        return float(timeout)
    except (TypeError, ValueError, OverflowError):
        raise BadSpec(f"timeout is {quoted(timeout)}, expected a number of seconds") from None


def _is_there(worker: Worker, now: float) -> bool:
    """Is the worker's process alive? A silent one of this machine may have slept with it; none can start beside it."""
    here = worker.status == "running" and not worker.gone and worker.host == os.uname().nodename
    return here or is_live(worker, now)


def _is_over(job: Job, n_trials: int) -> bool:
    enough = job.trials_wanted > n_trials and job.trials_ended >= n_trials
    return enough or job.status is JobStatus.DONE or job.status in FAILED


def _raise_failed(jobs: Sequence[Job], n_trials: int) -> None:
    """Raises StudyFailed for the first cell that failed or was cancelled before its trials were complete."""
    for job in jobs:
        if job.status in FAILED and not (job.trials_ended >= n_trials and job.best_trial is not None):
            reason = f": {job.message}" if job.message else ""
            raise StudyFailed(
                f"{job.cell} {'has failed' if job.status is JobStatus.FAILED else 'was cancelled'}{reason}; "
                f"`fts logs {job.id}` shows what it printed, `fts retry {job.id}` continues it"
            )
