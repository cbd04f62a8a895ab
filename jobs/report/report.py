"""Writes the report of a study: the page that every study has, and the study's own page if it has one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fts.jobs.records import columns
from fts.jobs.report.data import study_report
from fts.jobs.report.page import page
from fts.jobs.status.formatting import iso
from fts.state import queries
from fts.state.files import atomic_write, make_folder

NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+|^\.+")

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database


def write_report(
    db: Database, places: Places, study: str, folder: Path | None = None, now: float | None = None
) -> list[Path]:
    """Writes the pages of one study atomically; returns their paths, the study's own page first. Raises OSError."""
    of_study = [job for job in queries.jobs(db) if job.study == study]
    target = folder or places.outputs / "report"
    own: Path | None = columns.study_of(of_study[0]).report(db, places, target, now) if of_study else None
    found = study_report(db, places, study, "" if now is None else f"made {iso(now)}")
    more: list[Any] = columns.study_of(of_study[0]).report_sections(found) if of_study else []
    make_folder(target, None if folder else places.outputs)
    path = target / f"{NOT_IN_A_NAME.sub('-', study)[:80]}.html"
    atomic_write(path, page(found, more), None if folder else places.outputs)
    return [path] if own is None else [own, path]
