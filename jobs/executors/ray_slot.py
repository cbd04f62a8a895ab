"""Connects stdin and stdout to an agent that a Ray actor runs on a node, and forwards its frames.

    python -Pm fts.jobs.executors.ray_slot --address HOST:PORT --threads 4 --gpus 1    (the Ray executor starts it)

Each slot has such a process, so that the worker need not import Ray: a driver that loses its cluster aborts its whole
process. While Ray has no node, the reason goes to stderr, for `fts why`. The actor's class is sent with the call, so
that the node's Ray needs no fts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fts.jobs.executors.frames import END, HEADER, MAGIC, Frame, FrameKind, encode, last_line, ready
from fts.jobs.executors.ray_look import nodes
from fts.jobs.python import python
from fts.jobs.threads import repeat

AGENT = "fts.jobs.executors.agent"
LOOK_S = 1.0  # between two checks whether Ray wants the node back, or why it has none
FIRST_LOOK_S = 0.3
ANSWER_S = 2.0  # time for a lost node to answer
PART = 1 << 20  # bytes per call
NODE_ID = "ray.io/node-id"  # label of every Ray node


def agent_actor(part: int) -> type:
    """Returns the actor's class. It is local, so that Ray sends its code: the node's Ray cannot import fts."""

    class AgentActor:
        """Runs an agent on this node and gives access to its pipes."""

        def __init__(self, words: list[str], gpus: int, label: str) -> None:
            import contextlib
            import fcntl
            import os
            import socket
            import subprocess
            import sys
            import tempfile

            import ray

            context = ray.get_runtime_context()
            self.node: str = context.get_node_id()
            environ = dict(os.environ)
            ids = [str(one) for one in context.get_accelerator_ids().get("GPU", [])] if gpus else []
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(ids)  # empty: no GPU was requested
            if named := environ.get("FTS_GPUS"):
                mine = [one for one in named.split(",") if one.partition("=")[0].strip() in ids]
                environ["FTS_GPUS"] = ",".join(mine) or "none"
            words = [word.replace(label, f"{socket.gethostname()}-{self.node[:8]}") for word in words]
            self.stderr = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the agent
            self.agent = subprocess.Popen(
                [words[0] or sys.executable, *words[1:]],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, env=environ, start_new_session=True,
            )  # fmt: skip
            if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux: a Ray call costs as much for a megabyte as for a page
                with contextlib.suppress(OSError):
                    fcntl.fcntl(self.agent.stdout, fcntl.F_SETPIPE_SZ, part)  # type: ignore[arg-type]  # a pipe

        def where(self) -> str:
            return self.node

        def read(self) -> bytes:
            """Returns the agent's next output; empty: it has ended."""
            import os

            assert self.agent.stdout is not None
            return os.read(self.agent.stdout.fileno(), part)

        def write(self, data: bytes) -> None:
            assert self.agent.stdin is not None
            self.agent.stdin.write(data)
            self.agent.stdin.flush()

        def close(self) -> None:
            """Closes the agent's stdin."""
            assert self.agent.stdin is not None
            self.agent.stdin.close()

        def preempt(self) -> None:
            """Sends SIGTERM: the agent exits after a checkpoint."""
            self.agent.terminate()

        def end(self) -> tuple[int, str]:
            """Waits for the agent; returns its exit code and its last output."""
            code = self.agent.wait()
            self.stderr.seek(max(0, self.stderr.seek(0, 2) - 4096))
            return code, self.stderr.read().decode(errors="replace")

    return AgentActor


class FramePosition:
    """Tracks the position in a stream of frames: our own frame may only follow a complete one."""

    def __init__(self) -> None:
        self._head, self._left, self._magic = b"", 0, False

    def feed(self, data: bytes) -> None:
        if not self._magic:
            self._head += data
            before, self._magic, data = self._head.partition(MAGIC)[0], MAGIC in self._head, b""
            if not self._magic:
                return
            data, self._head = self._head[len(before) + len(MAGIC) :], b""
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left, data = self._left - taken, data[taken:]
                continue
            missing = HEADER.size - len(self._head)
            self._head, data = self._head + data[:missing], data[missing:]
            if len(self._head) == HEADER.size:
                *_, meta, body = HEADER.unpack(self._head)
                self._head, self._left = b"", meta + body + len(END)

    @property
    def begun(self) -> bool:
        return self._magic

    @property
    def whole(self) -> bool:
        return self._magic and not self._head and not self._left


