"""Examines one cell: runs its first trial, runs it again, then kills and continues it; collects findings.

    findings = Examination(stage_in, cell, ...).run(patience_s)

Runs the same trial three times: undisturbed, once more (is it repeatable?), and killed with -9 after its second report
and continued (is the result equal?).
"""

from __future__ import annotations

import itertools
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.command import CommandCell
from fts.jobs.api.function import FunctionCell
from fts.jobs.check import causes, files
from fts.jobs.check.differences import RunDifference, compared, first_difference
from fts.jobs.check.rehearsal import CHECKPOINTS, SeenTrial, Stage, holds_files
from fts.jobs.check.words import (
    deciding,
    extent,
    first_step_of_last_attempt,
    folder_of,
    seconds,
    seed_words,
    span,
    takes_seed,
    whole_trial_s,
)
from fts.jobs.status import formatting
from fts.jobs.supervisor.attempt import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.api.spec import TrialSpec


OK, WARN, BAD = "ok", "warn", "bad"
KILL_AFTER = 2  # reports
SHARE_OF_FIRST = 0.3  # part of a cell's patience for its first run: two more runs and a part of one follow
SLACK = 3.0  # a second run may take this many times as long as the first, because the machine may be busy
LEAST_S = 10.0
NOTICED_S = 0.5  # a trial that goes on for so long after its second report could have been killed there
AT_ONCE_S = 0.001  # reports closer than this count as simultaneous
LONG_S = 600.0  # a longer trial that a kill throws away is a problem
RESUMED = "resumed from checkpoint"  # fts.checkpoint writes this into the log


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    about: str  # runs | draws | memory | repeatable | resumable | files
    status: str  # ok | warn | bad
    told: str


@dataclass
class Examined:
    """The findings about one cell."""

    cell: BareCell
    findings: list[CheckResult] = field(default_factory=list)
    first: SeenTrial | None = None  # its undisturbed run; None: it was not run
    trial_s: float | None = None  # seconds of a whole trial; None: unknown
    repeatable: bool | None = None  # None: unknown
    resumable: bool | None = None

    @property
    def has_problems(self) -> bool:
        return any(finding.status == BAD for finding in self.findings)

    def add(self, about: str, status: str, told: str) -> None:
        self.findings.append(CheckResult(about, status, told))


