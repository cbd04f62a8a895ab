"""Writes ended trials as offline runs of Weights & Biases, for `wandb sync`. Nothing leaves this machine.

An offline run cannot be continued, so a trial is written after it has ended, into a temporary folder that is renamed.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.jobs.mirrors.follow import no_library
from fts.jobs.mirrors.runs import FINAL, md5
from fts.state.files import atomic_write, new_folder, remove, sweep, take
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fts.jobs.mirrors.runs import Cell, Run

MARK = "fts.json"


class Wandb:
    """A folder for `wandb sync DIR/wandb/offline-run-*`."""

    def __init__(self, folder: Path) -> None:
        os.environ["WANDB_MODE"] = "offline"
        try:
            import wandb  # here: takes half a second, and only this command needs it
        except ImportError as missing:
            cure = f"`{installing('wandb')}` installs the library for offline runs"
            raise no_library(missing, "wandb", cure) from missing
        self.wandb: Any = wandb
        self.folder = folder / "wandb"
        self.there: dict[str, tuple[Path, str]] | None = None  # key -> (folder of the run, digest of its content)

    def begin(self, cells: Sequence[Cell]) -> None:
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

    def keep(self, cell: Cell, numbers: set[int]) -> int:
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
        wandb, how = self.wandb, run.status
        with new_folder(place) as draft:
            made = wandb.init(
                mode="offline", dir=str(draft), project=run.cell.study, group=run.cell.name, job_type="trial",
                name=f"{run.cell.shown} t{run.number}", id=id_of(run), tags=[str(how)], config=run.params,
                notes="; ".join(f"{name}: {value}" for name, value in run.notes.items())[:5000],
                settings=wandb.Settings(
                    silent=True, console="off", disable_git=True, disable_code=True, save_code=False,
                    disable_job_creation=True, x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
                ),
            )  # fmt: skip
            for point in run.points:
                values = {name_of(name): value for name, value in point.values.items()}
                made.log({**values, "_timestamp": point.at}, step=point.step)  # by default the time of this copy
            for name, value in run.results.items():
                made.summary[f"{FINAL}/{name}"] = value
            notes = {"started_at": run.started_at, "ended_at": run.ended_at} | run.notes
            made.summary.update({f"fts/{name}": value for name, value in notes.items()})
            made.finish(exit_code=1 if how is TrialStatus.FAILED else 0)
            (written,) = (draft / "wandb").glob("offline-run-*")
            for part in (*written.glob("*.wandb"), written / "files"):  # wandb keeps its own logs open
                take(part, draft / part.name, move=True)
            remove(draft / "wandb")
            atomic_write(draft / MARK, json.dumps({"key": run.key, "digest": digest}) + "\n")


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
