"""Workers and the nodes of other machines: what they said last, what was measured there, what they were asked."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.values.enums import NodeState, WorkerOrder

if TYPE_CHECKING:
    from fts.state.values.job import Claim


@dataclass(frozen=True)
class Worker:
    """A process that runs trials, as it said at its last heartbeat."""

    id: int
    host: str
    pid: int
    pid_started: float
    slots: int
    status: str  # running | stopped | lost
    asked: WorkerOrder | None
    started_at: float
    heartbeat_at: float
    stopped_at: float | None
    guard: str  # normal | warm | frozen | cooling | unknown
    guard_message: str | None
    gone: bool = False  # no such process is on this machine any more (fts.state.liveness); never stored
    unreadable: str | None = None


@dataclass(frozen=True)
class Sample:
    """What a worker measured of its machine at one moment."""

    at: float
    worker_id: int
    trial_rss: int | None  # bytes, the trial tree
    available: int | None
    total: int | None
    swap_used: int | None
    cpu_percent: float | None
    temperature: float | None  # Celsius; None: unknown, never "normal"
    gpu_percent: float | None
    gpu_memory: int | None
    power_w: float | None
    disk_free: int | None
    step_s: float | None  # seconds of the latest optimizer step
    unreadable: str | None = None


@dataclass(frozen=True)
class Node:
    """A machine that runs trials for a worker of another one."""

    id: str  # the name that the worker calls it by
    state: NodeState
    at: float  # when this was written
    host: str = ""
    executor: str = ""  # command, ssh
    worker_id: int | None = None
    fingerprint: str = ""  # md5 of what decides the last bits: processor, GPUs, torch, python, fts
    hardware: str = ""  # the same, for a person
    slots: int = 1
    gpus: tuple[str, ...] = ()
    memory: int | None = None  # bytes
    reason: str | None = None  # of its state
    heard_at: float | None = None
    losses: int = 0  # in a row, without a trial that ended there in between
    failures: int = 0  # launches that failed, in a row
    trials: tuple[str, ...] = ()  # in its slots now
    vitals: dict[str, float | int | None] = field(default_factory=dict)  # the latest reading
    past: tuple[tuple[float, float | None, float | None, float | None], ...] = ()  # at, memory in use 0..1, °C, GPU %

    @property
    def busy(self) -> int:
        return len(self.trials)

    @property
    def takes(self) -> bool:
        """May a trial begin there?"""
        return self.state not in (NodeState.DRAINING, NodeState.QUARANTINED)


@dataclass(frozen=True)
class WorkerOrders:
    """The answer to a beat: what people asked meanwhile, and which claims are gone."""

    asked: WorkerOrder | None
    jobs: dict[int, str]  # job id -> pause | cancel
    lost: tuple[Claim, ...]  # of the claims shown at the beat: stop their trials, write nothing more
    beats: int = 0  # of this worker so far: a database that knows fewer is an older copy
