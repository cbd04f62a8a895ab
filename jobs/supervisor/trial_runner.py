"""Runs one trial to its end: attempt after attempt, each fact a row, each way to end its answer.

The supervisor hands it a trial that is on record; it comes back when the trial has ended, or with the wish for which it
was left.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.function import FunctionCell
from fts.jobs.api.goals import CONSTRAINTS, goals_of, pruning_of
from fts.jobs.api.spec import TrialSpec
from fts.jobs.api.spec import trial_folder as folder_of
from fts.jobs.api.study import CannotFit, Cell, Finished, Program, Study, trial_log
from fts.jobs.records.beside import role_of
from fts.jobs.search.pruner import should_prune
from fts.jobs.search.sampler import NO_HISTORY
from fts.jobs.status.formatting import count, in_gb, spell
from fts.jobs.supervisor import beside_search
from fts.jobs.supervisor.aims import Judged, judged
from fts.jobs.supervisor.attempt import Attempt, AttemptEnd, Ended
from fts.jobs.supervisor.beside_search import runs_more
from fts.jobs.supervisor.child import TrialProcess, reap_recorded
from fts.jobs.supervisor.log_limit import KEPT, MOST, LogLimit
from fts.jobs.supervisor.progress_events import EpochReported, Note, TrialEnded, TrialStarted
from fts.jobs.supervisor.template import Told
from fts.jobs.supervisor.trial_memory import BadMemory, TrialMemory
from fts.jobs.supervisor.trouble import is_disk_trouble, pause_s
from fts.jobs.trial.kept import MOST_FILES
from fts.jobs.watchdog.policy import AGAIN
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state import queries, spent, transitions
from fts.state.errors import BadRow, LabelClash, ResumeMismatch, StaleToken
from fts.state.transitions.trials import OF_SAMPLER
from fts.state.values import Cause, Claim, Direction, Epoch, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fts.jobs.search.sampler import PastTrial
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.admission import Admission
    from fts.jobs.supervisor.history import JobHistory
    from fts.jobs.supervisor.progress_events import ProgressEvent, Tell
    from fts.jobs.supervisor.slot import Slot
    from fts.jobs.supervisor.template import Template
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

STALLS_ALLOWED = 2  # the third stall of a trial fails it
CRASHES_ALLOWED = 2  # of its own code, without an epoch or a checkpoint in between; the third fails it
OUTAGES_ALLOWED = 10  # faults of the machine without an epoch or a checkpoint in between; then the job is parked
KILLS_ALLOWED = 30  # the same for kills from outside, which somebody will stop; with the pauses, 25 minutes
REASONS: dict[str, StopReason] = {
    Cause.DISK: StopReason.DISK, Cause.OUT_OF_MEMORY: StopReason.SHRINK, Cause.MACHINE_ERROR: StopReason.MACHINE,
}  # fmt: skip  # cause -> why it is tried again
TRIES_IN_MEMORY = 2  # of a trial that has no leaner recipe, without an epoch or a checkpoint in between
WORDS = {
    StopReason.MACHINE: "the machine failed it", StopReason.KILL: "killed", StopReason.AGAIN: "its last epoch again",
}  # fmt: skip  # reason -> as an event says it
CODE_CHANGED = "code changed"  # badge of a trial whose file is not the one that was put in line
CHANGED_TO = "code_changed"  # fact of such a trial: the md5 of what it ran
STARTED_FACTS = (
    "n_params", "n_train", "n_val", "n_pos", "prior_loss", "label_md5", "base_rate", "data_md5", "torch_version",
    "host", "device", "threads", "micro_batch", "accumulation", "recipe", "predicted_bytes",
)  # fmt: skip
RESULT_FACTS = (
    "value", "best_epoch", "last_value", "val_loss", "val_auc", "auc_low", "auc_high", "badges", "peak_bytes",
)  # fmt: skip
KEPT_FILES = "files"  # fact of a trial: name -> md5 and bytes of what it keeps in its folder
MAX_ATTRIBUTES = 16_000  # characters of JSON, of a trial


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


class TrialRunner:
    """One trial of the claimed job."""

    def __init__(self, work: Work, trial: Trial) -> None:
        self.db, self.places, self.settings, self.slot = work.db, work.places, work.settings, work.slot
        self.claim, self.ordered = work.claim, work.ordered
        self._tell = work.tell
        self._untold: list[ProgressEvent] = []  # of the transaction under way
        self.history, self.told_code = work.history, work.told_code
        self.study, self.cell = work.study, beside_search.cell_of(work.cell, trial)
        self.job, self.trial = work.claim.job, trial
        self.role = role_of(trial)
        self.number = trial.number  # within the search
        if self.role is None and runs_more(work.cell):
            self.number = work.history.searched(trial.number)
        self._pruned_for: str | None = None  # why it is pruned
        self._rivals_then: list[PastTrial] | None = None
        self.resources = self.study.resources(self.cell)
        self.memory = TrialMemory(replace(work, cell=self.cell), trial)
        self.worked_s = 0.0  # in this claim: frozen time, and time in which the machine slept, is left out
        self._spent_s = 0.0  # before it, where the trial has a time limit
        self._was_starved = False  # memory was short when its latest process ended, and the trial to blame
        self._peak = 0  # bytes, of all attempts in this claim

    def tell(self, event: ProgressEvent) -> None:
        """Now, or once what it tells of is written: a terminal may stand still, and others wait for the write lock."""
        if self.db.in_transaction():
            self._untold.append(event)
        else:
            self._tell(event)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """One transaction of several facts."""
        self._untold.clear()
        with self.db.write():
            yield
        untold, self._untold = self._untold, []
        for event in untold:
            self._tell(event)

    def run(self) -> StopRequest | None:
        """Attempts until the trial has ended; returns the wish it was left for, or None when it ended."""
        trial = self.trial
        if trial.status == TrialStatus.COMPLETE:  # an identical twin had run
            return None
        self.tell(TrialStarted(self.job, trial))
        if self.resources.trial_timeout_s is not None:
            self._spent_s = spent.spent_s(self.db, self.job.id, trial.id)
        alone = self.resources.on_oom == "alone" and self.memory.ran_out()
        if isinstance(admitted := self._admit(alone), StopRequest):
            return admitted
        spec = self._spec(admitted)
        setbacks = Setbacks(self._reached())
        while True:
            end = self._attempt(spec, admitted)
            reason = self._reason(end)
            if reason is not None and reason.leaves:
                return StopRequest(reason, message_of(end))
            if end.how is Ended.FAILED and end.facts.get("lasting") and self.role is None:
                return self._parked(end, 1)
            setbacks.add(reason, self._reached(), admitted.want.alone or self.settings.slots == 1)
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
            allowed = KILLS_ALLOWED if end.how in (Ended.DIED, Ended.STOPPED) else OUTAGES_ALLOWED
            if reason is StopReason.MACHINE and setbacks.outages >= allowed:
                return self._parked(end, setbacks.outages)
            if (order := self._pause_before(reason, setbacks.outages, allowed, message_of(end))) is not None:
                return StopRequest(order)
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
        try:
            admitted = self.memory.admit(alone)
        except CannotFit as refused:  # before any process has started
            return StopRequest(StopReason.CANNOT_FIT, f"{self._named()} {refused}")
        except BadMemory as refused:  # a person's function: it would say the same of every trial
            return self._parked(AttemptEnd(Ended.FAILED, {"cause": Cause.CODE_ERROR, "message": str(refused)}), 1)
        if not self._takes_room(admitted):
            return StopRequest(self.ordered(self.job.id) or StopReason.DRAIN)
        return admitted

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
        return self._cannot_fit(self._too_large(end), f"; {self._cure()}")

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
        once_more = AGAIN if alone or self.settings.slots == 1 else f"{AGAIN}, alone"
        return {**words, "alone": once_more}.get(str(self.resources.on_oom))

    def _pause_before(self, reason: StopReason, outages: int, allowed: int, message: str) -> StopReason | None:
        """Waits until the machine has cooled, or has had time to recover; returns an order that came meanwhile."""
        if reason is StopReason.HEAT:
            self.slot.cool_down(self.db, self.claim.worker_id, lambda: self.ordered(self.job.id) is not None)
            return self.ordered(self.job.id)
        wait_s = pause_s(outages, self.settings.outage_pause_s) if reason is StopReason.MACHINE else 0.0
        if not wait_s:
            return None
        said = (
            f"t{self.trial.number} runs again in {wait_s:.3g} s: {message}; {outages} of {allowed} tries "
            "without progress, after the last one the job fails"
        )
        transitions.record_intervention(self.db, self.claim, "waits", said, {}, trial_id=self.trial.id)
        self.tell(Note(f"{self.job.experiment} {said}"))
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0 and (order := self.ordered(self.job.id)) is None:
            time.sleep(min(left, self.settings.poll_s))
        return order if left > 0 else self.ordered(self.job.id)

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

    def _cure(self) -> str:
        mend = f"free memory, or raise --memory-limit; then `fts resume {self.job.id}` tries it again"
        return mend + ("; with --on-oom fail such trials fail, and others run" if self._is_bare else "")

    @property
    def _is_bare(self) -> bool:
        """Of a function or a command, whose memory nobody has planned."""
        return not self.memory.plans

    def _reached(self) -> tuple[int, int]:
        """Epochs recorded, and the step of the latest checkpoint."""
        stored = queries.checkpoints(self.db, self.trial.id)
        return self._reread().epochs, stored[0]["step"] if stored else 0

    def _takes_room(self, admitted: Admission) -> bool:
        """Waits, and says so, until the other slots' trials leave room for this one; False: an order came first."""
        said: list[str] = []

        def leaves() -> bool:
            if not said:
                beside = "another trial has ended or reported: nobody knows how much memory that one needs"
                one_alone = self.slot.room.other_is_alone(self.slot.index)
                said.append(f"t{self.trial.number} waits until {beside if one_alone else waits_for(admitted)}")
                transitions.record_intervention(self.db, self.claim, "waits", said[0], {}, trial_id=self.trial.id)
                self.tell(Note(f"{self.job.experiment} {said[0]}"))
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
        cause = end.facts.get("cause")
        if cause == Cause.MACHINE_ERROR and end.facts.get("code") == -signal.SIGKILL and self._was_starved:
            cause = Cause.OUT_OF_MEMORY  # nobody counts the kernel's victims here, but memory was short
        reason = REASONS.get(str(cause))
        return reason if end.how is Ended.FAILED else reason or StopReason.CRASHED

    def _attempt(self, spec: TrialSpec, admitted: Admission) -> AttemptEnd:
        try:
            child = self.slot.child(self.study.program(self.cell), spec.threads, self._tell_history)
        except OSError as error:
            if is_disk_trouble(error):
                raise
            gone = gone_of(self.study.program(self.cell)) if isinstance(error, FileNotFoundError) else None
            message = gone or f"no trial process can be started: {error}"
            return AttemptEnd(
                Ended.FAILED, {"cause": Cause.MACHINE_ERROR.value, "message": message, "lasting": gone is not None}
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
        )
        curve = self._recorded()

        def record(fact: dict[str, Any]) -> Ended | StopRequest | None:
            try:
                return take(fact)
            except BadRow as refused:  # a step of 10**12, a name of 300 characters: the trial's fault alone
                return StopRequest(StopReason.CODE_ERROR, str(refused), kill=True)

        def take(fact: dict[str, Any]) -> Ended | StopRequest | None:
            watch.saw(fact)
            kind = fact.get("fact")
            if kind == "started":
                return self._record_started(spec, fact, child, watch.memory_marks())
            if kind == "epoch":
                fact = self._with_deciding(fact)
                self._record_epoch(fact)
                self.memory.reported(self.slot.peak())
                if (value := self._value(fact)) is not None:
                    curve[fact["epoch"]] = value
            if kind == "judge" or (kind == "epoch" and fact.get("judged", True)):
                so_far = {epoch: value for epoch, value in curve.items() if epoch <= fact["epoch"]}
                rule = self.cell.halving_rule
                self._pruned_for = should_prune(
                    self.cell.pruner,
                    self._rivals(),
                    self.number,
                    so_far,
                    Direction(pruning_of(self.cell)[1]),
                    rule,
                )
                return Ended.PRUNED if self._pruned_for else None
            if kind == "draw":
                drawn = {name: fact[name] for name in ("k", "name", "value", "distribution")}
                transitions.record_draw(self.db, self.claim, self.trial.id, **drawn)
                self.memory.drew(fact["name"], fact["value"], fact["distribution"])
            if kind == "sampler":
                of_sampler = {where: fact[where] for where in ("trial", "study") if isinstance(fact.get(where), dict)}
                transitions.record_progress(self.db, self.claim, self.trial.id, {OF_SAMPLER: of_sampler})
            if kind == "probe":
                return self._record_probe(spec, fact)
            if kind == "kept":
                self._record_kept(fact)
            if kind == "checkpoint":
                kept = ("step", "epoch", "path", "bytes", "md5", "seconds")
                transitions.record_checkpoint(self.db, self.claim, self.trial.id, **{name: fact[name] for name in kept})
            return None

        def wish() -> StopRequest | None:
            if admitted.shared:
                self.slot.keep_within_room()
            if log_limit is not None and log_limit.look():
                self._tell_dropped_log()
            if (late := self._late(watch.watchdog.worked_s)) is not None:
                return late
            order = self.ordered(self.job.id)
            if order is None or order is StopReason.DRAIN:
                return watch.wish()
            return StopRequest(order, kill=order is StopReason.LOST)

        program = self.study.program(self.cell)
        log_limit = None if program.reads_log or not self._is_bare else LogLimit(Path(spec.log_path))
        try:
            self._take_over(child, spec)
            attempt = Attempt(child, record, wish, self.settings.poll_s, self.settings.stop_grace_s, self._together)
            spec = self._with_history(spec, child)
            end = attempt.run(self.study.request(spec, self.db, self.places), spec.number)
        except StaleToken:
            self.slot.kill()  # no last checkpoint: somebody else writes to the same folder now
            raise
        except BaseException:
            self.slot.close()  # a full disk or a bug: the process must not train on
            raise
        if log_limit is not None and log_limit.look(last=True):
            self._tell_dropped_log()
        self.worked_s += watch.watchdog.worked_s
        self._peak = max(self._peak, self.slot.peak(), int(end.facts.get("peak_bytes") or 0))
        self._was_starved = self.slot.is_starved()
        self.slot.after(end)
        return end

    def _tell_dropped_log(self) -> None:
        kept = f"of its log the first and the last {in_gb(KEPT)} stay"
        said = f"t{self.trial.number} has printed more than {in_gb(MOST)}: {kept}"
        transitions.record_intervention(self.db, self.claim, "warned", said, {}, trial_id=self.trial.id)
        self.tell(Note(f"{self.job.experiment} {said}"))

    def _late(self, worked_s: float) -> StopRequest | None:
        """The end of a trial that has worked for longer than it may."""
        allowed_s = self.resources.trial_timeout_s
        seconds = self._spent_s + self.worked_s + worked_s
        if allowed_s is None or seconds <= allowed_s:
            return None
        said = f"time is up: it has worked for {spell(seconds)}, {spell(allowed_s)} allowed"
        return StopRequest(StopReason.TIME, said, kill=True)

    def _take_over(self, child: TrialProcess, spec: TrialSpec) -> None:
        """Nobody else works on this trial when this returns, and `child` is on record before it hears of the trial.

        A worker that was stopped for longer than its lease lost the job, but its trial process trains on: two would
        write to one folder. The old pid is read before the fence, so that a late worker never ends its successor's.
        """
        host = socket.gethostname()
        before = self._reread()
        if (before.pid, before.pid_started, before.host) == (child.pid, child.started, host):
            return
        if before.pid not in (None, child.pid) and before.host == host and before.pid_started is not None:
            transitions.record_progress(self.db, self.claim, self.trial.id, {"host": host})
            became = reap_recorded(before.pid or 0, before.pid_started)
            log.info("process %s, which ran this trial before: %s", before.pid, became)
        facts: dict[str, Any] = {"host": host, "pid": child.pid, "pid_started": child.started}
        facts["log_path"] = spec.log_path  # a file that cannot be imported has said why there
        if gpus := self.slot.room.gpus_of(self.slot.index):
            facts["gpus"] = [gpu.name for gpu in gpus]
        transitions.record_progress(self.db, self.claim, self.trial.id, facts)

    def _recorded(self) -> dict[int, float]:
        """What earlier attempts have told of this trial: one that goes on from a checkpoint does not tell it again."""
        recorded = queries.epochs(self.db, self.trial.id)
        return {
            epoch.epoch: epoch.value for epoch in recorded if epoch.value is not None and math.isfinite(epoch.value)
        }

    def _with_deciding(self, fact: dict[str, Any]) -> dict[str, Any]:
        """An epoch with the value that the pruner looks at, which need not be that of the first goal."""
        name, metrics = pruning_of(self.cell)[0], fact.get("metrics")
        if name == self.cell.metric or not isinstance(metrics, dict) or name not in metrics:
            return fact
        return fact | {"value": metrics[name]}

    def _value(self, fact: dict[str, Any]) -> float | None:
        """The number of an epoch that decides."""
        found: float | None = fact["value"] if "value" in fact else fact[self.cell.metric]
        return found

    def _record_started(
        self, spec: TrialSpec, fact: dict[str, Any], child: TrialProcess, marks: dict[str, int]
    ) -> StopRequest | None:
        declared = [one.name for one in self.study.facts]
        facts = {name: fact[name] for name in (*STARTED_FACTS, *declared) if name in fact}
        if CODE_CHANGED in fact.get("badges", ()):
            facts[CHANGED_TO] = fact["code_md5"]
            self._tell_changed_code(fact["code_md5"])
        facts |= {"log_path": spec.log_path, "pid": child.pid, "pid_started": child.started}
        try:
            transitions.record_started(self.db, self.claim, self.trial.id, facts, marks)
        except LabelClash as clash:
            return StopRequest(StopReason.DATA_ERROR, str(clash), kill=True)
        return None

    def _tell_changed_code(self, md5: str) -> None:
        """Once for each state of the file."""
        since = f"t{self.trial.number}"
        said = (
            f"the code is not what was put in line, its md5 is {md5[:8]} now: trials from {since} on get the badge "
            f"`{CODE_CHANGED}`; restore the file, or put the new code in line with `fts enqueue`"
        )
        if md5 in self.told_code:
            return
        self.told_code.add(md5)
        earlier = queries.events(self.db, job_id=self.job.id, verbs=["warned"])
        if not any(event.data.get(CHANGED_TO) == md5 for event in earlier):
            transitions.record_intervention(
                self.db, self.claim, "warned", said, {CHANGED_TO: md5}, trial_id=self.trial.id
            )
            self.tell(Note(f"{self.job.experiment} {said}"))

    def _record_probe(self, spec: TrialSpec, fact: dict[str, Any]) -> StopRequest | None:
        """What the first steps really took; more than it may, and the trial goes on with a leaner recipe."""
        measured = fact.get("measured")
        if measured is None:
            return None
        transitions.record_progress(self.db, self.claim, self.trial.id, {"peak_bytes": measured})
        if spec.memory_limit is None or measured <= spec.memory_limit or not self.study.can_shrink(self.cell):
            return None
        return StopRequest(
            StopReason.SHRINK, f"its first steps used {in_gb(measured)} of memory, {in_gb(spec.memory_limit)} allowed"
        )

    def _record_epoch(self, fact: dict[str, Any]) -> None:
        epoch = {name: value for name, value in fact.items() if name not in ("fact", "number", "judged")}
        try:
            transitions.record_epoch(self.db, self.claim, self.trial.id, epoch)
        except ResumeMismatch as mismatch:  # an event tells of it; the first result stays
            log.warning("%s", mismatch)
        self.tell(EpochReported(self.job, self.trial, fact))

    def _record_kept(self, fact: dict[str, Any]) -> None:
        """A file that the trial keeps; a later one of the same name has taken its place."""
        known = self._reread().facts.get(KEPT_FILES)
        files = dict(known) if isinstance(known, dict) else {}
        if len(files) >= MOST_FILES and fact["name"] not in files:
            raise BadRow(f"the trial keeps more than {MOST_FILES} files; keep a folder with fts.artifact instead")
        files[fact["name"]] = {name: value for name, value in fact.items() if name in ("md5", "bytes", "rows")}
        transitions.record_progress(self.db, self.claim, self.trial.id, {KEPT_FILES: files})

    def _spec(self, admitted: Admission) -> TrialSpec:
        """What the trial process gets."""
        return TrialSpec(
            cell=self.cell,
            number=self.number,
            params=self.trial.params,
            seed=self.trial.seed,
            threads=self.memory.threads,  # a resumed trial keeps its own: it decides the last bits
            device="cuda" if self.resources.gpu else self.trial.device or self.settings.device,
            data_root=str(self.places.data),
            folder=str(folder_of(self.places.outputs, self.job.experiment, self.job.id, self.trial.number)),
            log_path=str(trial_log(self.places.logs, self.job.experiment, self.job.id, self.trial.number)),
            recipe=admitted.recipe,
            memory_limit=admitted.limit,
            resume=True,  # from a checkpoint if there is one
            checkpoint_every_s=self.settings.checkpoint_every_s,
            draws=self._draws(),
        )

    def _draws(self) -> tuple[dict[str, Any], ...]:
        """What this trial has drawn itself so far, which it gets again."""
        told = ("k", "name", "value", "distribution")
        return tuple({name: getattr(draw, name) for name in told} for draw in queries.draws(self.db, self.trial.id))

    def _history(self) -> list[PastTrial]:
        """Define-by-run: the earlier trials of the job as its sampler sees them; later ones have no say."""
        draws = self.cell.space is None and self.cell.sampler not in NO_HISTORY
        return self.history.before(self.number) if draws or reads_the_study(self.cell) else []

    def _tell_history(self, template: Template) -> None:
        """Before it forks."""
        if self._earlier is not None:
            template.know(self._earlier, self.number, goals_of(self.cell), self.cell.space)

    def _with_history(self, spec: TrialSpec, child: TrialProcess) -> TrialSpec:
        """The specification with those earlier trials that its process does not know yet."""
        if self._earlier is None:
            return spec
        known = {"history": self._earlier.name, "trials": len(self._earlier.past)}
        return replace(spec, history=tuple(child.told.changed(self._earlier)), known=known)

    @cached_property
    def _earlier(self) -> Told | None:
        """The history under a name of its own; None: its process is not one of a function."""
        if self.study.program(self.cell).forks_for is None:
            return None
        name = f"{self.job.id}.{self.claim.token}"
        if self.role is not None:  # its specification may see another history, in a process of the same file
            name += f".{self.role}"
        return Told(name, self._history())

    def _rivals(self) -> list[PastTrial]:
        """What a pruner compares the trial with: while it runs no other one changes."""
        if self.cell.pruner == "none":
            return []
        if self._rivals_then is None:
            self._rivals_then = self.history.past(without=self.trial.number)
        return self._rivals_then

    def _again(self, spec: TrialSpec, reason: StopReason, message: str, progressed: bool = False) -> TrialSpec | None:
        """The spec of the next attempt: from the checkpoint, after a shrink with less memory; None: none is leaner."""
        recipe = self._reread().recipe or spec.recipe
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
        words = f"t{self.trial.number} continues from its checkpoint: {why}"
        data = {"reason": reason, "recipe": recipe}
        transitions.record_attempt_ended(self.db, self.claim, self.trial.id, reason)
        if self._is_bare and reason.memory:
            kept = {"recipe": recipe, "peak_bytes": max(self._peak, self._reread().peak_bytes or 0) or None}
            told = {name: value for name, value in kept.items() if value is not None}
            transitions.record_progress(self.db, self.claim, self.trial.id, told)
        transitions.record_intervention(self.db, self.claim, "trial_restarted", words, data, trial_id=self.trial.id)
        self.tell(Note(f"{self.job.experiment} {words}"))
        return replace(spec, recipe=recipe)

    def _close(self, end: AttemptEnd) -> None:
        """Write how the trial ended."""
        facts = end.facts
        if end.how is Ended.FAILED:
            status, cause = TrialStatus.FAILED, facts.get("cause", Cause.CODE_ERROR)
        elif end.how is Ended.PRUNED:
            status, cause = TrialStatus.PRUNED, Cause.PRUNED
        else:
            status, cause = TrialStatus.COMPLETE, facts["reason"]
            if cause == Cause.DIVERGED or facts.get("value") is None:
                status, cause = TrialStatus.FAILED, Cause.DIVERGED
        # a pruned trial may have come to its own result before it heard the verdict: its record does not tell which
        told = {} if end.how is Ended.PRUNED else facts
        known = {name: told[name] for name in RESULT_FACTS if told.get(name) is not None}
        if self._is_bare and self._peak:
            known["peak_bytes"] = max(
                self._peak, self._reread().peak_bytes or 0
            )  # of the whole tree; the process tells only its own
        if self.role is not None:
            known["badges"] = [*known.get("badges", ()), self.role]
        elif self.cell.kind == "cell" and self.number < len(self.cell.warm_start):
            known["badges"] = [*known.get("badges", ()), "warm"]
        if CHANGED_TO in self._reread().facts:  # whichever of its attempts ran other code
            known["badges"] = [*known.get("badges", ()), CODE_CHANGED]
        if end.how is Ended.RESULT:
            self.study.on_result(Finished(self.db, self.places, self.job, f"worker {self.claim.worker_id}"), facts)
        if end.how is Ended.PRUNED or cause in (Cause.TIME_LIMIT, Cause.OUT_OF_MEMORY, Cause.CANNOT_FIT):
            known |= best_so_far(queries.epochs(self.db, self.trial.id), self.study, self.cell)
        message = self._pruned_for if end.how is Ended.PRUNED else facts.get("message")
        aims = Judged()
        if status is not TrialStatus.FAILED:
            complete = status is TrialStatus.COMPLETE
            of_pruned = {CONSTRAINTS: facts.get(CONSTRAINTS)} if facts.get("fact") == "pruned" else {}
            aims = judged(self.cell, facts if complete else of_pruned, complete)
        if aims.cause is not None:
            status, cause, message = TrialStatus.FAILED, aims.cause, aims.message
            known.pop("value", None)
        if aims.badges:
            known["badges"] = [*known.get("badges", ()), *aims.badges]
        declared = {one.name: told[one.name] for one in self.study.facts if told.get(one.name) is not None}
        if told.get("metrics"):
            declared["metrics"] = told["metrics"]  # of a function that returned several numbers
        by_itself = end.how is not Ended.PRUNED or facts.get("fact") == "pruned"  # else nobody knows how far it came
        if by_itself and (attrs := kept_attributes(facts.get("user_attrs"))):
            declared["attrs"] = attrs  # of a function that called trial.set_user_attr
        declared |= aims.facts
        end_it = partial(transitions.finish_trial, self.db, self.claim, self.trial.id)
        try:
            end_it(status, cause, message=message, facts=declared, **known)
        except BadRow as refused:  # 5,000 metrics
            end_it(TrialStatus.FAILED, Cause.CODE_ERROR, message=str(refused))
        self.tell(TrialEnded(self.job, self._reread()))

    def _reread(self) -> Trial:
        return queries.trial(self.db, self.job.id, self.trial.number)


