"""Implements `fts worker`: runs the queue, in the foreground or detached."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.api.amounts import read_size
from fts.jobs.cli.app import COUNT, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import COMPLAINT, emit, say
from fts.jobs.cli.paths import FileType, PathType
from fts.jobs.python import python
from fts.jobs.settings import BadSetting, Places, Where, worker_settings
from fts.state import queries
from fts.state.db import open_for_reading
from fts.state.disk import is_full
from fts.state.errors import StateError
from fts.state.files import open_log
from fts.state.location import BEGIN, has_study, no_study, refuse_other_than_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.worker.console import Console
    from fts.state.values import Worker


EXECUTORS = ("local", "command", "ssh", "ray")
ENGINES = {"slurm": "srun -n1 -c{threads}", "kubernetes": "kubectl run {name} --rm -i ..."}
MAX_BYTES = 10**15  # a larger size is a typing error, and would soon overflow the system's integers
REPEAT_S = 600.0  # time before a worker logs the same line again
STOPS_WITHIN_S = 10.0
STARTS_WITHIN_S = 60.0  # the worker does not import torch, but the disk may be slow


class Size(click.ParamType):  # type: ignore[type-arg]  # it takes types only since click 8.4
    """Converts 20GB, 512M or plain bytes to bytes; units are powers of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            size = read_size(str(value), "it")
        except ValueError:
            size = 0
        if not 0 < size <= MAX_BYTES:
            self.fail(f"{value!r} is not a size; expected 20GB, 512MB or a number of bytes", param, ctx)
        return size


class ExecutorName(click.Choice):  # type: ignore[type-arg]  # it takes types only since click 8.2
    """local, command, ssh or ray; the name of an engine (slurm, kubernetes) gets an error with the options to use."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if (launch := ENGINES.get(str(value).lower())) is not None:
            self.fail(f"for {value} it is --executor command --launch '{launch}'", param, ctx)
        return super().convert(value, param, ctx)


MEMORY_LIMIT = click.option(
    "--memory-limit", type=Size(), metavar="SIZE", help="largest memory of one trial, e.g. 20GB  [default: 85 %]"
)


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for what a trial may use of this machine."""
    for option in (
        MEMORY_LIMIT,
        click.option(
            "--device", help="device of the trials: cpu, cuda, cuda:1 or mps  [default: what the machine has]"
        ),
        click.option(
            "--threads",
            type=COUNT,
            help="threads per trial; slots x threads must not exceed the cores  [default: cores / slots]",
        ),
    ):
        command = option(command)
    return command


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose the machines on which trials run."""
    for option in (
        click.option("--executor", type=ExecutorName(EXECUTORS), help="where trials run  [default: this machine]"),
        click.option(
            "--launch",
            metavar="COMMAND",
            help="command that starts an agent on a node: 'srun -n1 -c{threads}'  [default: none]",
        ),
        click.option(
            "--nodes", metavar="NAME:SLOTS,...", help="nodes for --executor ssh: gpu1:4,gpu2:4  [default: none]"
        ),
        click.option("--address", metavar="HOST:PORT", help="Ray head for --executor ray  [default: none]"),
        click.option("--node-python", metavar="PATH", help="Python with fts on the nodes  [default: this one's path]"),
        click.option(
            "--checkpoints",
            metavar="PATH",
            type=PathType(path_type=str),
            help="shared folder that keeps checkpoints over 1 GB  [default: all are copied back]",
        ),
        click.option(
            "--sync",
            type=FileType(),
            multiple=True,
            metavar="PATH",
            help="additional code, next to the study file, to send to the nodes; repeat it",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.option(
    "--slots", type=COUNT, help="number of trials at once  [default: 2 on a CPU with 2 or more cores, else 1]"
)
@machine_options
@click.option("--until-empty", is_flag=True, help="stop when no job can run any more")
@click.option("--detach", is_flag=True, help="keep running after logout, with a pid file and outputs/logs/worker.log")
@click.option("--create", is_flag=True, help="create an empty study if there is none, and wait for jobs")
@executor_options
@click.option("--detached", is_flag=True, hidden=True)
def worker(detach: bool, detached: bool, create: bool, **flags: Any) -> int:
    """Run the queue until stopped.

    Ctrl-C writes a checkpoint and stops; nothing is lost. `fts drain` lets it finish its trial first.
    """
    where = where_of(flags)
    settings = worker_settings(**flags, where=where, detached=detached)
    refuse_other_than_file(here().db)
    if not create and not has_study(here().db):
        cure = f"change to its folder or name it with --db; {BEGIN}, `fts worker --create` an empty one"
        raise NothingThere(no_study(here().db, cure))
    if detach:
        return start_detached(here(), flags | {"create": create} | asdict(where))
    from fts.jobs.worker.signals import stop_listening
    from fts.jobs.worker.startup import remove_pid_file  # here, not above: --help needs no psutil
    from fts.jobs.worker.worker import work  # here, not above: --help and --detach need no huey

    if not faulthandler.is_enabled():
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # stderr is closed, or no file
            faulthandler.enable(all_threads=False)  # else SIGBUS (a file of SQLite became immutable) is silent
    console = console_with_log(logging.INFO if detached or not sys.stderr.isatty() else logging.WARNING)
    try:
        code = work(here(), settings, console)
        stop_listening()
        return code
    finally:
        if detached:
            remove_pid_file(here(), os.getpid())


def where_of(flags: dict[str, Any]) -> Where:
    """Moves the executor options from the flags into a Where. Raises BadSetting for wrong combinations."""
    given = {
        name: flags.pop(name)
        for name in ("executor", "launch", "nodes", "node_python", "sync", "address", "checkpoints")
    }
    executor = given["executor"] or "local"
    remote = ("node_python", "sync", "checkpoints")
    if given["checkpoints"]:
        given["checkpoints"] = str(Path(given["checkpoints"]).absolute())
    allowed: dict[str, tuple[str, ...]] = {
        "local": (),
        "command": ("launch", *remote),
        "ssh": ("launch", "nodes", *remote),
        "ray": ("address", *remote),
    }
    for name, value in given.items():
        if value and name != "executor" and name not in allowed[executor]:
            needs = {"launch": "command", "address": "ray"}.get(name, "ssh")
            raise BadSetting(
                f"--{name.replace('_', '-')} means nothing to --executor {executor}; use --executor {needs}"
            )
    return Where(**given | {"executor": executor, "sync": tuple(given["sync"])})


class RepeatFilter(logging.Filter):
    """Drops a line that was logged within REPEAT_S: on a full disk each heartbeat fails, and the log fills it more."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        line, now = record.getMessage(), time.monotonic()
        if now - self._logged.get(line, float("-inf")) < REPEAT_S:
            return False
        self._logged = {said: at for said, at in self._logged.items() if now - at < REPEAT_S} | {line: now}
        return True


