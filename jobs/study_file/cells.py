"""Reads the cells of a study together with its database, which has the recorded trials of a warm start."""

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
    """Returns the wanted cells, checked and frozen. `path` is the database, which need not exist. Raises BadSpec."""
    meant = chosen(study.labels, wanted)
    if not has_study(path):
        return study.cells(meant, None, path.parent)
    with contextlib.ExitStack() as stack:
        return study.cells(meant, _Records(path, stack), path.parent)


class _Records:
    """Finds the parameters of a recorded trial by its name. Opens the database at the first call.

    Opening leaves files of SQLite next to the database, and most studies name no trial.
    """

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self._path, self._stack = path, stack
        self._recorded: Callable[[str], Params] | None = None

    def __call__(self, word: str) -> Params:
        if self._recorded is None:
            from fts.jobs.study_file.warm import recorded_in  # here and below: loads peewee, which --help does not need
            from fts.state.db import open_for_reading

            db = open_for_reading(self._path)
            self._stack.callback(db.close)
            self._recorded = recorded_in(db)
        return self._recorded(word)
