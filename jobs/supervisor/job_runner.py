"""Runs one claimed job until it ends: draws parameters, records trials, runs them, exports results.

trial_runner.py runs each trial. With `parallel` above 1 other slots of the worker join (parallel_trials.py). All
writes carry the claim's token, so that a supervisor which lost its claim gets StaleToken instead of writing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.goals import CONSTRAINTS
from fts.jobs.api.grid import most_trials
from fts.jobs.api.lag import parallel_of, seen_below
from fts.jobs.api.load import installed
from fts.jobs.api.load import study as load_study
from fts.jobs.api.spec import BadSpec, UnusedParameter, config_md5, trial_folder
from fts.jobs.api.study import Cell, Finished, Study
from fts.jobs.executors.base import Want
from fts.jobs.records import exports
from fts.jobs.records.code_version import code_version
from fts.jobs.records.pending_exports import SHARE, PendingExports
from fts.jobs.records.questions import TIME_IS_UP
from fts.jobs.records.trial_roles import OF
from fts.jobs.search.proposal import drawn_for, gives_all
from fts.jobs.search.sampler import NO_HISTORY, Drawn
from fts.jobs.status.formatting import count, spell
from fts.jobs.supervisor import extra_trials, shared_checkpoints
from fts.jobs.supervisor.declared_wants import want_of
from fts.jobs.supervisor.extra_trials import runs_more
from fts.jobs.supervisor.history import JobHistory
from fts.jobs.supervisor.machine_errors import DISK_ERRORS
from fts.jobs.supervisor.parallel_trials import Begun, ParallelTrials, may_begin, next_begun
from fts.jobs.supervisor.progress_events import JobDone, JobExtended, JobLeft, Note
from fts.jobs.supervisor.study_calls import CalledStudy, calling
from fts.jobs.supervisor.trial_runner import TrialRunner
from fts.jobs.supervisor.work import Work
from fts.jobs.trial.cause import cause_of
from fts.jobs.trial.death import log_tail
from fts.jobs.trial.error_text import sentence_of
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state import queries, transitions, trial_usage
from fts.state.errors import DatabaseCorrupt, StateError, TrialsChanged, UnreadableHistory
from fts.state.files import remove
from fts.state.scheduling import OF_DISK
from fts.state.transitions.jobs import ALL_ENDED
from fts.state.transitions.trials import OF_SAMPLER
from fts.state.values import Cause, Claim, Job, JobStatus, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.jobs.search.past_trial import PastTrial
    from fts.jobs.search.recorded_study import Rebuilt
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.backoff import Backoff
    from fts.jobs.supervisor.parallel_trials import Live
    from fts.jobs.supervisor.progress_events import Tell
    from fts.jobs.supervisor.slot import Slot
    from fts.jobs.supervisor.startable import StartableJobs
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

EXPORT = "the export of its results"
LOG_TAIL = 65_536  # bytes
NO_MORE = (StopReason.DRAIN, StopReason.STOP, StopReason.PAUSE)  # orders to begin no further trial
# what a score was measured on: a reused one is shown with it, too (lesson 1)
OF_DATA = ("n_params", "n_train", "n_val", "n_pos", "prior_loss", "base_rate", "label_md5", "data_md5")


class JobRunner:
    """Runs one claim. `ordered` returns a person's order for the job; `call_slot` asks for another slot to join."""

    def __init__(
        self,
        db: Database,
        places: Places,
        settings: WorkerSettings,
        slot: Slot,
        claim: Claim,
        ordered: Callable[[int], StopReason | None],
        tell: Tell,
        owed: PendingExports | None = None,
        call_slot: Callable[[], object] = bool,
        backoff: Backoff | None = None,
        startable: StartableJobs | None = None,
    ) -> None:
        self.db, self.places, self.claim, self.tell = db, places, claim, tell
        self._ordered = ordered
        self.owed = PendingExports(db, places) if owed is None else owed  # not `owed or ...`: an empty one is false
        self.job = claim.job
        self.study = load_study(self.job.study)
        if self.job.study in installed():  # code of a user, which may not return
            self.study = CalledStudy(  # type: ignore[assignment]  # it has the methods of the study
                self.study,
                settings.stuck_s,
                lambda: ordered(self.job.id),
                lambda: backoff is not None and backoff.others_wait(db, settings.outage_pause_s, self.job.id),
            )
        self.cell = checked_cell(self.study, self.job)
        self.most = most_trials(self.cell)
        self.parallel = parallel_of(self.cell)
        self.history = JobHistory(db, self.job.id)
        self.parallel_trials = ParallelTrials(
            self.parallel,
            self._next_trial,
            self._run_trial,
            self._after_trial,
            self._may_start,
            call_slot,
            look=lambda: ordered(self.job.id),
        )
        self.work = Work(
            db, places, settings, slot, claim, self.study, self.cell, self.ordered, tell, self.history,
            backoff=backoff, startable=startable,
        )  # fmt: skip
        self.code = code_version()
        self.who = f"worker {claim.worker_id}"
        self.wanted = claim.job.trials_wanted
        self.unexported: list[int] = []  # trials that have ended since the last export
        self.export_after = 0.0  # monotonic
        self._spent_s: float | None = None  # work on the job so far; read when first needed
        self._time_is_up: str | None = None
        self._given_up: Trial | None = None  # the trial after which the job fails
        self.want = Want()  # what a new trial of the job wants from its node; known once it is prepared

    def ordered(self, job_id: int) -> StopReason | None:
        """Returns why the job's trials must stop: a person's order, or because another slot is leaving the job."""
        return self.parallel_trials.ordered(self._ordered(job_id))

    def join(self, slot: Slot) -> bool:
        """Runs trials of the job in another slot while some can start; returns whether any ran."""
        return self.parallel_trials.join(slot)

    def prepare(self) -> None:
        """Asks the study what a trial wants, and starts the slot's template process while the first one is drawn."""
        resources = self.study.resources(self.cell)
        threads = resources.threads or self.work.settings.threads
        self.want = want_of(resources, threads)
        if self.want.gpus:  # which ones it sees is in its environment, and known when it begins
            return
        with contextlib.suppress(OSError):  # the first trial will report it
            self.work.slot.prepare(self.study.program(self.cell), threads)

    def run(self) -> None:
        """Runs trials until the job is done or failed, or has to stop."""
        try:
            self._run()
        except (UnusedParameter, BadSpec) as refused:  # the specification is wrong: another attempt cannot help
            self._fail(Cause.CODE_ERROR, str(refused))
        except UnreadableHistory as refused:  # an unreadable trial row: without it the search would be another one
            self._fail(Cause.DATA_ERROR, str(refused))

    def _fail(self, cause: Cause | str, message: str, log_tail: str | None = None) -> None:
        transitions.fail_job(self.db, self.claim, cause, message, log_tail)
        self._export()
        self.tell(JobLeft(self.job, f"failed ({cause}): {message}"))

    def _run(self) -> None:
        """Runs all wanted trials, also those that a person adds while the last one ends, and finishes the job."""
        while self._run_trials():
            finished = self._finished()
            try:
                self.study.after_job(finished)
            except Exception as error:  # noqa: BLE001  # a study's own code
                fault = self._fault_of("after_job", error)
                kept = "all trials have ended and keep their results"
                again = f"repair it, then `fts retry {self.job.id}` calls it again"
                self._fail(Cause.CODE_ERROR, f"{fault}; {kept}; {again}")
                return
            ended = self._time_is_up
            if ended is None and self.most is not None and self.most < self.cell.trials:
                ended = f"all {self.most} points of the grid have been tried"
            ended = ALL_ENDED if ended is None else ended
            status = transitions.finish_job(self.db, self.claim, ended, self.wanted, finished.job.spec)
            if status is None:  # somebody has just extended the job
                continue
            self._export()
            if status is JobStatus.FAILED:
                self.tell(JobLeft(self.job, f"failed: {queries.job(self.db, self.job.id).message}"))
            else:
                self.tell(JobDone(self.job))
            return

    def _run_trials(self) -> bool:
        """Runs every wanted trial; False: the job was left before that."""
        stop_request = self.parallel_trials.lead(self.work.slot)
        if stop_request is not None and stop_request.reason in NO_MORE and self._next_to_begin(frozenset()) is None:
            stop_request = None  # no trial is left: the job would only wait for another worker that ends it
        if stop_request is None:
            self._given_up = self._given_up or self.history.fails_after(len(self.history))
        if self._given_up is not None:
            return self._give_up(self._given_up)
        return stop_request is None or self._leave(stop_request)

    def _run_trial(self, trial: Trial, slot: Slot) -> StopRequest | None:
        leads = slot is self.work.slot
        runner = TrialRunner(
            replace(self.work, slot=slot), trial, stays=lambda: leads and self.parallel_trials.run_side_by_side
        )
        try:
            return runner.run()
        finally:
            slot.release_room()
            if self._spent_s is not None:  # parallel trials overlap: None, so that the database computes it again
                self._spent_s = self._spent_s + runner.worked_s if self.parallel == 1 else None

    def _after_trial(self, trial: Trial) -> StopRequest | None:
        """Runs hooks and exports after a trial has ended; returns the request to leave the job, or None."""
        self.history.refresh()
        ended = self._reread(trial)
        try:
            self.study.after_trial(self._finished())
        except Exception as error:  # noqa: BLE001  # a study's own code
            fault = self._fault_of("after_trial", error)
            text = f"{fault}; t{ended.number} keeps its result, and the job continues without this call"
            transitions.record_intervention(self.db, self.claim, "warned", text, {}, trial_id=ended.id)
            self.tell(Note(text, self.job))
        self._export_trial(ended.number)
        hopeless = ended.cause == Cause.DATA_ERROR or self.history.fails_after(len(self.history)) is not None
        if self.parallel == 1 and hopeless:
            self._given_up = ended
            return StopRequest(StopReason.PARK)
        order = self._ordered(self.job.id)
        return None if order is None else StopRequest(order)

    def _fault_of(self, hook: str, error: Exception) -> str:
        """Says that code of the study failed in a hook. Raises the error again if it is one of disk or database."""
        if isinstance(error, StateError) or cause_of(error) != Cause.CODE_ERROR:
            raise error
        log.error("%s() of the study %s failed", hook, self.job.study, exc_info=error)
        return f"{hook}() of the study {self.job.study} failed: {sentence_of(error)}"

    # -- how a job is left

    def _leave(self, stop_request: StopRequest) -> bool:
        """Queues, pauses, cancels, holds or fails the job; its open trial keeps its number and its checkpoint."""
        if stop_request.reason is StopReason.LOST:
            self.tell(JobLeft(self.job, "claimed by another worker, so its trial here was stopped"))
            return False
        if stop_request.reason is StopReason.PARK:
            self._fail(stop_request.cause or Cause.MACHINE_ERROR, stop_request.message)
            return False
        became: JobStatus | None = None
        if stop_request.reason is StopReason.PAUSE:
            became = transitions.pause_running(self.db, self.claim)
        elif stop_request.reason is StopReason.CANCEL:
            became = transitions.cancel_running(self.db, self.claim)
        elif stop_request.reason is StopReason.CANNOT_FIT:
            transitions.hold_job(self.db, self.claim, stop_request.message)
        elif stop_request.reason is StopReason.DISK:
            # in this order: otherwise another worker could claim the job before the pause and fail on the same disk
            transitions.pause_queue(self.db, f"{OF_DISK} {stop_request.message}", who=self.who)
            became = transitions.release_job(self.db, self.claim, Cause.DISK, stop_request.message)
        else:
            became = transitions.release_job(self.db, self.claim, Cause.DRAINED, stop_request.message)
        if stop_request.reason is not StopReason.DISK:
            self._export_left()
        asked = became.value if became in (JobStatus.PAUSED, JobStatus.CANCELLED) else None  # by a person, meanwhile
        self.tell(JobLeft(self.job, asked or LEFT.get(stop_request.reason, "back in the queue")))
        return False

    def _give_up(self, ended: Trial) -> bool:
        message = f"trial {ended.number} failed: {ended.message or ended.cause}{self._what_stays()}"
        output = log_tail({Path(ended.log_path): 0}, LOG_TAIL) if ended.log_path is not None else ""
        self._fail(ended.cause or Cause.CODE_ERROR, message, "\n".join(output.splitlines()[-20:]) or None)
        return False

    def _what_stays(self) -> str:
        """Says how many complete trials a failed job keeps; "" without any."""
        job = queries.job(self.db, self.job.id)
        if job.best_trial is None:
            return ""
        trials = "1 complete trial stays" if job.trials_complete == 1 else f"{job.trials_complete} complete trials stay"
        return f"; its {trials}, the best is t{job.best_trial}"

    def _export_trial(self, number: int) -> None:
        """Exports the trial now or together with later ones, so that exports take at most SHARE of the time.

        Raises OSError when the disk fails, since the next checkpoint would fail too.
        """
        self.unexported.append(number)
        if time.monotonic() < self.export_after or self.owed.is_over:
            return
        began = time.monotonic()
        numbers, self.unexported = self.unexported, []
        try:
            with calling(EXPORT):
                exports.export_trials(self.db, self.places, self.job, numbers)
            self.export_after = time.monotonic() + (time.monotonic() - began) / SHARE
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise
            self.owed.postpone(self.job.id, error)
        except (ValueError, LookupError, TypeError) as error:  # a row that somebody edited
            self.owed.postpone(self.job.id, error)

    def _export_left(self) -> None:
        """Exports the remaining ended trials and the summaries of a job that is left before its end."""
        numbers, self.unexported = self.unexported, []
        self._export_with(lambda db, places, job: exports.export_summaries(db, places, job, numbers))

    def _export(self) -> None:
        self._export_with(lambda db, places, job: self.owed.export(job))

    def _export_with(self, export: Callable[[Any, Places, Job], object]) -> None:
        """Exports; after an error the export is done later, because the job's status is already recorded."""
        if self.owed.is_over:
            return
        try:
            with calling(EXPORT):
                export(self.db, self.places, queries.job(self.db, self.job.id))
        except DatabaseCorrupt:
            raise  # the worker must leave
        except Exception as error:  # noqa: BLE001  # any error: see above
            self.owed.postpone(self.job.id, error)

    def _finished(self) -> Finished:
        """Returns the argument of the study's hooks."""
        return Finished(self.db, self.places, queries.job(self.db, self.job.id), self.who)

    # -- trials

    def _next_trial(self, live: Live) -> Trial | None:
        """Returns an interrupted trial, else one that a retry has reset, else a new one; None: none may start.

        The trial is in the database before it is returned.
        """
        while True:
            with contextlib.suppress(TrialsChanged):
                begin = self._next_to_begin(live)
                return None if begin is None else begin()

    def _next_to_begin(self, live: Live) -> Callable[[], Trial] | None:
        """Returns the function that records that the next trial runs; None: none may start."""
        self.history.refresh()
        begun = self._begun(live)
        if (number := next_begun(begun, self.parallel)) is not None:
            trial = next(one for one in self.history.open if one.number == number)
            if not next(one for one in begun if one.number == number).put_back:
                return partial(self._resume, trial)
            return None if self._is_hopeless(self.history.search_number(number)) else partial(self._rerun, trial)
        number = len(self.history)
        wanted = self._trials_wanted()
        one = None
        if (search_number := self.history.search_number(number)) >= wanted:
            if not runs_more(self.cell) or not self.history.search_has_ended:
                return None
            trials = queries.trials(self.db, self.job.id)
            one = extra_trials.next_extra_trial(self.job, self.cell, number, trials)
            if one is None:
                return None
        elif not may_begin(search_number, begun, self.parallel):
            return None
        if self._is_hopeless(search_number) or self._is_late(number):
            return None
        if one is None:
            return partial(self._open_trial, number, search_number)
        return partial(self._open_extra, number, one)

    def _begun(self, live: Live) -> list[Begun]:
        """Returns the started trials that have not ended, running or not."""
        put_back = queries.retried_trials(self.db, self.job.id) if self.history.open else ()
        extra = set(self.history.extra_numbers)
        return [
            Begun(
                trial.number,
                None if trial.number in extra else self.history.search_number(trial.number),
                runs=trial.number in live,
                put_back=trial.number in put_back,
            )
            for trial in self.history.open
        ]

    def _is_hopeless(self, search_number: int) -> bool:
        """Do the trials that this one may know make the job fail?"""
        return self.history.fails_after(seen_below(self.cell, search_number)) is not None

    def _may_start(self, live: Live) -> bool:
        """May one more trial start now?"""
        self.history.refresh()
        begun, new = self._begun(live), self.history.search_number(len(self.history))
        if next_begun(begun, self.parallel) is not None:
            return True
        if new < self.cell.trials:
            return may_begin(new, begun, self.parallel)
        return runs_more(self.cell) and self.history.search_has_ended

    def _is_late(self, began: int) -> bool:
        """Has the cell used up its time limit? Then no new trial starts."""
        allowed_s = self.study.resources(self.cell).timeout_s
        if allowed_s is None:
            return False
        if self._spent_s is None:
            self._spent_s = trial_usage.spent_s(self.db, self.job.id)
        if self._spent_s < allowed_s:
            return False
        self._time_is_up = (
            f"{TIME_IS_UP}: {spell(self._spent_s)} of work, {spell(allowed_s)} allowed; "
            f"{began} of {count(self.wanted, 'trial')} began"
        )
        return True

    def _trials_wanted(self) -> int:
        """Rereads how many trials are wanted: a person may have extended the job since the claim."""
        job = queries.job(self.db, self.job.id)
        self.cell = checked_cell(self.study, job)  # the number of seeds may have grown, too
        self.work = replace(self.work, cell=self.cell)
        if job.trials_wanted != self.wanted:
            self.tell(JobExtended(job))
        self.wanted = job.trials_wanted
        return self.cell.trials if self.most is None else min(self.cell.trials, self.most)

    def _resume(self, trial: Trial) -> Trial:
        transitions.resume_trial(self.db, self.claim, trial.id)
        return trial

    def _rerun(self, trial: Trial) -> Trial:
        """Resets a failed trial. Files are removed first: after a kill in between no old checkpoint may be left."""
        if transitions.starts_over(trial.cause):
            folder = trial_folder(self.places.outputs, self.job.experiment, self.job.id, trial.number)
            shared_checkpoints.forget(folder)
            remove(folder, self.places.outputs)
        code = {"code_commit": self.code[0], "code_dirty": self.code[1]} | extra_trials.facts_of(trial)
        transitions.rerun_trial(self.db, self.claim, trial.id, self.parallel, **code)
        return self._reread(trial)

    def _open_extra(self, number: int, one: extra_trials.ExtraTrial) -> Trial:
        """Records a new extra trial."""
        replicate = OF in one.facts
        effective = self.study.effective(self.cell, one.params) if replicate else one.params
        transitions.start_trial(
            self.db,
            self.claim,
            number,
            params=one.params,
            effective=effective,
            effective_md5=config_md5(effective),
            metric=self.cell.metric,
            direction=self.cell.direction,
            seed=one.seed,
            wanted=self.wanted,
            parallel=self.parallel,
            code_commit=self.code[0],
            code_dirty=self.code[1],
            **one.facts,
        )
        return queries.trial(self.db, self.job.id, number)

    def _open_trial(self, number: int, search_number: int) -> Trial:
        """Records new trial `number` of the job, which is number `search_number` of its search."""
        drawn = self._draw(search_number)
        kept: dict[str, Any] = {OF_SAMPLER: drawn.kept} if drawn.kept else {}
        params = drawn.params
        effective = self.study.effective(self.cell, params)
        md5 = config_md5(effective)
        trial_id = transitions.start_trial(
            self.db,
            self.claim,
            number,
            params=params,
            effective=effective,
            effective_md5=md5,
            architecture=self.study.describe(self.cell, effective),
            metric=self.cell.metric,
            direction=self.cell.direction,
            seed=self.study.seed(self.cell, search_number),
            wanted=self.wanted,
            parallel=self.parallel,
            code_commit=self.code[0],
            code_dirty=self.code[1],
            **kept,
        )
        known = seen_below(self.cell, search_number)
        if self.study.reuses(self.cell) and (twin := self.history.twin(md5, known)) is not None:
            self._reuse(trial_id, twin)
        return queries.trial(self.db, self.job.id, number)

    def _reuse(self, trial_id: int, twin: Trial) -> None:
        """Copies the result of a trial with the same effective configuration and marks it as reused (lesson 31)."""
        kept = ("value", "best_epoch", "last_value", "val_loss", "val_auc", "auc_low", "auc_high")
        facts = {name: twin.facts[name] for name in ("metrics", CONSTRAINTS, "attrs") if name in twin.facts}
        facts |= {name: found for name in OF_DATA if (found := getattr(twin, name)) is not None}
        transitions.finish_trial(
            self.db,
            self.claim,
            trial_id,
            TrialStatus.COMPLETE,
            Cause.REUSED,
            badges=[*(badge for badge in twin.badges if badge != "reused"), "reused"],
            reused_from=twin.reused_from or twin.id,
            message=f"same configuration as trial {twin.number}",
            facts=facts,
            **{name: getattr(twin, name) for name in kept},
        )

    def _draw(self, number: int) -> Drawn:
        """Returns the trial's parameters; empty where the trial process draws them."""
        known = seen_below(self.cell, number)
        return drawn(self.study, self.cell, number, lambda: self.history.before(known), self.history.rebuilt)

    def _reread(self, trial: Trial) -> Trial:
        return queries.trial(self.db, self.job.id, trial.number)


