"""Real slurmctld, slurmd and munge on the loopback address: two nodes of one core on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
CONF = """\
ClusterName=fts
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={at}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={at}/state
SlurmdSpoolDir={at}/spool-%n
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd-%n.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdLogFile={at}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
MessageTimeout=10
KillWait=10
InactiveLimit=0
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=1 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=low Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=10
PartitionName=gpu Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=10
PartitionName=high Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Why Slurm cannot be started here; None: it can."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "srun") if shutil.which(name, path=SBIN) is None]
    if missing:
        return f"{', '.join(missing)} not installed; `make test-cluster` installs them on Debian, as root"
    return None if os.getuid() == 0 else "slurmd starts only as root"


class Slurm:
    """The daemons, from start to end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", "munge"):
            (folder / name).mkdir(parents=True, mode=0o700)
        (folder / "munge" / "key").write_bytes(os.urandom(1024))
        (folder / "munge" / "key").chmod(0o400)
        ports = {name: free_port() for name in ("port", "port1", "port2")}
        self.conf = folder / "slurm.conf"
        self.conf.write_text(CONF.format(host=socket.gethostname(), at=folder, **ports))
        self.environ = {**os.environ, "SLURM_CONF": str(self.conf)}
        munge = folder / "munge"
        self.run(
            "munged", "--force", "-S", munge / "socket", f"--key-file={munge / 'key'}", f"--log-file={munge / 'log'}",
            f"--pid-file={munge / 'pid'}", f"--seed-file={munge / 'seed'}",
        )  # fmt: skip
        self.run("slurmctld", "-f", self.conf)
        for node in ("n1", "n2"):
            self.start_node(node)
        self.wait_for("sinfo", "-h", "-N", "-o", "%T", words="idle\nidle")

    def run(self, *words: object) -> str:
        path = shutil.which(str(words[0]), path=SBIN)
        assert path is not None
        done = subprocess.run(
            [path, *map(str, words[1:])], env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def wait_for(self, *command: str, words: str, patience_s: float = 60.0) -> None:
        until = time.monotonic() + patience_s
        while words not in (said := self.run(*command)) and time.monotonic() < until:
            time.sleep(0.2)
        assert words in said, said

    def start_node(self, node: str) -> None:
        self.run("slurmd", "-N", node, "-f", self.conf)

    def kill_node(self, node: str) -> None:
        """The machine goes away: the daemon, its steps, and what runs in them."""
        mine = [one for one in psutil.process_iter() if node_of(one) == node]
        daemon = int((self.folder / f"slurmd-{node}.pid").read_text())
        for pid in [daemon, *(one.pid for one in mine)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def end(self) -> None:
        for name in ("slurmd-n1", "slurmd-n2", "slurmctld", "munge/"):
            path = self.folder / (f"{name}.pid" if not name.endswith("/") else f"{name}pid")
            try:
                os.kill(int(path.read_text()), signal.SIGKILL)
            except (OSError, ValueError):
                continue


def node_of(process: Any) -> str | None:
    """The node of Slurm that a process runs on; its agent and its trials, not the slurmd."""
    try:
        node: str | None = process.environ().get("SLURMD_NODENAME")
        return node if "fts" in " ".join(process.cmdline()) else None
    except (psutil.Error, OSError):
        return None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
