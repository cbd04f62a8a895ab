"""Runs one recorded trial until it ends or must be left: starts attempts, records facts, decides about retries."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.goals import pruning_of
from fts.jobs.api.halving import PERCENTILE
from fts.jobs.executors.base import CodeNotSent, OrderReceived
from fts.jobs.records.trial_roles import role_of
from fts.jobs.search.pruner import should_prune
from fts.jobs.status.formatting import in_gb, spell
from fts.jobs.supervisor import extra_trials, shared_checkpoints
from fts.jobs.supervisor.attempt import AttemptEnd, Ended, RunningAttempt
from fts.jobs.supervisor.backoff import recorded_tries
from fts.jobs.supervisor.extra_trials import runs_more
from fts.jobs.supervisor.log_limit import LogLimit
from fts.jobs.supervisor.machine_errors import is_disk_trouble, pause_s, takes_files
from fts.jobs.supervisor.progress_events import ProgressReporter, TrialStarted
from fts.jobs.supervisor.retry_limits import FailureCounts
from fts.jobs.supervisor.spec_builder import SpecBuilder
from fts.jobs.supervisor.staged_files import finish_commit
from fts.jobs.supervisor.trial_end import close, message_of
from fts.jobs.supervisor.trial_memory import BadMemory, TrialMemory
from fts.jobs.supervisor.trial_place import TrialPlace, named
from fts.jobs.supervisor.trial_record import TrialRecord
from fts.jobs.supervisor.upgrade_check import OWN_CODE
from fts.jobs.watchdog.policy import AGAIN
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state import queries, transitions, trial_usage
from fts.state.errors import BadRow, StaleToken
from fts.state.values import Cause, Direction, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.jobs.api.spec import TrialSpec
    from fts.jobs.api.study import Program
    from fts.jobs.executors.base import Placed
    from fts.jobs.supervisor.admission import Admission
    from fts.jobs.supervisor.work import Work
    from fts.jobs.watchdog.enforcer import Enforcer
    from fts.state.values import Attempt

log = logging.getLogger("fts.worker")

OUTAGES_ALLOWED = 10  # machine faults without an epoch or a checkpoint in between; then the job fails
KILLS_ALLOWED = 30  # the same for kills from outside, which should end at some time; with the pauses, 25 minutes
TRIES_AT_LEAST = 5  # the job also fails after at least so many tries that took WITHOUT_PROGRESS_S together:
WITHOUT_PROGRESS_S = 1500.0  # 30 tries of an hour each would waste a day
TRIES_IN_SLOT = 4  # after this many, queued jobs get the slot during a pause
REASONS: dict[str, StopReason] = {
    Cause.DISK: StopReason.DISK, Cause.OUT_OF_MEMORY: StopReason.SHRINK, Cause.MACHINE_ERROR: StopReason.MACHINE,
}  # fmt: skip  # cause -> reason of the retry
TRIES_IN_MEMORY = 2  # for a trial without a leaner recipe, without an epoch or a checkpoint in between
WORDS = {StopReason.MACHINE: "the machine failed it", StopReason.KILL: "killed"}  # reason -> words in an event


class TrialRunner:
    """One trial of the claimed job."""

    def __init__(self, work: Work, trial: Trial, stays: Callable[[], bool] = bool) -> None:
        """`stays`: must its slot stay with the job, even if the trial has to wait?"""
        self.db, self.settings, self.slot = work.db, work.settings, work.slot
        self.work, self.claim, self.ordered = work, work.claim, work.ordered
        self.study, self.cell = work.study, extra_trials.cell_of(work.cell, trial)
        self.job, self.trial = work.claim.job, trial
        self.role = role_of(trial)
        self.number = trial.number  # number within the search
        if self.role is None and runs_more(work.cell):
            self.number = work.history.search_number(trial.number)
        self._pruned_for: str | None = None  # why it is pruned
        self.resources = self.study.resources(self.cell)
        self.memory = TrialMemory(replace(work, cell=self.cell), trial)
        self.tell = ProgressReporter(work.db, work.tell)
        self.record = TrialRecord(work, trial, self.cell, self.tell)
        self.place = TrialPlace(work, trial, self.resources, self.memory, self.record, stays)
        threads = self.memory.threads  # a resumed trial keeps its number of threads, which affects the last bits
        self.spec_builder = SpecBuilder(work, trial, self.cell, self.number, self.role, threads)
        self.worked_s = 0.0  # in this claim, without time in which the trial was frozen or the machine slept
        self._spent_s = 0.0  # before this claim; read only if the trial has a time limit
        self._was_starved = False  # memory was short because of this trial when its latest process ended
        self._peak = 0  # bytes; maximum over the attempts of this claim

    def run(self) -> StopRequest | None:
        """Runs attempts until the trial ends. Returns None, or the StopRequest that interrupted it."""
        trial = self.trial
        if trial.status == TrialStatus.COMPLETE:  # it reuses the result of an identical trial
            return None
        self.tell(TrialStarted(self.job, trial))
        if self.resources.trial_timeout_s is not None:
            self._spent_s = trial_usage.spent_s(self.db, self.job.id, trial.id)
        alone = self.resources.on_oom == "alone" and self.memory.ran_out()
        if isinstance(admitted := self._admit(alone), StopRequest):
            return admitted
        spec = self.spec_builder.spec(admitted)
        failures = FailureCounts(self._reached(), len(self._tries_without_progress()))
        while True:
            try:
                end = self._attempt(spec, admitted)
            except OrderReceived:
                end = AttemptEnd(Ended.STOPPED, {}, self._order())
            reason = self._reason(end)
            if reason is not None and reason.leaves:
                return StopRequest(reason, message_of(end))
            if end.how is Ended.FAILED and end.facts.get("lasting") and self.role is None:
                return self._parked(end, 1)
            if reason is not None and reason.of_node:
                spec = self._again(spec, reason, message_of(end)) or spec
                self.slot.release_room()
                if isinstance(admitted := self._admit(admitted.want.alone), StopRequest):
                    return admitted
                spec = replace(spec, memory_limit=admitted.limit)
                continue
            failures.add(reason, self._reached(), admitted.want.alone or self.slot.settings.slots == 1)
            if reason is not None and reason.memory:
                settled = self._out_of_memory(end, failures)
                if isinstance(settled, StopRequest):
                    return settled
                if settled is not None:
                    end, reason = settled, None
            if reason is StopReason.TIME:
                end, reason = AttemptEnd(Ended.FAILED, {"cause": Cause.TIME_LIMIT, "message": message_of(end)}), None
            elif cause := failures.final_cause(reason):
                end, reason = AttemptEnd(Ended.FAILED, {"cause": cause, "message": message_of(end)}), None
            if reason is None:
                self._close(end)
                return None
            is_patient = end.how in (Ended.DIED, Ended.STOPPED) or end.facts.get("cause") == Cause.DISK
            allowed = KILLS_ALLOWED if is_patient else OUTAGES_ALLOWED
            transitions.record_attempt_ended(self.db, self.claim, self.trial.id, reason)
            outages = failures.outages
            if reason is StopReason.MACHINE and (outages >= allowed or self._took_too_long(outages)):
                return self._parked(end, outages)
            if (left_for := self._pause_before(reason, outages, allowed, message_of(end))) is not None:
                return left_for
            again = self._again(spec, reason, message_of(end), progressed=failures.memory < TRIES_IN_MEMORY)
            if again is None:
                settled = self._cannot_fit(f"{named(self.trial)} has no leaner recipe left: {message_of(end)}")
                if isinstance(settled, StopRequest):
                    return settled
                self._close(settled)
                return None
            spec = again
            if reason.memory and self.resources.on_oom == "alone" and not admitted.want.alone:
                self.slot.release_room()
                if isinstance(admitted := self._admit(alone=True), StopRequest):
                    return admitted
                spec = replace(spec, memory_limit=admitted.limit)

    def _admit(self, alone: bool = False) -> Admission | StopRequest:
        """Waits for a node and room; returns what the trial may use, or the request to leave the job instead."""
        try:
            return self.place.admit(alone)
        except BadMemory as refused:  # the user's memory function would fail for every trial
            return self._parked(AttemptEnd(Ended.FAILED, {"cause": Cause.CODE_ERROR, "message": str(refused)}), 1)

    def _out_of_memory(self, end: AttemptEnd, failures: FailureCounts) -> AttemptEnd | StopRequest | None:
        """Applies the study's on_oom policy; None: run it again, with a leaner recipe or alone."""
        policy, said = self.resources.on_oom, message_of(end)
        if policy in ("fail", "prune"):
            how = Ended.FAILED if policy == "fail" else Ended.PRUNED
            if how is Ended.PRUNED:
                self._pruned_for = f"out of memory: {said.removeprefix('out of memory, ')}"
            return AttemptEnd(how, {"cause": Cause.OUT_OF_MEMORY, "message": said})
        tries = failures.alone if policy == "alone" else failures.memory
        if self.study.can_shrink(self.cell) or tries < TRIES_IN_MEMORY:
            return None
        return self._cannot_fit(self._too_large(end), f"; {self._cure(end)}")

    def _cannot_fit(self, said: str, cure: str = "") -> AttemptEnd | StopRequest:
        """Fails the trial if other trials of a function or command did fit, else holds the job."""
        job = queries.job(self.db, self.job.id)
        if self._is_bare and job.trials_complete + job.trials_pruned:
            return AttemptEnd(Ended.FAILED, {"cause": Cause.CANNOT_FIT, "message": said})
        return StopRequest(StopReason.CANNOT_FIT, said + cure)

    def _after_memory(self, alone: bool) -> str | None:
        """Says what happens when the trial is out of memory; None: the study's plan decides."""
        words = {"fail": "it ends as failed", "prune": "it ends as pruned"}
        once_more = AGAIN if alone or self.slot.settings.slots == 1 else f"{AGAIN}, alone"
        return {**words, "alone": once_more}.get(str(self.resources.on_oom))

    def _pause_before(self, reason: StopReason, outages: int, allowed: int, message: str) -> StopRequest | None:
        """Waits for the machine to cool down or recover; returns a request that ends the wait, or None."""
        if reason is StopReason.HEAT:
            self.slot.cool_down(self.db, self.claim.worker_id, lambda: self.ordered(self.job.id) is not None)
            return self._order()
        wait_s = pause_s(outages, self.settings.outage_pause_s) if reason is StopReason.MACHINE else 0.0
        if not wait_s:
            return None
        text = (
            f"t{self.trial.number} runs again in {wait_s:.3g} s: {message}; {outages} of at most {allowed} tries "
            "without progress, then the job fails"
        )
        self.record.report("waits", text)
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0 and self._order() is None:
            if outages > TRIES_IN_SLOT and self._others_wait():
                assert self.work.backoff is not None, "_others_wait is false without it"
                self.work.backoff.begin(self.job.id, left)
                transitions.interrupt_trial(self.db, self.claim, self.trial.id, Cause.MACHINE_ERROR)
                text = f"{message}; {outages} of {allowed} tries without progress"
                return StopRequest(StopReason.REST, text, seconds=left)
            time.sleep(min(left, self.settings.poll_s))
        return self._order()

    def _order(self) -> StopRequest | None:
        order = self.ordered(self.job.id)
        return None if order is None else StopRequest(order)

    def _others_wait(self) -> bool:
        """Is another job runnable in this slot?"""
        backoff = self.work.backoff
        return backoff is not None and backoff.others_wait(self.db, self.settings.outage_pause_s, self.job.id)

    def _tries_without_progress(self) -> Sequence[Attempt]:
        """Returns the tries, of any worker, that machine faults ended since the trial's last progress."""
        return recorded_tries(self.db, self.job.id, self.trial.id)

    def _took_too_long(self, outages: int) -> bool:
        """Have the tries without progress used up WITHOUT_PROGRESS_S?"""
        if outages < TRIES_AT_LEAST:
            return False
        later = self._tries_without_progress()[1:]  # the first one may have made progress before it failed
        return sum((one.ended_at or one.began_at) - one.began_at for one in later) >= WITHOUT_PROGRESS_S

    def _parked(self, end: AttemptEnd, outages: int) -> StopRequest:
        """Returns the request that fails the job; the trial stays interrupted and can be continued."""
        text = f"t{self.trial.number} cannot run: {message_of(end)}"
        if outages > 1:
            text = f"t{self.trial.number} was tried {outages} times without progress; the last time: {message_of(end)}"
        cure = f"repair that, then `fts retry {self.job.id}` continues the same trials"
        cause = Cause(end.facts.get("cause") or Cause.MACHINE_ERROR)
        return StopRequest(StopReason.PARK, f"{text}; {cure}", cause=cause)

    def _too_large(self, end: AttemptEnd) -> str:
        text = message_of(end).removesuffix(f"; {AGAIN}")
        if self._peak and " GB" not in text:
            text += f"; its processes held {in_gb(self._peak)}"
        return f"t{self.trial.number} needs more memory than there is for it, {TRIES_IN_MEMORY} times: {text}"

    def _cure(self, end: AttemptEnd) -> str:
        of_gpu = "cuda" in message_of(end).lower()
        mend = "free the GPU, or take less with --on-oom shrink" if of_gpu else "free memory, or raise --memory-limit"
        mend += f"; then `fts resume {self.job.id}` tries it again"
        return mend + ("; with --on-oom fail such trials fail, and others run" if self._is_bare else "")

    @property
    def _is_bare(self) -> bool:
        """Does it run a function or a command, without a memory plan of its study?"""
        return not self.memory.plans

    def _reached(self) -> tuple[int, int]:
        """Returns the number of recorded epochs and the step of the latest checkpoint."""
        stored = queries.checkpoints(self.db, self.trial.id, limit=1)
        return self.record.reread().epochs, stored[0]["step"] if stored else 0

    def _reason(self, end: AttemptEnd) -> StopReason | None:
        """Returns why the trial must be left or retried; None: it has ended."""
        requested = end.stop_request.reason if end.stop_request is not None else None
        if requested is StopReason.CODE_ERROR:  # a fact was refused: even a result does not count
            return requested
        if end.how in (Ended.RESULT, Ended.PRUNED):
            return None
        if requested is not None and end.how is not Ended.FAILED:
            return requested
        if end.how is Ended.STOPPED and end.facts.get("again"):
            return StopReason.AGAIN
        if end.how is Ended.STOPPED:  # by a SIGTERM that we did not send
            return StopReason.MACHINE
        if end.how is Ended.LOST:
            return StopReason(end.facts["exit_kind"])
        cause = end.facts.get("cause")
        if cause == Cause.MACHINE_ERROR and end.facts.get("code") == -signal.SIGKILL and self._was_starved:
            cause = Cause.OUT_OF_MEMORY  # the OOM killer's count is not readable here, but memory was short
        reason = REASONS.get(str(cause))
        if reason is StopReason.DISK and end.facts.get("foreign") and takes_files(self.work.places.outputs):
            return StopReason.MACHINE  # another disk is full, or a file is too large: other jobs can go on
        return reason if end.how is Ended.FAILED else reason or StopReason.CRASHED

    def _attempt(self, spec: TrialSpec, admitted: Admission) -> AttemptEnd:
        if self.slot.is_local:
            self._bring_home(Path(spec.folder))
        if (replaced := OWN_CODE.replaced(now=True)) is not None:
            return AttemptEnd(Ended.STOPPED, {}, StopRequest(StopReason.DRAIN, replaced))
        try:
            child = self.slot.child(self.study.program(self.cell), spec.threads, self.spec_builder.send_history)
        except OSError as error:
            if is_disk_trouble(error):
                raise
            gone = missing_program(self.study.program(self.cell)) if isinstance(error, FileNotFoundError) else None
            what = "the code cannot be sent" if isinstance(error, CodeNotSent) else "no trial process can be started"
            lasting = gone is not None or isinstance(error, CodeNotSent)
            return AttemptEnd(
                Ended.FAILED,
                {"cause": Cause.MACHINE_ERROR.value, "message": gone or f"{what}: {error}", "lasting": lasting},
            )
        watch = self.slot.watch(
            self.db,
            self.claim,
            self.trial,
            spec.memory_limit,
            self.study.can_shrink(self.cell),
            host=not self.memory.plans,
            then=self._after_memory(admitted.want.alone),
            report_s=self.resources.stall_s,
            learns_stall=self.resources.learns_stall,
        )
        curve = self.record.curve()

        def record(fact: dict[str, Any]) -> Ended | StopRequest | None:
            try:
                return self._record_fact(fact, spec, child, watch, curve)
            except BadRow as refused:  # for example a step of 10**12 or a name of 300 characters: the trial's own fault
                return StopRequest(StopReason.CODE_ERROR, str(refused), kill=True)

        def stop_request() -> StopRequest | None:
            if admitted.shared:
                self.slot.keep_within_room()
            if log_limit is not None and log_limit.look():
                self.record.warn_log_dropped()
            if (late := self._late(watch.watchdog.worked_s)) is not None:
                return late
            order = self.ordered(self.job.id)
            if order is None or order is StopReason.DRAIN:
                return watch.stop_request()
            return StopRequest(order, kill=order is StopReason.LOST)

        program = self.study.program(self.cell)
        log_limit = None if program.reads_log or not self._is_bare else LogLimit(Path(spec.log_path))
        try:
            self.record.take_over(child, spec)
            attempt = RunningAttempt(
                child, record, stop_request, self.settings.poll_s, self.settings.stop_grace_s, self.tell.together,
                look=lambda: self.ordered(self.job.id),
            )  # fmt: skip
            spec = self.spec_builder.with_record(spec, child)
            end = attempt.run(self.study.request(spec, self.db, self.work.places), spec.number)
            if end.facts.get("killed"):
                text = f"t{self.trial.number}: {end.facts['message']}; it continues from its last checkpoint"
                transitions.record_intervention(self.db, self.claim, "killed", text, {}, trial_id=self.trial.id)
        except StaleToken:
            self.slot.kill()  # no last checkpoint: another worker writes to the same folder now
            raise
        except BaseException:
            self.slot.close()  # a full disk or a bug: the process must not go on
            raise
        if end.how in (Ended.FAILED, Ended.DIED) and (replaced := OWN_CODE.replaced(now=True)) is not None:
            end = AttemptEnd(Ended.STOPPED, {}, StopRequest(StopReason.DRAIN, replaced))  # it may have mixed versions
        if log_limit is not None and log_limit.look(last=True):
            self.record.warn_log_dropped()
        self.worked_s += watch.watchdog.worked_s
        self._peak = max(self._peak, self.slot.peak(), int(end.facts.get("peak_bytes") or 0))
        self._was_starved = self.slot.is_starved()
        end = self.slot.reclassified(end)
        self.slot.after(end)
        return end

    def _bring_home(self, folder: Path) -> None:
        """Completes what arrived from a node before: moves that a kill cut short, files on the shared file system."""
        finish_commit(folder, self.work.places.outputs)
        for missing in shared_checkpoints.bring_home(folder, self.work.places.outputs):
            log.warning("%s continues from an older checkpoint or starts over: %s", named(self.trial), missing)

    def _record_fact(
        self, fact: dict[str, Any], spec: TrialSpec, child: Placed, watch: Enforcer, curve: dict[int, float]
    ) -> Ended | StopRequest | None:
        """Records a fact; returns Ended.PRUNED if the pruner ends the trial, or a request to stop it.

        `curve`: epoch -> value; an epoch's value is added.
        """
        watch.saw(fact)
        kind = fact.get("fact")
        if kind == "started":
            return self.record.started(spec, fact, child, watch.memory_marks())
        if kind == "probe":
            return self.record.probe(spec, fact)
        if kind == "epoch":
            fact = self.record.with_deciding(fact)
            self.record.epoch(fact)
            self.memory.reported(self.slot.peak())
            if (value := self.record.value(fact)) is not None:
                curve[fact["epoch"]] = value
        if kind == "judge" or (kind == "epoch" and fact.get("judged", True)):
            self._pruned_for = self._prune_reason(fact["epoch"], curve)
            return Ended.PRUNED if self._pruned_for else None
        if kind in ("draw", "drifted"):  # after "drifted" the process goes on with the recorded value
            self.record.draw(fact)
        if kind == "draw":
            self.memory.drew(fact["name"], fact["value"], fact["distribution"])
        elif kind == "sampler":
            self.record.sampler(fact)
        elif kind == "lacking":
            self.record.warn_missing_metric(fact)
        elif kind == "garbage":
            self.record.warn_garbage(fact)
        elif kind == "kept":
            self.record.kept(fact)
        elif kind == "checkpoint":
            self.record.checkpoint(fact)
        return None

    def _prune_reason(self, epoch: int, curve: dict[int, float]) -> str | None:
        """Returns why the pruner ends the trial after this epoch; None: it goes on."""
        if self.cell.pruner == "none":
            return None  # copying the curve at each of 100,000 reports of a command would take minutes
        return should_prune(
            self.cell.pruner,
            self.spec_builder.rivals(),
            self.number,
            {n: value for n, value in curve.items() if n <= epoch},
            Direction(pruning_of(self.cell)[1]),
            self.cell.halving_rule,
            getattr(self.cell, "percentile", PERCENTILE),
        )

    def _late(self, worked_s: float) -> StopRequest | None:
        """Returns the request that ends a trial after its time limit, or None."""
        allowed_s = self.resources.trial_timeout_s
        seconds = self._spent_s + self.worked_s + worked_s
        if allowed_s is None or seconds <= allowed_s:
            return None
        text = f"time is up: it has worked for {spell(seconds)}, {spell(allowed_s)} allowed"
        return StopRequest(StopReason.TIME, text, kill=True)

    def _again(self, spec: TrialSpec, reason: StopReason, message: str, progressed: bool = False) -> TrialSpec | None:
        """Returns the specification of the next attempt; with a leaner recipe after running out of memory.

        None: there is no leaner recipe. Records why the trial restarts.
        """
        recipe = self.record.reread().recipe or spec.recipe
        if reason.memory and self.study.can_shrink(self.cell):
            leaner = self.study.leaner(self.cell, recipe or {})
            if leaner is None and not (self._is_bare and progressed):  # with a leak each attempt still makes progress
                return None
            recipe = recipe if leaner is None else leaner
            assert recipe is not None, "there is a leaner recipe, or one that cannot be made leaner"
            message += f"; now batch={self.study.batch(self.cell, recipe)}"
        why = WORDS.get(reason, reason) + (f", {message}" if message else "")
        if message and (reason is StopReason.AGAIN or (reason is StopReason.SHRINK and self._is_bare)):
            why = message  # it says all
        how = "continues from its checkpoint" if queries.checkpoints(self.db, self.trial.id, limit=1) else "starts over"
        words = f"t{self.trial.number} {how}: {why}"
        data = {"reason": reason, "recipe": recipe}
        transitions.record_attempt_ended(self.db, self.claim, self.trial.id, reason)
        if self._is_bare and reason.memory:
            kept = {"recipe": recipe, "peak_bytes": max(self._peak, self.record.reread().peak_bytes or 0) or None}
            changes = {name: value for name, value in kept.items() if value is not None}
            transitions.record_progress(self.db, self.claim, self.trial.id, changes)
        self.record.report("trial_restarted", words, data)
        return replace(spec, recipe=recipe)

    def _close(self, end: AttemptEnd) -> None:
        close(self.work, self.record, end, self.number, self._peak if self._is_bare else 0, self._pruned_for)


def missing_program(program: Program) -> str | None:
    """Returns a sentence about the program's missing folder or interpreter; None: both exist."""
    if program.folder is not None and not Path(program.folder).is_dir():
        return f"{program.folder} is no folder; move it back, or enqueue it from where it is now: its trials stay"
    if program.python is not None and not Path(program.python).is_file():
        return f"the interpreter {program.python} does not exist; make it again, or enqueue with another --python"
    return None
