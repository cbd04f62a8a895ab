"""Carries an agent's frames through Ray: stdin and stdout here are those of an agent that an actor starts on a node.

    python -Pm fts.jobs.executors.ray_slot --address HOST:PORT --threads 4 --gpus 1    (the Ray executor starts it)

One such process a slot, so that the worker loads no Ray: a driver that loses its cluster aborts its whole process. What
Ray says while it has no node goes to stderr, for `fts why`. The actor knows nothing of fts: its class travels.
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

from fts.jobs.executors.frames import END, HEADER, MAGIC, Frame, Kind, encode, last_line, ready
from fts.jobs.executors.ray_look import nodes
from fts.jobs.python import python

AGENT = "fts.jobs.executors.agent"
LOOK_S = 1.0  # between two looks whether Ray wants the node back, or why it gives none
FIRST_LOOK_S = 0.3
ANSWER_S = 2.0  # that a node which was lost may take to answer
PART = 1 << 20  # bytes that travel in one call
NODE_ID = "ray.io/node-id"  # the label that each node of Ray has


def holder(part: int) -> type:
    """The class of the actor. It is local, so that it travels as it is: the Ray of a node needs no fts."""

    class Holder:
        """An agent on this node, and the three ends of its pipes."""

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
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(ids)  # empty: it asked for none
            if named := environ.get("FTS_GPUS"):
                mine = [one for one in named.split(",") if one.partition("=")[0].strip() in ids]
                environ["FTS_GPUS"] = ",".join(mine) or "none"
            words = [word.replace(label, f"{socket.gethostname()}-{self.node[:8]}") for word in words]
            self.stderr = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the agent
            self.agent = subprocess.Popen(
                [words[0] or sys.executable, *words[1:]],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, env=environ, start_new_session=True,
            )  # fmt: skip
            if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux: a call of Ray costs as much for a megabyte as for a page
                with contextlib.suppress(OSError):
                    fcntl.fcntl(self.agent.stdout, fcntl.F_SETPIPE_SZ, part)  # type: ignore[arg-type]  # a pipe

        def where(self) -> str:
            return self.node

        def read(self) -> bytes:
            """What it says next; nothing: it has ended."""
            import os

            assert self.agent.stdout is not None
            return os.read(self.agent.stdout.fileno(), part)

        def write(self, data: bytes) -> None:
            assert self.agent.stdin is not None
            self.agent.stdin.write(data)
            self.agent.stdin.flush()

        def close(self) -> None:
            """It hears that nobody is there any more."""
            assert self.agent.stdin is not None
            self.agent.stdin.close()

        def preempt(self) -> None:
            """It leaves with a checkpoint."""
            self.agent.terminate()

        def end(self) -> tuple[int, str]:
            """Its exit code, and the last of what it printed."""
            code = self.agent.wait()
            self.stderr.seek(max(0, self.stderr.seek(0, 2) - 4096))
            return code, self.stderr.read().decode(errors="replace")

    return Holder


class Passing:
    """Where in a stream of frames we are: a frame of ours may only follow a whole one."""

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


class Carrier:
    """One actor, from its placement to its end."""

    def __init__(self, ray: Any, given: argparse.Namespace, stdin: int, stdout: int) -> None:
        self.ray, self.given, self.stdin, self.stdout = ray, given, stdin, stdout
        self.passing = Passing()
        self.actor: Any = None
        self.client = ray._raylet.GcsClient(address=given.address)
        self.node = self.node_id = ""
        self._over, self._asked_back = threading.Event(), threading.Event()

    def run(self) -> int:
        """Its exit code is the agent's."""
        self.place()
        signal.signal(signal.SIGTERM, lambda *_: self._asked_back.set())
        for work in (self._down, self._look):
            threading.Thread(target=work, daemon=True).start()
        try:
            self._up()
            code, printed = self.ray.get(self.actor.end.remote())
            self._tell_failed(code, printed)
        except self.ray.exceptions.RayError as error:
            self._tell_end(error)
            return 1
        finally:
            self._over.set()
        tell(printed.rstrip())
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.actor)
        return int(code)

    # -- a place

    def place(self) -> None:
        """Waits until Ray has placed it, and says meanwhile why it has not."""
        given, label = self.given, "{host}"
        words = python("-m", AGENT, "--name", given.name, "--host", label, interpreter=given.node_python or "")
        words[0] = given.node_python or ""  # that of Ray on the node
        options: dict[str, Any] = {
            "num_cpus": given.threads, "num_gpus": given.gpus, "max_concurrency": 6, "max_restarts": 0,
        }  # fmt: skip
        if given.memory:
            options["memory"] = given.memory
        told, shut, asked = "", None, None
        while asked is None or not self.ray.wait([asked], timeout=LOOK_S if told else FIRST_LOOK_S)[0]:
            if (now := self._shut()) != shut:  # the place of an actor is chosen once: it is asked for again
                if asked is not None:
                    self.ray.kill(self.actor)
                shut, options["scheduling_strategy"] = now, self._strategy(now)
                self.actor = self.ray.remote(holder(PART)).options(**options).remote(words, given.gpus, label)
                asked = self.actor.where.remote()
                continue
            if (why := self._waits_for(shut)) != told:
                told = why
                tell(why)
        node = self.ray.get(asked)
        self.node_id, self.node = node, next(one["name"] for one in self._nodes() if one["id"] == node)

    def _shut(self) -> set[str]:
        """Names where no trial may begin: nodes that fts has closed, and lost ones that do not answer.

        Ray itself may take a minute to see that a node is gone, and would place an actor there meanwhile.
        """
        shut, lost = (set(words.split(",")) for words in (self.given.shut, self.given.avoid))
        doubtful = [node for node in self._nodes() if node["name"] in lost - shut]
        with ThreadPoolExecutor(max(1, len(doubtful))) as pool:
            answers = pool.map(lambda node: answers_at(*node["at"]), doubtful)
            return shut | {node["name"] for node, there in zip(doubtful, answers, strict=True) if not there}

    def _nodes(self) -> list[dict[str, Any]]:
        """Those that live. Raises RayError without a head, where `ray.nodes()` aborts the process."""
        return nodes(self.client)

    def _strategy(self, closed: set[str]) -> Any:
        """Not where no trial may begin; rather where one ran before, and not where it was lost."""
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
            coming = self.actor.read.remote()  # the next is under way while this one is written
            self._write(data)
            self.passing.feed(data)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self.stdout, left) :]

    def _down(self) -> None:
        """In order: each part is there before the next goes."""
        with contextlib.suppress(self.ray.exceptions.RayError, OSError):
            while data := os.read(self.stdin, PART):
                self.ray.get(self.actor.write.remote(data))
            self.ray.get(self.actor.close.remote())

    def _look(self) -> None:
        """Ray drains the node, or somebody sends SIGTERM here: the agent hears it as it hears SIGTERM."""
        from ray._private.state import state

        while not self._over.is_set():
            asked = self._asked_back.wait(LOOK_S)
            with contextlib.suppress(self.ray.exceptions.RayError, RuntimeError):
                if asked or self.node_id in state.get_draining_nodes():
                    self.ray.get(self.actor.preempt.remote())
                    return

    def _tell_failed(self, code: int, printed: str) -> None:
        """No agent came up: which node that was, for the engine would choose it again, as it is free."""
        if not self.passing.begun:
            said = f"no agent comes up on {self.node} (exit code {code}): {last_line(printed.encode())}"
            self._write(MAGIC + encode(Frame(Kind.REFUSED, {"said": said, "host": self.node})))

    def _tell_end(self, error: Exception) -> None:
        """Why Ray has lost the actor, where a frame may follow."""
        why = sentence(error)
        tell(why)
        if self.passing.whole and ready(self.stdout, 1.0):
            if getattr(error, "preempted", False):
                self._write(encode(Frame(Kind.PREEMPTED, {"said": f"Ray took the node back: {why}"})))
            self._write(encode(Frame(Kind.REFUSED, {"said": why})))


