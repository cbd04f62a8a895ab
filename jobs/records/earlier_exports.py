"""Moves exports of an earlier database to another folder before this one overwrites them: they cannot be made again."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from fts.state import queries
from fts.state.errors import NoSuchRow
from fts.state.files import make_folder, refuse_links

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database

ASIDE = "replaced-%Y%m%d-%H%M%S"  # folder in the outputs folder, UTC; `fts restore` uses the same suffix


def move_aside(db: Database, places: Places) -> Path | None:
    """Moves the folders in outputs/hpo with trials of an earlier database, and if there are any, the table of results.

    Returns their new folder; None if there are none. Raises OSError.
    """
    refuse_links(places.exports, places.outputs)
    born = min((job.created_at for job in queries.jobs(db)), default=None)
    if born is None or not places.exports.is_dir():
        return None
    foreign = [
        folder
        for folder in sorted(places.exports.iterdir())
        if not folder.is_symlink() and _is_earlier(db, folder, born)
    ]
    if not foreign:
        return None
    aside = places.outputs / time.strftime(ASIDE, time.gmtime())
    for path in (*foreign, places.results_csv):
        if path.exists():
            target = aside / path.relative_to(places.outputs)
            make_folder(target.parent, places.outputs)
            path.rename(target)
    return aside


def _is_earlier(db: Database, folder: Path, born: float) -> bool:
    """Whether the folder's first trial is not in the database and began before the database's first job."""
    for file in folder.glob("*_all_trials.json"):
        try:
            first = json.loads(file.read_text())[0]
            number, job_id, began = int(first["number"]), int(first["job_id"]), float(first["started_at"])
        except (ValueError, LookupError, TypeError):  # damaged, empty, or a person's own file
            continue
        try:
            if queries.trial(db, job_id, number).started_at == began:
                continue
        except NoSuchRow:
            pass
        if began < born:
            return True
    return False
