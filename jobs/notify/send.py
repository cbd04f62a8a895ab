"""Sends one message to one address, in its own process, which is killed when it takes too long.

The process gets the address through a pipe, so that no process list shows it. Error messages of the library may contain
the address, so only known phrases are passed on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.installing import installing
from fts.jobs.api import shell_text
from fts.jobs.notify.targets import COMMAND, Target
from fts.jobs.python import python, this_python

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME_LIMIT_S = 45.0
COMMAND_LIMIT_S = 30.0
MOST_BODY = 3500  # characters: Telegram allows 4096, other services more
PLACE = re.compile(r"\{(title|body)\}")
SHELLS = ("sh", "bash", "dash", "ksh", "zsh")
SCRIPT_OPTION = re.compile(r"-[a-z]*c")  # -c, -lc: the next word is a script
STATUS = re.compile(r"\berror[=: ]+([1-5]\d\d)\b|\b(?:status|code)[=: ]+([1-5]\d\d)\b", re.IGNORECASE)
HARMLESS = (  # part of a library's error message -> phrase that is passed on
    ("authenti", "it refused the password or token"),
    ("unauthorized", "it refused the password or token"),
    ("refused", "the connection was refused"),
    ("timed out", "it did not answer in time"),
    ("name or service not known", "its host name is not known"),
    ("name resolution", "its host name is not known"),
    ("getaddrinfo", "its host name is not known"),
    ("certificate", "its certificate was not accepted"),
    ("unreachable", "its network cannot be reached"),
    ("connection", "the connection failed"),
)


@dataclass(frozen=True)
class Outcome:
    """The result of sending one message."""

    ok: bool
    why: str = ""  # one clause about the failure, without any part of the address
    maybe: bool = False  # it may have arrived without confirmation


def deliver(target: Target, title: str, body: str) -> Outcome:
    """Sends a message; waits at most TIME_LIMIT_S."""
    asked = json.dumps({"address": target.address, "title": title, "body": body})
    try:
        child = subprocess.Popen(
            python("-m", "fts.jobs.notify.send"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:  # memory is short, which may be the news
        return Outcome(False, f"the process that sends it cannot be started: {error.strerror}")
    try:
        said, _ = child.communicate(asked.encode(), timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)  # also kills its command
        child.communicate()
        return Outcome(False, f"no answer within {TIME_LIMIT_S:.0f} s", maybe=True)
    try:
        found = json.loads(said)
        return Outcome(bool(found["ok"]), str(found["why"]), bool(found["maybe"]))
    except (ValueError, KeyError, TypeError):
        return Outcome(False, "the process that sends it ended early", maybe=True)


def is_understood(target: Target) -> bool:
    """Returns whether the library accepts the address; True if it is not installed. Sends nothing."""
    asked = json.dumps({"address": target.address, "title": None, "body": ""})
    done = subprocess.run(
        python("-m", "fts.jobs.notify.send"),
        input=asked.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return done.stdout.strip() != b"false"


def main() -> None:
    """Reads {address, title, body} from stdin, sends it, and writes {ok, why, maybe} to stdout.

    Without a title it only checks the address, and writes true or false.
    """
    asked = json.loads(sys.stdin.read())
    address, title, body = asked["address"], asked["title"], asked["body"][:MOST_BODY]
    if title is None:
        with contextlib.redirect_stdout(sys.stderr):
            known = _is_known(address)
        return print(json.dumps(known))
    with contextlib.redirect_stdout(sys.stderr):  # keeps output of the library out of our answer
        found = _by_command(address, title, body) if address.startswith(COMMAND) else _by_library(address, title, body)
    return print(json.dumps({"ok": found.ok, "why": found.why, "maybe": found.maybe}))


def _is_known(address: str) -> bool:
    try:
        import apprise
    except ModuleNotFoundError:
        return True
    return address.startswith(COMMAND) or bool(apprise.Apprise().add(address))


def _by_command(address: str, title: str, body: str) -> Outcome:
    """Runs the command with the message in its words, in FTS_TITLE and FTS_BODY, and on stdin."""
    words = command_words(shlex.split(address.removeprefix(COMMAND)), title, body)
    try:
        done = subprocess.run(
            words, input=body.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            env={**os.environ, "FTS_TITLE": title, "FTS_BODY": body}, timeout=COMMAND_LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome(False, f"the command did not end within {COMMAND_LIMIT_S:.0f} s", maybe=True)
    except OSError as error:
        return Outcome(False, f"the command cannot be started: {error.strerror}")
    return Outcome(True) if done.returncode == 0 else Outcome(False, f"the command ended with {done.returncode}")


def command_words(words: Sequence[str], title: str, body: str) -> list[str]:
    """Inserts title and body for {title} and {body}.

    In the script of `sh -c` each is quoted: a message quotes errors of trials, which the shell must not run.
    """
    texts = {"title": title, "body": body}
    shell = next((n for n, word in enumerate(words) if PurePath(word).name in SHELLS), len(words))
    script = next((n + 1 for n, word in enumerate(words) if n > shell and SCRIPT_OPTION.fullmatch(word)), None)
    return [
        shell_text.filled(word, PLACE, lambda found, quote: quote(texts[found[1]]))
        if n == script
        else PLACE.sub(lambda found: texts[found[1]], word)
        for n, word in enumerate(words)
    ]


def _by_library(address: str, title: str, body: str) -> Outcome:
    try:
        import apprise
    except ModuleNotFoundError as missing:
        return Outcome(False, f"{this_python()} has no {missing.name}: {installing('fts-hpo[notify]')}")
    reader = _FailureReader()
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [reader], False
    logger.setLevel(logging.DEBUG)
    try:
        sender = apprise.Apprise()
        if not sender.add(address):
            return Outcome(
                False, "its address cannot be understood; `fts notify remove` and `fts notify add` replace it"
            )
        ok = sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
    except Exception as error:  # noqa: BLE001  # plugins raise anything; the message may contain the address
        return Outcome(False, f"the library failed with {type(error).__name__}", maybe=True)
    return Outcome(True) if ok else Outcome(False, reader.why, maybe=reader.why == "it did not answer in time")


class _FailureReader(logging.Handler):
    """Reads the library's log for the cause of a failure, and keeps only a known phrase."""

    why = "it was not accepted"

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().lower()
        if found := STATUS.search(text):
            self.why = f"the answer was {found[1] or found[2]}"
            return
        self.why = next((said for part, said in HARMLESS if part in text), self.why)


if __name__ == "__main__":
    main()
