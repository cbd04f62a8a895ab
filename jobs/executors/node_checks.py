"""Starts one agent per node and compares the nodes, before the first trial (`fts doctor`)."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.executors.base import Want
from fts.jobs.executors.channel import Channel
from fts.jobs.executors.fingerprint import of_this_machine, other_code
from fts.jobs.executors.frames import NOTHING
from fts.jobs.executors.ray_cluster import look
from fts.jobs.executors.remote_watchdog import disk_short
from fts.jobs.executors.slurm_look import with_reason

if TYPE_CHECKING:
    from fts.jobs.settings import Places, WorkerSettings

LOOK_S = 0.2
SAY_S, SAY_AGAIN_S = 3.0, 10.0  # before the first line about a wait for a node, and between two such lines
TOGETHER_S = 10.0  # how long an agent waits for the others: an engine would give a freed node to the next one


@dataclass(frozen=True)
class NodeCheck:
    """The result of the check of one node. `state`: ok, warn, bad."""

    node: str
    state: str
    text: str
    cure: str = ""


def examine(places: Places, settings: WorkerSettings, waits: Callable[[str], None]) -> list[NodeCheck]:
    """Returns one result per node, in the order of --nodes, and one about differences between them.

    Where the engine chooses the nodes, one agent per slot is requested, all at the same time. `waits` is called with
    the output of a launch command that still waits. Ctrl-C ends all of them.
    """
    if settings.where.executor == "ray":
        names = [str(node["name"]) for node in look(settings.where.address).nodes if node["resources"].get("CPU")]
    else:
        names = list(settings.where.node_slots or [f"fts-{slot}" for slot in range(settings.slots)])
    over, together, shown = threading.Event(), threading.Barrier(max(1, len(names))), set[str]()

    def waits_once(line: str) -> None:
        if line not in shown:
            shown.add(line)
            waits(line)

    with ThreadPoolExecutor(max(1, len(names))) as pool:
        try:  # from the first start on: the pool waits for its threads, which would wait for a node
            asking = [pool.submit(ask, name, places, settings, over, together, waits_once) for name in names]
            hellos = [one.result() for one in asking]
        finally:  # also after Ctrl-C: end all agents and wait for them
            over.set()
            together.abort()
    return compared(list(zip(names, hellos, strict=True)), chosen=settings.where.executor == "command")


def compared(hellos: list[tuple[str, NodeCheck | dict[str, object]]], chosen: bool) -> list[NodeCheck]:
    """Compares the nodes with this machine. `chosen`: the engine chose them, so list each host name once."""
    here, found, prints = of_this_machine(), dict[str, NodeCheck](), set[str]()
    for name, hello in hellos:
        if isinstance(hello, NodeCheck):
            found[f"{hello.node} {hello.text}"] = hello
            continue
        prints.add(str(hello.get("fingerprint")))
        gpus = hello.get("gpus")
        count = f", {len(gpus)} GPUs" if isinstance(gpus, list) and gpus else ""
        host = str(hello.get("host"))
        text = f"{hello.get('hardware')}, {hello.get('cores')} cores{count}"
        node, text = (host, text) if chosen else (name, f"{host}: {text}")
        if (other := other_code(hello)) is not None:
            one = NodeCheck(node, "bad", f"{text}; {other}", "install the same there")
        elif (short := disk_short(hello)) is not None:
            one = NodeCheck(node, "bad", f"{text}; {short}", "make room, or let FTS_SCRATCH name another folder there")
        elif hello.get("fingerprint") != here.md5:
            one = NodeCheck(node, "warn", f"{text}; this machine: {here.words}", "its last bits may differ from here")
        else:
            one = NodeCheck(node, "ok", f"{text}; equal to this machine")
        found[f"{node} {one.text}"] = one
    rows = list(found.values())
    if len(prints) > 1:
        text = "a trial that moves between unequal nodes gets the badge `other hardware`"
        rows.append(NodeCheck("nodes", "warn", f"{len(prints)} kinds of node; {text}"))
    return rows


def ask(
    name: str,
    places: Places,
    settings: WorkerSettings,
    over: threading.Event,
    together: threading.Barrier,
    waits: Callable[[str], None],
) -> NodeCheck | dict[str, object]:
    """Returns the agent's hello, or what is wrong.

    The agent stays until all are `together`, so that the engine does not choose the same node twice.
    """
    launch, chosen = settings.where.launch_of(), settings.where.executor == "command"
    if settings.where.executor == "ray":  # without resources: all may be in use
        argv = [*launch.argv(Want(threads=0), name, None), "--node", name]
    else:
        argv = launch.argv(Want(threads=settings.threads), name, settings.memory_limit)
    node = launch.called if chosen else name
    safe = "".join(one if one.isalnum() or one in "._-" else "_" for one in name)
    try:
        channel = Channel(argv, places.logs / f"agent_doctor_{safe}.log", 60.0, 5.0, 5.0)
    except OSError as error:
        return NodeCheck(node, "bad", f"{argv[0]} cannot be started: {error.strerror}", "look at --launch")
    until, say_at = channel.began + settings.launch_s, channel.began + SAY_S
    while channel.hello is None and channel.ended is None and time.monotonic() < until and not over.is_set():
        channel.wait_for_hello(LOOK_S)
        if channel.hello is None and time.monotonic() > say_at and channel.last_printed() != NOTHING:
            say_at = time.monotonic() + SAY_AGAIN_S
            line = with_reason(channel.last_printed()).removeprefix(f"{node}: ")
            waits(f"waiting for a node: {node} says: {line}")
    hello, printed, runs = channel.hello, with_reason(channel.last_printed()), channel.ended is None
    ended = channel.ended if channel.ended not in (None, "its connection ended") else None
    with contextlib.suppress(threading.BrokenBarrierError):
        if chosen and hello is not None:
            together.wait(TOGETHER_S)
    channel.close(gently=hello is not None)
    if hello is not None:
        return dict(hello)
    if runs and chosen:
        text = f"no node within {settings.launch_s:g} s: {printed}"
        return NodeCheck(
            node, "warn", text, "a worker waits as long as it takes; FTS_LAUNCH_S=600 lets this command wait"
        )
    return NodeCheck(node, "bad", f"no agent comes up: {ended or printed}", cure(ended or printed, argv))


def cure(printed: str, argv: list[str]) -> str:
    """Returns what a person can do about a launch that failed with this output."""
    if "No module named" in printed and "fts" in printed:
        return "install the same fts there, or name another interpreter with --node-python"
    if "python" in printed and ("No such file" in printed or "not found" in printed):
        return "--node-python names the interpreter with fts on the nodes"
    return f"try it by hand: {shlex.join(argv)[:400]}"
