"""Writes ended trials as offline runs of Weights & Biases, for `wandb sync`. Nothing leaves this machine.

An offline run cannot be continued, so a trial is written after it has ended, into a temporary folder that is renamed.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.jobs.mirrors.follow import CannotMirror, no_library
from fts.jobs.mirrors.runs import FINAL, md5
from fts.jobs.status import formatting
from fts.state.files import atomic_write, new_folder, remove, room, sweep, take
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fts.jobs.mirrors.runs import MirroredCell, Run

MARK = "fts.json"
WRITES_WITHIN_S = 30.0  # wandb, after it has called a run finished: usually some milliseconds
LITTLE = 100_000  # bytes: on such a disk it is not waited for
BLOCK, HEAD = 32768, 7  # bytes of a block of wandb's log, and of what is in front of a record
FULL, MIDDLE, LAST = 1, 3, 4  # parts of a record


class Wandb:
    """A folder for `wandb sync DIR/wandb/offline-run-*`."""

    def __init__(self, folder: Path) -> None:
        os.environ["WANDB_MODE"] = "offline"
        try:
            import wandb  # here: takes half a second, and only this command needs it
        except ImportError as missing:
            cure = f"`{installing('wandb')}` installs the library for offline runs"
            raise no_library(missing, "wandb", cure) from missing
        logging.raiseExceptions = False  # its log is on the disk that may be full; the runs are checked
        self.wandb: Any = wandb
        self.folder = folder / "wandb"
        self.there: dict[str, tuple[Path, str]] | None = None  # key -> (folder of the run, digest of its content)

    def begin(self, cells: Sequence[MirroredCell]) -> None:
        if self.there is None:
            sweep(self.folder)
            self.there = dict(filter(None, map(marked, sorted(self.folder.glob("offline-run-*")))))

    def put(self, run: Run) -> bool:
        assert self.there is not None
        if not run.has_ended:
            return False
        digest = run.digest()
        place, written = self.there.get(run.key, (None, ""))
        if written == digest:
            return False
        wanted = self.folder / folder_name(run)
        self._write(run, wanted, digest)
        if place is not None and place != wanted:
            remove(place)
        self.there[run.key] = wanted, digest
        return True

    def keep(self, cell: MirroredCell, numbers: set[int]) -> int:
        assert self.there is not None
        wanted = {f"{cell.key}-{number}" for number in numbers}
        strange = [key for key in self.there if key.startswith(f"{cell.key}-") and key not in wanted]
        for key in strange:
            remove(self.there.pop(key)[0])
        return len(strange)

    def forget(self) -> None:
        self.there = None

    def close(self) -> None:
        self.wandb.teardown()

    def _write(self, run: Run, place: Path, digest: str) -> None:
        with new_folder(place) as draft:
            try:
                made = self._begin(run, draft)
                try:
                    log(run, made)
                finally:
                    made.finish(exit_code=1 if run.status is TrialStatus.FAILED else 0)
            except self.wandb.Error as error:
                raise CannotMirror(f"wandb cannot write {place}: {' '.join(str(error).split())[:300]}") from error
            (written,) = (draft / "wandb").glob("offline-run-*")
            wait_for_end(written, run, place)
            for part in (*written.glob("*.wandb"), written / "files"):  # wandb keeps its own logs open
                take(part, draft / part.name, move=True)
            remove(draft / "wandb")
            atomic_write(draft / MARK, json.dumps({"key": run.key, "digest": digest}) + "\n")

    def _begin(self, run: Run, draft: Path) -> Any:
        return self.wandb.init(
            mode="offline", dir=str(draft), project=run.cell.study, group=run.cell.name, job_type="trial",
            name=f"{run.cell.shown} t{run.number}", id=id_of(run), tags=[str(run.status)], config=run.params,
            notes="; ".join(f"{name}: {value}" for name, value in run.notes.items())[:5000],
            settings=self.wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True, save_code=False,
                disable_job_creation=True, x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
            ),
        )  # fmt: skip


def log(run: Run, made: Any) -> None:
    for point in run.points:
        values = {name_of(name): value for name, value in point.values.items()}
        made.log({**values, "_timestamp": point.at}, step=point.step)  # by default the time of this copy
    for name, value in run.results.items():
        made.summary[f"{FINAL}/{name}"] = value
    notes = {"started_at": run.started_at, "ended_at": run.ended_at} | run.notes
    made.summary.update({f"fts/{name}": value for name, value in notes.items()})


def wait_for_end(written: Path, run: Run, place: Path) -> None:
    """Waits until the run is in its file, which wandb's own process writes. Raises CannotMirror if it never is."""
    end = time.monotonic() + WRITES_WITHIN_S
    while not any(is_complete(file, run) for file in written.glob("*.wandb")):
        free = room(written)[0]
        if free < LITTLE or time.monotonic() > end:
            raise CannotMirror(
                f"wandb did not write all of {place} ({formatting.size(free)} free): free space on its disk"
            )
        time.sleep(0.01)


def is_complete(file: Path, run: Run) -> bool:
    """Returns whether the file has every report and the end: wandb's process says nothing of a full disk."""
    found = list(records(file))
    reports = sum(record.HasField("history") for record in found)
    return any(record.HasField("exit") for record in found) and reports >= sum(point.step >= 0 for point in run.points)


def records(file: Path) -> Iterator[Any]:
    """Yields what a .wandb file holds: a log in blocks, of records that may have several parts."""
    from google.protobuf.message import DecodeError  # here: only if the library is installed
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = file.read_bytes(), HEAD, b""
    while at + HEAD <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEAD:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        whole = (whole if kind in (MIDDLE, LAST) else b"") + content[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if kind in (FULL, LAST) and at <= len(content):
            with suppress(DecodeError):
                yield Record.FromString(whole)


def marked(folder: Path) -> tuple[str, tuple[Path, str]] | None:
    """Returns key, folder and digest of a run that fts wrote; None: fts did not write it."""
    try:
        found = json.loads((folder / MARK).read_text())
        return str(found["key"]), (folder, str(found["digest"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def name_of(name: str) -> str:
    """Returns the name, with a prefix if it starts with _, which wandb reserves for its own metrics."""
    return f"metrics/{name}" if name.startswith("_") else name


def folder_name(run: Run) -> str:
    return f"offline-run-{datetime.fromtimestamp(run.started_at, UTC):%Y%m%d_%H%M%S}-{id_of(run)}"


def id_of(run: Run) -> str:
    """Returns a fixed id per trial, so that a changed run replaces the one that was synced before."""
    return md5(run.key)[:16]
