"""A supervisor of ten lines: runs a function in real trial processes, keeps what they tell, kills them where asked."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna  # noqa: F401  # a fork then has it

from fts.jobs.api.command import BareStudy
from fts.jobs.api.function import FunctionCell
from fts.jobs.api.spec import TrialSpec, seed_for
from fts.jobs.python import python
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.pruner import should_prune
from fts.jobs.supervisor.child import ChildError, Starter, TrialProcess
from fts.jobs.trial import function
from fts.jobs.trial.stacks import exit_now
from fts.state.values import Direction

PATIENCE_S = 120.0  # of a wait for the next fact on a busy machine; never asserted
ENDS = ("result", "pruned", "failed", "stopped")
Fact = dict[str, Any]


def cell_of(folder: Path, body: str, name: str = "objective", **fields: Any) -> FunctionCell:
    """A cell of the function `name` in folder/train.py, which is written with this body."""
    path = folder / "train.py"
    path.write_text(textwrap.dedent(body))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    usual = {"trials": 5, "pruner": "none", "diverged": "ignored"}
    return FunctionCell("study", "study_a", f"train.py:{name}", str(folder), md5, **usual | fields)


@dataclass
class Record:
    """What is known of one trial, as a database would keep it."""

    number: int
    draws: dict[int, Fact] = field(default_factory=dict)
    epochs: dict[int, Fact] = field(default_factory=dict)
    end: Fact = field(default_factory=dict)
    told: list[Fact] = field(default_factory=list)  # by all attempts
    code: int | None = None

    @property
    def params(self) -> dict[str, Any]:
        return {draw["name"]: draw["value"] for draw in self.draws.values()}

    @property
    def curve(self) -> dict[int, float]:
        return {epoch: fact["value"] for epoch, fact in sorted(self.epochs.items())}

    @property
    def outcome(self) -> tuple[Any, ...]:
        """What must be equal however often it was killed."""
        return self.params, self.curve, self.end["fact"], self.end.get("value"), self.end.get("metrics")

    def take(self, fact: Fact) -> None:
        self.told.append(fact)
        if fact["fact"] == "draw":
            assert fact["k"] not in self.draws, "a draw was told twice"
            self.draws[fact["k"]] = {name: fact[name] for name in ("k", "name", "value", "distribution")}
        elif fact["fact"] == "epoch":
            before = self.epochs.setdefault(fact["epoch"], fact)
            assert before == fact, "an epoch was told again, and differently"
        elif fact["fact"] in ENDS and not fact.get("again"):
            self.end = fact


def spec_of(cell: Any, record: Record, history: tuple[PastTrial, ...], **fields: Any) -> TrialSpec:
    folder = Path(cell.folder) / "outputs"
    usual: dict[str, Any] = {"params": {}, "checkpoint_every_s": 0.0, "resume": True}
    return TrialSpec(
        cell=cell, number=record.number, seed=seed_for(cell.seed, record.number, "train"), threads=1, device="cpu",
        data_root=str(folder), folder=str(folder / "trials" / "j" / f"trial_{record.number:04d}"),
        log_path=str(folder / "logs" / f"t{record.number}.log"), draws=tuple(record.draws.values()),
        history=tuple(past.to_json() for past in history), **usual | fields,
    )  # fmt: skip


def attempt(
    spec: TrialSpec,
    record: Record,
    history: tuple[PastTrial, ...] = (),
    act: Callable[[TrialProcess, Fact], bool] | None = None,
    forked: bool | Starter = True,
) -> None:
    """One process until its trial ends; `act` gets every fact once it is on record, and True from it kills there.

    `forked`: from this process; by a worker's Starter; or False: a new interpreter.
    """
    cell, curve = spec.cell, dict[int, float]()
    with start(spec, forked) as child:
        child.send({"do": "run", "spec": spec.to_json()}, PATIENCE_S)
        for fact in facts(child):
            record.take(fact)
            if act is not None and act(child, fact):
                child.kill()
                return
            if fact["fact"] == "epoch" and fact["value"] is not None:
                curve[fact["epoch"]] = fact["value"]
            if fact["fact"] == "judge":
                child.send(verdict(cell, record.number, curve, history))
            if fact["fact"] in ENDS:
                with contextlib.suppress(ChildError):  # one that was stopped is leaving already
                    child.send({"do": "quit"})
        record.code = child.wait(PATIENCE_S)
    if record.told[-1].get("again"):
        known = replace(spec, draws=tuple(record.draws.values()))  # as the supervisor does: told once, never again
        attempt(known, record, history, act, forked)


def facts(child: TrialProcess) -> Iterator[Fact]:
    """All of them; raises when the process falls silent."""
    while not child.facts_ended:
        arrived = child.facts(PATIENCE_S)
        assert arrived or child.facts_ended, "the trial process fell silent"
        yield from arrived


def verdict(cell: FunctionCell, number: int, curve: dict[int, float], history: tuple[PastTrial, ...]) -> Fact:
    if should_prune(cell.pruner, history, number, curve, Direction(cell.direction), cell.halving_rule):
        return {"do": "prune", "number": number}
    return {"do": "go on", "number": number, "epoch": max(curve)}


def run_one(
    cell: Any, number: int = 0, history: tuple[PastTrial, ...] = (), forked: bool = True, **fields: Any
) -> Record:
    record = Record(number)
    attempt(spec_of(cell, record, history, **fields), record, history, forked=forked)
    return record


class Forked:
    """What subprocess.Popen returns, for a fork of this process, which has Optuna imported: 20 ms instead of 600."""

    def __init__(self, argv: list[str], stdout: int, pass_fds: tuple[int, ...], env: Any, cwd: Path, **_: Any) -> None:
        commands = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._live(argv, (commands[0], stdout, stdout), pass_fds[0], env, cwd)
        os.close(commands[0])
        self.stdin = os.fdopen(commands[1], "wb", buffering=0)
        self.returncode: int | None = None

    def _live(self, argv: list[str], streams: tuple[int, ...], told: int, env: Any, cwd: Path) -> None:
        code = 1
        try:
            os.setsid()
            os.chdir(cwd)
            os.environ.update(env)
            told = fcntl.fcntl(told, fcntl.F_DUPFD, 100)
            for number, fd in enumerate(streams):
                os.dup2(fd, number)
            os.closerange(3, told)
            os.closerange(told + 1, 1000)
            sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
            sys.argv = ["trial", "--facts-fd", str(told)]
            code = function.main()
            sys.stdout.flush()
        except BaseException:  # noqa: BLE001  # the child of a fork must never return into the test
            traceback.print_exc()
        finally:
            exit_now(code)

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        return self._wait(0)

    def _wait(self, flags: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def start(spec: TrialSpec, forked: bool | Starter) -> TrialProcess:
    """A trial process: an ordinary one, as a worker starts it, or a fork where that can be."""
    program = BareStudy("study").program(spec.cell)
    if isinstance(forked, Starter):
        return forked.start(program, 1)
    argv, log, folder = python(*program.words), Path(spec.log_path), Path(spec.cell.folder)
    if not forked or sys.platform != "linux":
        return TrialProcess(argv, log, cwd=folder, relays=program.relays)
    real = subprocess.Popen
    subprocess.Popen = Forked  # type: ignore[assignment, misc]
    try:
        return TrialProcess(argv, log, cwd=folder)
    finally:
        subprocess.Popen = real  # type: ignore[misc]


def log_of(cell: Any, number: int = 0) -> str:
    return (Path(cell.folder) / "outputs" / "logs" / f"t{number}.log").read_text()