class Examination:
    """The runs of one cell, in folders below `root`."""

    def __init__(
        self,
        stage_in: Callable[[Path], Stage],
        cell: BareCell,
        root: Path,
        reports: int | None,
        outputs: Path,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.stage_in, self.cell, self.root, self.reports, self.tell = stage_in, cell, root, reports, tell
        self.outputs = outputs
        self.found = Examined(cell)

    def run(self, patience_s: float) -> Examined:
        """Runs all checks; takes about `patience_s` at most."""
        folder = folder_of(self.cell)
        before = files.snapshot(folder, self.outputs)
        first = self._first(SHARE_OF_FIRST * patience_s)
        if first is not None:
            limit_s = max(LEAST_S, SLACK * first.took_s)
            again = self._again(first, limit_s)
            self._killed(first, again, limit_s)
        self._files(files.changes(before, files.snapshot(folder, self.outputs)))
        return self.found

    # -- undisturbed

    def _first(self, limit_s: float) -> SeenTrial | None:
        """Runs the trial undisturbed; returns None if the run cannot be compared with others."""
        self.tell(f"runs its first trial, for {formatting.spell(limit_s)} at most")
        stage = self.stage_in(self.root / "first")
        seen = stage.run(stage.spec(0), limit_s, self._enough, as_worker=True)
        self.found.first = seen
        if seen.too_large:
            held = f"trial 0 held {formatting.in_gb(seen.peak_bytes)} of memory after {seconds(seen.took_s)}"
            self.found.add("memory", BAD, f"{held} and was killed, before this machine had none left")
            self._draws(seen)
            return None
        if not seen.ended and not seen.cut:
            self.found.add("runs", BAD, self._failed(seen))
            self._draws(seen)
            return None
        if seen.cut and not seen.reports:
            self.found.add(
                "runs",
                BAD,
                f"no report within {formatting.spell(limit_s)}, so nothing could be compared; give it longer with "
                "--patience, or let it report",
            )
            self._draws(seen)
            self._memory(seen)
            return None
        self.found.trial_s = whole_trial_s(self.cell, seen)
        self._runs(seen)
        self._limits(seen)
        self._draws(seen)
        self._memory(seen)
        return seen

    def _enough(self, seen: SeenTrial) -> bool:
        return self.reports is not None and len(seen.reports) >= self.reports

    def _failed(self, seen: SeenTrial) -> str:
        what = {Ended.STOPPED: "ended as if it had been asked to stop", Ended.DIED: "died"}.get(seen.end.how, "failed")
        given = ", ".join(f"{name}={formatting.number(value)}" for name, value in seen.params.items())
        return f"trial 0 {what} after {seconds(seen.took_s)}: {seen.message}" + (f" (with {given})" if given else "")

    def _runs(self, seen: SeenTrial) -> None:
        count = len(seen.reports)
        told = f"trial 0 ended after {seconds(seen.took_s)}"
        if seen.cut:
            told = f"trial 0 was ended here after {seconds(seen.took_s)}"
        if count:
            told += f", with {formatting.count(count, 'report')}: the first after {seconds(seen.first_report_s or 0)}"
            if seen.step_s is not None:
                told += (
                    f", then one every {seconds(seen.step_s)}" if seen.step_s >= AT_ONCE_S else ", the others at once"
                )
        else:
            told += ", without reports"
        value = seen.value if not seen.cut else None
        if value is not None:
            told += f"; {self.cell.metric} {formatting.score(value)}"
        status = OK
        if seen.end.how is Ended.PRUNED:
            status, told = WARN, f"{told}; it ended itself as pruned, although nothing asked it to"
        elif seen.ended and value is None:
            status, told = BAD, f"{told}; its value is no finite number: {seen.message}"
        elif seen.cut and self.found.trial_s is None:
            told += "; how many reports a whole trial has is not known: --steps N says so"
        if seen.badges:
            status, told = WARN, f"{told}; {', '.join(seen.badges)}"
        self.found.add("runs", status, told)

    def _limits(self, seen: SeenTrial) -> None:
        """Checks whether a time limit of the cell would end a healthy trial."""
        cell, trial_s = self.cell, self.found.trial_s
        gap_s = max([b - a for a, b in itertools.pairwise([seen.started_s or 0.0, *seen.report_times])], default=0.0)
        if cell.stall_s is not None and gap_s > cell.stall_s:
            text = f"it is silent for {seconds(gap_s)}, but a trial counts as stalled after {seconds(cell.stall_s)}"
            self.found.add("stall", BAD, f"{text}; raise `stall`")
        least_s = trial_s if trial_s is not None else seen.took_s
        if cell.trial_timeout_s is not None and least_s > cell.trial_timeout_s:
            text = f"a trial takes {seconds(least_s)}, but may take {seconds(cell.trial_timeout_s)}"
            self.found.add("timeout", BAD, f"{text}; raise `trial_timeout`")
        if cell.timeout_s is not None and cell.trials * least_s > cell.timeout_s:
            text = f"{formatting.count(cell.trials, 'trial')} take {seconds(cell.trials * least_s)} without pruning"
            self.found.add("timeout", WARN, f"{text}, but the cell may take {seconds(cell.timeout_s)}")

    def _draws(self, seen: SeenTrial) -> None:
        if not seen.params:
            if seen.ended and self.cell.trials > 1:
                self.found.add("draws", WARN, "draws no parameter: trials differ in their seeds only")
            elif seen.ended:
                self.found.add("draws", OK, "draws no parameter, and has one trial")
            return
        spans = {name: f" of {span(distribution)}" for name, distribution in seen.distributions.items()}
        shown = [f"{name} {formatting.number(value)}{spans.get(name, '')}" for name, value in seen.params.items()]
        fixed = ", given as a warm start" if self.cell.warm_start else ""
        self.found.add("draws", OK, f"{', '.join(shown)}{fixed}")

    def _memory(self, seen: SeenTrial) -> None:
        text = f"{formatting.size(seen.peak_bytes)} at most"
        if seen.cut:
            text = f"{formatting.size(seen.peak_bytes)} until it was ended here; what it takes later is not known"
        if seen.checkpoints and (largest := max(int(one.get("bytes") or 0) for one in seen.checkpoints)):
            text += f"; a checkpoint has {formatting.size(largest)}"
        promised = self.cell.memory_bytes
        if promised is not None and seen.peak_bytes > promised:
            self.found.add("memory", BAD, f"{text}, but {formatting.size(promised)} were promised; raise `memory`")
            return
        self.found.add("memory", OK, text)

    # -- the same once more

    def _again(self, first: SeenTrial, limit_s: float) -> SeenTrial:
        self.tell("runs it again: is it repeatable?")
        stage = self.stage_in(self.root / "again")
        again = stage.run(stage.spec(0), limit_s, lambda seen: self._as_far_as(first, seen))
        if not again.ended and not again.cut:  # what was equal until then says nothing
            self.found.repeatable = False
            self.found.add("repeatable", BAD, f"not: the second run failed: {again.message}")
            return again
        differs = first_difference(first, again)
        decisive = first_difference(first, again, deciding(self.cell))
        if differs is None and not compared(first, again):
            self.found.add("repeatable", WARN, f"not known: the second run reported nothing in {seconds(limit_s)}")
        elif differs is None:
            self.found.repeatable = True
            self.found.add("repeatable", OK, f"run twice, {extent(first, compared(first, again))} equal")
        elif decisive is None:
            self.found.repeatable = True
            text = f"{self.cell.metric} is equal in both runs, {differs.name} is not: {differs.told}"
            self.found.add("repeatable", OK, text)
        else:
            self.found.repeatable = False
            self.found.add("repeatable", BAD, f"not: {decisive.told}; {self._why(decisive, first, again)}")
        return again

    def _as_far_as(self, first: SeenTrial, seen: SeenTrial) -> bool:
        return first.cut and len(seen.reports) >= len(first.reports)

    def _why(self, differs: RunDifference, first: SeenTrial, again: SeenTrial) -> str:
        cell = self.cell
        function = cell.function if isinstance(cell, FunctionCell) else None
        found = causes.causes(folder_of(cell), cell.file, function, seed_words(cell))
        if isinstance(cell, CommandCell) and not takes_seed(cell):
            found.insert(
                0, causes.PossibleCause("the command does not get its seed; add one, such as --seed {seed}", 3)
            )
        certain = causes.likely(found)
        if certain is not None and certain.strength == 3:
            return f"the likely cause: {certain.told}"
        if self._hash_order(first, compared(first, again)):
            near = next((one.told for one in found if one.hashing), None)
            return (
                f"the cause: {near}"
                if near
                else (
                    "the cause: the order of a set or hash(), which differs in every process; sort it, or set "
                    "PYTHONHASHSEED=0"
                )
            )
        if certain is not None and certain.strength == 2:
            return f"the likely cause: {certain.told}"
        if differs.rounding:
            return (
                "the likely cause: a sum in another order, as several threads or a GPU make it; try threads = 1, or "
                "torch.use_deterministic_algorithms(True)"
            )
        if certain is not None:
            return f"perhaps because {certain.told}"
        return f"look for a generator without a seed; {seed_words(cell)} is a seed of the trial"

    def _hash_order(self, first: SeenTrial, as_far: float) -> bool:
        """Returns whether two runs with the same PYTHONHASHSEED are equal, `as_far` as the two that differ went."""
        limit_s = max(LEAST_S, SLACK * first.took_s)
        runs = []
        for name in ("hash_one", "hash_two"):
            stage = self.stage_in(self.root / name)
            until = lambda seen: self._as_far_as(first, seen)  # noqa: E731  # as in _again
            runs.append(stage.run(stage.spec(0), limit_s, until, {"PYTHONHASHSEED": "0"}))
        return compared(*runs) >= as_far and first_difference(runs[0], runs[1], deciding(self.cell)) is None

    # -- killed and continued

    def _killed(self, first: SeenTrial, again: SeenTrial, limit_s: float) -> None:
        """Kills it with -9 after its second report, continues it, and compares it with the undisturbed run."""
        keeps = first.keeps and again.keeps
        costs = self._costs(first)
        if len(first.reports) < KILL_AFTER and first.ended:
            text = "with fewer than two reports it has nothing to continue from: a killed trial starts again"
            self._starts_again(f"{text}, {costs}")
            return
        if first.cut and len(first.reports) <= KILL_AFTER:
            self._too_short(first)
            return
        self.tell("kills it with -9 after its second report and continues it: is it resumable?")
        stage = self.stage_in(self.root / "killed")
        spec = stage.spec(0)
        folder = Path(spec.folder) / CHECKPOINTS

        def reached(seen: SeenTrial) -> bool:
            enough = len(seen.reports) >= KILL_AFTER and (not keeps or bool(seen.checkpoints) or holds_files(folder))
            return enough or (first.cut and len(seen.reports) >= len(first.reports))

        killed = stage.run(spec, limit_s, reached)
        at_end = killed.ended or (first.ended and killed.cut and len(killed.reports) >= len(first.reports))
        if at_end and keeps and killed.took_s - killed.reached_s(KILL_AFTER) >= NOTICED_S:
            text = f"its first checkpoint came at its end, after {seconds(killed.took_s)}"
            self._starts_again(f"{text}: a trial that is killed before starts again, {costs}")
            return
        if killed.ended:
            self.found.resumable = True
            self.found.add("resumable", OK, f"a trial is over before a kill can reach it ({seconds(killed.took_s)})")
            return
        if not killed.cut:
            self.found.add("resumable", BAD, f"not known: this time the trial failed: {killed.message}")
            return
        killed_after = len(killed.reports)
        if first.cut and killed_after >= len(first.reports):  # its first checkpoint came late
            self._too_short(first)
            return
        goes_on = stage.run(
            stage.again(spec, killed),
            limit_s,
            lambda seen: first.cut and len(seen.reports | killed.reports) >= len(first.reports),
        )
        if not goes_on.ended and not goes_on.cut:
            text = (
                f"killed after {formatting.count(killed_after, 'report')} and continued, it failed: {goes_on.message}"
            )
            self.found.add("resumable", BAD, text)
            self.found.resumable = False
            return
        if goes_on.cut and goes_on.reports.keys() <= killed.reports.keys():
            text = f"killed with -9 after {formatting.count(killed_after, 'report')} and continued, it made no further"
            self.found.add("resumable", WARN, f"not known: {text} report in {seconds(goes_on.took_s)}")
            return
        resumed = self._resumed(spec, goes_on)
        goes_on.reports = goes_on.reports | killed.reports if isinstance(self.cell, CommandCell) else {
            **killed.reports, **goes_on.reports
        }  # fmt: skip
        goes_on.params = {**killed.params, **goes_on.params}
        self._judge(first, goes_on, resumed, killed_after, killed.keeps, costs)

    def _too_short(self, first: SeenTrial) -> None:
        text = f"not known: the first run was ended here after {formatting.count(len(first.reports), 'report')}"
        self.found.add(
            "resumable", WARN, f"{text}, so nothing after a kill can be compared; raise --reports or --patience"
        )

    def _judge(
        self, first: SeenTrial, end: SeenTrial, resumed: bool, killed_after: int, keeps: bool, costs: str
    ) -> None:
        killed = f"killed with -9 after {formatting.count(killed_after, 'report')}"
        differs = first_difference(first, end, deciding(self.cell))
        if not resumed:
            none = "it had no checkpoint by then" if first.cut or first.keeps else "it has no checkpoint"
            why = "it wrote a checkpoint and did not continue from it" if keeps else none
            text = f"{killed}, it started again: {why}; {costs}"
            if differs is not None and self.found.repeatable:
                self.found.add("resumable", BAD, f"{text}; and it ended differently: {differs.told}")
                self.found.resumable = False
            elif keeps:
                self.found.resumable = False
                self.found.add("resumable", BAD, text)
            else:
                self._starts_again(text)
            return
        if differs is None:
            self.found.resumable = True
            self.found.add("resumable", OK, f"{killed} and continued, {extent(first, compared(first, end))} equal")
        elif self.found.repeatable:
            self.found.resumable = False
            text = f"{killed} and continued, {differs.told}"
            cure = "its checkpoint does not hold everything: optimizer, schedule, generators, place in the data"
            self.found.add("resumable", BAD, f"not exactly: {text}; {cure}")
        else:
            self.found.add(
                "resumable", WARN, f"{killed}, it continued; it is not repeatable, so nothing can be compared"
            )

    def _starts_again(self, told: str) -> None:
        trial_s = self.found.trial_s
        status = WARN if trial_s is None else BAD if trial_s >= LONG_S else OK
        how = (
            "fts.checkpoint(trial) keeps its state"
            if isinstance(self.cell, FunctionCell)
            else "write its state into {checkpoint_dir} (FTS_CHECKPOINT_DIR) and read it back at the start"
        )
        self.found.resumable = False
        self.found.add("resumable", status, told if status == OK else f"{told}; {how}")

    def _costs(self, first: SeenTrial) -> str:
        trial_s = self.found.trial_s
        if trial_s is None:
            return f"each kill costs what the trial has done, here {seconds(first.took_s)} and more"
        return f"a kill costs at most {seconds(trial_s)}"

    def _resumed(self, spec: TrialSpec, goes_on: SeenTrial) -> bool:
        """Returns whether the trial continued, instead of starting again."""
        if isinstance(self.cell, CommandCell):
            began = first_step_of_last_attempt(self.cell, spec)
            return began is not None and began > 0
        log = Path(spec.log_path)
        if log.exists() and RESUMED in log.read_text(errors="replace"):
            return True
        return bool(goes_on.reports) and min(goes_on.reports) > min(self.found.first.reports)  # type: ignore[union-attr]

    # -- files of its own

    def _files(self, changed: list[str] | None) -> None:
        if changed is None:
            text = "not known whether it writes where you stand"
            text = f"{text}: {files.MOST:,} files or more are there, too many to compare"
            self.found.add("files", WARN, text)
        elif changed:
            shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
            where = (
                "fts.checkpoint(trial).dir" if isinstance(self.cell, FunctionCell) else "{folder} or {checkpoint_dir}"
            )
            text = f"it writes where you stand: {shown}; trials side by side overwrite each other there: use {where}"
            self.found.add("files", WARN, text)
