"""Reads and writes the user's file of addresses, which is never copied into a database, event or log."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import tomllib
from dataclasses import field, replace
from datetime import datetime, timedelta
from pathlib import Path

from fts.frozen import dataclass
from fts.jobs.api.nearest import hint
from fts.jobs.devices import BadSetting
from fts.jobs.status.concern import About
from fts.raising import quoted
from fts.state.files import atomic_write, expanded, make_folder, shell_path, why_unreadable

COMMAND = "command:"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}")
SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30})://.+", re.IGNORECASE | re.DOTALL)
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
SHELL_WORDS = re.compile(r"\d?(?:>>?|<<?)(?:&\d)?|\|\|?|&&?|;")  # words that only a shell understands
MOST_BYTES = 1_000_000
HEAD = (
    "# Targets of fts messages. Addresses contain passwords: only you may read this file. `fts notify` rewrites it.\n"
)


@dataclass(frozen=True)
class Target:
    """A recipient of messages. No message or log contains the address."""

    name: str
    address: str = field(repr=False)

    @property
    def service(self) -> str:
        """The kind of the address, `ntfy`, `mailto`, `command`: the only part that may be shown."""
        if self.address.startswith(COMMAND):
            return "command"
        found = SCHEME.fullmatch(self.address)
        return found[1].lower() if found else "unknown"


@dataclass(frozen=True)
class Quiet:
    """Hours of the day in which nothing is sent; news wait until their end."""

    begin: tuple[int, int]
    end: tuple[int, int]

    @classmethod
    def read(cls, text: str) -> Quiet:
        """Parses `22:00-07:00`. Raises BadSetting."""
        ends = [CLOCK.fullmatch(part.strip()) for part in text.replace("–", "-").split("-")]
        if len(ends) != 2 or None in ends:
            raise BadSetting(f"quiet hours are {quoted(text, 40)}, expected a time such as 22:00-07:00")
        begin, end = ((int(found[1]), int(found[2])) for found in ends if found)
        if begin == end:
            raise BadSetting(f"quiet hours {text} begin when they end; `fts notify quiet off` ends them")
        return cls(begin, end)

    def __str__(self) -> str:
        return "{:02}:{:02}-{:02}:{:02}".format(*self.begin, *self.end)

    def until(self, now: float) -> float | None:
        """Returns when the hours end if `now` is within them (seconds since the epoch, local time), else None."""
        here = datetime.fromtimestamp(now)
        clock = (here.hour, here.minute)
        inside = self.begin <= clock < self.end if self.begin < self.end else not self.end <= clock < self.begin
        if not inside:
            return None
        end = here.replace(hour=self.end[0], minute=self.end[1], second=0, microsecond=0)
        return (end if end > here else end + timedelta(days=1)).timestamp()


@dataclass(frozen=True)
class NotifySettings:
    """The content of the file."""

    targets: tuple[Target, ...] = ()
    quiet: Quiet | None = None
    urgent: frozenset[About] = frozenset()  # sent in quiet hours, too

    def target(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.name == name), None)


def file_of_person() -> Path:
    """Returns the path: $FTS_NOTIFY, else notify.toml in the user's configuration folder."""
    if chosen := os.environ.get("FTS_NOTIFY"):
        return expanded(chosen).absolute()
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return expanded(base).absolute() / "fts" / "notify.toml"


def read(path: Path | None = None) -> NotifySettings:
    """Reads the settings; without a file they are empty. Raises BadSetting if others may read it or it is no TOML.

    No error message contains a part of an address.
    """
    path = path or file_of_person()
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                raise BadSetting(
                    f"{path} has mode {stat.S_IMODE(found.st_mode):o}, so that others can read the addresses in it: "
                    f"chmod 600 {shell_path(path)}"
                )
            text = file.read(MOST_BYTES).decode()
        tables = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return NotifySettings()
    except OSError as error:
        raise BadSetting(f"{path} cannot be read: {why_unreadable(error, path)}") from None
    except BadSetting:
        raise
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, too many digits, nested too deeply
        found_line = re.search(r"at line (\d+)", str(error))  # the rest of the message may contain an address
        line = f", line {found_line[1]}" if found_line else ""
        raise BadSetting(f"{path} is no TOML{line}; correct it, or remove it and add the addresses again") from None
    return _settings(path, tables)


