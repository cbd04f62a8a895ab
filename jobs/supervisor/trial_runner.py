"""Runs one trial to its end: attempt after attempt, each fact a row, each way to end its answer.

The supervisor hands it a trial that is on record; it comes back when the trial has ended, or with the wish for which it
was left.
"""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.goals import pruning_of
from fts.jobs.api.halving import PERCENTILE
from fts.jobs.api.study import CannotFit, Cell, Program, Study
from fts.jobs.executors.base import CodeNotSent, OrderCame, Want
from fts.jobs.records.trial_roles import role_of
from fts.jobs.search.pruner import should_prune
from fts.jobs.status.formatting import count, in_gb, spell
from fts.jobs.supervisor import extra_trials, shared_checkpoints
from fts.jobs.supervisor.attempt import Attempt, AttemptEnd, Ended
from fts.jobs.supervisor.backoff import recorded_tries, resting
from fts.jobs.supervisor.extra_trials import runs_more
from fts.jobs.supervisor.log_limit import LogLimit
from fts.jobs.supervisor.machine_errors import is_disk_trouble, pause_s, takes_files
from fts.jobs.supervisor.progress_events import Note, TrialStarted
from fts.jobs.supervisor.progress_reporter import Telling
from fts.jobs.supervisor.retry_limits import Setbacks
from fts.jobs.supervisor.trial_end import close, message_of
from fts.jobs.supervisor.trial_memory import BadMemory, TrialMemory
from fts.jobs.supervisor.trial_order import TrialOrder
from fts.jobs.supervisor.trial_record import FINGERPRINT, TrialRecord
from fts.jobs.supervisor.upgrade_check import OWN
from fts.jobs.watchdog.policy import AGAIN
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state import queries, transitions, trial_usage
from fts.state.errors import BadRow, StaleToken
from fts.state.ticket_rows import next_runnable
from fts.state.values import Cause, Claim, Direction, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.jobs.api.spec import TrialSpec
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.admission import Admission
    from fts.jobs.supervisor.backoff import Rests
    from fts.jobs.supervisor.history import JobHistory
    from fts.jobs.supervisor.learned_memory import Peak
    from fts.jobs.supervisor.progress_events import Tell
    from fts.jobs.supervisor.slot import Slot
    from fts.state.db import Database
    from fts.state.values import Attempt as Tried

log = logging.getLogger("fts.worker")

OUTAGES_ALLOWED = 10  # faults of the machine without an epoch or a checkpoint in between; then the job is parked
KILLS_ALLOWED = 30  # the same for kills from outside, which somebody will stop; with the pauses, 25 minutes
TRIES_AT_LEAST, IN_VAIN_S = 5, 1500.0  # so many that took so long are enough: an hour is not lost 30 times
TRIES_IN_SLOT = 4  # before other jobs that wait get the slot for the time of a pause, or longer
REASONS: dict[str, StopReason] = {
    Cause.DISK: StopReason.DISK, Cause.OUT_OF_MEMORY: StopReason.SHRINK, Cause.MACHINE_ERROR: StopReason.MACHINE,
}  # fmt: skip  # cause -> why it is tried again
TRIES_IN_MEMORY = 2  # of a trial that has no leaner recipe, without an epoch or a checkpoint in between
OF_NODE = tuple(reason.value for reason in StopReason if reason.of_node)  # ends of attempts
WORDS = {
    StopReason.MACHINE: "the machine failed it", StopReason.KILL: "killed", StopReason.AGAIN: "its last epoch again",
}  # fmt: skip  # reason -> as an event says it


@dataclass(frozen=True)
class Work:
    """What everything done for one claim shares."""

    db: Database
    places: Places
    settings: WorkerSettings
    slot: Slot
    claim: Claim
    study: Study
    cell: Cell
    ordered: Callable[[int], StopReason | None]  # what people asked of a job meanwhile
    tell: Tell
    history: JobHistory
    told_code: set[str] = field(default_factory=set)  # md5 of changed code that was told of
    peaks: dict[int, Peak] = field(default_factory=dict)  # of its trials that run, by number, once they have reported
    rests: Rests | None = None  # None: no other job may have the slot meanwhile