def reads_the_study(cell: Cell) -> bool:
    """Does the file of a function speak of `trial.study`, whose best value or trials it may want?"""
    if not isinstance(cell, FunctionCell):
        return False
    try:
        return b".study" in cell.path.read_bytes()
    except OSError:
        return False  # which its process then says


def gone_of(program: Program) -> str | None:
    """What a program needs and is not there; None: it is all there."""
    if program.folder is not None and not Path(program.folder).is_dir():
        return f"{program.folder} is no folder; move it back, or put the study in line again from where it is now"
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


class Setbacks:
    """Counts what went wrong with one trial since it last gained an epoch or a checkpoint."""

    def __init__(self, reached: tuple[int, int]) -> None:
        self.stalls = self.crashes = self.outages = self.memory = self.alone = 0
        self._reached = reached

    def add(self, reason: StopReason | None, reached: tuple[int, int], alone: bool = False) -> None:
        """`alone`: no other trial ran beside it."""
        self.stalls += reason is StopReason.STALLED
        if reached != self._reached:
            self._reached, self.crashes, self.outages, self.memory, self.alone = reached, 0, 0, 0, 0
        self.crashes += reason is StopReason.CRASHED
        self.outages += reason is StopReason.MACHINE
        self.memory += reason is not None and reason.memory
        self.alone += reason is not None and reason.memory and alone

    def hopeless(self, reason: StopReason | None) -> Cause | None:
        """The cause to end a trial with that was tried often enough, or that another try cannot mend."""
        if self.stalls > STALLS_ALLOWED:
            return Cause.STALLED
        if self.crashes > CRASHES_ALLOWED:
            return Cause.CODE_ERROR
        return Cause(reason) if reason in (StopReason.DATA_ERROR, StopReason.CODE_ERROR) else None


