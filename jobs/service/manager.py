"""Writes, starts, stops and deletes the service of a study, with systemctl or launchctl."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.service import unit
from fts.state.files import atomic_write, expanded, make_folder, remove

if TYPE_CHECKING:
    from fts.jobs.service.unit import Service

SYSTEMD, LAUNCHD = "systemd", "launchd"
ANSWERS_WITHIN_S = 30.0


def usual() -> str:
    return LAUNCHD if sys.platform == "darwin" else SYSTEMD


@dataclass(frozen=True)
class Manager:
    """One service in systemd or launchd, for one user or the whole machine."""

    kind: str
    service: Service

    @property
    def is_of_machine(self) -> bool:
        return self.service.user is not None

    @property
    def tool(self) -> str:
        return "systemctl" if self.kind == SYSTEMD else "launchctl"

    @property
    def path(self) -> Path:
        """The path of the service's file."""
        name = self.service.name
        if self.kind == LAUNCHD:
            folder = Path("/Library/LaunchDaemons") if self.is_of_machine else expanded("~/Library/LaunchAgents")
            return folder / f"{name}.plist"
        base = expanded(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
        return (Path("/etc/systemd/system") if self.is_of_machine else base / "systemd" / "user") / f"{name}.service"

    @property
    def content(self) -> bytes:
        return unit.systemd(self.service).encode() if self.kind == SYSTEMD else unit.launchd(self.service)

    def commands(self, what: str) -> list[list[str]]:
        """Returns the commands of `install` (run after the file is written) or `remove` (run before it is deleted)."""
        name = self.service.name
        if self.kind == LAUNCHD:  # it refuses to load what it has loaded, and to unload what it has not
            loaded = self.is_loaded()
            if what == "install":
                start = ["launchctl", "kickstart", self.target]  # does nothing if it runs
                return [start if loaded else ["launchctl", "bootstrap", self.domain, str(self.path)]]
            return [["launchctl", "bootout", self.target]] if loaded else []
        if what == "install":
            return [self.systemctl("daemon-reload"), self.systemctl("enable", "--now", f"{name}.service")]
        return [self.systemctl("disable", "--now", f"{name}.service")]

    def systemctl(self, *words: str) -> list[str]:
        return ["systemctl", *([] if self.is_of_machine else ["--user"]), *words]

    @property
    def domain(self) -> str:
        """The launchd domain of the service."""
        return "system" if self.is_of_machine else f"gui/{os.getuid()}"

    @property
    def target(self) -> str:
        """The name by which launchd finds the service."""
        return f"{self.domain}/{self.service.name}"

    def is_loaded(self) -> bool:
        """Returns whether launchd knows the service."""
        return ask(["launchctl", "print", self.target])[0] == 0

    def start_command(self, again: bool = False) -> str:
        """Returns the command line that starts the service, or with `again` restarts it with its present file."""
        if self.kind == SYSTEMD:
            return typed(self.systemctl("restart" if again else "start", self.service.name))
        load = typed(["launchctl", "bootstrap", self.domain, str(self.path)])  # only this reads the file
        if not self.is_loaded():
            return load
        if not again:
            return f"launchctl kickstart {self.target}"
        # bootout returns at once, and until the worker has stopped at a checkpoint bootstrap fails: Input/output error
        gone = f"while launchctl print {self.target} >/dev/null 2>&1; do sleep 1; done"
        return f"launchctl bootout {self.target} && {gone} && {load}"

    def write(self) -> None:
        """Writes the file, and creates the folder of the log, without which the service would not start."""
        logs = self.service.log.parent
        if not logs.is_dir():
            make_folder(logs)
            if self.service.user is not None:
                shutil.chown(logs, self.service.user)
        make_folder(self.path.parent)
        atomic_write(self.path, self.content, mode=0o644 if self.is_of_machine else 0o600)

    def delete(self) -> None:
        """Deletes the file, and the link of `systemctl enable`, in case systemd could not be asked to remove it."""
        remove(self.path)
        if self.kind == SYSTEMD:
            for link in self.path.parent.glob(f"*.wants/{self.path.name}"):
                remove(link)
            ask(self.systemctl("daemon-reload"))

    def state(self) -> str:
        """Returns the state as the system names it: `active`, `inactive`, `failed` ..."""
        if self.kind == SYSTEMD:
            said = ask(self.systemctl("is-active", f"{self.service.name}.service"))[1]
            return said if said.isalpha() else f"unknown: {said or 'systemd says nothing'}"
        code, said = ask(["launchctl", "print", self.target])
        if code:
            return "inactive"
        return next((line.partition("=")[2].strip() for line in said.splitlines() if "state =" in line), "unknown")


def lingers() -> bool | None:
    """Returns whether this user's services run without a login; None if systemd does not answer."""
    code, said = ask(["loginctl", "show-user", person(), "--property=Linger", "--value"])
    return None if code or said not in ("yes", "no") else said == "yes"


def person() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # the user of a container may have no name
        return str(os.getuid())


def ask(words: Sequence[str], limit_s: float = ANSWERS_WITHIN_S) -> tuple[int, str]:
    """Runs a system tool; returns its exit code (127: not installed, 124: too slow) and its output."""
    if shutil.which(words[0]) is None:
        return 127, f"there is no {words[0]} here"
    try:
        done = subprocess.run(
            list(words), capture_output=True, text=True, errors="replace", timeout=limit_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, f"{words[0]} did not answer within {limit_s:.0f} s"
    return done.returncode, (done.stdout.strip() or done.stderr.strip()).strip()


def typed(words: Sequence[str]) -> str:
    """Returns the command line, quoted for a shell."""
    return shlex.join(words)
