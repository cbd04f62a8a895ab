"""`fts worker`: runs the queue, here or detached."""

from __future__ import annotations

import contextlib
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
from fts.state.files import atomic_write, open_log
from fts.state.location import BEGIN, has_study, no_study

if TYPE_CHECKING:
    from collections.abc import Callable


EXECUTORS = ("local", "command", "ssh", "ray")
ENGINES = {"slurm": "srun -n1 -c{threads}", "kubernetes": "kubectl run {name} --rm -i ..."}
MAX_BYTES = 10**15  # more is a slip of the finger, and soon more than the system can count
REPEAT_S = 600.0  # before a worker says the same again
STARTS_WITHIN_S = 60.0  # torch is not imported by the worker itself, but a slow disk may be busy


class Size(click.ParamType):  # type: ignore[type-arg]  # it takes types only since click 8.4
    """20GB, 512M or plain bytes, as bytes; powers of 1024, as everywhere here."""

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
    """local, command, ssh or ray; who names an engine hears which of them it is used with."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if (launch := ENGINES.get(str(value).lower())) is not None:
            self.fail(f"for {value} it is --executor command --launch '{launch}'", param, ctx)
        return super().convert(value, param, ctx)


MEMORY_LIMIT = click.option(
    "--memory-limit", type=Size(), metavar="SIZE", help="one trial may use, e.g. 20GB  [default: 85 %]"
)


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a trial may use this machine."""
    for option in (
        MEMORY_LIMIT,
        click.option("--device", help="cpu, cuda, cuda:1 or mps  [default: what the machine has]"),
        click.option(
            "--threads",
            type=COUNT,
            help="of each trial; slots x threads must not exceed the cores  [default: cores / slots]",
        ),
    ):
        command = option(command)
    return command


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """On which machines trials run."""
    for option in (
        click.option("--executor", type=ExecutorName(EXECUTORS), help="where trials run  [default: this machine]"),
        click.option(
            "--launch", metavar="COMMAND", help="starts an agent on a node: 'srun -n1 -c{threads}'  [default: none]"
        ),
        click.option("--nodes", metavar="NAME:SLOTS,...", help="of --executor ssh: gpu1:4,gpu2:4  [default: none]"),
        click.option("--address", metavar="HOST:PORT", help="of --executor ray: the head of Ray  [default: none]"),
        click.option("--node-python", metavar="PATH", help="with fts, on the nodes  [default: this one's path]"),
        click.option(
            "--checkpoints",
            metavar="PATH",
            type=PathType(path_type=str),
            help="shared folder where checkpoints over 1 GB stay  [default: all come home]",
        ),
        click.option(
            "--sync",
            type=FileType(),
            multiple=True,
            metavar="PATH",
            help="code beside the study's file to send to the nodes",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--slots", type=COUNT, help="trials at once  [default: 2 on a CPU with 2 or more cores, else 1]")
@machine_options
@click.option("--until-empty", is_flag=True, help="stop when no job can run any more")
@click.option("--detach", is_flag=True, help="keep running after logout, with a pid file and outputs/logs/worker.log")
@click.option("--create", is_flag=True, help="make a new, empty study where there is none, and wait for jobs")
@executor_options
@click.option("--detached", is_flag=True, hidden=True)
def worker(detach: bool, detached: bool, create: bool, **flags: Any) -> int:
    """Run the queue until stopped.

    Ctrl-C writes a checkpoint and stops; nothing is lost. `fts drain` lets it finish its trial first.
    """
    where = where_of(flags)
    settings = worker_settings(**flags, where=where, detached=detached)
    if not create and not has_study(here().db):
        cure = f"change to its folder or name it with --db; {BEGIN}, `fts worker --create` an empty one"
        raise NothingThere(no_study(here().db, cure))
    if detach:
        return start_detached(here(), flags | {"create": create} | asdict(where))
    from fts.jobs.worker.worker import stop_listening, work  # here, not above: --help and --detach need no huey

    log_to_stderr(logging.INFO if detached or not sys.stderr.isatty() else logging.WARNING)
    try:
        code = work(here(), settings)
        stop_listening()
        return code
    finally:
        if detached:
            remove_pid_file(here(), os.getpid())


def where_of(flags: dict[str, Any]) -> Where:
    """Takes these flags out. Raises BadSetting for one that has no meaning with the others."""
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


class OnceInAWhile(logging.Filter):
    """Keeps back a line that was said within REPEAT_S: a full disk is met at each beat, and the log lies on it."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        line, now = record.getMessage(), time.monotonic()
        if now - self._said.get(line, float("-inf")) < REPEAT_S:
            return False
        self._said = {said: at for said, at in self._said.items() if now - at < REPEAT_S} | {line: now}
        return True


def log_to_stderr(level: int) -> None:
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(OnceInAWhile())
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
            say(_last_words(log, start) or f"the worker ended at once with code {code}{_why_silent(log)}")
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


def _last_words(log: Path, start: int) -> str:
    """Why it was refused: what a command complains of. Other workers write into the same log meanwhile, with times."""
    with log.open(errors="replace") as file:
        file.seek(start)
        said = file.read().strip().splitlines()
    complaints = [line for line in said if line.startswith(COMPLAINT)]
    return (complaints or said or [""])[-1]


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
        if isinstance(value, tuple):
            words += [word for one in value for word in (f"--{name.replace('_', '-')}", str(one))]
        elif value is True:
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
