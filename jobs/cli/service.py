"""Implements `fts service`: installs a worker that starts with the machine, and again after a crash."""

from __future__ import annotations

import os
import shlex
from typing import Any

import click

from fts.jobs.cli.app import COUNT, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.work import arguments, machine_options, worker
from fts.jobs.python import python
from fts.jobs.service import manager, unit
from fts.jobs.service.manager import LAUNCHD, SYSTEMD, Manager
from fts.jobs.settings import worker_settings
from fts.state.location import BEGIN, has_study, no_study

SYSTEM = click.option("--system", is_flag=True, help="install for the whole machine (needs root), not for your user")
MANAGER = click.option(
    "--manager",
    "kind",
    type=click.Choice((SYSTEMD, LAUNCHD)),
    help="service manager  [default: this machine's]",
)
HERE = f"change to its folder or name it with --db; {BEGIN}"
DRY = click.option("-n", "--dry-run", is_flag=True, help="show what would be written and run")


@click.group()
def service() -> None:
    """Start a worker with the machine, as a service of systemd (Linux) or launchd (macOS).

    It restarts after a crash or kill -9, but not after `fts stop` or `fts drain`. When the machine shuts down it writes
    a checkpoint. If the worker must only survive your logout, `fts worker --detach` is enough.
    """


@service.command()
@click.option("--slots", type=COUNT, help="number of jobs at once  [default: as `fts worker`]")
@machine_options
@SYSTEM
@MANAGER
@DRY
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTION...]")
def install(system: bool, kind: str | None, dry_run: bool, more: tuple[str, ...], **flags: Any) -> int:
    """Write the service for the study here, and start it.

    It gets PATH, XDG_CONFIG_HOME, XDG_STATE_HOME and all variables FTS_... of this shell. Put other options of
    `fts worker` after --.
    """
    checked = worker.make_context("worker", list(more), parent=click.get_current_context()).params
    for name in ("detach", "until_empty"):
        if checked.get(name):
            raise click.UsageError(f"--{name.replace('_', '-')} ends the worker, and a service keeps it running")
    worker_settings(**flags)  # refuses wrong options now, not at the next boot
    if not has_study(here().db):
        raise NothingThere(no_study(here().db, HERE))
    made = chosen(system, kind, flags, more)
    if (other := _other(system, kind)) and not made.path.exists():
        raise click.ClickException(f"{other}; `{_typed('remove', not system)}` removes it")
    commands = made.commands("install")
    if dry_run:
        emit(f"# {made.path}")
        emit(made.content.decode().rstrip("\n"))
        for words in commands:
            say(f"then: {manager.typed(words)}")
        _say_logout_effect(made)
        return 0
    _require_tool(made)
    before = made.path.read_bytes() if made.path.exists() else None
    made.write()
    say(f"wrote {made.path}")
    if not _run_commands(commands):
        return 1
    if before not in (None, made.content):
        restart = made.start_command(again=True)
        say(f"the service has changed: `{restart}` stops the worker at a checkpoint and restarts it")
    say(f"{made.service.name} is running, and starts with the machine; its log is {made.service.log}")
    _say_logout_effect(made)
    return 0


@service.command()
@SYSTEM
@MANAGER
@click.option("--json", "as_json", is_flag=True, help="one JSON object, with schema and taken_at")
def status(system: bool, kind: str | None, as_json: bool) -> int:
    """Show whether the study here has a service and whether it runs; exit code 1 if not."""
    made = chosen(system, kind, {})
    there = made.path.exists()
    state = made.state() if there else "not installed"
    stays = manager.lingers() if made.kind == SYSTEMD and not made.is_of_machine else None
    if as_json:
        emit_json("service", {"name": made.service.name, "path": made.path, "state": state, "lingers": stays})
    elif there:
        emit(f"{made.service.name}: {state} ({made.path})")
        if state in ("inactive", "failed", "not running"):
            say(f"`{made.start_command()}` starts it; its log is {made.service.log}")
        _say_logout_effect(made)
    elif other := _other(system, kind):
        here_not = "for the whole machine" if system else "for your user"
        emit(f"not installed {here_not}; {other}; `{_typed('status', not system)}` shows it")
    elif not has_study(here().db):
        emit(f"not installed: {no_study(here().db, HERE)}")
    else:
        emit("not installed: `fts service install` writes it")
    return 0 if state in ("active", "running") else 1


