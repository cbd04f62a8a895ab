"""Finds the last three log lines of a failed job or a lost worker, and says where to read more.

Opens only files below the folder of the database, even if a row names others; every line is cleaned.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.amounts import latest
from fts.jobs.status import formatting, naming
from fts.jobs.status.conditions import is_live
from fts.jobs.status.drain import how_it_left
from fts.jobs.status.sanitize import clean
from fts.jobs.status.surface import Surface, by
from fts.state.values import Cause, Event, Job, JobStatus, Snapshot, Trial, TrialStatus, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES = 3
CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)\b")
WORKER_LOG = "worker.log"
END = 16 * 1024  # bytes read from the end of a log


@dataclass(frozen=True)
class LastLines:
    """The last lines of a log."""

    job_id: int | None  # None: the log of a worker
    title: str  # 20M/h5 t8 · out of memory; worker 4242 · drained Wed 08:12
    lines: tuple[str, ...]
    source: str  # path of the log file below the study's folder; empty: the lines come from the journal

    def where(self, surface: Surface, selected: int | None = None) -> str:
        """Says where to read more. `selected`: the job of which 5 shows the log."""
        if not self.source:
            return "from the journal; the log file is gone"
        if self.job_id is None:
            return f"all of it: {self.source}"
        if surface is Surface.COMMAND_LINE:
            return f"{by('5', surface, self.job_id)} shows all of it: {self.source}"
        key = "5 shows all of it, or" if self.job_id == selected else "all of it"
        return f"{key}: fts logs {self.job_id} · {self.source}"


def trouble(snapshot: Snapshot, now: float, selected: int | None = None) -> Job | None:
    """Returns the job whose last lines to show: the selected one if it is lost or failed, else any lost one."""
    chosen = next((job for job in snapshot.jobs if job.id == selected), None)
    if chosen is not None and (chosen.status is JobStatus.FAILED or is_lost(chosen, snapshot, now)):
        return chosen
    may = (job for job in snapshot.jobs if job.status is JobStatus.RUNNING or job.cause is Cause.LOST_WORKER)
    return next((job for job in may if is_lost(job, snapshot, now)), None)


def departed(snapshot: Snapshot, now: float) -> Worker | None:
    """Returns the latest worker, if none is alive and jobs wait for one; else None."""
    waits = any(job.status in (JobStatus.RUNNING, JobStatus.QUEUED) and not job.hold_reason for job in snapshot.jobs)
    if not waits or not snapshot.workers or any(is_live(worker, now) for worker in snapshot.workers):
        return None
    return max(snapshot.workers, key=lambda worker: worker.id)


def worker_lines(worker: Worker, snapshot: Snapshot, study: Path, now: float) -> LastLines | None:
    """Returns the last lines of worker.log, the log of detached workers; None if this worker wrote nothing there."""
    path = log_file(study, str(study.absolute() / "logs" / WORKER_LOG))
    if path is None:
        return None
    try:
        is_its_own = path.stat().st_mtime >= worker.started_at  # else an earlier worker wrote it
    except OSError:
        return None
    found = tail(path) if is_its_own else ()
    if not found:
        return None
    at = formatting.when(worker.stopped_at or worker.heartbeat_at, now)
    silent = "died after" if worker.gone else "silent since"
    how = {"running": silent, "lost": "lost"}.get(worker.status) or how_it_left(snapshot, worker)
    return LastLines(None, f"worker {worker.id} · {how} {at}", found, f"{study.name}/logs/{WORKER_LOG}")


def is_lost(job: Job, snapshot: Snapshot, now: float) -> bool:
    """Returns whether the job's worker is silent or gone, or was lost while no other worker is alive."""
    if job.status is JobStatus.RUNNING:
        worker = next((w for w in snapshot.workers if w.id == job.worker_id), None)
        return worker is None or not is_live(worker, now)
    if job.status is not JobStatus.QUEUED or job.cause is not Cause.LOST_WORKER:
        return False
    return not any(is_live(worker, now) for worker in snapshot.workers)