class Silence(io.TextIOBase):
    """For Ray's own reports: many lines about any node that ends."""

    def write(self, text: str) -> int:
        return len(text)


def tell(line: str) -> None:
    """For a person: the last line is what `fts why` shows."""
    if line:
        os.write(2, f"{line}\n".encode())


def answers_at(host: str, port: int) -> bool:
    """Does a server of gRPC live there? It greets whoever opens HTTP/2, before it asks for any token."""
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
    """`2 CPU, 1 GPU, 4.0 GiB`."""
    words = [f"{found[name]:g} {name}" for name in ("CPU", "GPU") if found.get(name)]
    if found.get("memory"):
        words.append(f"{found['memory'] / (1 << 30):.1f} GiB")
    return ", ".join(words) or "nothing"


def sentence(error: BaseException) -> str:
    """The first sentence of what Ray says, on one line."""
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
    parser.add_argument("--node-python", help="[default: that of Ray on the node]")
    parser.add_argument("--node", help="this one and no other")
    for name, meaning in (("shut", "never there"), ("avoid", "rather not there"), ("like", "rather there")):
        parser.add_argument(f"--{name}", default="", help=meaning)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    stdout = os.dup(1)
    os.dup2(2, 1)  # what Ray prints is no frame
    stdin = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stderr = sys.stdout = Silence()
    import ray

    try:
        ray.init(given.address, log_to_driver=False, logging_level="CRITICAL", configure_logging=False)
        code = Carrier(ray, given, stdin, stdout).run()
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, LookupError, ValueError) as error:
        tell(sentence(error))
        code = 1
    os._exit(code)  # at once: what Ray has to tidy it tidies when the connection ends


if __name__ == "__main__":
    main()
