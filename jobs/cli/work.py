"""The commands that do the work: worker, run, demo."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import COUNT, Whole, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, say
from fts.jobs.cli.selection import NUMBER, one_job
from fts.jobs.python import python
from fts.jobs.settings import Places, worker_settings
from fts.jobs.status.explain import why
from fts.jobs.status.naming import cell_name
from fts.jobs.watchdog.policy import read_bytes
from fts.state import liveness, queries
from fts.state.db import open_for_person, open_for_reading
from fts.state.disk import is_full
from fts.state.errors import StateError
from fts.state.files import atomic_write, open_log
from fts.state.place import has_study
from fts.state.values import Job, JobStatus
from fts.study import matrix
from fts.study.cli.enqueue import cell_options, parse_cell, specs_of

if TYPE_CHECKING:
    from fts.study.cell import CellSpec

MAX_BYTES = 10**15  # more is a slip of the finger, and soon more than the system can count
STARTS_WITHIN_S = 60.0  # torch is not imported by the worker itself, but a slow disk may be busy


class Size(click.ParamType):  # type: ignore[type-arg]  # it takes types only since click 8.4
    """20GB, 512M or plain bytes, as bytes; powers of 1024, as everywhere here."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            size = read_bytes("--memory-limit", str(value).strip())
        except ValueError:
            size = 0
        if not 0 < size <= MAX_BYTES:
            self.fail(f"{value!r} is not a size; expected 20GB, 512MB or a number of bytes", param, ctx)
        return size


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a trial may use this machine."""
    for option in (
        click.option(
            "--memory-limit", type=Size(), metavar="SIZE", help="one trial may use, e.g. 20GB  [default: 85 %]"
        ),
        click.option("--device", help="cpu, cuda, cuda:1 or mps  [default: what the machine has]"),
        click.option("--threads", type=COUNT, help="of each trial; slots x threads must not exceed the cores"),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--slots", type=COUNT, help="jobs at once  [default: 2 on a CPU with 2 or more cores, else 1]")
@machine_options
@click.option("--until-empty", is_flag=True, help="stop when no job can run any more")
@click.option("--detach", is_flag=True, help="keep running after logout, with a pid file and outputs/logs/worker.log")
@click.option("--create", is_flag=True, help="make a new, empty study where there is none, and wait for jobs")
@click.option("--detached", is_flag=True, hidden=True)
def worker(detach: bool, detached: bool, create: bool, **flags: Any) -> int:
    """Run the queue until stopped.

    Ctrl-C writes a checkpoint and stops; nothing is lost. `fts drain` lets it finish its trial first.
    """
    settings = worker_settings(**flags, detached=detached)
    if not create and not has_study(here().db):
        raise NothingThere(
            f"there is no study at {here().db}: change to its folder or name it with --db; `fts enqueue --matrix` "
            "begins a study here, `fts worker --create` an empty one"
        )
    if detach:
        return start_detached(here(), flags | {"create": create})
    from fts.jobs.worker.worker import stop_listening, work  # here, not above: --help and --detach need no huey

    log_to_stderr(logging.INFO if detached or not sys.stderr.isatty() else logging.WARNING)
    try:
        code = work(here(), settings)
        stop_listening()
        return code
    finally:
        if detached:
            remove_pid_file(here(), os.getpid())


def log_to_stderr(level: int) -> None:
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("huey").setLevel(max(level, logging.WARNING))  # its own start-up lines say nothing to a person


def start_detached(places: Places, flags: dict[str, Any]) -> int:
    """Starts `fts worker` in a session of its own and returns when it lives: 0, or its exit code."""
    log = places.logs / "worker.log"
    argv = python("-m", "fts.jobs.cli", "--db", str(places.db), "worker", "--detached", *arguments(flags))
    handle = open_log(log, places.outputs)
    start = os.lseek(handle, 0, os.SEEK_END)
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, start_new_session=True, close_fds=True
        )
    finally:
        os.close(handle)
    give_up = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < give_up:
        if (code := child.poll()) is not None:
            with log.open(errors="replace") as file:
                file.seek(start)
                said = file.read().strip().splitlines()
            say(said[-1] if said else f"the worker ended at once with code {code}{_why_silent(log)}")
            return code
        if number := registered(places, child.pid):
            atomic_write(pid_file(places), f"{child.pid}\n", durable=False)
            if child.poll() is not None:  # it had nothing to do, and left before its file was there
                remove_pid_file(places, child.pid)
            emit(f"worker {number} runs as process {child.pid} (in {pid_file(places)}); its log is {log}")
            say("`fts status` shows its progress, `fts drain` or `fts stop` ends it")
            return 0
        time.sleep(0.1)
    say(f"process {child.pid} has not registered within {STARTS_WITHIN_S:.0f} s; see {log}")
    return 1


def _why_silent(log: Path) -> str:
    """Why nothing stands in its log."""
    if is_full(log.parent):
        return f" and could not write why: the disk of {log} is full; free space, then try again"
    return f" and wrote nothing into {log}"


def pid_file(places: Places) -> Path:
    """Holds the process number of the detached worker while it lives."""
    return places.outputs / "worker.pid"


def remove_pid_file(places: Places, pid: int) -> None:
    """Unless it names another: a refused worker must not take away the file of the one that lives."""
    with contextlib.suppress(FileNotFoundError):
        if pid_file(places).read_text().strip() == str(pid):
            pid_file(places).unlink()


def arguments(flags: dict[str, Any]) -> list[str]:
    """The flags of this command, as the detached one gets them."""
    words: list[str] = []
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value not in (None, False):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def registered(places: Places, pid: int) -> int | None:
    """The number of the worker with that pid; None until it has said that it is there."""
    try:
        db = open_for_reading(places.db)
    except StateError:
        return None  # not created yet
    try:
        return next((w.id for w in queries.workers(db) if w.pid == pid and w.status == "running"), None)
    finally:
        db.close()


@click.command()
@click.argument("cell")
@cell_options
@click.option("--again", is_flag=True, help="search the cell again, although it has a job")
@click.option("--no-check", is_flag=True, help="skip the dry run of one step for a new cell")
@click.option("--slot", type=Whole(0, 999), metavar="N", help="take this slot  [default: the first free one]")
@machine_options
def run(
    cell: str,
    task: str,
    again: bool,
    no_check: bool,
    slot: int | None,
    threads: int | None,
    device: str | None,
    memory_limit: int | None,
    **fields: Any,
) -> int:
    """Run one CELL here and now: a waiting job (by number or name), or a new one such as 2M/h1.

    The same code and the same records as the queue's; Ctrl-C writes a checkpoint and the job waits in line.
    It needs a free slot; without one nothing is put in line.
    """
    from fts.jobs.worker.worker import hold_slot, run_job  # here, not above: --help needs no huey

    settings = worker_settings(slots=1, threads=threads, device=device, memory_limit=memory_limit)
    job = waiting_job(cell)
    wanted = [] if job is not None else specs_of([parse_cell(cell, task)], **fields)
    with hold_slot(here(), slot) as held:  # before anything is written: what cannot run here must not stay in line
        if job is None:
            line = enqueued_here(wanted, not no_check, again)
            if line.is_over:
                say(line.told)
                return 0 if line.status == JobStatus.DONE else 1
            job = line.job_id
            assert job is not None, "what is written has a number"
        say(f"job {job} runs here on slot {held.slot}; Ctrl-C stops it at a checkpoint")
        log_to_stderr(logging.WARNING)
        return run_job(here(), settings, job, held=held)


def enqueued_here(wanted: list[CellSpec], check: bool, again: bool) -> matrix.Line:
    """Puts one new cell in line, or finds the job that asks the same question."""
    db = open_for_person(here().db)
    try:
        (line,) = matrix.enqueue_cells(db, here(), wanted, check=check, again=again, tell=say)
        return line
    finally:
        db.close()


def waiting_job(word: str) -> int | None:
    """The number of the waiting job a word names; None when it names a cell that is new.

    Raises NothingThere for a job that exists and cannot be run here, and says who runs it or how it ended.
    """
    if not has_study(here().db):
        if NUMBER.fullmatch(word):
            raise NothingThere(f"there is no job {word}: the queue is empty; name a cell such as 2M/h1")
        return None
    db = open_for_reading(here().db)
    try:
        snapshot = queries.snapshot(db)
    finally:
        db.close()
    waiting = [job for job in snapshot.jobs if job.status in (JobStatus.QUEUED, JobStatus.PAUSED)]
    try:
        return one_job(waiting, word).id
    except NothingThere:
        running = [job for job in snapshot.jobs if job.status is JobStatus.RUNNING]
        if found := _of_these(running, word):
            raise NothingThere("; ".join(why(found, liveness.seen(snapshot, here().outputs)))) from None
        if NUMBER.fullmatch(word):  # a number cannot name a new cell
            ended = one_job(snapshot.jobs, word)
            raise NothingThere(
                f"job {ended.id} ({cell_name(ended)}) is {ended.status}, not waiting; `fts why {ended.id}` says more"
            ) from None
        return None


def _of_these(jobs: list[Job], word: str) -> Job | None:
    try:
        return one_job(jobs, word)
    except click.ClickException:
        return None


@click.command()
def demo() -> int:
    """Real S&P 500 data, three 2M cells, the real queue and worker, the results table: a few minutes."""
    from fts.study.demo import demo as run_demo

    worker_settings()  # refuses what no trial could run with before minutes of building data
    log_to_stderr(logging.WARNING)
    return run_demo(here())