class Forwarder:
    """Places one actor and forwards frames until it ends."""

    def __init__(self, ray: Any, given: argparse.Namespace, stdin: int, stdout: int) -> None:
        self.ray, self.given, self.stdin, self.stdout = ray, given, stdin, stdout
        self.position = FramePosition()
        self.actor: Any = None
        self.client = ray._raylet.GcsClient(address=given.address)
        self.node = self.node_id = ""
        self._over, self._asked_back = threading.Event(), threading.Event()

    def run(self) -> int:
        """Runs until the agent ends; returns the agent's exit code."""
        self.place()
        signal.signal(signal.SIGTERM, lambda *_: self._asked_back.set())
        for work in (self._down, self._look):
            threading.Thread(target=work, daemon=True).start()
        try:
            self._up()
            code, printed = self.ray.get(self.actor.end.remote())
            self._report_failed_start(code, printed)
        except self.ray.exceptions.RayError as error:
            self._report_end(error)
            return 1
        finally:
            self._over.set()
        tell(printed.rstrip())
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.actor)
        return int(code)

    # -- placement

    def place(self) -> None:
        """Waits until Ray has placed the actor; prints the reason of the wait meanwhile."""
        given, label = self.given, "{host}"
        needs = ["--device", given.device] if given.device else []
        words = python("-m", AGENT, "--name", given.name, "--host", label, *needs, interpreter=given.node_python or "")
        words[0] = given.node_python or ""  # empty: the interpreter of Ray on the node
        options: dict[str, Any] = {
            "num_cpus": given.threads, "num_gpus": given.gpus, "max_concurrency": 6, "max_restarts": 0,
        }  # fmt: skip
        if given.memory:
            options["memory"] = given.memory
        printed, shut, asked = "", None, None
        while asked is None or not self.ray.wait([asked], timeout=LOOK_S if printed else FIRST_LOOK_S)[0]:
            if (now := self._shut()) != shut:  # Ray chooses an actor's node only once: create a new actor
                if asked is not None:
                    self.ray.kill(self.actor)
                shut, options["scheduling_strategy"] = now, self._strategy(now)
                self.actor = self.ray.remote(agent_actor(PART)).options(**options).remote(words, given.gpus, label)
                asked = self.actor.where.remote()
                continue
            if (why := self._waits_for(shut)) != printed:
                printed = why
                tell(why)
        node = self.ray.get(asked)
        self.node_id, self.node = node, next(one["name"] for one in self._nodes() if one["id"] == node)

    def _shut(self) -> set[str]:
        """Returns the names of nodes to exclude: closed by fts, or lost ones that do not answer.

        Ray may take a minute to notice that a node is gone, and would place an actor there meanwhile.
        """
        shut, lost = (set(words.split(",")) for words in (self.given.shut, self.given.avoid))
        doubtful = [node for node in self._nodes() if node["name"] in lost - shut]
        with ThreadPoolExecutor(max(1, len(doubtful))) as pool:
            answers = pool.map(lambda node: answers_at(*node["at"]), doubtful)
            return shut | {node["name"] for node, there in zip(doubtful, answers, strict=True) if not there}

    def _nodes(self) -> list[dict[str, Any]]:
        """Returns the living nodes. Raises RayError without a head node, where `ray.nodes()` aborts the process."""
        return nodes(self.client)

    def _strategy(self, closed: set[str]) -> Any:
        """Returns Ray's scheduling strategy: excludes `closed` nodes, prefers --like, avoids --avoid."""
        from ray.util.scheduling_strategies import (
            In,
            NodeAffinitySchedulingStrategy,
            NodeLabelSchedulingStrategy,
            NotIn,
        )

        ids = {node["name"]: node["id"] for node in self._nodes()}
        if self.given.node:
            if self.given.node not in ids:
                raise LookupError(f"Ray has no node {self.given.node}; it has {', '.join(sorted(ids)) or 'none'}")
            return NodeAffinitySchedulingStrategy(ids[self.given.node], soft=False)
        shut, avoid, like = (
            [ids[name] for name in words if name in ids]
            for words in (closed, self.given.avoid.split(","), self.given.like.split(","))
        )
        hard = {NODE_ID: NotIn(*shut)} if shut else {}
        rather = [one for one in like if one not in avoid]
        soft = {NODE_ID: In(*rather)} if rather else {NODE_ID: NotIn(*avoid)} if avoid else {}
        return NodeLabelSchedulingStrategy(hard, soft=soft) if hard or soft else "DEFAULT"

    def _waits_for(self, shut: set[str]) -> str:
        from ray._private.state import available_resources_per_node

        want = {"CPU": self.given.threads, "GPU": self.given.gpus, "memory": self.given.memory}
        there = [node for node in self._nodes() if node["name"] not in shut]
        words = amounts(want)
        able = [node for node in there if has(node["resources"], want)]
        if not able:
            works = [node for node in there if node["resources"].get("CPU")][:4]
            have = "; ".join(f"{node['name']} has {amounts(node['resources'])}" for node in works)
            closed = f", {', '.join(sorted(shut - {''}))[:200]} closed: see `fts nodes`" if shut - {""} else ""
            return f"Ray has no node with {words}: {have or 'none is open for trials'}{closed}"
        free = available_resources_per_node()
        if not any(has(free.get(node["id"], {}), want) for node in able):
            return f"Ray has no node with {words} free, or starts a process now: {len(able)} nodes have that in all"
        return f"Ray has {words} free, and starts a process there"

    # -- frames

    def _up(self) -> None:
        coming = self.actor.read.remote()
        while data := self.ray.get(coming):
            coming = self.actor.read.remote()  # reads the next part while this one is written
            self._write(data)
            self.position.feed(data)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self.stdout, left) :]

    def _down(self) -> None:
        """Forwards stdin to the agent, one part after the other, so that the order is kept."""
        with contextlib.suppress(self.ray.exceptions.RayError, OSError):
            while data := os.read(self.stdin, PART):
                self.ray.get(self.actor.write.remote(data))
            self.ray.get(self.actor.close.remote())

    def _look(self) -> None:
        """Forwards SIGTERM to the agent when Ray drains the node or this process gets SIGTERM."""
        from ray._private.state import state

        def look() -> float | None:
            if self._asked_back.wait(LOOK_S) or self.node_id in state.get_draining_nodes():
                self.ray.get(self.actor.preempt.remote())
                return None
            return 0.0

        foreseen = (self.ray.exceptions.RayError, RuntimeError, OSError)
        repeat(look, self._over, "Ray does not say whether it drains the node", LOOK_S, foreseen)

    def _report_failed_start(self, code: int, printed: str) -> None:
        """Reports the node on which no agent started: Ray would choose it again, so the next launch excludes it."""
        if not self.position.begun:
            text = f"no agent comes up on {self.node} (exit code {code}): {last_line(printed.encode())}"
            self._write(MAGIC + encode(Frame(FrameKind.REFUSED, {"said": text, "host": self.node})))

    def _report_end(self, error: Exception) -> None:
        """Reports why Ray has lost the actor, if a frame can be written now."""
        why = sentence(error)
        tell(why)
        if self.position.whole and ready(self.stdout, 1.0):
            if getattr(error, "preempted", False):
                self._write(encode(Frame(FrameKind.PREEMPTED, {"said": f"Ray took the node back: {why}"})))
            self._write(encode(Frame(FrameKind.REFUSED, {"said": why})))


