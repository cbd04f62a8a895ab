"""Checks a Ray cluster before anything starts, and builds the command that launches an agent there.

Only child processes import Ray. A cluster that runs code from anybody is refused.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.installing import installing
from fts.jobs.devices import BadSetting
from fts.jobs.executors.launch import Launch
from fts.jobs.python import python, this_python
from fts.raising import quoted
from fts.state.files import home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.jobs.executors.base import Want

SLOT = "fts.jobs.executors.ray_slot"
LOOK = "fts.jobs.executors.ray_look"
CONNECT_S = 10.0
LOOK_S = 90.0  # time limit of the child that imports Ray, which takes long on a busy machine
MOST_SLOTS = 16  # without --slots
TOKENS = "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, or write it to ~/.ray/auth_token (`ray get-auth-token --generate`)"


@dataclass(frozen=True)
class Cluster:
    """The nodes of a Ray cluster."""

    nodes: tuple[dict[str, Any], ...] = ()

    @property
    def names(self) -> list[str]:
        return [str(node["name"]) for node in self.nodes]

    def slots(self, threads: int) -> int:
        """Returns how many trials with that many threads fit, 1 to MOST_SLOTS."""
        room = sum(int(node["resources"].get("CPU", 0) // threads) for node in self.nodes)
        return max(1, min(room, MOST_SLOTS))


@dataclass(frozen=True)
class RayLaunch(Launch):
    """Launches one ray_slot process per slot, which connects its pipes to an actor."""

    address: str = ""

    def check(self, memory_limit: int | None) -> None:
        """Does nothing: there is no template to check."""

    def argv(self, want: Want, name: str, memory_limit: int | None) -> list[str]:
        memory = max(want.memory or 0, memory_limit or 0)
        words = python("-m", SLOT, "--address", self.address, "--name", name)
        words += ["--threads", str(want.threads), "--gpus", str(want.gpus), "--memory", str(memory)]
        words += ["--device", self.device] if self.device else []
        return words + (["--node-python", self.python] if self.python else [])


def read_address(text: str | None) -> tuple[str, int]:
    """Parses HOST:PORT. Raises BadSetting."""
    if not text:
        raise BadSetting("--executor ray needs --address, such as 10.0.0.5:6379, where `ray start --head` runs")
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if "//" in text or not colon or not host or not (port.isdecimal() and 0 < int(port) < 1 << 16):
        more = "; `ray://` is another service of Ray, usually on port 10001" if text.startswith("ray://") else ""
        raise BadSetting(
            f"--address is {quoted(text)}, expected HOST:PORT of the head of Ray, such as 10.0.0.5:6379{more}"
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def has_token(environ: Mapping[str, str]) -> bool:
    path = environ.get("RAY_AUTH_TOKEN_PATH") or home() / ".ray" / "auth_token"
    return bool(environ.get("RAY_AUTH_TOKEN")) or Path(path).is_file()


def check_token(text: str, host: str, environ: Mapping[str, str]) -> None:
    """Raises BadSetting if anybody could run code on the cluster."""
    if (mode := environ.get("RAY_AUTH_MODE")) != "token":
        if is_loopback(host):
            return
        raise BadSetting(
            f"--address {text} is not a loopback address and RAY_AUTH_MODE is {mode or 'not set'}: without a token Ray "
            "runs code from anybody who reaches it; set RAY_AUTH_MODE=token here and for `ray start`"
        )
    if not has_token(environ):
        raise BadSetting(f"RAY_AUTH_MODE is token, but there is none: set {TOKENS}")


def look(text: str | None, environ: Mapping[str, str] = os.environ) -> Cluster:
    """Returns the cluster's nodes; raises BadSetting for a cluster that cannot run trials."""
    host, port = read_address(text)
    address = str(text)
    check_token(address, host, environ)
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        raise BadSetting(
            f"nothing answers at --address {address}: {error.strerror or error}; start Ray there: `ray start --head`"
        ) from None
    asking = [start(address, environ)]
    guarded = environ.get("RAY_AUTH_MODE") == "token"
    if guarded:
        asking.append(start(address, {**environ, "RAY_AUTH_MODE": "disabled"}))
    try:
        found, *stranger = [answer(one) for one in asking]
    finally:
        for one in asking:
            one.kill()
            one.wait()
    if why := found.get("why"):
        raise BadSetting(sentence(why, address, environ))
    reached = sorted({node["at"][0] for node in found["nodes"]} - {"localhost", "127.0.0.1", "::1"})
    if reached and (not guarded or "nodes" in stranger[0]):  # reachable from outside, even if --address is a loopback
        raise BadSetting(
            f"the Ray cluster at {address} runs code from anybody who reaches {reached[0]}: it was started without a "
            "token; start it with RAY_AUTH_MODE=token"
        )
    check_versions(found["versions"])
    if not found["joined"]:
        raise BadSetting(
            f"this machine is no node of the Ray cluster at {address}, and Ray lets no other one in: run "
            f"`ray start --address {address} --num-cpus 0` here"
        )
    return Cluster(tuple(found["nodes"]))


def start(address: str, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        python("-m", LOOK, address),
        env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def answer(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    try:
        printed, _ = child.communicate(timeout=LOOK_S)
        reply = json.loads(printed)
    except subprocess.TimeoutExpired:
        return {"why": f"no answer within {LOOK_S:g} s"}
    except ValueError:
        return {"why": f"the process that asks it ended with exit code {child.returncode}"}
    return dict(reply)


def sentence(why: str, address: str, environ: Mapping[str, str]) -> str:
    if why == "missing":
        return f"ray is not installed for {this_python()}: run `{installing('fts-hpo[ray]')}`"
    if why == "token" and environ.get("RAY_AUTH_MODE") == "token":
        return f"the Ray cluster at {address} refuses this token: set its own in {TOKENS}"
    if why == "token":
        return f"the Ray cluster at {address} asks for a token: set RAY_AUTH_MODE=token and {TOKENS}"
    return f"--address {address} is no head of Ray that can be asked: {why}"


def check_versions(versions: dict[str, Any]) -> None:
    """Raises BadSetting unless Ray and Python (major.minor) are the same on both sides; Ray requires that."""
    here, there = (tuple(map(str, versions[side])) for side in ("here", "there"))
    if here[0] != there[0]:
        raise BadSetting(f"the cluster runs Ray {there[0]}, here is {here[0]}: run `{installing(f'ray=={there[0]}')}`")
    if here[1].split(".")[:2] != there[1].split(".")[:2]:
        raise BadSetting(f"the cluster runs Python {there[1]}, here is {here[1]}: Ray needs the same on both sides")
