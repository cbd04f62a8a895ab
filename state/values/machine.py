"""Workers and nodes: their latest reports, their measurements, and the orders to them."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.values.enums import NodeState, WorkerOrder

if TYPE_CHECKING:
    from fts.state.values.job import Claim


@dataclass(frozen=True)
class Worker:
    """A process that runs trials, as of its last heartbeat."""

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
    gone: bool = False  # its process on this machine is dead (fts.state.liveness); never stored
    unreadable: str | None = None


@dataclass(frozen=True)
class Sample:
    """One measurement that a worker made of its machine."""

    at: float
    worker_id: int
    trial_rss: int | None  # bytes of the trials' process trees
    available: int | None
    total: int | None
    swap_used: int | None
    cpu_percent: float | None
    temperature: float | None  # Celsius; None means unknown, not normal
    gpu_percent: float | None
    gpu_memory: int | None
    power_w: float | None
    disk_free: int | None
    step_s: float | None  # seconds of the latest optimizer step
    unreadable: str | None = None


@dataclass(frozen=True)
class Node:
    """A machine that runs trials for a worker on another machine."""

    id: str  # its name for the worker
    state: NodeState
    at: float  # when this was written
    host: str = ""
    executor: str = ""  # command, ssh
    worker_id: int | None = None
    fingerprint: str = ""  # md5 of what can change the last bits of a result: processor, GPUs, torch, python, fts
    hardware: str = ""  # the same as text
    slots: int = 1
    gpus: tuple[str, ...] = ()
    memory: int | None = None  # bytes
    reason: str | None = None  # for its state
    heard_at: float | None = None  # time of its last message
    losses: int = 0  # in a row, without a trial that ended there in between
    failures: int = 0  # failed launches in a row
    trials: tuple[str, ...] = ()  # running in its slots
    vitals: dict[str, float | int | None] = field(default_factory=dict)  # the latest reading
    past: tuple[tuple[float, float | None, float | None, float | None], ...] = ()  # at, memory in use 0..1, °C, GPU %

    @property
    def busy(self) -> int:
        return len(self.trials)

    @property
    def takes(self) -> bool:
        """Whether a trial may start there."""
        return self.state not in (NodeState.DRAINING, NodeState.QUARANTINED)


@dataclass(frozen=True)
class WorkerOrders:
    """The answer to a heartbeat: requests of people, and lost claims."""

    asked: WorkerOrder | None
    jobs: dict[int, str]  # job id -> pause | cancel
    lost: tuple[Claim, ...]  # claims that the worker no longer holds: it must stop their trials and write nothing more
    beats: int = 0  # heartbeats of this worker so far: a database with fewer is an older copy