class NullOutput(io.TextIOBase):
    """Discards Ray's own output: many lines about every node that ends."""

    def write(self, text: str) -> int:
        return len(text)


def tell(line: str) -> None:
    """Prints a line to stderr; `fts why` shows the last one."""
    if line:
        os.write(2, f"{line}\n".encode())


def answers_at(host: str, port: int) -> bool:
    """Is a gRPC server alive there? It answers the start of HTTP/2 before it checks any token."""
    try:
        with socket.create_connection((host, port), ANSWER_S) as one:
            one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            one.recv(1)
    except OSError:
        return False
    return True


def has(resources: dict[str, float], want: dict[str, float]) -> bool:
    return all(resources.get(name, 0) >= amount for name, amount in want.items())


def amounts(found: dict[str, float]) -> str:
    """Formats `2 CPU, 1 GPU, 4.0 GiB`."""
    words = [f"{found[name]:g} {name}" for name in ("CPU", "GPU") if found.get(name)]
    if found.get("memory"):
        words.append(f"{found['memory'] / (1 << 30):.1f} GiB")
    return ", ".join(words) or "nothing"


def sentence(error: BaseException) -> str:
    """Returns the first relevant sentence of a Ray error, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    tells = [line for line in lines if "died" in line or "unavailable" in line or "dead" in line]
    return f"Ray: {' '.join(tells[:2] or lines[:1]) or type(error).__name__}"[:500]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="carries an agent through Ray; started by `fts worker --executor ray`")
    parser.add_argument("--address", required=True)
    parser.add_argument("--name", default="fts")
    parser.add_argument("--threads", type=float, default=1)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--device", help="what the node must have")
    parser.add_argument("--node-python", help="[default: that of Ray on the node]")
    parser.add_argument("--node", help="this one and no other")
    for name, meaning in (("shut", "never there"), ("avoid", "rather not there"), ("like", "rather there")):
        parser.add_argument(f"--{name}", default="", help=meaning)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    stdout = os.dup(1)
    os.dup2(2, 1)  # output of Ray must not mix with the frames
    stdin = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stderr = sys.stdout = NullOutput()
    import ray

    try:
        ray.init(given.address, log_to_driver=False, logging_level="CRITICAL", configure_logging=False)
        code = Forwarder(ray, given, stdin, stdout).run()
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, LookupError, ValueError) as error:
        tell(sentence(error))
        code = 1
    os._exit(code)  # at once: Ray cleans up when the connection ends


if __name__ == "__main__":
    main()
