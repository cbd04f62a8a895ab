"""Shows what a job said last before its worker died or it failed: three lines, and where to read on.

Only files below the folder of the database are opened, whatever a row says; every line is cleaned.
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
END = 16 * 1024  # bytes of a log's end that are read for them


@dataclass(frozen=True)
class LastLines:
    """The end of a story."""

    job_id: int | None  # None: it is a worker's
    title: str  # 20M/h5 t8 · out of memory; worker 4242 · drained Wed 08:12
    lines: tuple[str, ...]
    source: str  # the log file, as it is called below the study's folder; empty: the journal's record is all there is

    def where(self, surface: Surface) -> str:
        """Where to read on."""
        if not self.source:
            return "from the journal; the log file is gone"
        if self.job_id is None:
            return f"all of it: {self.source}"
        if surface is Surface.COMMAND_LINE:
            return f"{by('5', surface, self.job_id)} shows all of it: {self.source}"
        return f"5 shows all of it, or: fts logs {self.job_id} · {self.source}"


def trouble(snapshot: Snapshot, now: float, selected: int | None = None) -> Job | None:
    """The job whose last lines matter now: the selected one if it is lost or failed, else any lost one."""
    chosen = next((job for job in snapshot.jobs if job.id == selected), None)
    if chosen is not None and (chosen.status is JobStatus.FAILED or is_lost(chosen, snapshot, now)):
        return chosen
    may = (job for job in snapshot.jobs if job.status is JobStatus.RUNNING or job.cause is Cause.LOST_WORKER)
    return next((job for job in may if is_lost(job, snapshot, now)), None)


def parted(snapshot: Snapshot, now: float) -> Worker | None:
    """The worker whose leaving matters: the latest one, when none is alive any more and cells wait for one."""
    waits = any(job.status in (JobStatus.RUNNING, JobStatus.QUEUED) and not job.hold_reason for job in snapshot.jobs)
    if not waits or not snapshot.workers or any(is_live(worker, now) for worker in snapshot.workers):
        return None
    return max(snapshot.workers, key=lambda worker: worker.id)


def worker_lines(worker: Worker, snapshot: Snapshot, study: Path, now: float) -> LastLines | None:
    """The end of worker.log, where a worker in the background writes; None if this one wrote nothing there."""
    path = log_file(study, str(study.absolute() / "logs" / WORKER_LOG))
    if path is None:
        return None
    try:
        is_its_own = path.stat().st_mtime >= worker.started_at  # else it is of one before it
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
    """Its worker went silent, or was lost and nobody is there to take over."""
    if job.status is JobStatus.RUNNING:
        worker = next((w for w in snapshot.workers if w.id == job.worker_id), None)
        return worker is None or not is_live(worker, now)
    if job.status is not JobStatus.QUEUED or job.cause is not Cause.LOST_WORKER:
        return False
    return not any(is_live(worker, now) for worker in snapshot.workers)


def last_lines(
    job: Job, trials: Sequence[Trial], events: Sequence[Event], study: Path, *, name: str = "", past: bool = False
) -> LastLines | None:
    """The last lines of a job that failed or was lost; None when nothing was kept.

    `study` is the folder of the database, `name` what the job is called beside another of the same cell. In a replay
    (`past`) the file may have grown since: only the journal counts.
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
    """The last lines of one trial's log."""
    return tail(log_file(study, trial.log_path))


def log_file(study: Path, recorded: str | None) -> Path | None:
    """The log a row names, in the study's folder `logs`; a study that was moved has it in its own.

    Never the database, also under another name: opened and closed by hand, it would lose this process's locks.
    """
    if not recorded or "\0" in recorded:  # no file has such a name, and the system refuses to look for it
        return None
    root = study.absolute().resolve()
    path = Path(recorded)
    path = (path if path.is_absolute() else root.parent / path).resolve()
    if not path.is_relative_to(root):  # the study was moved, or the row is hostile
        path = (root / "logs" / path.name).resolve()
    inside = path.is_relative_to(root) and path.is_relative_to((root / "logs").resolve())
    return path if inside and _is_log(path, root) else None


def _is_log(path: Path, root: Path) -> bool:
    """Whether it is called a log, and is no second name of a file beside the database."""
    if path.suffix != ".log":
        return False
    try:
        found = path.stat()
        return found.st_nlink == 1 or not any(os.path.samestat(found, other.stat()) for other in root.iterdir())
    except OSError as error:  # one that is missing is said to be missing; a name that is too long is none
        return error.errno in (errno.ENOENT, errno.ENOTDIR)


def tail(path: Path | None) -> tuple[str, ...]:
    """The last lines of a file that say something; none if it cannot be read."""
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


def said_by(lines: Sequence[str], ended: float, when: float) -> Sequence[str]:
    """Those of a log that had been written by `when`; `ended` is when its last line was.

    Lines begin with a clock and no date, so the days are counted back from the end.
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
    """Where the lines that belong to line `n` end: those without a clock go on with it."""
    end = n + 1
    while end < len(lines) and CLOCK.match(lines[end]) is None:
        end += 1
    return end


def _recorded(job: Job, events: Sequence[Event]) -> tuple[str, ...]:
    """What the latest event of the job's end kept of the log."""
    for event in reversed(events):
        if event.job_id == job.id and isinstance(event.data.get("log_tail"), str):
            return _last(event.data["log_tail"], LINES)
    return ()


def _last(text: str, count: int) -> tuple[str, ...]:
    said = [line for line in text.splitlines() if line.strip()]
    return tuple(clean(line) for line in said[-count:])
