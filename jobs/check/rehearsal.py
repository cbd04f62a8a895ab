"""Runs one trial for a look at it, in a temporary folder and without any queue, with the worker's own pieces.

It writes nothing where the person stands and nothing into the outputs folder. What the trial told is kept, with the
times at which it was told and the memory it held.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.spec import TrialSpec, trial_folder
from fts.jobs.api.study import trial_log
from fts.jobs.supervisor.attempt import Attempt, AttemptEnd, Ended
from fts.jobs.supervisor.child import NOT_RESIDENT, limit_data
from fts.jobs.supervisor.job_runner import drawn
from fts.jobs.supervisor.slot import resident
from fts.jobs.supervisor.starter import Starter
from fts.jobs.watchdog.stop_request import StopReason, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.api.study import Study

POLL_S = 0.02
MEASURE_S = 0.1  # between two looks at the memory
GRACE_S = 5.0
ENOUGH = StopRequest(StopReason.STOP, kill=True)  # it was seen for long enough
SIMULATED = 1  # number of the job that a rehearsed trial believes to be of
QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}  # an imported module leaves no __pycache__ beside the person's files
CHECKPOINTS = "checkpoint"  # the folder of a trial that survives a kill


@dataclass
class Seen:
    """What one trial did, as far as it was let. Seconds count from the start of its process."""

    number: int
    params: dict[str, Any]
    distributions: dict[str, dict[str, Any]]
    reports: dict[int, dict[str, float | None]] = field(
        default_factory=dict
    )  # step -> its metrics; None: no finite number
    report_times: list[float] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    started_s: float | None = None
    took_s: float = 0.0
    peak_bytes: int = 0
    badges: tuple[str, ...] = ()
    too_large: bool = False  # it was killed for the memory it took
    keeps_files: bool = False  # there is something in its checkpoint folder
    end: AttemptEnd = field(default_factory=lambda: AttemptEnd(Ended.DIED))

    @property
    def ended(self) -> bool:
        """By itself, with a result or because it says it is pruned."""
        return self.end.how in (Ended.RESULT, Ended.PRUNED)

    @property
    def cut(self) -> bool:
        """It was ended here, because it had been seen for long enough."""
        return not self.ended and self.end.stop_request is not None and not self.too_large

    @property
    def keeps(self) -> bool:
        """Has it something to go on from?"""
        return bool(self.checkpoints) or self.keeps_files

    @property
    def value(self) -> float | None:
        found: float | None = self.end.facts.get("value")
        return found

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.end.facts.get("metrics") or {})

    @property
    def first_report_s(self) -> float | None:
        return self.report_times[0] if self.report_times else None

    @property
    def step_s(self) -> float | None:
        """Seconds from report to report."""
        times = self.report_times
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None

    @property
    def message(self) -> str:
        return str(self.end.facts.get("message") or self.end.how)


class Stage:
    """A temporary folder in which trials of one cell run, one after another."""

    def __init__(
        self, study: Study, cell: BareCell, root: Path, data: Path, device: str, threads: int, most: int | None = None
    ) -> None:
        self.study, self.cell, self.root, self.data = study, cell, root, data
        self.most = most  # bytes that a trial may hold; None: no limit
        self.device, self.threads = device, cell.threads or threads

    def spec(self, number: int, resume: bool = False) -> TrialSpec:
        """What the trial process gets: as from a worker, but that every checkpoint is written."""
        return TrialSpec(
            cell=self.cell,
            number=number,
            params=drawn(self.study, self.cell, number, tuple).params,
            seed=self.study.seed(self.cell, number),
            threads=self.threads,
            device=self.device,
            data_root=str(self.data),
            folder=str(trial_folder(self.root, self.cell.experiment, SIMULATED, number)),
            log_path=str(trial_log(self.root / "logs", self.cell.experiment, SIMULATED, number)),
            resume=resume,
            checkpoint_every_s=0.0,
        )

    def again(self, spec: TrialSpec, before: Seen) -> TrialSpec:
        """The same trial after a kill, with what it had drawn."""
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
        until: Callable[[Seen], bool] = lambda _: False,
        env: Mapping[str, str] | None = None,
        as_worker: bool = False,
    ) -> Seen:
        """Runs it to its end, or until `until` says that enough was seen, or for so many seconds; then kill -9.

        In a new interpreter, so that two runs order their sets differently; `as_worker`: forked where a worker forks,
        so that it takes as long as there.
        """
        program = self.study.program(self.cell)
        program = replace(program, env={**QUIET, **program.env, **(env or {})})
        seen = Seen(spec.number, dict(spec.params), dict(self.cell.space or {}))
        starter = Starter(self.root / "logs" / "trial_process.log")
        child = starter.start(program if as_worker else replace(program, forks_for=None), self.threads)
        began = time.monotonic()  # a template that imports is none of the trial's time
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
            seen.end = Attempt(child, record, wish, POLL_S, GRACE_S).run(spec.to_json(), spec.number)
            seen.took_s = time.monotonic() - began
        starter.close()
        seen.peak_bytes = max(seen.peak_bytes, int(seen.end.facts.get("peak_bytes") or 0))
        seen.keeps_files = holds_files(Path(spec.folder) / CHECKPOINTS)
        return seen


def take(seen: Seen, fact: dict[str, Any], at: float, metric: str) -> None:
    """Keeps what one fact says."""
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
