"""A real Ray cluster with a token: a head without processors and nodes of one, on this machine.

As root each node has a network of its own, which can be cut; else all share that of this machine.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.cluster.slurm import free_port
from tests.fts_process import ROOT

MARK = "FTS_TEST_RAY"  # in the environment of each process of a node
OPTIONS = (
    "--block", "--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=80000000", "--disable-usage-stats",
)  # fmt: skip


def why_not() -> str | None:
    """Why Ray cannot be started here; None: it can."""
    try:
        importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return "ray is not installed; `make test-cluster` installs it into an environment of its own"
    return None


def can_cut() -> bool:
    return os.getuid() == 0 and shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


class Ray:
    """The cluster, from start to end."""

    def __init__(self, nodes: tuple[str, ...] = ("n1", "n2"), asks: bool = True) -> None:
        """`asks`: for a token."""
        self.folder = Path(tempfile.mkdtemp(prefix="fts-ray-"))  # its sockets need a short name
        token = self.folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.key = secrets.token_hex(4)
        self.cuts = can_cut()
        self.subnet = f"10.{100 + int(self.key[:2], 16) % 100}"  # of its own: two of these may run at once
        self.tells = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}  # what a client needs
        told = self.tells if asks else {}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("FTS_", "RAY_"))}
        self.environ = clean | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | told
        self.network: list[str] = []
        self.port = free_port()
        self.host = f"{self.subnet}.0.1" if self.cuts else "127.0.0.1"
        if self.cuts:
            self._ip("addr", "add", f"{self.host}/32", "dev", "lo")
        self.address = f"{self.host}:{self.port}"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.known: dict[str, set[psutil.Process]] = {}
        self.nodes, self.struck = nodes, set[str]()
        try:
            self.start_head()
            for number, node in enumerate(nodes, 2):
                self.start_node(node)
                self.wait_for(number)
        except BaseException:
            self.end()
            raise

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=False, capture_output=True)

    def _start(
        self, name: str, *words: str, inside: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        ray = str(Path(sys.executable).parent / "ray")
        told = (
            self.environ
            | dict(environ or {})
            | {MARK: f"{self.key}-{name}", "FTS_SCRATCH": str(self.folder / f"scratch-{name}")}
        )
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [*inside, ray, "start", *words, *OPTIONS],
                env=told, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def start_head(self) -> None:
        words = ("--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false")
        place = (f"--temp-dir={self.folder}", *([f"--node-ip-address={self.host}"] if self.cuts else []))
        self._start("head", *words, *place)
        self.wait_for(1)

    def start_node(self, node: str, *words: str, **environ: str) -> None:
        words = (f"--address={self.address}", "--num-cpus=1", *words)
        if not self.cuts:
            return self._start(node, *words, environ=environ)
        number, space = node.removeprefix("n"), f"fts-{self.key}-{node}"
        if node not in self.network:
            self.network.append(node)
            there, here = f"{self.subnet}.{number}.2", f"{self.subnet}.{number}.1"
            link = f"fts{self.key[:4]}{node}"
            self._ip("netns", "add", space)
            self._ip("link", "add", link, "type", "veth", "peer", "name", "e0", "netns", space)
            self._ip("addr", "add", f"{here}/24", "dev", link)
            self._ip("link", "set", link, "up")
            for command in (
                f"addr add {there}/24 dev e0",
                "link set e0 up",
                "link set lo up",
                f"route add default via {here}",
            ):
                self._ip("-n", space, *command.split())
        inside = ("ip", "netns", "exec", space)
        self._start(node, *words, f"--node-ip-address={self.subnet}.{number}.2", inside=inside, environ=environ)
        return None

    def look(self) -> list[str]:
        """Names of the nodes that live, the head's first."""
        from fts.jobs.devices import BadSetting
        from fts.jobs.executors.ray_cluster import look

        try:
            nodes = look(self.address, os.environ | self.tells).nodes
        except BadSetting as error:
            return ["head"] if "without a token" in str(error) else []
        return [str(one["name"]) for one in sorted(nodes, key=lambda one: one["resources"].get("CPU", 0))]

    def wait_for(self, count: int, patience_s: float = 90.0) -> None:
        until = time.monotonic() + patience_s
        while len(found := self.look()) != count:
            dead = [name for name, one in self.daemons.items() if one.poll() is not None]
            logs = [(self.folder / f"{name}.log").read_text()[-2000:] for name in dead]
            assert time.monotonic() < until and not (dead and count > len(found)), f"{found}, {dead}: {logs}"
            time.sleep(0.2)

    def processes(self, node: str) -> list[psutil.Process]:
        """All that run on that node: daemons, workers of Ray, agents and trials."""
        known = self.known.setdefault(node, set())  # Ray writes its titles over the environment of its processes
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if one.environ().get(MARK) == f"{self.key}-{node}":
                    known.update((one, *one.children(recursive=True)))
        known.intersection_update([one for one in known if lives(one)])
        return list(known)

    def signal(self, node: str, number: signal.Signals) -> None:
        self.struck.add(node)
        for one in self.processes(node):
            with contextlib.suppress(psutil.Error):
                one.send_signal(number)

    def kill_node(self, node: str) -> None:
        """The machine goes away: its daemon first."""
        while self.processes(node):
            self.signal(node, signal.SIGKILL)
            self.daemons[node].wait(10)
        self.daemons.pop(node)

    def mend(self) -> None:
        """Nodes that were killed, frozen or cut are begun anew; others than the first ones end."""
        ended = {node for node, daemon in self.daemons.items() if daemon.poll() is not None}
        for node in self.struck | ended | (set(self.daemons) - {"head", *self.nodes}):
            if node in self.network:
                self.cut(node, whole=True)
            if node in self.daemons:
                self.kill_node(node)
            if node in self.nodes:
                self.start_node(node)
        self.struck.clear()
        self.wait_for(1 + len(self.nodes))

    def drain(self, name: str) -> None:
        """Ray wants that node back within a minute."""
        drained = (
            "import sys; from ray._raylet import GcsClient; client = GcsClient(address=sys.argv[1]);"
            "ids = [one.node_id.hex() for one in client.get_all_node_info(timeout=10).values()];"
            "(node,) = [one for one in ids if one[:8] == sys.argv[2]];"
            "print(client.drain_node(node, 2, 'spot', int(sys.argv[3])))"
        )
        deadline = str(int((time.time() + 60) * 1000))
        subprocess.run(
            [sys.executable, "-c", drained, self.address, name[-8:], deadline], env=self.environ, check=True, timeout=60
        )

    def cut(self, node: str, whole: bool = False) -> None:
        self.struck.add(node)
        self._ip("link", "set", f"fts{self.key[:4]}{node}", "up" if whole else "down")

    def end(self) -> None:
        for node in list(self.daemons):
            self.kill_node(node)
        for node in self.network:
            self._ip("netns", "del", f"fts-{self.key}-{node}")
            self._ip("link", "del", f"fts{self.key[:4]}{node}")
        if self.cuts:
            self._ip("addr", "del", f"{self.host}/32", "dev", "lo")
        shutil.rmtree(self.folder, ignore_errors=True)


def lives(one: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(one.is_running() and one.status() != psutil.STATUS_ZOMBIE)
    return False
