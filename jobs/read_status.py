"""Reads a study's status as `fts status` does, for other programs that show it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fts.jobs.status import summary as glances
from fts.jobs.status.conditions import is_disk_low, silent_worker
from fts.jobs.status.sanitize import clean_snapshot
from fts.jobs.status.surface import Surface
from fts.state import liveness, queries
from fts.state.holder import blocker
from fts.state.user import this_person

if TYPE_CHECKING:
    from fts.jobs.settings import Places
    from fts.jobs.status.disk_usage import Kept
    from fts.state.db import Database
    from fts.state.values import Snapshot


def glance(db: Database, places: Places, known: queries.KnownRows | None = None) -> glances.Glance:
    """Returns the current status of the study. `known`: what earlier calls have read. Raises StateError."""
    found = clean_snapshot(queries.snapshot(db, this_person(), known))
    snapshot = liveness.with_local_facts(found, places.outputs)
    age = max(0.0, time.time() - snapshot.taken_at)
    return glances.look(
        snapshot,
        snapshot.taken_at + age,
        title=places.outputs.parent.name,
        read_age_s=age,
        problem=queries.newer_schema(snapshot),
        kept=kept_by(places, snapshot) if is_disk_low(snapshot) else None,
        locked_by=locked_by(places, snapshot),
        surface=Surface.COMMAND_LINE,
    )


def locked_by(places: Places, snapshot: Snapshot) -> str | None:
    """Names the process that holds the database lock while a worker is silent; None: no such process."""
    silent = silent_worker(snapshot, snapshot.taken_at)
    return None if silent is None else blocker(places.db, silent.pid)


def kept_by(places: Places, snapshot: Snapshot) -> Kept:
    """Returns the disk usage of the study's checkpoints."""
    from fts.jobs.status.disk_usage import kept  # here, not above: only while a disk is full

    return kept(places.outputs, snapshot.trials)
