"""The cells of a study beside a database: which of them a person means, and the recorded trials that it begins with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fts.jobs.study_file.chosen import chosen
from fts.state.location import has_study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.study_file.study import StudyFile
    from fts.jobs.study_file.tables import Params


def cells_of(study: StudyFile, path: Path, wanted: Sequence[str] = ()) -> list[BareCell]:
    """Checked and frozen; `path` is the database, which need not exist. Raises BadSpec with the line."""
    meant = chosen(study.labels, wanted)
    if not has_study(path):
        return study.cells(meant, None, path.parent)
    with contextlib.ExitStack() as stack:
        return study.cells(meant, _Records(path, stack), path.parent)


class _Records:
    """The parameters of a recorded trial by its name; opens the database when the first one is asked for.

    Reading leaves files of SQLite beside a database, and a study that names no trial needs none.
    """

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self._path, self._stack = path, stack
        self._recorded: Callable[[str], Params] | None = None

    def __call__(self, word: str) -> Params:
        if self._recorded is None:
            from fts.jobs.study_file.warm import recorded_in  # here, not above: see below
            from fts.state.db import open_for_reading  # peewee, which --help need not load

            db = open_for_reading(self._path)
            self._stack.callback(db.close)
            self._recorded = recorded_in(db)
        return self._recorded(word)