def _settings(path: Path, tables: dict[str, object]) -> NotifySettings:
    if unknown := sorted(set(tables) - {"quiet", "urgent", "targets"}):
        raise BadSetting(f"{path} has {quoted(unknown[0], 40)}, expected quiet, urgent and [targets]")
    given = tables.get("targets", {})
    if not isinstance(given, dict) or not all(isinstance(address, str) for address in given.values()):
        raise BadSetting(f"{path}: [targets] is not a table of names and addresses")
    quiet = tables.get("quiet")
    if quiet is not None and not isinstance(quiet, str):
        raise BadSetting(f"{path}: quiet is {quoted(quiet, 40)}, expected a text such as '22:00-07:00'")
    urgent = tables.get("urgent", [])
    if not isinstance(urgent, list):
        raise BadSetting(f"{path}: urgent is {quoted(urgent, 40)}, expected a list such as ['worker lost']")
    return NotifySettings(
        tuple(checked(name, str(address)) for name, address in given.items()),
        Quiet.read(quiet) if quiet else None,
        frozenset(about_of(str(word)) for word in urgent),
    )


def about_of(word: str) -> About:
    """Returns the kind of message that the word names. Raises BadSetting for an unknown word."""
    given = word.strip().lower()
    if given in set(About):
        return About(given)
    raise BadSetting(
        f"{quoted(word, 40)} is no kind of message; {hint(given, About)}expected one of {', '.join(About)}"
    )


def checked(name: str, address: str) -> Target:
    """Returns the target if name and address are valid. Raises BadSetting, without any part of the address."""
    if not NAME.fullmatch(name):
        raise BadSetting(f"the name {quoted(name, 60)} of a target is not made of letters, digits and _.- (at most 40)")
    if address.startswith(COMMAND):
        try:
            words = shlex.split(address.removeprefix(COMMAND))
        except ValueError:
            raise BadSetting(f"the command of {name} has a quotation that does not end") from None
        if not words:
            raise BadSetting(f"the command of {name} is empty; expected such as: notify-send {{title}} {{body}}")
    elif not address.strip():
        raise BadSetting("the address is empty; expected such as ntfy://topic or mailto://...")
    elif not SCHEME.fullmatch(address):
        raise BadSetting(no_service(f"the address of {name}"))
    return Target(name, address)


def no_service(what: str) -> str:
    return (
        f"{what} has no service in front; expected such as ntfy://topic or mailto://USER:PASSWORD@HOST, or "
        "`--command 'notify-send {title} {body}'`"
    )


def refuse_shell_words(command: str) -> None:
    """Raises BadSetting for `echo {title} >> file`: without a shell, echo would get `>>` as an argument."""
    try:
        words = shlex.split(command)
    except ValueError:
        return  # checked() names it
    if (word := next((word for word in words if SHELL_WORDS.fullmatch(word)), None)) is not None:
        raise BadSetting(
            f"the command has {word!r}, which only a shell understands; give it to one: --command \"sh -c '...'\""
        )


def add(address: str, name: str | None = None, path: Path | None = None) -> Target:
    """Adds a target to the file; by default it gets the name of its service. Raises BadSetting."""
    path = path or file_of_person()
    known = read(path)
    if name is None:
        service = Target("", address).service
        if service == "unknown" and address.strip():
            raise BadSetting(no_service("the address"))
        name = next(
            each for n in range(1, 10_000) if known.target(each := service if n == 1 else f"{service}-{n}") is None
        )
    made = checked(name, address)
    if known.target(name) is not None:
        raise BadSetting(f"there is a target {name} already; `fts notify remove {name}` removes it")
    write(replace(known, targets=(*known.targets, made)), path)
    return made


def write(settings: NotifySettings, path: Path | None = None) -> None:
    """Writes the whole file, readable for its owner only."""
    path = path or file_of_person()
    lines = [HEAD]
    if settings.quiet is not None:
        lines.append(f"quiet = {_quoted(str(settings.quiet))}\n")
    if settings.urgent:
        lines.append(f"urgent = [{', '.join(_quoted(each) for each in sorted(settings.urgent))}]\n")
    lines.append("\n[targets]\n")
    lines += [f"{_quoted(target.name)} = {_quoted(target.address)}\n" for target in settings.targets]
    make_folder(path.parent)
    atomic_write(path, "".join(lines), mode=0o600)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # a JSON string is a valid TOML string
