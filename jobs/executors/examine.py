"""Starts one agent per node and compares them, before the first trial."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.executors.base import Want
from fts.jobs.executors.channel import Channel
from fts.jobs.executors.fingerprint import code_md5, of_this_machine
from fts.jobs.executors.ray_cluster import look

if TYPE_CHECKING:
    from fts.jobs.settings import Places, WorkerSettings


@dataclass(frozen=True)
class Found:
    """What one node says of itself. `state`: ok, warn, bad."""

    node: str
    state: str
    text: str
    cure: str = ""


def examine(places: Places, settings: WorkerSettings) -> list[Found]:
    """One line a node, in the order they were named, and whether all are equal."""
    if settings.where.executor == "ray":
        names = [str(node["name"]) for node in look(settings.where.address).nodes if node["resources"].get("CPU")]
    else:
        names = list(settings.where.node_slots or {settings.where.executor: 1})
    told: dict[str, Found | dict[str, object]] = {}
    asking = [
        threading.Thread(target=lambda name=name: told.update({name: ask(name, places, settings)})) for name in names
    ]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    here, found, prints = of_this_machine(), [], {}
    for name in names:
        hello = told[name]
        if isinstance(hello, Found):
            found.append(hello)
            continue
        prints[name] = str(hello.get("fingerprint"))
        gpus = hello.get("gpus")
        count = f", {len(gpus)} GPUs" if isinstance(gpus, list) and gpus else ""
        text = f"{hello.get('host')}: {hello.get('hardware')}, {hello.get('cores')} cores{count}"
        if hello.get("code") != code_md5():
            found.append(Found(name, "bad", f"{text}; it runs another fts", "install the same version there"))
        elif prints[name] != here.md5:
            found.append(
                Found(name, "warn", f"{text}; this machine: {here.words}", "its last bits may differ from here")
            )
        else:
            found.append(Found(name, "ok", f"{text}; equal to this machine"))
    if len(set(prints.values())) > 1:
        text = "a trial that moves between unequal nodes gets the badge `other hardware`"
        found.append(Found("nodes", "warn", f"{len(set(prints.values()))} kinds of node; {text}"))
    return found


def ask(name: str, places: Places, settings: WorkerSettings) -> Found | dict[str, object]:
    launch = settings.where.launch_of()
    if settings.where.executor == "ray":  # without asking for resources: all may be taken
        argv = [*launch.argv(Want(threads=0), name, None), "--node", name]
    else:
        argv = launch.argv(Want(threads=settings.threads), name, settings.memory_limit)
    safe = "".join(one if one.isalnum() or one in "._-" else "_" for one in name)
    try:
        channel = Channel(argv, places.logs / f"agent_doctor_{safe}.log", 60.0, 5.0, 5.0)
    except OSError as error:
        return Found(name, "bad", f"{argv[0]} cannot be started: {error.strerror}", "look at --launch")
    until = time.monotonic() + settings.launch_s
    while channel.hello is None and channel.ended is None and time.monotonic() < until:
        channel.wait_for_hello(0.2)
    hello, said = channel.hello, channel.said()
    ended = channel.ended if channel.ended not in (None, "its connection ended") else None
    channel.close(gently=hello is not None)
    if hello is not None:
        return dict(hello)
    return Found(name, "bad", f"no agent comes up: {ended or said}", f"try it by hand: {' '.join(argv)[:300]}")
