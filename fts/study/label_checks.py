"""Refuses cells of different tasks or horizons whose labels are equal on their data, before they enter the queue.

The second of them would search for the answer of the first again. Its first trial finds it, too
(fts.state.transitions.trials), but then the cell stands in the queue as a failed one.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.api.spec import BadSpec
from fts.state.values import JobStatus
from fts.study.cell import CellSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fts.state.values import Job

Question = tuple[str, int]  # task, horizon


def problems(root: Path, cells: Sequence[CellSpec], jobs: Iterable[Job] = ()) -> list[str]:
    """Returns why some of these new cells may not enter the queue, a sentence each.

    `jobs`: those of this study; one that was never begun and has ended counts nothing.
    """
    others = list(_in_use(jobs))
    asked = {_question(cell) for cell in (*cells, *others)}
    if len(asked) < 2:  # the usual case: it costs nothing, not even the import of pandas
        return []
    first: dict[str, CellSpec] = {}  # fingerprint -> the first cell with it
    for cell in others:
        if (found := _fingerprint(root, cell)) is not None:
            first.setdefault(found, cell)
    said = []
    for cell in cells:
        if (found := _fingerprint(root, cell)) is None:
            continue
        other = first.setdefault(found, cell)
        if _question(other) != _question(cell):
            said.append(
                f"{cell.experiment} (task {cell.task}, horizon {cell.horizon}) has exactly the labels of "
                f"{other.experiment} (task {other.task}, horizon {other.horizon}) on {cell.dataset}: leave one out, "
                "or take another task or horizon"
            )
    return list(dict.fromkeys(said))


def _question(cell: CellSpec) -> Question:
    return cell.task, cell.horizon


def _in_use(jobs: Iterable[Job]) -> Iterator[CellSpec]:
    for job in jobs:
        if job.attempt or job.status in (JobStatus.QUEUED, JobStatus.PAUSED, JobStatus.RUNNING):
            try:
                yield CellSpec.from_json(dict(job.spec))
            except (BadSpec, TypeError, ValueError):  # of another version, or edited by hand
                continue


def _fingerprint(root: Path, cell: CellSpec) -> str | None:
    """Returns what must differ between two questions of the same data; None: the data says why elsewhere."""
    found = _labels(
        str(root), cell.data_md5, cell.tier, cell.task, cell.horizon, json.dumps(cell.split, sort_keys=True)
    )
    return None if found is None else f"{cell.data_md5} {found}"


@lru_cache(maxsize=64)
def _labels(root: str, data_md5: str, tier: str, task: str, horizon: int, split: str) -> str | None:
    from fts.data.manifest import ManifestError  # here, not above: pandas, which one task at one horizon need not load
    from fts.study.cell_data import label_fingerprint

    try:
        return label_fingerprint(Path(root), data_md5, task, horizon, json.loads(split), tier=tier).md5
    except (ManifestError, LookupError, OSError, ValueError):  # the data is gone or too short: the dry run says so
        return None
