"""Enqueues cells of the flagship."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.state import transitions
from fts.study.memory_plan import too_large
from fts.study.question import rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.jobs.api.study import Study
    from fts.state.db import Database
    from fts.state.values import Enqueued
    from fts.study.cell import CellSpec


def enqueue_specs(
    db: Database,
    study: Study,
    cells: Iterable[CellSpec],
    who: str | None = None,
    *,
    again: bool = False,
    dry_run: bool = False,
    by_a_person: bool = True,
) -> list[Enqueued]:
    """Enqueues all cells in one transaction; returns, and with more trials extends, existing jobs of a question."""
    rows = [study.row(cell) | {"hold_reason": None if dry_run else too_large(cell)} for cell in cells]
    return list(transitions.enqueue(db, rows, who, rule=rule(), again=again, dry_run=dry_run, by_a_person=by_a_person))
