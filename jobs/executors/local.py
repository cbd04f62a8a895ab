"""Runs trials on this machine; the slots share its memory, processors and GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.cgroups import usable_cores
from fts.jobs.sensors.detect import Machine
from fts.jobs.sensors.gpus import list_gpus
from fts.jobs.supervisor.memory_pool import MemoryPool
from fts.jobs.supervisor.slot import Slot
from fts.state.gpu_ledger import GpuLedger, gpus_folder
from fts.state.gpu_waits import GpuWaits, identity_of

if TYPE_CHECKING:
    from fts.jobs.sensors.reading import Sensors
    from fts.jobs.settings import Places, WorkerSettings
    from fts.state.values import Node


class LocalExecutor:
    """An executor with this machine as its only node."""

    name = "local"
    worker_id: int | None = None

    def __init__(self, places: Places, settings: WorkerSettings, sensors: Sensors) -> None:
        self.sensors = sensors  # the worker closes them
        folder = gpus_folder()
        waits = GpuWaits(folder, identity_of(places.db), settings.lease_s)
        self.pool = MemoryPool(list_gpus(), usable_cores(), GpuLedger(folder), waits)
        self.slots = tuple(Slot(index, places, settings, self.sensors, self.pool) for index in range(settings.slots))
        if isinstance(sensors, Machine):
            sensors.watch_gpus(self._given_gpus)

    def _given_gpus(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(gpu.name for slot in self.slots for gpu in self.pool.gpus_of(slot.index)))

    def nodes(self) -> tuple[Node, ...]:
        """Returns no nodes: the worker's own row describes this machine."""
        return ()

    def close(self) -> None:
        for slot in self.slots:
            slot.release()