def best_so_far(epochs: Sequence[Epoch], study: Study, cell: Cell) -> dict[str, Any]:
    """What a pruned trial had reached: recorded, but never ranked (its status says so)."""
    scored = [(epoch.value, epoch) for epoch in epochs if epoch.value is not None]
    if not scored:
        return {}
    decides, goal = pruning_of(cell)
    value, best = min(scored, key=lambda pair: Direction(goal).key(pair[0]))
    if decides != cell.metric:
        return {"value": best.number(cell.metric), "best_epoch": best.epoch}
    kept = {metric.name: best.number(metric.name) for metric in study.metrics if metric.name in RESULT_FACTS}
    return {"value": value, "best_epoch": best.epoch, "last_value": scored[-1][0], **kept}


def kept_attributes(told: Any) -> dict[str, Any]:
    """What a function kept with set_user_attr, the first of it as far as a row has room."""
    kept: dict[str, Any] = {}
    room = MAX_ATTRIBUTES
    for name, value in told.items() if isinstance(told, dict) else ():
        room -= len(json.dumps([name, value]))
        if room < 0:
            break
        kept[name] = value
    return kept


def message_of(end: AttemptEnd) -> str:
    if end.wish is not None and end.wish.message:
        return end.wish.message
    said = str(end.facts.get("message") or "")
    by_signal = end.how is Ended.STOPPED and end.wish is None and not said
    return "a signal from outside stopped the trial process" if by_signal else said
