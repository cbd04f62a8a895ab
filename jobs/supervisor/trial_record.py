"""Writes the facts that one running trial sends to the database."""

from __future__ import annotations

import logging
import math
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.goals import pruning_of
from fts.jobs.api.nearest import hint
from fts.jobs.status.formatting import in_gb
from fts.jobs.supervisor.log_limit import KEPT, MOST
from fts.jobs.supervisor.process_tree import Reaped, is_of_another_study, reap_recorded
from fts.jobs.supervisor.progress_events import EpochReported, Note
from fts.jobs.trial.artifacts import MOST_FILES
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.raising import quoted
from fts.state import queries, transitions
from fts.state.errors import BadRow, LabelClash, ResumeMismatch
from fts.state.transitions.trials import OF_SAMPLER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.jobs.api.spec import TrialSpec
    from fts.jobs.api.study import Cell
    from fts.jobs.executors.base import Placed
    from fts.jobs.supervisor.progress_events import ProgressReporter
    from fts.jobs.supervisor.work import Work
    from fts.state.values import Trial

log = logging.getLogger("fts.worker")

CODE_CHANGED = "code changed"  # badge of a trial that ran another file than the enqueued one
CHANGED_TO = "code_changed"  # fact of such a trial: the md5 of the code it ran
STARTED_FACTS = (
    "n_params", "n_train", "n_val", "n_pos", "prior_loss", "label_md5", "base_rate", "data_md5", "torch_version",
    "host", "device", "threads", "micro_batch", "accumulation", "recipe", "predicted_bytes",
)  # fmt: skip
FINGERPRINT = "fingerprint"  # fact of a trial on nodes: hardware and libraries of the first node
OTHER_HARDWARE = "other_hardware"  # fact of such a trial: the first node with another fingerprint
MOVED = "other hardware"  # badge of such a trial
KEPT_AT = "kept_at"  # fact of a trial with large checkpoints: their folder on the shared file system
KEPT_FILES = "files"  # fact of a trial: name -> md5 and bytes of each kept file


