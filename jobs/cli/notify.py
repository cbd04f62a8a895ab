"""Implements `fts notify`: manages the targets of messages and the quiet hours; sends a test message."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import time

import click

from fts.installing import installing
from fts.jobs.api.nearest import hint
from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json, emit_table, say
from fts.jobs.notify import targets
from fts.jobs.notify.mailbox import Mailbox, TargetQueue
from fts.jobs.notify.targets import COMMAND, NotifySettings, Quiet, Target
from fts.jobs.settings import BadSetting
from fts.jobs.status import formatting
from fts.jobs.status.concern import About
from fts.state.location import has_study, require_study

KINDS = ", ".join(About)
SERVICES = ("ntfy", "mailto", "mailtos", "slack", "tgram", "discord", "json", "jsons", "gotify")  # for suggestions


@click.group()
def notify() -> None:
    """Send messages to your phone, by mail or by a command: a cell is done or failed, a worker is lost ...

    The worker sends them; `fts notify watch` sends them without one. Addresses stay in one file that only you may read
    ($FTS_NOTIFY, else ~/.config/fts/notify.toml). Which messages a study sends is in [notify] of its study.toml.
    """


@notify.command()
@click.argument("url", required=False)
@click.option(
    "--command",
    "command",
    metavar="COMMAND",
    help="run this for each message, with its text in place of {title} and {body}  [default: none]",
)
@click.option("--name", help="name of the target  [default: its service]")
def add(url: str | None, command: str | None, name: str | None) -> None:
    """Add an address: ntfy://topic, mailto://..., slack://..., tgram://... or any other of apprise.

    Without URL, fts asks for it or reads it from a pipe, so that it stays out of the shell history. An address needs
    `pip install 'fts-hpo[notify]'`; --command needs nothing.
    """
    if command is not None and url is not None:
        raise click.UsageError("give a URL or --command, not both")
    if command is None and url is None:
        url = click.prompt("address", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    from fts.jobs.notify.send import is_understood  # here: for this command only

    address = f"{COMMAND} {command}" if command is not None else str(url)
    given = Target("", address)
    if command is None and given.service != "unknown" and not is_understood(given):
        near = "" if given.service in SERVICES else f"; {hint(given.service, SERVICES)}".rstrip("; ")
        raise click.UsageError(f"apprise does not understand this {given.service}:// address; it was not added{near}")
    if given.service == "command":
        targets.refuse_shell_words(address.removeprefix(COMMAND))
    made = targets.add(address, name)
    say(f"added {made.name} ({made.service}) to {targets.file_of_person()}; `fts notify test` sends it a message")
    if made.service == "command" and shutil.which(program := shlex.split(address.removeprefix(COMMAND))[0]) is None:
        say(f"there is no program {program!r} here now; a message is only sent where it is in the PATH")
    if made.service != "command" and not _has_library():
        say(f"install the library first: {installing('fts-hpo[notify]')}")


def _has_library() -> bool:
    from importlib.util import find_spec  # here: for this command only

    return find_spec("apprise") is not None


@notify.command("list")
@AS_JSON
def list_(as_json: bool) -> None:
    """List the targets (never their addresses) and the messages that wait for each."""
    found = targets.read()
    lines = _lines()
    rows = [(each.name, each.service, lines.get(each.name) or TargetQueue()) for each in found.targets]
    if as_json:
        listed = [
            {"name": name, "service": service, "waiting": len(line.news), "last_sent": line.sent_at or None,
             "failed_tries": line.tries, "why": line.why or None}
            for name, service, line in rows
        ]  # fmt: skip
        quiet = None if found.quiet is None else str(found.quiet)
        return emit_json("notify", {"targets": listed, "quiet": quiet, "urgent": sorted(found.urgent)})
    if not rows:
        return emit(f"No target in {targets.file_of_person()}: `fts notify add ntfy://topic` adds one.")
    now = time.time()
    emit_table(
        ("target", "service", "waiting", "last sent", "trouble"),
        [
            (n, s, len(line.news), formatting.when(line.sent_at, now) if line.sent_at else "—", line.trouble or "—")
            for n, s, line in rows
        ],
        right=("waiting",),
    )
    if found.quiet is not None:
        but = f", but for {', '.join(sorted(found.urgent))}" if found.urgent else ""
        emit(f"quiet {found.quiet}{but}")
    return None


def _lines() -> dict[str, TargetQueue]:
    """Returns by target name the waiting messages and the outcome of the last one."""
    from fts.jobs.notify.notifier import mailbox_path  # here: only if there is a study

    return Mailbox.of(mailbox_path(here()), 0).lines if has_study(here().db) else {}


@notify.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the target NAME and its address."""
    found = targets.read()
    if found.target(name) is None:
        raise NothingThere(_unknown(name, found))
    kept = tuple(each for each in found.targets if each.name != name)
    targets.write(NotifySettings(kept, found.quiet, found.urgent))
    say(f"removed {name} from {targets.file_of_person()}")


