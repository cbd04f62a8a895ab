"""Finds the memory that one trial may use: from the study's plan, a promised size, a user's function, or learned."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.study import LEARN, CannotFit
from fts.jobs.devices import gpus_in_words, kind_of
from fts.jobs.executors.base import OrderReceived
from fts.jobs.python import python
from fts.jobs.status.formatting import count, in_gb
from fts.jobs.supervisor.admission import Admission
from fts.jobs.supervisor.learned_memory import FEW, Peak, learned
from fts.jobs.supervisor.leftovers import mark
from fts.jobs.supervisor.memory_pool import RoomWant
from fts.jobs.watchdog.stop_request import StopReason
from fts.state import queries, transitions, trial_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fts.jobs.supervisor.work import Work
    from fts.state.values import Trial

OUT_OF_MEMORY = (StopReason.KILL.value, StopReason.SHRINK.value)  # values of Attempt.how
ANSWERS_S = 300.0  # time limit of a user's function, which imports everything that its file imports
LOOK_S = 0.25  # between two looks for an order meanwhile


class BadMemory(ValueError):
    """The user's memory function raised, or did not return a number of bytes."""


@dataclass(frozen=True)
class ExpectedMemory:
    """The trial's expected memory need."""

    bytes: int | None  # None: unknown, so it runs alone until it is known
    promised: bool = False  # declared by the user


class TrialMemory:
    """Determines the memory of one trial before it starts, and updates it while it runs."""

    def __init__(self, work: Work, trial: Trial) -> None:
        self.db, self.claim, self.slot, self.study, self.cell = work.db, work.claim, work.slot, work.study, work.cell
        self.resources = work.study.resources(work.cell)
        self.trial, self._outputs = trial, work.places.outputs
        self._leaves = lambda: work.ordered(work.claim.job_id) is not None
        self._beside = work.peaks  # peaks of the latest trials of this claim: those that run are not on record yet
        self.job = work.claim.job
        self.threads = trial.threads or self.resources.threads or work.settings.threads
        self.plans = self.resources.memory is None  # the study plans its memory itself
        self._space: dict[str, Any] = dict(work.cell.space or {})
        self._drawn: dict[str, Any] = {}
        for draw in queries.draws(self.db, trial.id) if work.cell.space is None and not self.plans else ():
            self._note(draw.name, draw.value, draw.distribution)
        self._peaks: dict[int, Peak] | None = None  # on record, by number
        self._learns = False  # its expected need may still change while it runs

    # -- before it starts

    def admit(self, alone: bool = False) -> Admission:
        """Returns the trial's limit, need, threads and GPUs. Raises CannotFit, BadMemory, OrderReceived.

        `alone`: it gets the whole machine, whatever it is expected to need.
        """
        if self.plans:
            return replace(self.slot.admit(self.study, self.cell, self.trial), want=RoomWant(threads=self.threads))
        gpu_bytes = self._gpus()
        total = self.slot.host_share()
        known = ExpectedMemory(None) if alone else self._known(total)
        if known.promised and known.bytes is not None and total is not None and known.bytes > total:
            where = "" if self.slot.is_local else f" on {self.slot.machine}"
            raise CannotFit(
                f"needs {in_gb(known.bytes)} of memory, as promised; {in_gb(total)} allowed{where}", known.bytes
            )
        shares = self.slot.settings.slots > 1 and self.slot.settings.memory_limit is None
        need = min(known.bytes or 0, total or known.bytes or 0)
        self._learns = shares and not known.promised and not alone
        want = RoomWant(
            alone=alone or (shares and known.bytes is None),
            threads=self.threads, gpus=self.resources.gpu, gpu_bytes=gpu_bytes,
        )  # fmt: skip
        limit = need if known.promised else total
        return Admission(self.trial.recipe, limit, need, want, shared=shares and not known.promised)

    def _known(self, total: int | None) -> ExpectedMemory:
        declared = self.resources.memory
        if declared != LEARN and not self.resources.gpu:
            return ExpectedMemory(
                declared if isinstance(declared, int) else self._by_function(str(declared)), promised=True
            )
        if self.slot.settings.slots == 1:
            return ExpectedMemory(None)  # there is only one slot, so its need does not matter
        found = self.learned()
        if found is None and declared != LEARN:
            return ExpectedMemory(
                0
            )  # its GPU memory is declared, so that others may share the GPU: do not run it alone
        return ExpectedMemory(found)

    def learned(self) -> int | None:
        """Predicts the bytes from the trials on record; None: no similar one."""
        peaks = self._known_peaks()
        neighbours: list[int] = []
        if not peaks:
            labels = self.job.labels
            cells = trial_usage.peaks_of_cells(self.db, self.job.study) if labels else []
            neighbours = [size for other, size in cells if differs_in_one(labels, other)]
        return learned(self.trial.params | self._drawn, self._space, peaks, neighbours)

    def _known_peaks(self) -> list[Peak]:
        """Returns the peaks of recorded trials, and of running ones that have reported."""
        if self._peaks is None:
            self._peaks = {n: Peak(params, size) for n, params, size in trial_usage.peaks(self.db, self.job.id)}
        known = dict(self._peaks)
        for number, peak in sorted(self._beside.items()):  # it may have ended: then it is on record
            if number != self.trial.number and (number not in known or peak.bytes > known[number].bytes):
                known[number] = peak
        return list(known.values())

    def has_learned(self) -> bool:
        """Is the peak of another trial of the job known by now? Called for a trial that waits to run alone."""
        self._peaks = None
        return not self.plans and bool(self._known_peaks())

    def _by_function(self, where: str) -> int:
        """Returns the recorded answer of the user's function for this trial; calls and records it the first time."""
        if self.trial.predicted_bytes is not None:
            return self.trial.predicted_bytes
        program = self.study.memory_program(self.cell)
        found = ask(program, where, self.cell, self.trial.params, self._outputs, self._leaves)
        transitions.record_progress(self.db, self.claim, self.trial.id, {"predicted_bytes": found})
        return found

    def _gpus(self) -> int | None:
        """Returns the bytes that it takes on each GPU; None: the whole GPU, or no GPU. Raises CannotFit."""
        wanted, there = self.resources.gpu, self.slot.room.gpus
        if not wanted:
            return None
        has = f"{self.slot.machine} has {count(len(there), 'GPU')} for trials"
        if wanted > len(there):
            raise CannotFit(f"needs {count(wanted, 'GPU')}, {has}", 0)
        declared = self.resources.memory
        if declared == LEARN or declared is None:
            return None
        need = declared if isinstance(declared, int) else self._by_function(declared)
        if wanted > sum(gpu.holds(need) for gpu in there):
            of = "a GPU" if wanted == 1 else f"each of {wanted} GPUs"
            raise CannotFit(
                f"needs {in_gb(need)} of {of}, as promised; {self.slot.machine} has {gpus_in_words(there)}", need
            )
        return need

    def fits_no_node(self, needed: int) -> bool:
        """Has every node less: is it above the worker's --memory-limit? 0: it needs more GPUs than any node has."""
        of_gpu = not self.plans and (self.resources.gpu or kind_of(self.slot.settings.device) == "cuda")
        limit = self.slot.settings.memory_limit
        return not needed or (not of_gpu and limit is not None and needed > limit)

    def ran_out(self) -> bool:
        """Did an earlier attempt of the trial, perhaps in another claim, run out of memory?"""
        return any(attempt.how in OUT_OF_MEMORY for attempt in queries.attempts(self.db, self.trial.id))

    # -- while it runs

    def _note(self, name: str, value: Any, distribution: Mapping[str, Any]) -> None:
        self._drawn[name], self._space[name] = value, distribution

    def drew(self, name: str, value: Any, distribution: Mapping[str, Any]) -> None:
        """Notes a parameter that the function drew; with the same parameters as an earlier trial, predicts its need."""
        self._note(name, value, distribution)
        if self._learns and any(set(peak.params) == set(self._drawn) for peak in self._known_peaks()):
            self._settle(self.learned() or 0)

    def reported(self, peak: int) -> None:
        """Notes the peak after a report; a trial that ran alone because its need was unknown lets others start."""
        if peak and not self.plans:
            self._beside[self.trial.number] = Peak(self.trial.params | self._drawn, peak)
            while len(self._beside) > trial_usage.PEAKS:  # as many as are read from the record
                self._beside.pop(min(self._beside), None)
        if self._learns and peak and self.slot.room.is_alone(self.slot.index):
            self._settle(int(FEW * peak))

    def _settle(self, need: int) -> None:
        self.slot.room.settle(self.slot.index, max(need, self.slot.peak()))


