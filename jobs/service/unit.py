"""Generates the text of a service that runs `fts worker`; pure functions, so that a dry run shows the real text.

On TERM a worker writes a checkpoint at the next step and exits with 0; a trial has 120 s for it. So the service waits
longer than that, restarts the worker after any other exit code, and does not restart it after 0.
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
from fts.raising import quoted

STOP_S = int(WorkerSettings.stop_grace_s) + 60  # time for a trial's checkpoint and the rest of the shutdown
PAUSE_S = 30  # between an exit and the restart
MOST_STARTS, WITHIN_S = 10, 3600  # after more starts in this time, a worker is not restarted
NEVER_AGAIN = (2, 5, 6)  # exit codes without restart: wrong options, another database version, no study
CARRIED = (  # variables that are kept, with all FTS_...; Ray's token itself stays in its file
    "PATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "CUDA_VISIBLE_DEVICES", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH",
    "XDG_CONFIG_HOME", "XDG_STATE_HOME",  # where the addresses of messages are, and which GPUs are in use
)  # fmt: skip
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Service:
    """Command, folder, log and environment of a service."""

    command: Sequence[str]
    folder: Path
    log: Path
    environment: Mapping[str, str]
    user: str | None = None  # user of a machine-wide service; None: a service of the current user

    def __post_init__(self) -> None:
        for text in (*self.command, str(self.folder), str(self.log), *self.environment, *self.environment.values()):
            if not is_utf8(text):
                raise BadSetting(f"{quoted(text, 120)} is not UTF-8: no service can hold it; rename it")
            if CONTROL.search(text):
                raise BadSetting(
                    f"{quoted(text, 120)} has a line break or another control character: no service can hold it"
                )

    @property
    def name(self) -> str:
        """`fts-bank-1a2b3c4d`: the folder's name and a hash of its path."""
        short = re.sub(r"[^A-Za-z0-9]+", "-", self.folder.name).strip("-")[:40] or "study"
        return f"fts-{short}-{hashlib.md5(str(self.folder).encode(), usedforsecurity=False).hexdigest()[:8]}"


def is_utf8(text: str) -> bool:
    """Returns whether the text can be written: Python reads other bytes of a path or a variable as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def chosen(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that the service needs from this shell, without FTS_DB (--db replaces it) and FTS_DEBUG."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if value and (name in CARRIED or name.startswith("FTS_")) and name not in ("FTS_DB", "FTS_DEBUG")
    }


# ---------------------------------------------------------------- systemd


def systemd(service: Service) -> str:
    """Returns a systemd unit. KillMode=mixed: only the worker gets TERM; it stops its trials at a checkpoint."""
    where = "multi-user.target" if service.user else "default.target"
    lines = [
        "[Unit]",
        f"Description={_specifier(f'fts worker of {service.folder}/')}",
        f"StartLimitIntervalSec={WITHIN_S}",
        f"StartLimitBurst={MOST_STARTS}",
        *(["After=network-online.target", "Wants=network-online.target"] if service.user else []),
        "",
        "[Service]",
        "Type=exec",  # so that `systemctl start` reports a command that cannot start
        *([f"User={service.user}"] if service.user else []),
        f"WorkingDirectory={_specifier(f'{service.folder}/')}",  # the slash keeps a trailing blank
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
    """Escapes percent signs, which begin a specifier in a unit."""
    return text.replace("%", "%%")


def _word(text: str, variables: bool = True) -> str:
    """Quotes one word; with `variables` (in commands) also escapes dollar signs."""
    text = _specifier(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text.replace("$", "$$") if variables else text}"'


# ---------------------------------------------------------------- launchd


def launchd(service: Service) -> bytes:
    """Returns a launchd property list. SuccessfulExit false: restart unless the exit code is 0."""
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
