"""Implements `fts mirror`: copies a study one way, from the database to TensorBoard, MLflow or Weights & Biases."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import Fraction, here
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.paths import PathType
from fts.jobs.cli.selection import choose
from fts.jobs.cli.show import reading
from fts.jobs.status import formatting
from fts.state import queries
from fts.state.errors import WrongStatus
from fts.state.files import open_log, remove
from fts.state.slot_lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fts.jobs.mirrors.follow import MirrorTarget
    from fts.state.values import Job

EVERY_S = 2.0


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that every mirror has."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="one JSON object, with schema and taken_at"),
        click.option(
            "--every", "every_s", default=EVERY_S, type=Fraction(0.05, 3600.0), show_default=True,
            help="with --follow: seconds between two reads",
        ),
        click.option("--until-idle", is_flag=True, help="with --follow: stop when no job runs and none can start"),
        click.option("-f", "--follow", "follows", is_flag=True, help="keep it up to date until stopped"),
        click.argument("wanted", nargs=-1, metavar="[JOB]..."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def mirror() -> None:
    """Copy the study for other programs: written from the database, never read back.

    You may run it again at any time: nothing is copied twice, and an interrupted copy is completed. With --follow it
    stays up to date while a worker runs, in a process of its own that does not affect the worker.
    """


@mirror.command()
@click.argument("folder", metavar="DIR", type=PathType(file_okay=False, path_type=Path))
@with_options
def tensorboard(folder: Path, **options: Any) -> None:
    """Write event files for `tensorboard --logdir DIR`: curves, parameters (HPARAMS), facts (TEXT) of each trial."""
    from fts.jobs.mirrors.tensorboard import TensorBoard  # here, not above: for this command only

    _run("tensorboard", str(folder.absolute()), lambda: TensorBoard(folder.absolute()), **options)


@mirror.command()
@click.argument("uri", metavar="URI")
@with_options
def mlflow(uri: str, **options: Any) -> None:
    """Write runs to an MLflow tracking server, http://127.0.0.1:5000, or to a store, sqlite:///mlflow.db.

    An experiment per study, a run per cell, and below it a run per trial. For a server with passwords set
    MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.
    """
    if not uri.strip():
        raise click.UsageError("the URI is empty; expected one such as http://127.0.0.1:5000 or sqlite:///mlflow.db")
    from fts.jobs.mirrors.mlflow import MLflow, without_password  # here, not above: for this command only

    _run("mlflow", without_password(uri), lambda: MLflow(uri), **options)


@mirror.command()
@click.argument("folder", metavar="DIR", type=PathType(file_okay=False, path_type=Path))
@with_options
def wandb(folder: Path, **options: Any) -> None:
    """Write offline runs of Weights & Biases, one per ended trial, for `wandb sync DIR/wandb/offline-run-*`."""
    from fts.jobs.mirrors.wandb import Wandb  # here, not above: for this command only

    _run("wandb", str(folder.absolute()), lambda: Wandb(folder.absolute()), **options)


def _run(
    kind: str,
    place: str,
    make: Callable[[], MirrorTarget],
    wanted: tuple[str, ...],
    follows: bool,
    until_idle: bool,
    every_s: float,
    as_json: bool,
) -> None:
    from fts.jobs.mirrors.follow import Mirror, follow  # here, not above: --help does not need it

    if until_idle and not follows:
        raise click.UsageError("--until-idle needs --follow")

    def chosen(jobs: Sequence[Job]) -> Sequence[Job]:
        return choose(jobs, wanted).jobs if wanted else jobs

    with reading() as db:
        chosen(queries.jobs(db))  # refuses a word that names no job before anything is written
        with _alone(kind, place):
            target = make()
            made = Mirror(target, chosen)
            try:
                if not follows:
                    done = made.bring_up_to_date(db)
                    if as_json:
                        return emit_json("mirror", {"place": place, **done.__dict__})
                    gone = f", {done.removed} removed" if done.removed else ""
                    return emit(f"{place}: {formatting.count(done.trials, 'trial')}, {done.written} written{gone}")
                stopped: list[int] = []
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, lambda found, _: stopped.append(found))
                say(f"mirroring {here().db} to {place}; Ctrl-C ends it")
                follow(made, here().db, every_s=every_s, until_idle=until_idle, stops=lambda: bool(stopped), say=say)
            finally:
                target.close()
    return None


@contextmanager
def _alone(kind: str, place: str) -> Iterator[None]:
    """Locks the mirror of this study at this place. Raises WrongStatus if another process writes it.

    Removes a new lock file if the target refuses. A study that this user may only read has no lock.
    """
    name = hashlib.md5(place.encode(errors="replace"), usedforsecurity=False).hexdigest()[:8]
    from fts.jobs.mirrors.follow import CannotMirror  # here: as in _run

    lock = here().outputs / f"mirror-{kind}-{name}.lock"
    while True:
        is_new = not lock.exists()
        try:
            handle = open_log(lock, here().outputs)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            yield
            return
        try:
            if not try_lock(handle, tries=5):
                raise WrongStatus(
                    f"another process mirrors this study to {place}: it is up to date while that one runs"
                )
            if not lock.exists() or not os.path.samestat(lock.stat(), os.fstat(handle)):
                continue  # its process was refused, and has removed it
            try:
                yield
                return
            except CannotMirror:
                if is_new:
                    remove(lock, here().outputs)
                raise
        finally:
            os.close(handle)