def last_lines(
    job: Job, trials: Sequence[Trial], events: Sequence[Event], study: Path, *, name: str = "", past: bool = False
) -> LastLines | None:
    """Returns the last lines of a failed or lost job; None if there are none.

    `study` is the folder of the database, `name` the unique name of the job. In a replay (`past`) only the journal is
    used, because the file may have grown since.
    """
    own = [trial for trial in trials if trial.job_id == job.id]
    live = next((trial for trial in own if trial.status in (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)), None)
    trial = live or max(own, key=lambda t: t.number, default=None)
    name = (name or naming.cell_name(job)) + (f" t{trial.number}" if trial else "")
    why = job.cause if job.status is JobStatus.FAILED else "its worker is lost"
    title = f"{name} · {why or 'no cause recorded'}"
    path = log_file(study, trial.log_path) if trial is not None else None
    recorded = _recorded(job, events)
    found = recorded if job.status is JobStatus.FAILED and recorded else () if past else tail(path)
    found = found or recorded
    if not found:
        return None
    source = f"{study.name}/{path.relative_to(study.resolve())}" if path is not None and path.is_file() else ""
    return LastLines(job.id, title, found, clean(source))


def of_trial(trial: Trial, study: Path) -> tuple[str, ...]:
    """Returns the last lines of a trial's log."""
    return tail(log_file(study, trial.log_path))


def log_file(study: Path, recorded: str | None) -> Path | None:
    """Returns the path of a recorded log, which must be in the study's folder `logs`; else None.

    If the study was moved, takes the file of that name in its present folder. Never returns the database, not even
    through a hard link: opening and closing it would drop this process's locks.
    """
    if not recorded or "\0" in recorded:  # the system refuses names with a NUL character
        return None
    root = study.absolute().resolve()
    path = Path(recorded)
    path = (path if path.is_absolute() else root.parent / path).resolve()
    if not path.is_relative_to(root):  # the study was moved, or the row was manipulated
        path = (root / "logs" / path.name).resolve()
    inside = path.is_relative_to(root) and path.is_relative_to((root / "logs").resolve())
    return path if inside and _is_log(path, root) else None


def _is_log(path: Path, root: Path) -> bool:
    """Returns whether it is named .log and is no hard link to a file next to the database."""
    if path.suffix != ".log":
        return False
    try:
        found = path.stat()
        return found.st_nlink == 1 or not any(os.path.samestat(found, other.stat()) for other in root.iterdir())
    except OSError as error:  # a missing or unreadable file is accepted (the caller reports it), too long a name is not
        return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES)


def tail(path: Path | None) -> tuple[str, ...]:
    """Returns the last non-empty lines of a file; none if it cannot be read."""
    if path is None:
        return ()
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - END))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return _last(text, LINES)


def lines_until(lines: Sequence[str], ended: float, when: float) -> Sequence[str]:
    """Returns the log lines that were written until `when`; `ended` is the time of the last line.

    Lines begin with a time of day without a date, so days are counted back from the end.
    """
    at = ended
    for n in range(len(lines) - 1, -1, -1):
        found = CLOCK.match(lines[n])
        if found is None:
            continue
        at = latest(int(found[1]), int(found[2]), at + 1, int(found[3]))
        if at <= when:
            return lines[: _paragraph(lines, n)]
    return ()


def _paragraph(lines: Sequence[str], n: int) -> int:
    """Returns the end of the lines that belong to line `n`: lines without a time continue it."""
    end = n + 1
    while end < len(lines) and CLOCK.match(lines[end]) is None:
        end += 1
    return end


def _recorded(job: Job, events: Sequence[Event]) -> tuple[str, ...]:
    """Returns the log lines stored in the job's latest event that has some."""
    for event in reversed(events):
        if event.job_id == job.id and isinstance(event.data.get("log_tail"), str):
            return _last(event.data["log_tail"], LINES)
    return ()


def _last(text: str, count: int) -> tuple[str, ...]:
    said = [line for line in text.splitlines() if line.strip()]
    return tuple(clean(line) for line in said[-count:])
