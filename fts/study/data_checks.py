"""Checks the data sets for `fts doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.state.files import shell_path
from fts.study import dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def findings(root: Path) -> Iterator[tuple[str, str, str | None]]:
    """Yields status, sentence and cure of each finding."""
    if not root.exists():
        yield "warn", f"no data set in {root}", "fts data build"
        return
    problems, unknown = dataset.verify(root), dataset.pending(root)
    for problem in problems:
        yield "bad", problem, None
    for path in unknown:
        yield "warn", f"{path} is not registered", f"fts data register {shell_path(path)}"
    if not problems:
        count = formatting.count(len(dataset.listing(root)), "data set")
        yield "ok", f"{count} in {root}, unchanged since registration", None