def _unknown(name: str, found: NotifySettings) -> str:
    names = [each.name for each in found.targets]
    there = f"{hint(name, names)}there are {', '.join(names)}" if names else "`fts notify add ntfy://topic` adds one"
    return f"there is no target {name!r}; {there}"


@notify.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def test(names: tuple[str, ...]) -> int:
    """Send a message now, to the targets NAME or to all of them; exit code 1 if one was not sent.

    If there is a study here, the message is what `fts status` prints.
    """
    from fts.jobs.notify.send import deliver  # here: for this command only

    found = targets.read()
    for name in names:
        if found.target(name) is None:
            raise NothingThere(_unknown(name, found))
    chosen = [each for each in found.targets if not names or each.name in names]
    if not chosen:
        raise NothingThere("there is no target; `fts notify add ntfy://topic` adds one")
    folder, body = here().outputs.parent.name, "No study here yet."
    if has_study(here().db):
        from fts.jobs.cli.status import look
        from fts.jobs.status.sentences import finish_sentence, verdict_sentence

        glance, _ = look(None)
        body = f"{verdict_sentence(glance)}\n{finish_sentence(glance)}."
    code = 0
    for each in chosen:
        outcome = deliver(each, f"fts {folder}: a test", f"Messages of fts arrive here.\n\n{body}")
        failure = "sent to some of its recipients only" if outcome.partly else "not sent"
        emit(f"{each.name} ({each.service}): {'sent' if outcome.ok else f'{failure}: {outcome.why}'}")
        code = code if outcome.ok else 1
    return code


@notify.command()
@click.argument("hours", metavar="HOURS")
@click.option("--but", "urgent", multiple=True, metavar="KIND", help=f"send messages of this kind anyway: {KINDS}")
def quiet(hours: str, urgent: tuple[str, ...]) -> None:
    """Send nothing in these HOURS of each day, such as 22:00-07:00 local time; `off` ends it.

    At their end, one message says what has happened.
    """
    found = targets.read()
    if hours == "off":
        if urgent:
            raise click.UsageError("--but needs hours such as 22:00-07:00; `off` has none")
        targets.write(NotifySettings(found.targets))
        return say("no quiet hours")
    chosen = Quiet.read(hours)
    try:
        kinds = frozenset(targets.about_of(word) for word in urgent)
    except BadSetting as error:
        raise click.UsageError(f"--but: {error}") from None
    targets.write(NotifySettings(found.targets, chosen, kinds))
    return say(f"quiet {chosen}" + (f", but for {', '.join(sorted(kinds))}" if kinds else ""))


@notify.command()
@click.option("--worker", "event", type=int, hidden=True)  # set by a worker: report news after this event
def watch(event: int | None) -> int:
    """Send messages from here until Ctrl-C, also while no worker runs: on another machine that sees the database, say.

    One process sends for a study. If another does, this one waits until that ends.
    """
    from fts.jobs.notify import notifier  # here: for this command only

    require_study(here().db)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    found = targets.read()
    if event is None and not found.targets:
        raise NothingThere("there is no target; `fts notify add ntfy://topic` adds one")
    said = False
    while (handle := notifier.take_turn(here())) is None:
        if event is not None:
            return 0
        if not said:
            say("another process sends the messages of this study; waiting for its end")
            said = True
        time.sleep(notifier.LOOK_EVERY_S)
    try:
        if event is None:
            say(f"sending news of {here().db} to {', '.join(each.name for each in found.targets)}; Ctrl-C ends it")
        notifier.Notifier(here(), event, forever=event is None).run()
    finally:
        os.close(handle)
    return 0
