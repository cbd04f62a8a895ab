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
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.installing import installing
from fts.jobs.api import shell_text
from fts.jobs.notify.targets import COMMAND, Target
from fts.jobs.python import python, this_python
from fts.jobs.status import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME_LIMIT_S = 45.0
COMMAND_LIMIT_S = 30.0
MOST_BODY = 3500  # characters: Telegram allows 4096, other services more
PLACE = re.compile(r"\{(title|body)\}")
SHELLS = ("sh", "bash", "dash", "ksh", "zsh")
SCRIPT_OPTION = re.compile(r"-[a-z]*c")  # -c, -lc: the next word is a script
STATUS = re.compile(  # of HTTP, as the library names it, or of SMTP: (550, b'no such user')
    r"\berror[=: ]+([1-5]\d\d)\b|\b(?:status|code)[=: ]+([1-5]\d\d)\b|\(([45]\d\d), b['\"]", re.IGNORECASE
)
UNSURE = ("500", "502", "504")  # the service may have taken the message before it failed
FAILURE = re.compile(r"[\w/ ]*exception: ")  # how the library's log quotes an error
SILENT, CLOSED = "it did not answer in time", "it closed the connection without an answer"
MAYBE = (SILENT, CLOSED)  # the message may have arrived
HARMLESS = (  # part of a library's error message -> phrase that is passed on
    ("authenti", "it refused the password or token"),
    ("unauthorized", "it refused the password or token"),
    ("connection refused", "the connection was refused"),
    ("connect timeout", "it cannot be reached in time"),
    ("timed out", SILENT),
    ("name or service not known", "its host name is not known"),
    ("name resolution", "its host name is not known"),
    ("getaddrinfo", "its host name is not known"),
    ("certificate", "its certificate was not accepted"),
    ("unreachable", "its network cannot be reached"),
    ("redirects", "it redirects without end"),
    *((part, CLOSED) for part in ("aborted", "reset by peer", "unexpectedly closed", "broken pipe", "incompleteread")),
    ("connection", "the connection failed"),
)
OWN_WEBHOOKS = ("json", "jsons", "xml", "xmls", "form", "forms")  # may answer 302 after they took the message


@dataclass(frozen=True)
class SendResult:
    """The result of sending one message."""

    ok: bool
    why: str = ""  # one clause about the failure, without any part of the address
    maybe: bool = False  # it may have arrived without confirmation
    partly: bool = False  # some recipients of the address got it