def console_with_log(level: int) -> Console:
    """Returns the worker's console on stderr, which also prints the log from this level on."""
    from fts.jobs.worker.console import Console, ConsoleLog  # here: --help needs no database

    console = Console()
    logging.basicConfig(level=level, format="%(message)s", handlers=[ConsoleLog(console)])
    for handler in logging.getLogger().handlers:
        handler.addFilter(RepeatFilter())
    logging.getLogger("huey").setLevel(max(level, logging.WARNING))  # hides huey's start-up lines
    return console


def start_detached(places: Places, flags: dict[str, Any]) -> int:
    """Starts `fts worker` in its own session and waits until it has registered. Returns 0, or its exit code."""
    log = places.logs / "worker.log"
    argv = python("-m", "fts.jobs.cli", "--db", str(places.db), "worker", "--detached", *arguments(flags))
    before = newest_worker(places)
    handle = open_log(log, places.outputs)
    start = os.lseek(handle, 0, os.SEEK_END)
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, start_new_session=True, close_fds=True
        )
    finally:
        os.close(handle)
    try:
        return wait_for_start(places, child, before, log, start)
    except KeyboardInterrupt:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOPS_WITHIN_S)
        became = "was ended" if child.poll() is not None else f"was asked to end; it is process {child.pid}"
        say(f"interrupted; the worker that was being started {became}")
        return 130


def wait_for_start(places: Places, child: subprocess.Popen[bytes], before: int, log: Path, start: int) -> int:
    """Waits until the detached worker has registered. Returns the exit code of the command."""
    from fts.jobs.worker.startup import pid_file  # here, not above: --help needs no psutil

    give_up = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < give_up:
        if (code := child.poll()) is not None:
            say(_last_words(log, start) or f"the worker ended at once with code {code}{_why_silent(log)}")
            return code
        if number := registered(places, child.pid, before):
            emit(f"worker {number} runs as process {child.pid} (in {pid_file(places)}); its log is {log}")
            say("`fts status` shows its progress, `fts drain` or `fts stop` ends it")
            return 0
        time.sleep(0.1)
    say(f"process {child.pid} has not registered within {STARTS_WITHIN_S:.0f} s; see {log}")
    return 1


def _last_words(log: Path, start: int) -> str:
    """Returns the worker's error message, found by its prefix: other workers write to the same log meanwhile."""
    with log.open(errors="replace") as file:
        file.seek(start)
        said = file.read().strip().splitlines()
    complaints = [line for line in said if line.startswith(COMPLAINT)]
    return (complaints or said or [""])[-1]


def _why_silent(log: Path) -> str:
    """Says why its log is empty."""
    if is_full(log.parent):
        return f" and could not write why: the disk of {log} is full; free space, then try again"
    return f" and wrote nothing into {log}"


def arguments(flags: dict[str, Any]) -> list[str]:
    """Converts the flags back to command-line words, for the detached worker."""
    words: list[str] = []
    for name, value in flags.items():
        if isinstance(value, tuple):
            words += [word for one in value for word in (f"--{name.replace('_', '-')}", str(one))]
        elif value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value not in (None, False):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def registered(places: Places, pid: int, before: int) -> int | None:
    """Returns the number of the worker with that pid; None until it has registered.

    Its number is above `before`: the record of a dead worker may have the same pid, as in a container.
    """
    found = (w.id for w in _workers(places) if w.id > before and w.pid == pid and w.status == "running")
    return next(found, None)


def newest_worker(places: Places) -> int:
    """Returns the largest number of a worker so far, or 0."""
    return max((worker.id for worker in _workers(places)), default=0)


def _workers(places: Places) -> tuple[Worker, ...]:
    try:
        db = open_for_reading(places.db)
    except StateError:
        return ()  # not created yet
    try:
        return queries.workers(db)
    finally:
        db.close()
