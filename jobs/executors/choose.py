"""Creates the executor that a worker's settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.executors.local import LocalExecutor

if TYPE_CHECKING:
    from fts.jobs.executors.base import Executor
    from fts.jobs.sensors.reading import Sensors
    from fts.jobs.settings import Places, WorkerSettings
    from fts.state.db import Database


def executor_of(places: Places, settings: WorkerSettings, db: Database, sensors: Sensors) -> Executor:
    """Returns the executor. `sensors` are those of this machine."""
    where = settings.where
    if where.executor == "local":
        return LocalExecutor(places, settings, sensors)
    from fts.jobs.executors.command import CommandExecutor  # here: a local worker does not need it
    from fts.jobs.executors.ray_nodes import RayExecutor

    kind = RayExecutor if where.executor == "ray" else CommandExecutor
    return kind(places, settings, db, where.launch_of(), where.node_slots, where.executor, where.sync)