class TrialRunner:
    """One trial of the claimed job."""

    def __init__(self, work: Work, trial: Trial) -> None:
        self.db, self.settings, self.slot = work.db, work.settings, work.slot
        self.work, self.claim, self.ordered = work, work.claim, work.ordered
        self.study, self.cell = work.study, extra_trials.cell_of(work.cell, trial)
        self.job, self.trial = work.claim.job, trial
        self.role = role_of(trial)
        self.number = trial.number  # within the search
        if self.role is None and runs_more(work.cell):
            self.number = work.history.searched(trial.number)
        self._pruned_for: str | None = None  # why it is pruned
        self.resources = self.study.resources(self.cell)
        self.memory = TrialMemory(replace(work, cell=self.cell), trial)
        self.tell = Telling(work.db, work.tell)
        self.record = TrialRecord(work, trial, self.cell, self.tell)
        threads = self.memory.threads  # a resumed trial keeps its own: it decides the last bits
        self.order = TrialOrder(work, trial, self.cell, self.number, self.role, threads)
        self.worked_s = 0.0  # in this claim: frozen time, and time in which the machine slept, is left out
        self._spent_s = 0.0  # before it, where the trial has a time limit
        self._was_starved = False  # memory was short when its latest process ended, and the trial to blame
        self._peak = 0  # bytes, of all attempts in this claim

    def run(self) -> StopRequest | None:
        """Attempts until the trial has ended; returns the wish it was left for, or None when it ended."""
        trial = self.trial
        if trial.status == TrialStatus.COMPLETE:  # an identical twin had run
            return None
        self.tell(TrialStarted(self.job, trial))
        if self.resources.trial_timeout_s is not None:
            self._spent_s = trial_usage.spent_s(self.db, self.job.id, trial.id)
        alone = self.resources.on_oom == "alone" and self.memory.ran_out()
        if isinstance(admitted := self._admit(alone), StopRequest):
            return admitted
        spec = self.order.spec(admitted)
        setbacks = Setbacks(self._reached(), len(self._in_vain()))
        while True:
            try:
                end = self._attempt(spec, admitted)
            except OrderCame:
                end = AttemptEnd(Ended.STOPPED, {}, self._order())
            reason = self._reason(end)
            if reason is not None and reason.leaves:
                return StopRequest(reason, message_of(end))
            if end.how is Ended.FAILED and end.facts.get("lasting") and self.role is None:
                return self._parked(end, 1)
            if reason is not None and reason.of_node:
                spec = self._again(spec, reason, message_of(end)) or spec
                self.slot.give_back_room()
                if isinstance(admitted := self._admit(admitted.want.alone), StopRequest):
                    return admitted
                spec = replace(spec, memory_limit=admitted.limit)
                continue
            setbacks.add(reason, self._reached(), admitted.want.alone or self.slot.settings.slots == 1)
            if reason is not None and reason.memory:
                settled = self._out_of_memory(end, setbacks)
                if isinstance(settled, StopRequest):
                    return settled
                if settled is not None:
                    end, reason = settled, None
            if reason is StopReason.TIME:
                end, reason = AttemptEnd(Ended.FAILED, {"cause": Cause.TIME_LIMIT, "message": message_of(end)}), None
            elif cause := setbacks.hopeless(reason):
                end, reason = AttemptEnd(Ended.FAILED, {"cause": cause, "message": message_of(end)}), None
            if reason is None:
                self._close(end)
                return None
            is_patient = end.how in (Ended.DIED, Ended.STOPPED) or end.facts.get("cause") == Cause.DISK
            allowed = KILLS_ALLOWED if is_patient else OUTAGES_ALLOWED
            transitions.record_attempt_ended(self.db, self.claim, self.trial.id, reason)
            outages = setbacks.outages
            if reason is StopReason.MACHINE and (outages >= allowed or self._took_too_long(outages)):
                return self._parked(end, outages)
            if (left_for := self._pause_before(reason, outages, allowed, message_of(end))) is not None:
                return left_for
            again = self._again(spec, reason, message_of(end), progressed=setbacks.memory < TRIES_IN_MEMORY)
            if again is None:
                settled = self._cannot_fit(f"{self._named()} has no leaner recipe left: {message_of(end)}")
                if isinstance(settled, StopRequest):
                    return settled
                self._close(settled)
                return None
            spec = again
            if reason.memory and self.resources.on_oom == "alone" and not admitted.want.alone:
                self.slot.give_back_room()
                if isinstance(admitted := self._admit(alone=True), StopRequest):
                    return admitted
                spec = replace(spec, memory_limit=admitted.limit)

    def _admit(self, alone: bool = False) -> Admission | StopRequest:
        """What the trial may take, once the other slots leave it; or why it cannot begin."""
        if not self._finds_node():
            return StopRequest(self.ordered(self.job.id) or StopReason.DRAIN)
        waited = False
        while True:
            try:
                admitted = self.memory.admit(alone)
            except CannotFit as refused:  # before any process has started
                return StopRequest(StopReason.CANNOT_FIT, f"{self._named()} {refused}")
            except BadMemory as refused:  # a person's function: it would say the same of every trial
                return self._parked(AttemptEnd(Ended.FAILED, {"cause": Cause.CODE_ERROR, "message": str(refused)}), 1)
            if self._takes_room(admitted, waited, learns=admitted.want.alone and not alone):
                return admitted
            waited, order = True, self.ordered(self.job.id)
            if order is not None or alone or not self.memory.has_learned():
                return StopRequest(order or StopReason.DRAIN)

    def _out_of_memory(self, end: AttemptEnd, setbacks: Setbacks) -> AttemptEnd | StopRequest | None:
        """What its study wants done about it; None: it runs again, with a leaner recipe or alone."""
        policy, said = self.resources.on_oom, message_of(end)
        if policy in ("fail", "prune"):
            how = Ended.FAILED if policy == "fail" else Ended.PRUNED
            if how is Ended.PRUNED:
                self._pruned_for = f"out of memory: {said.removeprefix('out of memory, ')}"
            return AttemptEnd(how, {"cause": Cause.OUT_OF_MEMORY, "message": said})
        tries = setbacks.alone if policy == "alone" else setbacks.memory
        if self.study.can_shrink(self.cell) or tries < TRIES_IN_MEMORY:
            return None
        return self._cannot_fit(self._too_large(end), f"; {self._cure(end)}")

    def _cannot_fit(self, said: str, cure: str = "") -> AttemptEnd | StopRequest:
        """Of a function or command whose other trials fit it is these parameters that do not; else the job is held."""
        job = queries.job(self.db, self.job.id)
        if self._is_bare and job.trials_complete + job.trials_pruned:
            return AttemptEnd(Ended.FAILED, {"cause": Cause.CANNOT_FIT, "message": said})
        return StopRequest(StopReason.CANNOT_FIT, said + cure)

    def _named(self) -> str:
        return " ".join([f"t{self.trial.number}", *filter(None, [self.trial.architecture])])

    def _after_memory(self, alone: bool) -> str | None:
        """What becomes of it when it is out of memory, in words; None: as its study plans."""
        words = {"fail": "it ends as failed", "prune": "it ends as pruned"}
        once_more = AGAIN if alone or self.slot.settings.slots == 1 else f"{AGAIN}, alone"
        return {**words, "alone": once_more}.get(str(self.resources.on_oom))

    def _pause_before(self, reason: StopReason, outages: int, allowed: int, message: str) -> StopRequest | None:
        """Waits until the machine has cooled, or has had time to recover; returns what came meanwhile instead."""
        if reason is StopReason.HEAT:
            self.slot.cool_down(self.db, self.claim.worker_id, lambda: self.ordered(self.job.id) is not None)
            return self._order()
        wait_s = pause_s(outages, self.settings.outage_pause_s) if reason is StopReason.MACHINE else 0.0
        if not wait_s:
            return None
        said = (
            f"t{self.trial.number} runs again in {wait_s:.3g} s: {message}; {outages} of at most {allowed} tries "
            "without progress, then the job fails"
        )
        transitions.record_intervention(self.db, self.claim, "waits", said, {}, trial_id=self.trial.id)
        self.tell(Note(said, self.job))
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0 and self._order() is None:
            if outages > TRIES_IN_SLOT and self._others_wait():
                assert self.work.rests is not None, "only then do others wait"
                self.work.rests.begin(self.job.id, left)
                transitions.interrupt_trial(self.db, self.claim, self.trial.id, Cause.MACHINE_ERROR)
                said = f"{message}; {outages} of {allowed} tries without progress"
                return StopRequest(StopReason.REST, said, seconds=left)
            time.sleep(min(left, self.settings.poll_s))
        return self._order()

    def _order(self) -> StopRequest | None:
        order = self.ordered(self.job.id)
        return None if order is None else StopRequest(order)

    def _others_wait(self) -> bool:
        """Would another job take this slot?"""
        rests = self.work.rests
        if rests is None:
            return False
        others = rests.jobs | resting(self.db, self.settings.outage_pause_s)
        return next_runnable(self.db, others | {self.job.id}) is not None

    def _in_vain(self) -> Sequence[Tried]:
        """Tries that the machine failed, in whichever worker, since it last got further."""
        return recorded_tries(self.db, self.job.id, self.trial.id)

    def _took_too_long(self, outages: int) -> bool:
        """Have the tries in vain taken as much time as they may?"""
        if outages < TRIES_AT_LEAST:
            return False
        later = self._in_vain()[1:]  # the first one may have got further before it failed
        return sum((one.ended_at or one.began_at) - one.began_at for one in later) >= IN_VAIN_S

    def _parked(self, end: AttemptEnd, outages: int) -> StopRequest:
        """The wish that ends the job: it is not the trial that failed, which stays interrupted."""
        said = f"t{self.trial.number} cannot run: {message_of(end)}"
        if outages > 1:
            said = f"t{self.trial.number} was tried {outages} times without progress; the last time: {message_of(end)}"
        cure = f"repair that, then `fts retry {self.job.id}` continues the same trials"
        cause = Cause(end.facts.get("cause") or Cause.MACHINE_ERROR)
        return StopRequest(StopReason.PARK, f"{said}; {cure}", cause=cause)

    def _too_large(self, end: AttemptEnd) -> str:
        said = message_of(end).removesuffix(f"; {AGAIN}")
        if self._peak and " GB" not in said:
            said += f"; its processes held {in_gb(self._peak)}"
        return f"t{self.trial.number} needs more memory than there is for it, {TRIES_IN_MEMORY} times: {said}"

    def _cure(self, end: AttemptEnd) -> str:
        of_gpu = "cuda" in message_of(end).lower()
        mend = "free the GPU, or take less with --on-oom shrink" if of_gpu else "free memory, or raise --memory-limit"
        mend += f"; then `fts resume {self.job.id}` tries it again"
        return mend + ("; with --on-oom fail such trials fail, and others run" if self._is_bare else "")

    @property
    def _is_bare(self) -> bool:
        """Of a function or a command, whose memory nobody has planned."""
        return not self.memory.plans

    def _reached(self) -> tuple[int, int]:
        """Epochs recorded, and the step of the latest checkpoint."""
        stored = queries.checkpoints(self.db, self.trial.id)
        return self.record.reread().epochs, stored[0]["step"] if stored else 0

    def _finds_node(self) -> bool:
        """Waits, and says so, until there is a machine that can run it; False: an order came first."""
        if self.slot.is_local:
            return True
        before = {one.host for one in queries.attempts(self.db, self.trial.id) if one.how in OF_NODE and one.host}
        memory = self.resources.memory
        want = Want(
            threads=self.memory.threads,
            gpus=self.resources.gpu,
            memory=memory if isinstance(memory, int) else None,
            like=self.record.reread().facts.get(FINGERPRINT),
            avoid=frozenset(before),
        )

        def waits(reason: str) -> None:
            said = f"t{self.trial.number} waits {reason}"
            transitions.record_intervention(self.db, self.claim, "waits", said, {}, trial_id=self.trial.id)
            self.tell(Note(said, self.job))

        return self.slot.find(want, lambda: self.ordered(self.job.id) is not None, waits)

    def _takes_room(self, admitted: Admission, waited: bool, learns: bool) -> bool:
        """Waits, and says so, until the other slots' trials leave room for this one; False: an order came first.

        Or, where it waits only because nobody knows what it needs (`learns`), another trial of the job has shown that.
        One that has `waited` for that may go at the second look.
        """
        looks = 0

        def leaves() -> bool:
            nonlocal looks
            looks += 1
            if learns and looks > 1 and self.memory.has_learned():
                return True
            if looks == (2 if waited else 1):
                beside = "another trial has ended or reported: nobody knows how much memory that one needs"
                one_alone = self.slot.room.other_is_alone(self.slot.index)
                said = f"t{self.trial.number} waits until {beside if one_alone else waits_for(admitted)}"
                transitions.record_intervention(self.db, self.claim, "waits", said, {}, trial_id=self.trial.id)
                self.tell(Note(said, self.job))
            return self.ordered(self.job.id) is not None

        return self.slot.take_room(admitted, leaves)

    def _reason(self, end: AttemptEnd) -> StopReason | None:
        """Why the trial must be left or tried again; None: it has ended."""
        wish = end.wish.reason if end.wish is not None else None
        if wish is StopReason.CODE_ERROR:  # a fact was refused: no result makes up for it
            return wish
        if end.how in (Ended.RESULT, Ended.PRUNED):
            return None
        if wish is not None and end.how is not Ended.FAILED:
            return wish
        if end.how is Ended.STOPPED and end.facts.get("again"):
            return StopReason.AGAIN
        if end.how is Ended.STOPPED:  # by a SIGTERM that nobody here has sent
            return StopReason.MACHINE
        if end.how is Ended.LOST:
            return StopReason(end.facts["whose"])
        cause = end.facts.get("cause")
        if cause == Cause.MACHINE_ERROR and end.facts.get("code") == -signal.SIGKILL and self._was_starved:
            cause = Cause.OUT_OF_MEMORY  # nobody counts the kernel's victims here, but memory was short
        reason = REASONS.get(str(cause))
        if reason is StopReason.DISK and end.facts.get("foreign") and takes_files(self.work.places.outputs):
            return StopReason.MACHINE  # another disk is full, or a file too large: other jobs need not wait
        return reason if end.how is Ended.FAILED else reason or StopReason.CRASHED

    def _attempt(self, spec: TrialSpec, admitted: Admission) -> AttemptEnd:
        for missing in (
            shared_checkpoints.bring_home(Path(spec.folder), self.work.places.outputs) if self.slot.is_local else ()
        ):
            log.warning("%s goes on from an older checkpoint, or begins anew: %s", self._named(), missing)
        if (replaced := OWN.replaced(now=True)) is not None:
            return AttemptEnd(Ended.STOPPED, {}, StopRequest(StopReason.DRAIN, replaced))
        try:
            child = self.slot.child(self.study.program(self.cell), spec.threads, self.order.tell_history)
        except OSError as error:
            if is_disk_trouble(error):
                raise
            gone = gone_of(self.study.program(self.cell)) if isinstance(error, FileNotFoundError) else None
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
                return take(fact)
            except BadRow as refused:  # a step of 10**12, a name of 300 characters: the trial's fault alone
                return StopRequest(StopReason.CODE_ERROR, str(refused), kill=True)

        def take(fact: dict[str, Any]) -> Ended | StopRequest | None:
            watch.saw(fact)
            kind = fact.get("fact")
            if kind == "started":
                return self.record.started(spec, fact, child, watch.memory_marks())
            if kind == "epoch":
                fact = self.record.with_deciding(fact)
                self.record.epoch(fact)
                self.memory.reported(self.slot.peak())
                if (value := self.record.value(fact)) is not None:
                    curve[fact["epoch"]] = value
            if kind == "judge" or (kind == "epoch" and fact.get("judged", True)):
                so_far = {epoch: value for epoch, value in curve.items() if epoch <= fact["epoch"]}
                rule = self.cell.halving_rule
                self._pruned_for = should_prune(
                    self.cell.pruner,
                    self.order.rivals(),
                    self.number,
                    so_far,
                    Direction(pruning_of(self.cell)[1]),
                    rule,
                    getattr(self.cell, "percentile", PERCENTILE),
                )
                return Ended.PRUNED if self._pruned_for else None
            if kind == "draw":
                self.record.draw(fact)
                self.memory.drew(fact["name"], fact["value"], fact["distribution"])
            if kind == "drifted":  # the process goes on with the recorded value
                self.record.draw(fact)
            if kind == "sampler":
                self.record.sampler(fact)
            if kind == "probe":
                return self.record.probe(spec, fact)
            if kind == "lacking":
                self.record.lacking(fact)
            if kind == "garbage":
                self.record.strange(fact)
            if kind == "kept":
                self.record.kept(fact)
            if kind == "checkpoint":
                self.record.checkpoint(fact)
            return None

        def wish() -> StopRequest | None:
            if admitted.shared:
                self.slot.keep_within_room()
            if log_limit is not None and log_limit.look():
                self.record.dropped_log()
            if (late := self._late(watch.watchdog.worked_s)) is not None:
                return late
            order = self.ordered(self.job.id)
            if order is None or order is StopReason.DRAIN:
                return watch.wish()
            return StopRequest(order, kill=order is StopReason.LOST)

        program = self.study.program(self.cell)
        log_limit = None if program.reads_log or not self._is_bare else LogLimit(Path(spec.log_path))
        try:
            self.record.take_over(child, spec)
            attempt = Attempt(child, record, wish, self.settings.poll_s, self.settings.stop_grace_s, self.tell.together)
            spec = self.order.with_record(spec, child)
            end = attempt.run(self.study.request(spec, self.db, self.work.places), spec.number)
            if end.facts.get("unheard"):
                said = f"t{self.trial.number}: {end.facts['message']}; it goes on from its last checkpoint"
                transitions.record_intervention(self.db, self.claim, "killed", said, {}, trial_id=self.trial.id)
        except StaleToken:
            self.slot.kill()  # no last checkpoint: somebody else writes to the same folder now
            raise
        except BaseException:
            self.slot.close()  # a full disk or a bug: the process must not train on
            raise
        if end.how in (Ended.FAILED, Ended.DIED) and (replaced := OWN.replaced(now=True)) is not None:
            end = AttemptEnd(Ended.STOPPED, {}, StopRequest(StopReason.DRAIN, replaced))  # half of it may be new code
        if log_limit is not None and log_limit.look(last=True):
            self.record.dropped_log()
        self.worked_s += watch.watchdog.worked_s
        self._peak = max(self._peak, self.slot.peak(), int(end.facts.get("peak_bytes") or 0))
        self._was_starved = self.slot.is_starved()
        end = self.slot.judged(end)
        self.slot.after(end)
        return end

    def _late(self, worked_s: float) -> StopRequest | None:
        """The end of a trial that has worked for longer than it may."""
        allowed_s = self.resources.trial_timeout_s
        seconds = self._spent_s + self.worked_s + worked_s
        if allowed_s is None or seconds <= allowed_s:
            return None
        said = f"time is up: it has worked for {spell(seconds)}, {spell(allowed_s)} allowed"
        return StopRequest(StopReason.TIME, said, kill=True)

    def _again(self, spec: TrialSpec, reason: StopReason, message: str, progressed: bool = False) -> TrialSpec | None:
        """The spec of the next attempt: from the checkpoint, after a shrink with less memory; None: none is leaner."""
        recipe = self.record.reread().recipe or spec.recipe
        if reason.memory and self.study.can_shrink(self.cell):
            leaner = self.study.leaner(self.cell, recipe or {})
            if leaner is None and not (self._is_bare and progressed):  # a leak: each attempt gets further
                return None
            recipe = recipe if leaner is None else leaner
            assert recipe is not None, "there is a leaner one, or it has one that cannot be made leaner"
            message += f"; now batch={self.study.batch(self.cell, recipe)}"
        why = WORDS.get(reason, reason) + (f", {message}" if message else "")
        if reason is StopReason.SHRINK and self._is_bare and message:
            why = message  # which says that it was out of memory
        how = "continues from its checkpoint" if queries.checkpoints(self.db, self.trial.id) else "begins anew"
        words = f"t{self.trial.number} {how}: {why}"
        data = {"reason": reason, "recipe": recipe}
        transitions.record_attempt_ended(self.db, self.claim, self.trial.id, reason)
        if self._is_bare and reason.memory:
            kept = {"recipe": recipe, "peak_bytes": max(self._peak, self.record.reread().peak_bytes or 0) or None}
            told = {name: value for name, value in kept.items() if value is not None}
            transitions.record_progress(self.db, self.claim, self.trial.id, told)
        transitions.record_intervention(self.db, self.claim, "trial_restarted", words, data, trial_id=self.trial.id)
        self.tell(Note(words, self.job))
        return replace(spec, recipe=recipe)

    def _close(self, end: AttemptEnd) -> None:
        """Write how the trial ended."""
        close(self.work, self.record, end, self.number, self._peak if self._is_bare else 0, self._pruned_for)


def gone_of(program: Program) -> str | None:
    """What a program needs and is not there; None: it is all there."""
    if program.folder is not None and not Path(program.folder).is_dir():
        return f"{program.folder} is no folder; move it back, or enqueue it from where it is now: its trials stay"
    if program.python is not None and not Path(program.python).is_file():
        return f"the interpreter {program.python} does not exist; make it again, or enqueue with another --python"
    return None


def waits_for(admitted: Admission) -> str:
    """What a trial waits for, in words."""
    want = admitted.want
    if want.alone:
        return "no other trial runs: nobody knows how much memory it needs"
    parts = [count(want.gpus, "GPU")] if want.gpus else []
    parts += [f"{in_gb(admitted.need)} of memory"] if admitted.need or not parts else []
    return " and ".join(parts) + (" is free" if len(parts) == 1 and want.gpus == 1 else " are free")
