"""Runs one claimed job to its end, trial by trial, and writes down everything that happens.

One supervisor per slot. It owns the slot's trial process, draws parameters, decides pruning, and answers every way an
attempt can end. All its writes carry the claim's token: a supervisor that woke up late is refused and says so.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fts.analysis.baselines import BASELINES
from fts.search.prune import should_prune
from fts.search.recipe import CannotFit, shrunk
from fts.search.spec import BadSpec, CellSpec, TrialSpec, UnusedParameter, config_md5, effective_config, seed_for
from fts.search.spec import trial_folder as folder_of
from fts.search.suggest import PastTrial, suggest
from jobs import exports, margins
from jobs.admission import TRAINS, recipe_for
from jobs.attempt import Attempt, End, Wish
from jobs.commands.matrix import code_version
from jobs.guard import size
from jobs.models import opened_by, publish
from jobs.process import ChildProcess, reap_recorded
from jobs.settings import Places, WorkerSettings, module_of
from jobs.slot import Slot
from state import queries, transitions
from state.errors import LabelClash, ResumeMismatch, StaleToken
from state.values import Cause, Claim, Epoch, Job, Trial, TrialStatus

log = logging.getLogger("fts.worker")

STALLS_ALLOWED = 2  # the third stall of a trial fails it
FAILURES_IN_A_ROW = 3  # then the job is given up: the fault is not in the parameters


class Supervisor:
    """Runs the claim it is given; `ordered` says what people asked of it meanwhile."""

    def __init__(
        self,
        db: Any,
        places: Places,
        settings: WorkerSettings,
        slot: Slot,
        claim: Claim,
        ordered: Callable[[int], str | None],
        tell: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.db, self.places, self.settings = db, places, settings
        self.slot, self.claim, self.ordered, self.tell = slot, claim, ordered, tell
        self.job = claim.job
        self.cell = checked_cell(self.job)
        self.maximize = self.cell.objective == "val_auc"
        self.code = code_version()
        self.who = f"worker {claim.worker_id}"

    def run(self) -> None:
        """Trial after trial until the job is done, given up, or somebody wants it to stop."""
        try:
            self._run()
        except (UnusedParameter, BadSpec) as refused:  # the specification is at fault: no other attempt can mend it
            transitions.fail_job(self.db, self.claim, Cause.CODE_ERROR, str(refused))
            self._export()
            self.tell("job failed", {"job": self.job})

    def _run(self) -> None:
        failures = 0
        while (trial := self._next_trial()) is not None:
            wish = self._run_trial(trial)
            if wish is not None:
                return self._leave(wish)
            ended = self._reread(trial)
            if self.cell.kind == "cell":
                self._compare()
            exports.export_trial(self.db, self.places, self.job, ended.number)
            failures = failures + 1 if ended.status == TrialStatus.FAILED else 0
            if ended.cause == Cause.DATA_ERROR or failures == FAILURES_IN_A_ROW:
                return self._give_up(ended)
            if (order := self.ordered(self.job.id)) is not None:
                return self._leave(Wish(order))
        self._compare()
        if self.cell.kind == "train":
            publish(self.db, self.places, self.job)
        transitions.finish_job(self.db, self.claim)
        self._export()
        self.tell("job done", {"job": self.job})
        return None

    # -- how a job is left

    def _leave(self, wish: Wish) -> None:
        """Back in line, paused or cancelled: what was asked for; its trial keeps its number and its checkpoint."""
        if wish.reason == "lost":
            self.tell("note", {"text": f"{self.job.experiment}: handed on to another worker, its trial here was ended"})
            return
        if wish.reason == "pause":
            transitions.pause_running(self.db, self.claim)
        elif wish.reason == "cancel":
            transitions.cancel_running(self.db, self.claim)
        elif wish.reason == "cannot fit":
            transitions.hold_job(self.db, self.claim, wish.message)
        elif wish.reason == "disk":
            # in this order: between the two, nobody may take the job and meet the same disk
            transitions.pause_queue(self.db, f"disk: {wish.message}", who=f"worker {self.claim.worker_id}")
            transitions.release_job(self.db, self.claim, Cause.DISK, wish.message)
        else:
            transitions.release_job(self.db, self.claim, Cause.DRAINED, wish.message)
        self.tell(f"job {LEFT.get(wish.reason, 'back in line')}", {"job": self.job})

    def _give_up(self, ended: Trial) -> None:
        message = f"trial {ended.number} failed: {ended.message or ended.cause}"
        transitions.fail_job(self.db, self.claim, ended.cause or Cause.CODE_ERROR, message, log_tail(ended.log_path))
        self._export()
        self.tell(f"job failed ({ended.cause}): {message}", {"job": self.job})

    def _export(self) -> None:
        job = queries.job(self.db, self.job.id)
        exports.export_job(self.db, self.places, job)
        exports.export_results(self.db, self.places)

    def _compare(self) -> None:
        """What this job adds to the comparison of cells with baselines."""
        job = queries.job(self.db, self.job.id)
        margins.refresh(self.db, self.places, job, self.who)

    # -- trials

    def _next_trial(self) -> Trial | None:
        """The interrupted trial if there is one, else a new one with freshly drawn parameters, else None: all done."""
        trials = queries.trials(self.db, self.job.id)
        for trial in trials:
            if trial.status == TrialStatus.INTERRUPTED:
                transitions.resume_trial(self.db, self.claim, trial.id)
                return trial
        number = len(trials)
        return self._open_trial(number, trials) if number < self.cell.trials else None

    def _open_trial(self, number: int, trials: Sequence[Trial]) -> Trial:
        params = self._draw(number)
        effective = effective_config(self.cell, params)
        md5 = config_md5(effective)
        trial_id = transitions.start_trial(
            self.db,
            self.claim,
            number,
            params=params,
            effective=effective,
            effective_md5=md5,
            architecture=effective.get("architecture") or f"{effective['model']} ({effective['inputs']})",
            objective=self.cell.objective,
            seed=seed_for(self.cell.seed, number, FROM_WINNER.get(self.cell.kind, "train")),
            code_commit=self.code[0],
            code_dirty=self.code[1],
        )
        twin = next((t for t in trials if t.effective_md5 == md5 and t.status == TrialStatus.COMPLETE), None)
        if twin is not None and self.cell.kind != "replicate":  # a replicate is the same configuration on purpose
            self._reuse(trial_id, twin)
        return queries.trial(self.db, self.job.id, number)

    def _reuse(self, trial_id: int, twin: Trial) -> None:
        """An identical effective configuration has run: its result stands for this one too, marked so (lesson 31)."""
        kept = ("value", "best_epoch", "last_value", "val_loss", "val_auc", "auc_low", "auc_high")
        transitions.finish_trial(
            self.db,
            self.claim,
            trial_id,
            TrialStatus.COMPLETE,
            Cause.REUSED,
            badges=[*(badge for badge in twin.badges if badge != "reused"), "reused"],
            reused_from=twin.reused_from or twin.id,
            message=f"same configuration as trial {twin.number}",
            **{name: getattr(twin, name) for name in kept},
        )

    def _draw(self, number: int) -> dict[str, Any]:
        if self.cell.kind == "baseline":
            return dict(BASELINES[number])
        if self.cell.kind in FROM_WINNER:
            return dict(self.cell.warm_start[0])
        if number < len(self.cell.warm_start):
            return dict(self.cell.warm_start[number])
        return suggest(self.cell.space, self._history(), self.cell.seed, number, self.cell.sampler, self.maximize)

    def _history(self, without: int | None = None) -> list[PastTrial]:
        """What a sampler or pruner may know: the recorded trials of this job."""
        return [
            PastTrial(t.number, t.params, str(t.status), t.value, self._curve(epochs))
            for t, epochs in queries.history(self.db, self.job.id)
            if t.number != without
        ]

    def _curve(self, epochs: Sequence[Epoch]) -> dict[int, float]:
        values = {epoch.epoch: getattr(epoch, self.cell.objective) for epoch in epochs}
        return {epoch: value for epoch, value in values.items() if value is not None and math.isfinite(value)}

    def _run_trial(self, trial: Trial) -> Wish | None:
        """Attempts until the trial has ended; returns the wish it was left for, or None when it ended."""
        if trial.status == TrialStatus.COMPLETE:  # an identical twin had run
            return None
        self.tell("trial", {"job": self.job, "trial": trial})
        stalls = deaths = 0
        reached = self._reached(trial)
        try:
            spec = self._spec(trial)
        except CannotFit as refused:  # before any process has started
            return Wish("cannot fit", f"t{trial.number} {trial.architecture} {refused}")
        while True:
            end = self._attempt(trial, spec)
            reason = self._reason(trial, end)
            if reason in LEAVES:
                return Wish(reason, message_of(end))
            stalls += reason == "stalled"
            if reason == "died":  # it counts only when nothing was gained since the last time
                before, reached = reached, self._reached(trial)
                deaths = deaths + 1 if reached == before else 1
            if cause := hopeless(reason, stalls, deaths):
                end, reason = End("failed", {"cause": cause, "message": message_of(end)}), None
            if reason is None:
                self._close(trial, end)
                return None
            if reason == "heat":
                self.slot.cool_down(self.db, self.claim.worker_id, lambda: self.ordered(self.job.id) is not None)
                if order := self.ordered(self.job.id):
                    return Wish(order)
            again = self._again(trial, spec, reason, message_of(end))
            if again is None:
                leanest = f"t{trial.number} {trial.architecture} has no leaner recipe left"
                return Wish("cannot fit", f"{leanest}: {message_of(end)}")
            spec = again

    def _reached(self, trial: Trial) -> tuple[int, int]:
        """Epochs recorded, and the step of the latest checkpoint."""
        stored = queries.checkpoints(self.db, trial.id)
        return self._reread(trial).epochs, stored[0]["step"] if stored else 0

    def _reason(self, trial: Trial, end: End) -> str | None:
        """Why the trial must be left or tried again; None: it has ended."""
        if end.how in ("result", "pruned"):
            return None
        if end.how == "failed":
            return {"disk": "disk", "out of memory": "shrink"}.get(str(end.facts.get("cause")))
        return end.wish.reason if end.wish else "died"

    def _attempt(self, trial: Trial, spec: TrialSpec) -> End:
        child = self.slot.child(module_of(self.cell.kind, self.cell.cv))
        watch = self.slot.watch(self.db, self.claim, trial)
        history = self._history(without=trial.number)
        curve: dict[int, float] = {}

        def record(fact: dict[str, Any]) -> str | Wish | None:
            watch.saw(fact)
            kind = fact.get("fact")
            if kind == "started":
                return self._record_started(trial, spec, fact, child)
            if kind == "epoch":
                self._record_epoch(trial, fact)
                if (value := fact[self.cell.objective]) is not None:
                    curve[fact["epoch"]] = value
                return "prune" if should_prune(self.cell.pruner, history, trial.number, curve, self.maximize) else None
            if kind == "probe":
                return self._record_probe(trial, spec, fact)
            if kind == "checkpoint":
                kept = ("step", "epoch", "path", "bytes", "md5", "seconds")
                transitions.record_checkpoint(self.db, self.claim, trial.id, **{name: fact[name] for name in kept})
            return None

        def wish() -> Wish | None:
            order = self.ordered(self.job.id)
            return Wish(order, kill=order == "lost") if order not in (None, "drain") else watch.wish()

        try:
            self._take_over(trial, child)
            attempt = Attempt(child, record, wish, self.settings.poll_s, self.settings.stop_grace_s)
            end = attempt.run(spec.to_json(), trial.number)
        except StaleToken:
            self.slot.kill()  # no last checkpoint: somebody else writes to the same folder now
            raise
        except BaseException:
            self.slot.close()  # a full disk or a bug: the process must not train on
            raise
        self.slot.after(end)
        return end

    def _take_over(self, trial: Trial, child: ChildProcess) -> None:
        """Nobody else works on this trial when this returns, and `child` is on record before it hears of the trial.

        A worker that was stopped for longer than its lease lost the job, but its trial process trains on: two would
        write to one folder. The old pid is read before the fence, so that a late worker never ends its successor's.
        """
        host = socket.gethostname()
        before = self._reread(trial)
        if before.pid not in (None, child.pid) and before.host == host and before.pid_started is not None:
            transitions.record_progress(self.db, self.claim, trial.id, {"host": host})
            became = reap_recorded(before.pid or 0, before.pid_started)
            log.info("process %s, which had this trial before: %s", before.pid, became)
        facts = {"host": host, "pid": child.pid, "pid_started": child.started}
        transitions.record_progress(self.db, self.claim, trial.id, facts)

    def _record_started(self, trial: Trial, spec: TrialSpec, fact: dict[str, Any], child: ChildProcess) -> Wish | None:
        facts = {name: fact[name] for name in STARTED_FACTS if name in fact}
        facts |= {"log_path": spec.log_path, "pid": child.pid, "pid_started": child.started}
        try:
            transitions.record_started(self.db, self.claim, trial.id, facts)
        except LabelClash as clash:
            return Wish("data error", str(clash), kill=True)
        return None

    def _record_probe(self, trial: Trial, spec: TrialSpec, fact: dict[str, Any]) -> Wish | None:
        """What the first steps really took; more than it may, and the trial goes on with a leaner recipe."""
        measured = fact.get("measured")
        if measured is None:
            return None
        transitions.record_progress(self.db, self.claim, trial.id, {"peak_bytes": measured})
        if spec.memory_limit is None or measured <= spec.memory_limit or self.cell.kind not in TRAINS:
            return None
        return Wish("shrink", f"its first steps took {size(measured)}, {size(spec.memory_limit)} allowed")

    def _record_epoch(self, trial: Trial, fact: dict[str, Any]) -> None:
        epoch = {name: value for name, value in fact.items() if name not in ("fact", "number")}
        try:
            transitions.record_epoch(self.db, self.claim, trial.id, epoch)
        except ResumeMismatch as mismatch:  # an event tells of it; the first result stays
            log.warning("%s", mismatch)
        self.tell("epoch", {"job": self.job, "trial": trial, "epoch": fact})

    def _spec(self, trial: Trial) -> TrialSpec:
        """What the trial process gets; raises CannotFit if no recipe fits into the memory there is."""
        device, limit = trial.device or self.settings.device, self.slot.plan_limit()
        recipe = trial.recipe if limit is None else recipe_for(self.cell, trial.params, trial.recipe, limit, device)
        return TrialSpec(
            cell=self.cell,
            number=trial.number,
            params=trial.params,
            seed=trial.seed,
            threads=trial.threads or self.settings.threads,  # a resumed trial keeps its own: it decides the last bits
            device=device,
            data_root=str(self.places.data),
            folder=str(folder_of(self.places.outputs, self.job.experiment, self.job.id, trial.number)),
            log_path=str(self.places.logs / f"{self.job.experiment}_{self.job.id}_t{trial.number:04d}.log"),
            recipe=recipe,
            memory_limit=limit,
            resume=True,  # from a checkpoint if there is one
            checkpoint_every_s=self.settings.checkpoint_every_s,
            opened_by=opened_by(self.db, self.cell) if self.cell.kind == "train" else None,
        )

    def _again(self, trial: Trial, spec: TrialSpec, reason: str, message: str) -> TrialSpec | None:
        """The spec of the next attempt: from the checkpoint, after a shrink with less memory; None: none is leaner."""
        recipe = self._reread(trial).recipe or spec.recipe
        if reason in ("shrink", "kill"):
            recipe = shrunk(self.cell, recipe or {})
            if recipe is None:
                return None
            message += f"; now batch={batch_of(recipe, self.cell)}"
        words = f"t{trial.number} goes on from its checkpoint: {reason}{f', {message}' if message else ''}"
        data = {"reason": reason, "recipe": recipe}
        transitions.record_intervention(self.db, self.claim, "trial_restarted", words, data, trial_id=trial.id)
        self.tell("note", {"text": f"{self.job.experiment} {words}"})
        return replace(spec, recipe=recipe)

    def _close(self, trial: Trial, end: End) -> None:
        """Write how the trial ended."""
        facts = end.facts
        if end.how == "failed":
            status, cause = TrialStatus.FAILED, facts.get("cause", Cause.CODE_ERROR)
        elif end.how == "pruned":
            status, cause = TrialStatus.PRUNED, Cause.PRUNED
        else:
            status, cause = TrialStatus.COMPLETE, facts["reason"]
            if cause == Cause.DIVERGED or facts.get("value") is None:
                status, cause = TrialStatus.FAILED, Cause.DIVERGED
        known = {name: facts[name] for name in RESULT_FACTS if facts.get(name) is not None}
        if self.cell.kind == "cell" and trial.number < len(self.cell.warm_start):
            known["badges"] = [*known.get("badges", ()), "warm"]
        if facts.get("test"):
            transitions.record_test(self.db, self.cell.origin["experiment"], facts["test"], self.who)
        if end.how == "pruned":
            known |= best_so_far(queries.epochs(self.db, trial.id), self.cell.objective, self.maximize)
        message = facts.get("message")
        transitions.finish_trial(self.db, self.claim, trial.id, status, cause, message=message, **known)
        self.tell("trial ended", {"job": self.job, "trial": self._reread(trial)})

    def _reread(self, trial: Trial) -> Trial:
        return queries.trial(self.db, self.job.id, trial.number)


FROM_WINNER = {"replicate": "replicate", "train": "final"}  # kinds that repeat a winner -> purpose of their seeds
LEAVES = ("lost", "stop", "pause", "cancel", "disk", "drain")  # wishes that end this claim
LEFT = {"cannot fit": "held: too large", "pause": "paused", "cancel": "cancelled", "disk": "stopped: disk full"}
STARTED_FACTS = (
    "n_params", "n_train", "n_val", "n_pos", "prior_loss", "label_md5", "base_rate", "data_md5", "torch_version",
    "host", "device", "threads", "micro_batch", "accumulation", "recipe", "predicted_bytes",
)  # fmt: skip
RESULT_FACTS = (
    "value", "best_epoch", "last_value", "val_loss", "val_auc", "auc_low", "auc_high", "badges", "peak_bytes",
)  # fmt: skip


def checked_cell(job: Job) -> CellSpec:
    """The job's specification, if its row says the same: the words of a row become folders, and anyone may edit a row.

    Raises BadSpec.
    """
    cell = CellSpec.from_json(job.spec)
    for name in ("experiment", "kind", "budget", "horizon", "task", "tier"):
        if getattr(job, name) != getattr(cell, name):
            raise BadSpec(f"the row of job {job.id} has another {name} than its specification {getattr(cell, name)!r}")
    return cell


def hopeless(reason: str | None, stalls: int, deaths: int) -> Cause | None:
    """The cause to end a trial with that was tried often enough, or whose fault another try cannot mend."""
    if stalls > STALLS_ALLOWED:
        return Cause.STALLED
    if deaths >= FAILURES_IN_A_ROW:
        return Cause.CODE_ERROR
    return Cause.DATA_ERROR if reason == "data error" else None


def best_so_far(epochs: Sequence[Epoch], objective: str, maximize: bool) -> dict[str, Any]:
    """What a pruned trial had reached: recorded, but never ranked (its status says so)."""
    scored = [epoch for epoch in epochs if getattr(epoch, objective) is not None]
    if not scored:
        return {}
    best = (max if maximize else min)(scored, key=lambda epoch: getattr(epoch, objective))
    return {
        "value": getattr(best, objective),
        "best_epoch": best.epoch,
        "last_value": getattr(scored[-1], objective),
        "val_loss": best.val_loss,
        "val_auc": best.val_auc,
    }


def batch_of(recipe: dict[str, Any], cell: CellSpec) -> str:
    micro_batch = int(recipe["micro_batch"])
    return f"{micro_batch}x{math.ceil(cell.effective_batch / micro_batch)}"


def message_of(end: End) -> str:
    return (end.wish.message if end.wish else "") or str(end.facts.get("message") or "")


def log_tail(path: str | None, lines: int = 20) -> str | None:
    """The last lines of a trial's log, for the record of a failed job."""
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-lines:]) if path else None
    except OSError:
        return None
