"""Reads the settings of a study's folders and of a worker from options and environment variables."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.amounts import read_size
from fts.jobs.api.spec import BadSpec
from fts.jobs.cgroups import cores_in_words, usable_cores
from fts.jobs.devices import BadSetting, check_here, check_name, index_of, kind_of
from fts.state.files import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.jobs.executors.launch import Launch

__all__ = ["BadSetting"]


@dataclass(frozen=True)
class Places:
    """The files of one study; the database's folder is the outputs folder."""

    db: Path
    data: Path

    @property
    def outputs(self) -> Path:
        return self.db.parent

    @property
    def logs(self) -> Path:
        return self.outputs / "logs"

    @property
    def exports(self) -> Path:
        return self.outputs / "hpo"

    @property
    def results_csv(self) -> Path:
        return self.outputs / "experiment_results.csv"

    @property
    def stop_file(self) -> Path:
        return self.logs / "STOP_HPO"  # `touch` it to stop after this job, as with the earlier scripts

    @property
    def ballast(self) -> Path:
        return self.outputs / ".ballast"

    @property
    def backups(self) -> Path:
        return self.outputs / "backups"


def places(db: str | Path | None = None) -> Places:
    """Returns the places: database from --db, else $FTS_DB, else ./outputs/fts.db; data from $FTS_DATA, else ./data.

    Raises StateError for a text that is no path.
    """
    given = str(db or os.environ.get("FTS_DB") or "outputs/fts.db")
    if ":" in given or given.endswith("/") or not given.strip():
        from fts.state.location import database_path  # here, not above: for what may be no path only

        given = str(database_path(given))  # raises StateError, without the password
    chosen = expanded(given).absolute()
    data = expanded(os.environ.get("FTS_DATA") or "data").absolute()
    return Places(chosen, data)


@dataclass(frozen=True)
class Where:
    """The machines that run the trials."""

    executor: str = "local"  # local, command, ssh, ray
    launch: str | None = None  # the command that starts an agent
    nodes: str | None = None  # gpu1:4,gpu2:4
    node_python: str | None = None
    sync: tuple[str, ...] = ()  # files and folders in the study's folder that are sent to nodes
    address: str | None = None  # HOST:PORT of Ray's head node
    checkpoints: str | None = None  # a shared folder for checkpoints that are too large to send

    @property
    def node_slots(self) -> dict[str, int] | None:
        from fts.jobs.executors.launch import read_nodes  # here: a local worker does not need it

        return None if self.nodes is None else read_nodes(self.nodes)

    def launch_of(self) -> Launch:
        from fts.jobs.executors.launch import SSH, Launch

        if self.executor == "ray":
            from fts.jobs.executors.ray_cluster import RayLaunch

            return RayLaunch("", self.node_python, address=self.address or "")
        if self.executor == "ssh":
            return Launch(self.launch or SSH, self.node_python, quotes=True)
        return Launch(self.launch or "", self.node_python)


@dataclass(frozen=True)
class WorkerSettings:
    """The settings of a worker."""

    slots: int = 1
    threads: int = 1  # per trial; slots x threads <= cores
    device: str = "cpu"
    busy_s: float = 10.0  # how long SQLite waits for the write lock before the worker reports it and tries again
    lease_s: float = 60.0
    beat_s: float = 5.0  # between two heartbeats; several fit into a lease, so that a slow disk does no harm
    poll_s: float = 0.5  # between two checks of a supervisor for orders
    node_lease_s: float = 13.0  # a node is lost after this silence of its agent
    launch_s: float = 120.0  # time for an agent on a named node to start
    where: Where = field(default_factory=Where)
    checkpoint_home: int = 1_000_000_000  # bytes; a larger checkpoint stays at Where.checkpoints
    stop_grace_s: float = 120.0  # a checkpoint of 2B parameters takes tens of seconds
    checkpoint_every_s: float = 60.0
    memory_limit: int | None = None  # bytes for one trial; None: 85 % of what is available, shared by the slots
    stuck_s: float = 900.0  # a slot whose thread does nothing for this time is reported (worker/slot_watch.py)
    outage_pause_s: float = 1.0  # pause before the third try after two machine faults; doubles up to a minute
    max_idle_attempts: int = 3  # attempts without an epoch or a checkpoint; then the job fails
    stall: dict[str, float] = field(default_factory=dict)  # overrides of fts.jobs.watchdog.watchdog.PaceLimits
    until_empty: bool = False  # leave when nothing can run
    detached: bool = False