def drawn(
    study: Study,
    cell: Cell,
    number: int,
    past: Callable[[], Sequence[PastTrial]],
    rebuilt: Rebuilt | None = None,
) -> Drawn:
    """Returns the parameters of trial `number`; empty where the trial process draws them. Raises BadSpec."""
    fixed = study.params(cell, number)
    if cell.space is None or (fixed is not None and gives_all(cell, fixed)):
        return Drawn(fixed or {})
    return drawn_for(cell, () if cell.sampler in NO_HISTORY else past(), number, rebuilt, fixed)


LEFT = {
    StopReason.CANNOT_FIT: "held: too large",
    StopReason.DISK: "stopped because of the disk; see `fts status`",
    StopReason.REST: "back in the queue; its slot runs another job meanwhile",
}


def checked_cell(study: Study, job: Job) -> Cell:
    """Returns the job's cell. Raises BadSpec if other columns of the row contradict the specification.

    Their values become folder names, and anyone can edit a row.
    """
    cell = study.cell(job.spec)
    recorded = {"experiment": job.experiment, "kind": job.kind, **job.labels}
    specified = {"experiment": cell.experiment, "kind": cell.kind, **study.labels(cell)}
    for name in specified | recorded:
        if recorded.get(name) != specified.get(name):
            raise BadSpec(
                f"job {job.id} has {name} {recorded.get(name)!r}, but its specification says {specified.get(name)!r}"
            )
    return cell