def differs_in_one(labels: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return labels.keys() == other.keys() and sum(labels[axis] != other[axis] for axis in labels) == 1


def ask(
    program: Any, where: str, cell: Any, params: Mapping[str, Any], outputs: Path, leaves: Callable[[], bool]
) -> int:
    """Calls FILE.py:FUNCTION in the interpreter of the trials; returns bytes.

    Raises BadMemory with its error, OrderReceived as soon as `leaves` returns True. It runs in a session of its own, so
    that a Ctrl-C for the worker does not end it.
    """
    question = {"memory": where, "folder": cell.folder, "params": dict(params), "cell": dict(cell.axes)}
    read_end, write_end = os.pipe()
    try:
        with os.fdopen(read_end, "rb") as answer:
            os.set_blocking(read_end, False)
            try:
                asked = subprocess.Popen(
                    [*python(*program.words, interpreter=program.python), "--answer-fd", str(write_end)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(write_end,),
                    cwd=program.folder,
                    env={**os.environ, **program.env, **mark(outputs)},
                    start_new_session=True,
                )
            finally:
                os.close(write_end)
            printed = printed_by(asked, json.dumps(question).encode(), leaves)
            reply = json.loads(answer.read() or b"{}")
    except (OSError, ValueError) as error:
        raise BadMemory(f"{where} did not say how much memory the trial takes: {error}") from None
    if "bytes" in reply:
        return int(reply["bytes"])
    last = printed.decode(errors="replace").strip().splitlines()[-1:]
    error_text = reply.get("error") or f"it ended with exit code {asked.returncode}" + "".join(
        f": {line[:300]}" for line in last
    )
    raise BadMemory(f"{where} did not say how much memory the trial takes: {error_text}")


def printed_by(asked: subprocess.Popen[bytes], question: bytes | None, leaves: Callable[[], bool]) -> bytes:
    """Waits for the end of a process and returns what it printed; ends what it has left in its session.

    Raises OrderReceived, and TimeoutError after ANSWERS_S.
    """
    until = time.monotonic() + ANSWERS_S
    with asked:
        try:
            while True:
                try:
                    return asked.communicate(question, LOOK_S)[0]
                except subprocess.TimeoutExpired:
                    question = None  # it has been sent
                if asked.poll() is not None:
                    return b""  # a process that it has left keeps its output open
                if leaves():
                    raise OrderReceived
                if time.monotonic() > until:
                    raise TimeoutError(f"it has not answered within {ANSWERS_S:.0f} s")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(asked.pid, signal.SIGKILL)