class TrialRecord:
    """Writes facts of one trial under one claim; raises StaleToken if the claim is lost."""

    def __init__(self, work: Work, trial: Trial, cell: Cell, tell: ProgressReporter) -> None:
        self.db, self.slot, self.claim, self.study = work.db, work.slot, work.claim, work.study
        self.job, self.reported_code = work.claim.job, work.reported_code
        self.trial, self.cell, self.tell = trial, cell, tell
        self._kept_at = trial.facts.get(KEPT_AT)
        self._warned_garbage = False

    def report(self, verb: str, message: str, data: dict[str, Any] | None = None) -> None:
        """Records an event of the trial, and prints its message."""
        transitions.record_intervention(self.db, self.claim, verb, message, data or {}, trial_id=self.trial.id)
        self.tell(Note(message, self.job))

    def warn_log_dropped(self) -> None:
        kept = f"only the first and the last {in_gb(KEPT)} of its log are kept"
        message = f"t{self.trial.number} has printed more than {in_gb(MOST)}: {kept}"
        self.report("warned", message)

    def take_over(self, child: Placed, spec: TrialSpec) -> None:
        """Ends the trial's previous process if it still runs, and records `child` before it receives the trial.

        A worker that was stopped for longer than its lease has lost the job, but its trial process still trains: two
        would write to one folder. The old pid is read before the token is checked, so that a late worker never ends
        its successor's process.
        """
        host = socket.gethostname()
        before = self.reread()
        here = child.node is None
        if here and (before.pid, before.pid_started, before.host) == (child.pid, child.started, host):
            return
        if before.pid not in (None, child.pid) and before.host == host and before.pid_started is not None:
            transitions.record_progress(self.db, self.claim, self.trial.id, {"host": host})
            if is_of_another_study(before.pid or 0, Path(spec.log_path)):
                became = Reaped.NOT_OURS
            else:
                became = reap_recorded(before.pid or 0, before.pid_started)
            if became is not Reaped.GONE:
                log.info("process %s, which ran this trial before: %s", before.pid, became)
        facts: dict[str, Any] = self._process(child)
        facts["log_path"] = spec.log_path  # now: a file that cannot be imported writes its error there
        if child.node is not None:
            facts |= self._hardware(before, child)
        if gpus := self.slot.room.gpus_of(self.slot.index):
            facts["gpus"] = [gpu.name for gpu in gpus]
        transitions.record_progress(self.db, self.claim, self.trial.id, facts)

    def _hardware(self, before: Trial, child: Placed) -> dict[str, Any]:
        """Returns facts about the node; warns when the trial continues on other hardware, which changes last bits."""
        first = before.facts.get(FINGERPRINT)
        if first is None:
            return {FINGERPRINT: child.fingerprint}
        if first == child.fingerprint or before.facts.get(OTHER_HARDWARE):
            return {}
        message = (
            f"t{self.trial.number} continues on {child.node}, which has other hardware or libraries than its first "
            f"node: the last bits of its numbers may differ, and it gets the badge `{MOVED}`"
        )
        self.report("warned", message)
        return {OTHER_HARDWARE: child.node}

    def _process(self, child: Placed) -> dict[str, Any]:
        """Returns the facts that identify the process; without a pid on another machine, which we could not signal."""
        if child.node is not None:
            return {"host": child.node, "pid": None, "pid_started": None}
        return {"host": socket.gethostname(), "pid": child.pid, "pid_started": child.started}

    def curve(self) -> dict[int, float]:
        """Returns epoch -> value from earlier attempts; a trial that resumes does not send them again."""
        recorded = queries.epochs(self.db, self.trial.id)
        return {
            epoch.epoch: epoch.value for epoch in recorded if epoch.value is not None and math.isfinite(epoch.value)
        }

    def with_deciding(self, fact: dict[str, Any]) -> dict[str, Any]:
        """Sets the value of an epoch to that of the metric the pruner uses, which may not be the first goal.

        None if the epoch names other metrics only: their numbers must not be compared with it.
        """
        name, metrics = pruning_of(self.cell)[0], fact.get("metrics")
        if name == self.cell.metric or not metrics or not isinstance(metrics, dict):
            return fact
        return fact | {"value": metrics.get(name)}

    def value(self, fact: dict[str, Any]) -> float | None:
        """Returns the value of an epoch that the pruner compares."""
        found: float | None = fact["value"] if "value" in fact else fact[self.cell.metric]
        return found

    def started(
        self, spec: TrialSpec, fact: dict[str, Any], child: Placed, marks: dict[str, int]
    ) -> StopRequest | None:
        declared = [one.name for one in self.study.facts]
        facts = {name: fact[name] for name in (*STARTED_FACTS, *declared) if name in fact}
        if CODE_CHANGED in fact.get("badges", ()):
            facts[CHANGED_TO] = fact["code_md5"]
            self._warn_changed_code(fact["code_md5"])
        facts["log_path"] = spec.log_path
        facts |= self._process(child)
        try:
            transitions.record_started(self.db, self.claim, self.trial.id, facts, marks)
        except LabelClash as clash:
            return StopRequest(StopReason.DATA_ERROR, str(clash), kill=True)
        return None

    def _warn_changed_code(self, md5: str) -> None:
        """Warns once for each md5 of the file."""
        since = f"t{self.trial.number}"
        message = (
            f"the code is not what was enqueued, its md5 is {md5[:8]} now: trials from {since} on get the badge "
            f"`{CODE_CHANGED}`; restore the file, or enqueue the new code with `fts enqueue`"
        )
        if md5 in self.reported_code:
            return
        self.reported_code.add(md5)
        earlier = queries.events(self.db, job_id=self.job.id, verbs=["warned"])
        if not any(event.data.get(CHANGED_TO) == md5 for event in earlier):
            self.report("warned", message, {CHANGED_TO: md5})

    def warn_undrawn(self, given: Mapping[str, Any]) -> None:
        """Warns about parameters of a warm start that the function did not suggest: probably misspelt."""
        drawn = [draw.name for draw in queries.draws(self.db, self.trial.id)]
        wrong = [name for name in given if name not in drawn]
        if wrong:
            near = "".join(hint(name, drawn) for name in wrong)
            message = (
                f"warm_start gives t{self.trial.number} a value for {', '.join(wrong)}, which its function did not "
                f"suggest; {near}it suggested {', '.join(drawn) or 'nothing'}"
            )
            self.report("warned", message)

    def warn_missing_metric(self, fact: dict[str, Any]) -> None:
        """Warns that a command reports other metrics than the deciding one; only until a trial has reported it."""
        names = [str(name)[:80] for name in fact.get("names", ())]
        if not names or queries.trials_with_steps(self.db, self.job.id):
            return
        message = (
            f"t{self.trial.number} has reported {', '.join(names)} and not {self.cell.metric}, which decides; "
            f"report it, or enqueue with --metric {names[0]}"
        )
        self.report("warned", message)

    def probe(self, spec: TrialSpec, fact: dict[str, Any]) -> StopRequest | None:
        """Records the memory of the first steps; above the limit, returns a request to use a leaner recipe."""
        measured = fact.get("measured")
        if measured is None:
            return None
        transitions.record_progress(self.db, self.claim, self.trial.id, {"peak_bytes": measured})
        if spec.memory_limit is None or measured <= spec.memory_limit or not self.study.can_shrink(self.cell):
            return None
        return StopRequest(
            StopReason.SHRINK, f"its first steps used {in_gb(measured)} of memory, {in_gb(spec.memory_limit)} allowed"
        )

    def epoch(self, fact: dict[str, Any]) -> None:
        epoch = {name: value for name, value in fact.items() if name not in ("fact", "number", "judged")}
        try:
            transitions.record_epoch(self.db, self.claim, self.trial.id, epoch)
        except ResumeMismatch as mismatch:  # it is recorded as an event; the first value stays
            log.warning("%s", mismatch)
        self.tell(EpochReported(self.job, self.trial, fact))

    def warn_garbage(self, fact: dict[str, Any]) -> None:
        """Warns once about an invalid line among the facts, usually written by the user's code."""
        if self._warned_garbage:
            return
        self._warned_garbage = True
        message = f"t{self.trial.number}: an invalid line was ignored, {fact['reason']}: {quoted(fact['line'], 120)}"
        self.report("warned", message)

    def draw(self, fact: dict[str, Any]) -> None:
        drawn = {name: fact[name] for name in ("k", "name", "value", "distribution")}
        transitions.record_draw(self.db, self.claim, self.trial.id, **drawn)

    def sampler(self, fact: dict[str, Any]) -> None:
        of_sampler = {where: fact[where] for where in ("trial", "study") if isinstance(fact.get(where), dict)}
        transitions.record_progress(self.db, self.claim, self.trial.id, {OF_SAMPLER: of_sampler})

    def checkpoint(self, fact: dict[str, Any]) -> None:
        kept = ("step", "epoch", "path", "bytes", "md5", "seconds")
        transitions.record_checkpoint(self.db, self.claim, self.trial.id, **{name: fact[name] for name in kept})
        if (at := fact.get(KEPT_AT)) is not None and at != self._kept_at:
            transitions.record_progress(self.db, self.claim, self.trial.id, {KEPT_AT: at})
            self._kept_at = at

    def kept(self, fact: dict[str, Any]) -> None:
        """Records a file that the trial keeps; replaces an earlier one with the same name."""
        known = self.reread().facts.get(KEPT_FILES)
        files = dict(known) if isinstance(known, dict) else {}
        if len(files) >= MOST_FILES and fact["name"] not in files:
            raise BadRow(f"the trial keeps more than {MOST_FILES} files; keep a folder with fts.artifact instead")
        files[fact["name"]] = {name: value for name, value in fact.items() if name in ("md5", "bytes", "rows")}
        transitions.record_progress(self.db, self.claim, self.trial.id, {KEPT_FILES: files})

    def reread(self) -> Trial:
        return queries.trial(self.db, self.job.id, self.trial.number)
