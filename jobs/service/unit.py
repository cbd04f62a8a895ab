"""The text of a service that runs `fts worker`: pure, so that a dry run shows what would be written.

TERM asks a worker to write a checkpoint at the next step and to leave with 0 (120 s are given to a trial), so a service
gives it more time than that, starts it again after any other end, and lets it rest after that one.
"""

from __future__ import annotations

import hashlib
import plistlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fts.frozen import dataclass
from fts.jobs.devices import BadSetting
from fts.jobs.settings import WorkerSettings

STOP_S = int(WorkerSettings.stop_grace_s) + 60  # a trial's checkpoint, and what comes after it
PAUSE_S = 30  # between an end and the next start
MOST_STARTS, WITHIN_S = 10, 3600  # a worker that ends at once, again and again, is left alone
NEVER_AGAIN = (2, 5, 6)  # bad options, another version of the database, no study: the same would happen again
CARRIED = (  # and what begins with FTS_; the token of Ray itself stays in its file
    "PATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "CUDA_VISIBLE_DEVICES", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH",
)  # fmt: skip
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Service:
    """What runs, where and with which variables."""

    command: Sequence[str]
    folder: Path
    log: Path
    environment: Mapping[str, str]
    user: str | None = None  # of a service of the whole machine; None: of the person's own

    def __post_init__(self) -> None:
        for text in (*self.command, str(self.folder), str(self.log), *self.environment.values()):
            if CONTROL.search(text):
                raise BadSetting(f"{text!r:.120} has a line break or another control character: no service can hold it")

    @property
    def name(self) -> str:
        """`fts-bank-1a2b3c4d`: of the folder's name, and of its whole path."""
        short = re.sub(r"[^A-Za-z0-9]+", "-", self.folder.name).strip("-")[:40] or "study"
        return f"fts-{short}-{hashlib.md5(str(self.folder).encode(), usedforsecurity=False).hexdigest()[:8]}"


def chosen(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of this shell that the worker needs: services start without them. The database is an option."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if value and (name in CARRIED or name.startswith("FTS_")) and name not in ("FTS_DB", "FTS_DEBUG")
    }


# ---------------------------------------------------------------- systemd


def systemd(service: Service) -> str:
    """A unit. KillMode: TERM reaches the worker alone, which stops its trials at a checkpoint."""
    where = "multi-user.target" if service.user else "default.target"
    lines = [
        "[Unit]",
        f"Description={_specifier(f'fts worker of {service.folder}/')}",
        f"StartLimitIntervalSec={WITHIN_S}",
        f"StartLimitBurst={MOST_STARTS}",
        *(["After=network-online.target", "Wants=network-online.target"] if service.user else []),
        "",
        "[Service]",
        "Type=exec",  # what cannot even begin, `systemctl start` says
        *([f"User={service.user}"] if service.user else []),
        f"WorkingDirectory={_specifier(f'{service.folder}/')}",  # a backslash or a blank at its end stays in the name
        *(f"Environment={_word(f'{name}={value}', variables=False)}" for name, value in service.environment.items()),
        f"ExecStart={' '.join(_word(word) for word in service.command)}",
        f"StandardOutput=append:{_specifier(str(service.log))}",
        f"StandardError=append:{_specifier(str(service.log))}",
        "KillMode=mixed",
        f"TimeoutStopSec={STOP_S}",
        "Restart=on-failure",
        f"RestartSec={PAUSE_S}",
        f"RestartPreventExitStatus={' '.join(map(str, NEVER_AGAIN))}",
        "",
        "[Install]",
        f"WantedBy={where}",
        "",
    ]
    return "\n".join(lines)


def _specifier(text: str) -> str:
    """A percent sign begins a specifier everywhere in a unit."""
    return text.replace("%", "%%")


def _word(text: str, variables: bool = True) -> str:
    """One word in quotes; in a command a dollar sign begins a variable, too."""
    text = _specifier(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text.replace("$", "$$") if variables else text}"'


# ---------------------------------------------------------------- launchd


def launchd(service: Service) -> bytes:
    """A property list. SuccessfulExit false: it is started again unless it left with 0."""
    content = {
        "Label": service.name,
        "ProgramArguments": list(service.command),
        "WorkingDirectory": str(service.folder),
        "EnvironmentVariables": dict(service.environment),
        "StandardOutPath": str(service.log),
        "StandardErrorPath": str(service.log),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": PAUSE_S,
        "ExitTimeOut": STOP_S,
    } | ({"UserName": service.user} if service.user else {})
    return plistlib.dumps(content)
