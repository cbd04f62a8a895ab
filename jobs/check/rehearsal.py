"""Runs one trial in a temporary folder, without a queue, with the worker's own code.

Writes nothing into the user's folder or the outputs folder. Keeps what the trial reported, with times and peak memory.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.goals import CONSTRAINTS
from fts.jobs.api.spec import TrialSpec, trial_folder
from fts.jobs.api.study import trial_log
from fts.jobs.supervisor.attempt import AttemptEnd, Ended, RunningAttempt
from fts.jobs.supervisor.child import NOT_RESIDENT, Starter, limit_data
from fts.jobs.supervisor.job_runner import drawn
from fts.jobs.supervisor.slot import resident
from fts.jobs.watchdog.stop_request import StopReason, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.api.study import Study

POLL_S = 0.02
MEASURE_S = 0.1  # interval between two measurements of memory
GRACE_S = 5.0
ENOUGH = StopRequest(StopReason.STOP, kill=True)  # ends a trial that ran long enough
SIMULATED = 1  # job number given to the trial
QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}  # imports write no __pycache__ into the user's folder
CHECKPOINTS = "checkpoint"  # folder of a trial that survives a kill


@dataclass
class SeenTrial:
    """What one trial did until it ended or was stopped. Seconds count from the start of its process."""

    number: int
    params: dict[str, Any]
    distributions: dict[str, dict[str, Any]]
    reports: dict[int, dict[str, float | None]] = field(default_factory=dict)  # by step: metrics; None: not finite
    report_times: list[float] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    started_s: float | None = None
    took_s: float = 0.0
    peak_bytes: int = 0
    badges: tuple[str, ...] = ()
    too_large: bool = False  # it was killed because of its memory
    keeps_files: bool = False  # its checkpoint folder has files
    end: AttemptEnd = field(default_factory=lambda: AttemptEnd(Ended.DIED))

    @property
    def ended(self) -> bool:
        """Whether it ended by itself, with a result or pruned."""
        return self.end.how in (Ended.RESULT, Ended.PRUNED)

    @property
    def cut(self) -> bool:
        """Whether it was stopped because it had run long enough."""
        return not self.ended and self.end.stop_request is not None and not self.too_large

    @property
    def keeps(self) -> bool:
        """Whether it left a checkpoint from which it could continue."""
        return bool(self.checkpoints) or self.keeps_files

    @property
    def value(self) -> float | None:
        found: float | None = self.end.facts.get("value")
        return found

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.end.facts.get("metrics") or {})

    @property
    def constraints(self) -> dict[str, float]:
        """The violations that the trial has set itself."""
        return dict(self.end.facts.get(CONSTRAINTS) or {})

    @property
    def attributes(self) -> dict[str, float]:
        """The numbers among the user attributes of the trial, which a constraint may read."""
        given = self.end.facts.get("user_attrs") or {}
        return {name: value for name, value in given.items() if isinstance(value, int | float)}

    @property
    def first_report_s(self) -> float | None:
        return self.report_times[0] if self.report_times else None

    def reached_s(self, reports: int) -> float:
        """Returns the seconds until that many reports; infinite if it made fewer."""
        return self.report_times[reports - 1] if len(self.report_times) >= reports else math.inf

    @property
    def step_s(self) -> float | None:
        """Mean seconds between two reports."""
        times = self.report_times
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None

    @property
    def message(self) -> str:
        return str(self.end.facts.get("message") or self.end.how)


class Stage:
    """A temporary folder in which trials of one cell run one after another."""

    def __init__(
        self, study: Study, cell: BareCell, root: Path, data: Path, device: str, threads: int, most: int | None = None
    ) -> None:
        self.study, self.cell, self.root, self.data = study, cell, root, data
        self.most = most  # memory limit of a trial in bytes; None: no limit
        self.device, self.threads = device, cell.threads or threads

    def spec(self, number: int, resume: bool = False) -> TrialSpec:
        """Returns the specification for the trial process, as a worker makes it, but writing every checkpoint."""
        return TrialSpec(
            cell=self.cell,
            number=number,
            params=first_params(self.study, self.cell, number),
            seed=self.study.seed(self.cell, number),
            threads=self.threads,
            device=self.device,
            data_root=str(self.data),
            folder=str(trial_folder(self.root, self.cell.experiment, SIMULATED, number)),
            log_path=str(trial_log(self.root / "logs", self.cell.experiment, SIMULATED, number)),
            resume=resume,
            checkpoint_every_s=0.0,
        )

    def again(self, spec: TrialSpec, before: SeenTrial) -> TrialSpec:
        """Returns the specification to continue the trial after a kill, with its earlier draws."""
        if self.cell.space is not None:  # its parameters are in the specification
            return replace(spec, resume=True)
        draws = tuple(
            {"k": k, "name": name, "value": before.params[name], "distribution": distribution}
            for k, (name, distribution) in enumerate(before.distributions.items())
        )
        return replace(spec, resume=True, draws=draws)

    def run(
        self,
        spec: TrialSpec,
        limit_s: float,
        until: Callable[[SeenTrial], bool] = lambda _: False,
        env: Mapping[str, str] | None = None,
        as_worker: bool = False,
    ) -> SeenTrial:
        """Runs the trial until its end, until `until` returns True, or for `limit_s` seconds; then kills it with -9.

        Uses a new interpreter, so that two runs order their sets differently. With `as_worker` it forks the process
        where a worker does, so that it takes as long as there.
        """
        program = self.study.program(self.cell)
        program = replace(program, env={**QUIET, **program.env, **(env or {})})
        seen = SeenTrial(spec.number, dict(spec.params), dict(self.cell.space or {}))
        starter = Starter(self.root / "logs" / "trial_process.log")
        child = starter.start(program if as_worker else replace(program, forks_for=None), self.threads)
        began = time.monotonic()  # after the template's imports, which are not the trial's time
        measured = [0.0]

        def wish() -> StopRequest | None:
            now = time.monotonic()
            if now - measured[0] > MEASURE_S:
                measured[0] = now
                seen.peak_bytes = max(seen.peak_bytes, sum(resident(process) for process in child.tree()))
            if self.most is not None and seen.peak_bytes > self.most:
                seen.too_large = True
                return ENOUGH
            if until(seen):
                return ENOUGH
            return ENOUGH if now - began > limit_s else None

        def record(fact: dict[str, Any]) -> StopRequest | None:
            take(seen, fact, time.monotonic() - began, self.cell.metric)
            return ENOUGH if until(seen) else None

        limit_data(child.pid, None if self.most is None else self.most + NOT_RESIDENT)
        with child:
            seen.end = RunningAttempt(child, record, wish, POLL_S, GRACE_S).run(spec.to_json(), spec.number)
            seen.took_s = time.monotonic() - began
        starter.close()
        seen.peak_bytes = max(seen.peak_bytes, int(seen.end.facts.get("peak_bytes") or 0))
        seen.keeps_files = holds_files(Path(spec.folder) / CHECKPOINTS)
        return seen


def take(seen: SeenTrial, fact: dict[str, Any], at: float, metric: str) -> None:
    """Stores one reported fact in `seen`."""
    kind = fact.get("fact")
    if kind == "started":
        seen.started_s, seen.badges = at, tuple(fact.get("badges") or ())
    elif kind == "draw":
        seen.params[fact["name"]] = fact["value"]
        seen.distributions[fact["name"]] = fact["distribution"]
    elif kind == "epoch":
        if fact["epoch"] not in seen.reports:
            seen.report_times.append(at)
        seen.reports[fact["epoch"]] = {metric: fact.get("value"), **(fact.get("metrics") or {})}
    elif kind == "checkpoint":
        seen.checkpoints.append(fact)


def holds_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


def first_params(study: Study, cell: BareCell, number: int) -> dict[str, Any]:
    """Returns what a trial without a history draws, sorted by name as in a worker's record: the order of {args}."""
    return dict(sorted(drawn(study, cell, number, tuple).params.items()))
