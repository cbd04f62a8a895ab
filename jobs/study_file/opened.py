"""The cells of a study beside a database: which of them a person means, and the recorded trials that it begins with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.study_file.chosen import chosen
from fts.state.place import has_study

if TYPE_CHECKING:
    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.study_file.study import StudyFile


def cells_of(study: StudyFile, path: Path, wanted: Sequence[str] = ()) -> list[BareCell]:
    """Checked and frozen; `path` is the database, which need not exist. Raises BadSpec with the line."""
    meant = chosen(study.labels, wanted)
    if not has_study(path):
        return study.cells(meant, None, path.parent)
    from fts.jobs.study_file.warm import recorded_in  # here, not above: see below
    from fts.state.db import open_for_reading  # peewee, which --help need not load

    db = open_for_reading(path)
    try:
        return study.cells(meant, recorded_in(db), path.parent)
    finally:
        db.close()