SLOWER = "more threads than cores make trials 2-16x slower"


def too_few_cores(threads: int) -> str:
    """Returns a message if a trial of so many threads has too few cores on this machine; empty: it has enough."""
    if threads <= (cores := usable_cores()):
        return ""
    return (
        f"threads is {threads}, but a worker has {cores_in_words(cores)} here; {SLOWER}; lower it, or run a worker "
        "with nodes that have more (fts worker --executor ...)"
    )


def worker_settings(
    slots: int | None = None, threads: int | None = None, *, planning: bool = False, **flags: object
) -> WorkerSettings:
    """Returns the settings, with defaults for this machine: up to two slots on CPU, since two one-thread trials are
    faster than one trial with two threads.

    Raises BadSetting when slots x threads exceeds the cores (oversubscription cost 2-16x), the device does not exist
    here, a limit is impossible or a variable is invalid. `planning`: nothing will run, so the device need not exist.
    """
    where = flags.get("where")
    if isinstance(where, Where) and where.executor != "local":
        return remote_settings(where, slots, threads, flags)
    cores = usable_cores()
    given = flags.pop("device", None)
    origin = "--device" if given is not None else "FTS_DEVICE" if os.environ.get("FTS_DEVICE") else "the usual device"
    device = str(given if given is not None else best_device())
    check_name(device, origin) if planning else check_here(device, origin)
    if slots is None:
        slots = 1 if device != "cpu" or threads else min(2, cores)
    threads = threads or max(1, cores // slots)
    if slots < 1 or threads < 1 or slots * threads > cores:
        raise BadSetting(
            f"slots x threads: {slots} x {threads} need {slots * threads} cores, but a worker has "
            f"{cores_in_words(cores)} here; {SLOWER}; use --slots "
            f"{max(1, cores // max(1, threads))}"
        )
    names = ("busy_s", "lease_s", "beat_s", "poll_s", "checkpoint_every_s", "outage_pause_s", "stuck_s")
    timings = {name: seconds(f"FTS_{name.upper()}") for name in names}
    chosen = {name: value for name, value in {**timings, **flags}.items() if value is not None}
    if not planning:
        check_beats(chosen)
    named = "--memory-limit" if "memory_limit" in chosen else "FTS_MEMORY_LIMIT"
    limit = chosen.setdefault("memory_limit", memory_limit_from_env())
    if not planning:
        check_variables()
        if isinstance(limit, int):
            check_memory_limit(named, limit, device)
    if attempts := os.environ.get("FTS_MAX_IDLE_ATTEMPTS"):
        if not (attempts.isdecimal() and int(attempts)):
            raise BadSetting(f"FTS_MAX_IDLE_ATTEMPTS is {attempts!r}, expected a whole number from 1")
        chosen["max_idle_attempts"] = int(attempts)
    stall = {name: seconds(f"FTS_{name.upper()}") for name in STALL}
    chosen["stall"] = {name: value for name, value in stall.items() if value is not None}
    return WorkerSettings(slots=slots, threads=threads, device=device, **chosen)  # type: ignore[arg-type]  # each was read as its field


def remote_settings(
    where: Where, slots: int | None, threads: int | None, flags: Mapping[str, object]
) -> WorkerSettings:
    """Returns the settings of a worker with trials on other machines; their devices are checked there.

    Raises BadSetting.
    """
    nodes = where.node_slots
    if where.executor == "ssh" and nodes is None:
        raise BadSetting("--executor ssh needs --nodes, such as gpu1:4,gpu2:4")
    if where.executor == "command" and not where.launch:
        raise BadSetting("--executor command needs --launch, such as 'srun -n1 -c{threads} --gres=gpu:{gpus}'")
    if where.checkpoints is not None and not os.access(where.checkpoints, os.W_OK | os.X_OK):
        raise BadSetting(
            f"--checkpoints {where.checkpoints} is no folder that this machine can write to; it has to lie on a file "
            "system that this machine and all nodes share, under one path"
        )
    total = sum(nodes.values()) if nodes else None
    if where.executor == "ray":
        from fts.jobs.executors.ray_cluster import look  # here: only this executor needs it

        cluster = look(where.address)
        slots = slots or cluster.slots(threads or 1)
    if slots is None:
        slots = total or 1
    elif total is not None and slots > total:
        raise BadSetting(f"--slots is {slots}, but --nodes has {total}; leave --slots out")
    chosen: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    for name in (
        "busy_s",
        "lease_s",
        "beat_s",
        "poll_s",
        "checkpoint_every_s",
        "outage_pause_s",
        "stuck_s",
        "node_lease_s",
        "launch_s",
    ):
        if (value := seconds(f"FTS_{name.upper()}")) is not None:
            chosen.setdefault(name, value)
    check_beats(chosen)
    if (limit := chosen.get("memory_limit") or memory_limit_from_env()) is not None:
        chosen["memory_limit"] = limit
    if (size := size_from_env("FTS_CHECKPOINT_HOME")) is not None:
        chosen["checkpoint_home"] = size
    device = str(chosen.pop("device", None) or os.environ.get("FTS_DEVICE") or "auto")
    if device != "auto":
        check_name(device, "--device")
    stall = {name: seconds(f"FTS_{name.upper()}") for name in STALL}
    chosen["stall"] = {name: value for name, value in stall.items() if value is not None}
    settings = WorkerSettings(slots=slots, threads=threads or 1, device=device, **chosen)
    where.launch_of().check(settings.memory_limit)
    return settings


def check_beats(chosen: Mapping[str, Any]) -> None:
    """Raises BadSetting for a lease that would end between two heartbeats: another worker would take the job."""
    lease_s = chosen.get("lease_s", WorkerSettings.lease_s)
    for name in ("beat_s", "poll_s"):
        every_s = chosen.get(name, getattr(WorkerSettings, name))
        if 2 * every_s > lease_s:
            raise BadSetting(
                f"FTS_{name.upper()} is {every_s:g} s and FTS_LEASE_S is {lease_s:g} s: the lease would end between "
                "two beats; make the lease at least twice as long"
            )


LEAST_LIMIT = 256 << 20  # bytes; a trial process uses 300 MB before it has a model


def memory_limit_from_env() -> int | None:
    """Returns FTS_MEMORY_LIMIT, the limit of one trial, in bytes; None: not set. Raises BadSetting."""
    return size_from_env("FTS_MEMORY_LIMIT")


def size_from_env(variable: str) -> int | None:
    """Returns a variable's size in bytes; None: not set. Raises BadSetting."""
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        return read_size(text, variable)
    except BadSpec as error:
        raise BadSetting(str(error)) from None


def check_memory_limit(origin: str, limit: int, device: str) -> None:
    """Raises BadSetting for a limit below the need of any trial, or above the memory of the machine (or GPU)."""
    from fts.jobs.sensors import detect  # here, not above: psutil
    from fts.jobs.status.formatting import in_gb

    if limit < LEAST_LIMIT:
        raise BadSetting(f"{origin} is {in_gb(limit)}, but a trial needs {in_gb(LEAST_LIMIT)} even without a model")
    machine = detect.from_env(Path(), gpu=index_of(device))
    try:
        reading = machine.read()
    finally:
        machine.close()
    total = reading.gpu_memory_total if kind_of(device) == "cuda" else reading.total
    if total is not None and limit > total:
        raise BadSetting(f"{origin} is {in_gb(limit)}, but {device} of this machine has {in_gb(total)}")


def check_variables() -> None:
    """Raises BadSetting for an invalid variable of watchdog or sensors now, before the worker has started."""
    from fts.jobs.sensors import detect
    from fts.jobs.sensors.gpus import list_gpus
    from fts.jobs.watchdog.policy import MemoryLimits, Thresholds

    try:
        Thresholds.from_env()
        MemoryLimits.for_trial(1 << 40, 1 << 41)
        detect.from_env(Path()).close()
        list_gpus()
    except ValueError as error:
        raise BadSetting(str(error)) from None


STALL = (
    "stall_factor", "stall_min_s", "stall_first_s", "stall_cpu_percent", "cpu_window_s", "stall_learn_factor",
    "stall_learn_min_s",
)  # fmt: skip


def seconds(variable: str) -> float | None:
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise BadSetting(f"{variable} is {text!r}, expected a positive number of seconds")
    return value


def best_device() -> str:
    """Returns FTS_DEVICE, else cuda if its driver exists, else cpu; mps must be named. Does not import torch."""
    if chosen := os.environ.get("FTS_DEVICE"):
        return check_name(chosen, "FTS_DEVICE")
    if Path("/dev/nvidia0").exists() or Path("/proc/driver/nvidia/version").exists():
        return "cuda"
    return "cpu"