@service.command()
@SYSTEM
@MANAGER
@DRY
def remove(system: bool, kind: str | None, dry_run: bool) -> int:
    """Stop the service at a checkpoint, and remove it. Jobs, trials and the queue are kept."""
    made = chosen(system, kind, {})
    if not made.path.exists():
        if other := _other(system, kind):
            raise NothingThere(f"{made.path} is missing, but {other}; `{_typed('remove', not system)}` removes it")
        raise NothingThere(f"there is no service of this study: {made.path} is missing")
    commands = made.commands("remove")
    if dry_run:
        for words in commands:
            say(f"would run: {manager.typed(words)}")
        say(f"would remove {made.path}")
        return 0
    _require_tool(made)
    failed = []
    for words in commands:
        code, said = manager.ask(words, unit.STOP_S + 60.0)
        if code:
            failed.append(f"{manager.typed(words)} ended with {code}: {said or 'it said nothing'}")
    made.delete()
    say(f"removed {made.path}")
    for sentence in failed:
        say(f"{sentence}; `fts stop` ends a worker that still runs")
    return 1 if failed else 0


def chosen(system: bool, kind: str | None, flags: dict[str, Any], more: tuple[str, ...] = ()) -> Manager:
    """Returns the service of the study here."""
    places = here()
    words = python("-m", "fts.jobs.cli", "--db", str(places.db), "worker", "--detached", *arguments(flags), *more)
    folder = places.outputs.parent
    user = manager.person() if system else None
    if system and user == "root":
        user = os.environ.get("SUDO_USER") or user  # the owner of the study
    made = unit.Service(words, folder, places.logs / "worker.log", unit.chosen(os.environ), user)
    return Manager(kind or manager.usual(), made)


def _other(system: bool, kind: str | None) -> str | None:
    """Says that the study has a service of the other kind, for the user or the whole machine; None if it has none."""
    other = chosen(not system, kind, {})
    whose = "for your user" if system else "for the whole machine"
    return f"this study has a service {whose}: {other.path}" if other.path.exists() else None


def _typed(command: str, system: bool) -> str:
    sudo = "sudo " if system and command != "status" else ""
    return f"{sudo}fts service {command}" + " --system" * system


def _require_tool(made: Manager) -> None:
    code, said = manager.ask([made.tool, "--version" if made.kind == SYSTEMD else "help"])
    if code == 127:
        raise click.ClickException(
            f"{said}: -n shows the service without writing it, `fts worker --detach` runs without one"
        )


def _run_commands(commands: list[list[str]]) -> bool:
    """Runs the commands. If one fails, prints the remaining ones to type, and returns False."""
    for n, words in enumerate(commands):
        code, said = manager.ask(words, manager.ANSWERS_WITHIN_S)
        if code:
            say(f"{manager.typed(words)} ended with {code}: {said.splitlines()[-1] if said else 'it said nothing'}")
            say("after fixing that, type: " + " && ".join(manager.typed(each) for each in commands[n:]))
            return False
    return True


def _say_logout_effect(made: Manager) -> None:
    """Says what happens to the service at logout, which is unexpected on both systems."""
    if made.is_of_machine:
        return
    if made.kind == LAUNCHD:
        say("launchd ends it when you log out and starts it when you log in; with --system it keeps running")
    elif not manager.lingers():
        say(
            "systemd ends your services when you log out, and starts them when you log in, until you type: "
            f"sudo loginctl enable-linger {shlex.quote(manager.person())}"
        )