def deliver(target: Target, title: str, body: str) -> SendResult:
    """Sends a message; waits at most TIME_LIMIT_S."""
    asked = json.dumps({"address": target.address, "title": title, "body": body})
    try:
        child = subprocess.Popen(
            python("-m", "fts.jobs.notify.send"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:  # memory is short, which may be the news
        return SendResult(False, f"the process that sends it cannot be started: {error.strerror}")
    try:
        said, _ = child.communicate(asked.encode(), timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)  # also kills its command
        child.communicate()
        return SendResult(False, f"no answer within {TIME_LIMIT_S:.0f} s", maybe=True)
    try:
        found = json.loads(said)
        return SendResult(bool(found["ok"]), str(found["why"]), bool(found["maybe"]), bool(found["partly"]))
    except (ValueError, KeyError, TypeError):
        return SendResult(False, "the process that sends it ended early", maybe=True)


def is_understood(target: Target) -> bool:
    """Returns whether the library accepts the address; True if that cannot be known here. Sends nothing."""
    asked = json.dumps({"address": target.address, "title": None, "body": ""})
    try:
        done = subprocess.run(
            python("-m", "fts.jobs.notify.send"),
            input=asked.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=TIME_LIMIT_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.stdout.strip() != b"false"


def main() -> None:
    """Reads {address, title, body} from stdin, sends it, and writes a SendResult to stdout.

    Without a title it only checks the address, and writes true or false.
    """
    asked = json.loads(sys.stdin.read())
    address, title, body = asked["address"], asked["title"], formatting.cut(asked["body"], MOST_BODY)
    if title is None:
        with contextlib.redirect_stdout(sys.stderr):
            known = _is_known(address)
        return print(json.dumps(known))
    with contextlib.redirect_stdout(sys.stderr):  # keeps output of the library out of our answer
        found = _by_command(address, title, body) if address.startswith(COMMAND) else _by_library(address, title, body)
    print(json.dumps(asdict(found)), flush=True)
    if found.maybe and address.startswith(COMMAND) and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # the command did not end, and neither may its own children
    return None


def _is_known(address: str) -> bool:
    try:
        import apprise
    except ModuleNotFoundError:
        return True
    return address.startswith(COMMAND) or bool(apprise.Apprise().add(address))


def _by_command(address: str, title: str, body: str) -> SendResult:
    """Runs the command with the message in its words, in FTS_TITLE and FTS_BODY, and on stdin."""
    words = command_words(shlex.split(address.removeprefix(COMMAND)), title, body)
    try:
        done = subprocess.run(
            words, input=body.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            env={**os.environ, "FTS_TITLE": title, "FTS_BODY": body}, timeout=COMMAND_LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return SendResult(False, f"the command did not end within {COMMAND_LIMIT_S:.0f} s", maybe=True)
    except OSError as error:
        return SendResult(False, f"the command cannot be started: {error.strerror}")
    return SendResult(True) if done.returncode == 0 else SendResult(False, f"the command ended with {done.returncode}")


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


def _by_library(address: str, title: str, body: str) -> SendResult:
    try:
        import apprise
    except ModuleNotFoundError as missing:
        return SendResult(False, f"{this_python()} has no {missing.name}: {installing('fts-hpo[notify]')}")
    reader = _FailureReader()
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [reader], False
    logger.setLevel(logging.DEBUG)
    try:
        refuse_lost_bodies(Target("", address).service in OWN_WEBHOOKS)
        sender = apprise.Apprise()
        if not sender.add(address):
            return SendResult(
                False, "its address cannot be understood; `fts notify remove` and `fts notify add` replace it"
            )
        for server in sender:
            if server.overflow_mode == apprise.OverflowMode.UPSTREAM and "overflow=" not in address:
                server.overflow_mode = apprise.OverflowMode.TRUNCATE  # a service refuses what is too long, each time
        ok = sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
    except Exception as error:  # noqa: BLE001  # plugins raise anything; the message may contain the address
        return SendResult(False, f"the library failed with {type(error).__name__}", maybe=True)
    return SendResult(True) if ok else SendResult(False, reader.why, reader.maybe, reader.sent > 0)


def refuse_lost_bodies(may_answer_302: bool) -> None:
    """From now on requests fails at a redirect that would replace a POST by a GET, without the message.

    It would answer 200, and the library would call the message sent.
    """
    import requests

    change_method = requests.Session.rebuild_method

    def checked(session: Any, prepared: Any, response: Any) -> None:
        before = prepared.method
        change_method(session, prepared, response)
        if prepared.method != before and not (may_answer_302 and response.status_code in (302, 303)):
            raise requests.RequestException(f"error={response.status_code}")

    requests.Session.rebuild_method = checked  # type: ignore[assignment]  # of this process, which sends one message


class _FailureReader(logging.Handler):
    """Reads the library's log for the cause of a failure, and keeps only a known phrase.

    Reads no other lines: the log quotes the message, and the answer of the service, which may name any error.
    """

    why = "it was not accepted"
    maybe = False  # the message may have arrived
    sent = 0  # recipients that got it

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().lower()
        if record.levelno == logging.INFO:
            self.sent += text.startswith("sent ")
        elif record.levelno >= logging.WARNING or FAILURE.match(text):
            self._read(text)

    def _read(self, text: str) -> None:
        if found := STATUS.search(text):
            code = next(filter(None, found.groups()))
            moved = ", a redirect without the message: add the address that it leads to" if code[0] == "3" else ""
            self.why, self.maybe = f"the answer was {code}{moved}", code in UNSURE
            return
        self.why = next((said for part, said in HARMLESS if part in text), self.why)
        self.maybe = self.why in MAYBE


if __name__ == "__main__":
    main()
