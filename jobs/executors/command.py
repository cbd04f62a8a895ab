"""Runs trials on nodes that a launch command reaches: srun, ssh, kubectl exec, or the agent itself.

Each slot has one agent. A node is quarantined if it loses two trials in a row without a checkpoint of theirs, cannot
start them, or runs other code than this machine; its trials continue on other nodes, from the files that have arrived
here.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.executors.base import ExitKind, Want
from fts.jobs.executors.channel import Channel
from fts.jobs.executors.code import send_code
from fts.jobs.executors.data import DataSums
from fts.jobs.executors.fingerprint import other_code
from fts.jobs.executors.frames import NOTHING
from fts.jobs.executors.node_rows import NodeRows
from fts.jobs.executors.place import Place, able, large_enough, needs
from fts.jobs.executors.remote import RemoteSlot, gpus_of
from fts.jobs.executors.remote_watchdog import disk_short
from fts.jobs.executors.slurm_look import drained, with_reason
from fts.jobs.supervisor.memory_pool import MemoryPool
from fts.jobs.supervisor.upgrade_check import OWN_CODE
from fts.jobs.threads import begin, repeat
from fts.state import queries, transitions
from fts.state.errors import StateError
from fts.state.values import Node, NodeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fts.jobs.api.study import Program
    from fts.jobs.executors.launch import Launch
    from fts.jobs.settings import Places, WorkerSettings
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

ALLOWED = 2  # lost trials, or failed launches, in a row; then a node is quarantined
LOOK_S = 0.2  # between two checks for an order, while waiting for a node
TELL_S = 5.0  # between two writes of the node rows when no state changes
SAY_S = 2.0  # before an event says what a trial waits for: most launches take less
QUIET_S = 10.0  # before the silence of a launch command is reported
SAY_AGAIN_S = 30.0  # between two reports of one launch command: some print a counter while they wait
ENGINE_S = 10.0  # between two queries which nodes the engine wants back


class CommandExecutor:
    """`nodes`: number of slots by node name; None: the engine behind the command chooses nodes."""

    def __init__(
        self,
        places: Places,
        settings: WorkerSettings,
        db: Database,
        launch: Launch,
        nodes: dict[str, int] | None = None,
        name: str = "command",
        sync: Sequence[str] = (),
    ) -> None:
        self.name, self.db, self.launch, self.sync, self.settings = name, db, launch, tuple(sync), settings
        self.logs, self.outputs = places.logs, places.outputs
        self.checkpoints = None if settings.where.checkpoints is None else Path(settings.where.checkpoints)
        self._sums = DataSums()
        self.who = "worker"
        self.worker_id: int | None = None
        launch.check(settings.memory_limit)
        if settings.device not in ("auto", "cpu"):
            self.launch = replace(launch, device=settings.device)
        if nodes:
            self.places = [Place(one, slots, True) for one, slots in nodes.items()]
        else:
            self.places = [Place(launch.called or name, settings.slots, False)]
        self.slots = tuple(RemoteSlot(index, places, settings, self) for index in range(settings.slots))
        self._lock = threading.Condition()
        self._at: dict[int, Place] = {}  # slot -> where its agent was launched
        self._busy: set[int] = set()  # slots that run a trial or look for a node for one
        self._waiting: dict[int, Want] = {}  # trials with GPUs that wait for a node, by slot; first come, first served
        self.rows = NodeRows(self)
        self._missing: dict[str, list[str]] = {}  # error about something missing -> the nodes with that error
        self._ran: set[str] = set()  # programs that have finished a trial
        self._drained: frozenset[str] = frozenset()  # nodes drained by the engine: running trials go on, no new ones
        self._blamed: dict[tuple[str, str], float] = {}  # (node, losses or failures) -> when one was last counted
        self._over = threading.Event()
        self._every_s = min(1.0, settings.node_lease_s / 6)  # between two passes of a keeper thread
        self._keepers = [threading.Thread(target=work, daemon=True) for work in (self._keep_beating, self._keep_rows)]
        for each in self._keepers:
            begin(each)

    # -- interface

    def nodes(self) -> tuple[Node, ...]:
        return queries.nodes(self.db)

    def held(self, node: str) -> int:
        """Returns the bytes that the trials on that node use, as last reported."""
        return sum(one.rss() for one in self.slots if one.node == node)

    def close(self) -> None:
        self._over.set()
        closing = [threading.Thread(target=slot.release) for slot in self.slots if slot.channel is not None]
        for each in closing:
            try:
                begin(each)
            except OSError:
                each.run()
        for each in closing:
            if each.is_alive():
                each.join()
        for each in self._keepers:
            each.join()
        with contextlib.suppress(StateError):
            transitions.forget_nodes_of_worker(self.db, self.worker_id)

    # -- finding a node

    @property
    def is_selective(self) -> bool:
        """Do nodes differ in what they can run? An engine that chooses them itself accepts every trial."""
        return all(one.fixed for one in self.places)

    def first_startable(self, slot: int, wants: Sequence[Want]) -> int | None:
        """Returns the first of these trials, given by rank, that can begin in this slot now; None: none can.

        A trial with GPUs gets none of the nodes that an earlier one with GPUs waits for, which would starve.
        """
        states = {node.id: node for node in queries.nodes(self.db)}
        seen = set[Want]()
        with self._lock:
            awaited = self._awaited(self._earlier(slot))
            for index, want in enumerate(wants):
                if want in seen:  # an equal one cannot begin either
                    continue
                seen.add(want)
                able = self._able(want)
                if any(self._has_room(one, slot, want, states) for one in able if not want.gpus or one not in awaited):
                    return index
                awaited += [one for one in able if want.gpus and one not in awaited]
        return None

    def _has_room(self, place: Place, slot: int, want: Want, states: Mapping[str, Node]) -> bool:
        """Has it a free slot and free GPUs for such a trial, other than those of `slot` itself?"""
        known = states.get(place.name)
        if (known is not None and not known.takes) or place.pause_until > time.monotonic():
            return False
        if len(place.used - {slot}) >= place.slots and not place.used - self._busy - {slot}:
            return False
        return place.pool is None or place.pool.has_gpus(slot, want.gpus, want.needed or None)

    def place(
        self,
        slot: int,
        want: Want,
        leaves: Callable[[], bool],
        waits: Callable[[str], None],
        yields: Callable[[], bool] = bool,
    ) -> bool:
        one = self.slots[slot]
        with self._lock:
            self._busy.add(slot)  # from here on no other slot may take its node
        if self._can_keep(one, want):
            return True
        one.leave_node()
        self._release_place(slot)
        began, reported = time.monotonic(), ""
        refusals = set[str]()  # why agents that came up were of no use, as reported
        avoided = False
        while True:
            place, why = self._choose(slot, want, avoided)
            if place is not None:
                try:
                    channel = self._launched(place, slot, want, leaves, waits)
                    if channel is None and leaves():
                        return False
                    if channel is not None and self._accepted(one, place, channel, want):
                        return True
                    if channel is not None and place.why and place.why not in refusals:
                        refusals.add(place.why)
                        waits(f"for {needs(self.places, want)}: {place.why}")
                finally:
                    if one.channel is None:
                        self._release_place(slot)
                continue
            if leaves() or (avoided and yields()):
                return False
            avoided = True  # no other node has room: allow the one that lost the trial
            if why != reported and time.monotonic() - began > SAY_S:
                reported = why
                waits(why)
            with self._lock:
                if want.gpus:
                    self._waiting.setdefault(slot, want)
                self._lock.wait(LOOK_S)

    def _can_keep(self, slot: RemoteSlot, want: Want) -> bool:
        """Can the slot keep its agent: is it alive, launched with the same arguments, and is its node open?"""
        channel, place = slot.channel, self._at.get(slot.index)
        if channel is None or place is None or channel.lost() is not None or channel.preempted is not None:
            return False
        if channel.argv != self._argv(place, slot.index, want) or place not in self._able(want):
            return False
        return self._takes(slot.node) and slot.node not in want.avoid | self._drained

    def _able(self, want: Want) -> list[Place]:
        return able(self.places, want, self._takes)

    def refused(self, slot: int, want: Want) -> bool:
        """Records that a trial needs more memory than its node has. Returns whether another named node may have it.

        If none may, the trial is held; once a person resumes it, each node is tried again.
        """
        with self._lock:
            place = self._at.get(slot)
            if place is not None and place.fixed and want.needed:
                place.refuse(want)
                if large_enough(self.places, want):
                    return True
            for one in self.places:
                one.forget(want)
        if want.gpus:  # an agent looks for GPUs only once: the next one finds those that are there by then
            self.slots[slot].leave_node(gently=True)
            self._release_place(slot)
            with self._lock:
                for one in self.places:
                    if not one.used & self._busy:
                        one.gpus = None
        return False

    def _earlier(self, slot: int) -> list[int]:
        """Returns the slots whose trials with GPUs have waited longer for a node."""
        return list(itertools.takewhile(lambda other: other != slot, self._waiting))

    def _awaited(self, slots: Iterable[int]) -> list[Place]:
        """Returns the machines that the trials of these slots wait for. Call it with the lock held."""
        able = [one for slot in slots for one in self._able(self._waiting[slot])]
        return [one for one in self.places if one.fixed and one in able]

    def is_followed(self, slot: int, want: Want) -> bool:
        """Does a later trial wait for a machine that this one waits for?"""
        with self._lock:
            waiting = list(self._waiting)
            awaited = self._awaited(waiting[waiting.index(slot) + 1 :] if slot in waiting else waiting)
            return any(one in awaited for one in self._able(want))

    def _argv(self, place: Place, slot: int, want: Want) -> list[str]:
        """Returns the launch command; where the engine chooses the node, each slot has its own name."""
        name = place.name if place.fixed else f"fts-{slot}"
        return self.launch.argv(want, name, self.settings.memory_limit)

    def _engine_arguments(self, want: Want) -> list[str]:
        """Returns more arguments, for an engine that accepts preferences about nodes."""
        return []

    def _takes(self, node: str) -> bool:
        known = queries.node(self.db, node)
        return known is None or known.takes

    def _choose(self, slot: int, want: Want, avoided: bool) -> tuple[Place | None, str]:
        """Returns the best place with a free slot and ""; or None and what the trial waits for."""
        now = time.monotonic()
        states = {node.id: node for node in queries.nodes(self.db)}
        with self._lock:
            open_ones, full, shut = [], "", []
            awaited = self._awaited(self._earlier(slot))
            for place in self._able(want):  # if none has enough, launch anyway: admission then reports it
                known = states.get(place.name)
                if known is not None and not known.takes:
                    shut.append(f"{place.name} is {known.state}" + (f" ({known.reason})" if known.reason else ""))
                elif place.pause_until > now:
                    shut.append(f"{place.name} is tried again soon: {place.why}")
                elif want.gpus and place in awaited:
                    full = "another trial has waited longer"
                elif (len(place.used) < place.slots or place.used - self._busy) and (
                    avoided or place.name not in want.avoid
                ):
                    open_ones.append(place)
                else:
                    full = full or "all slots are in use"
            if not open_ones:
                if full and shut:
                    full = "all slots of the other nodes are in use"
                return None, f"for {needs(self.places, want)}: " + "; ".join([*filter(None, [full]), *shut])[:500]

            def order(one: Place) -> tuple[bool, bool, bool, float]:
                other = want.like is not None and want.like != one.fingerprint
                spares = not want.gpus and bool(one.gpus)  # leave the GPUs to trials that want them
                return other, one.name in want.avoid, spares, len(one.used) / one.slots

            best = min(open_ones, key=order)
            self._waiting.pop(slot, None)
            taken = self._take_idle_channel(best) if len(best.used) >= best.slots else None
            best.used.add(slot)
            self._at[slot] = best
        if taken is not None:
            taken.close(gently=True)
        return best, ""

    def _take_idle_channel(self, place: Place, among: Callable[[int], bool] = lambda _: True) -> Channel | None:
        """Takes the connection from an idle slot, which would keep its agent without need. Call with the lock held."""
        idle = [slot for slot in place.used - self._busy if among(slot)]
        if not idle:
            return None
        taken = min(idle)
        place.used.discard(taken)
        self._at.pop(taken, None)
        return self.slots[taken].take_channel()

    def _close_idle_agent(self, place: Place, among: Callable[[int], bool] = lambda _: True) -> None:
        """Closes the agent of an idle slot: the engine may have no other free node, or wants that node back."""
        with self._lock:
            taken = self._take_idle_channel(place, among)
        if taken is not None:
            taken.close(gently=True)

    def mark_idle(self, slot: int) -> None:
        """Marks the slot as idle: another slot that needs a node may take its node."""
        with self._lock:
            self._busy.discard(slot)
            self._waiting.pop(slot, None)
            self._lock.notify_all()

    def _release_place(self, slot: int) -> None:
        with self._lock:
            place = self._at.pop(slot, None)
            if place is not None:
                place.used.discard(slot)
            self._lock.notify_all()

    def _launched(
        self, place: Place, slot: int, want: Want, leaves: Callable[[], bool], waits: Callable[[str], None]
    ) -> Channel | None:
        """Launches an agent and waits for its hello; None: an order came first, or it failed and was recorded."""
        argv = self._argv(place, slot, want)
        beat_s = min(5.0, self.settings.node_lease_s / 4)
        try:
            channel = Channel(
                argv + self._engine_arguments(want),
                self.logs / f"agent_{slot}.log",
                self.settings.node_lease_s,
                beat_s,
                self.settings.stop_grace_s,
            )
            channel.argv = argv
        except OSError as error:
            self._failed_launch(place, f"{argv[0]} cannot be started: {error.strerror}", time.monotonic())
            return None
        try:
            ordered = not self._waits_for_hello(place, channel, leaves, waits)
        except BaseException:  # the database failed: no slot will ever close this agent
            channel.close(gently=True)
            raise
        if ordered:
            channel.close()
            return None
        if channel.hello is not None:
            return channel
        ended = f" (exit code {channel.process.returncode})" if channel.has_ended() else ""
        why = f"no agent comes up on {place.name}{ended}: {channel.last_printed()}"
        if channel.ended not in ("its connection ended", None):
            why = channel.ended if channel.refused_by else f"no agent comes up on {place.name}: {channel.ended}"
        channel.close()
        self._failed_launch(place, why, channel.began, channel.refused_by)
        return None

    def _waits_for_hello(
        self, place: Place, channel: Channel, leaves: Callable[[], bool], waits: Callable[[str], None]
    ) -> bool:
        """Waits until the agent answers or its connection ends; False: an order came first."""
        reported, say_at = "", channel.began + SAY_S
        while channel.hello is None and channel.ended is None:
            channel.wait_for_hello(LOOK_S)
            if channel.hello is not None:
                break
            if leaves():
                return False
            if place.fixed and time.monotonic() - channel.began > self.settings.launch_s:
                channel.ended = f"no word within {self.settings.launch_s:g} s"
                break
            if not place.fixed and time.monotonic() - channel.began > SAY_S:
                self._close_idle_agent(place)
            line = channel.last_printed()
            if place.fixed and place.why:
                continue  # why the last agent there was of no use says more than what this one prints
            if line == NOTHING and time.monotonic() - channel.began < QUIET_S:
                continue  # most commands print the reason of the wait within seconds
            if time.monotonic() > say_at and (line := with_reason(line)) != reported:
                reported = line
                waits(f"for a node: {place.name} says: {line.removeprefix(f'{place.name}: ')}")
            if time.monotonic() > say_at:
                say_at = time.monotonic() + SAY_AGAIN_S
        return True

    def _failed_launch(self, place: Place, why: str, began: float, node: str | None = None) -> None:
        """Records a failed launch of a node; if the node is unknown, the command is tried again after a pause."""
        log.warning("%s", why)
        if node is None:  # otherwise the next launch excludes that node
            self._pause(place, why)
        named = self.rows.node(node or place.name, state=NodeState.LOST, reason=why)
        named_first = place.fixed and not place.fingerprint  # a node that has worked is only out of reach
        self._fail(named, "failures", began, quarantine=named_first or node is not None)

    def _pause(self, place: Place, why: str) -> None:
        with self._lock:
            place.pause(why)

    def _fail(self, node: Node, what: str, began: float, quarantine: bool = True) -> None:
        """Counts a loss or failure of an agent that was launched at `began` (monotonic); quarantines its node if due.

        What ends several agents of a node at once, such as a broken link, counts once.
        """
        with self._lock:
            now, last = time.monotonic(), self._blamed.get((node.id, what), float("-inf"))
            if began < last and now - last < 2 * self.settings.node_lease_s:
                return
            self._blamed[node.id, what] = now
        row = self.rows.lost(node, what, ALLOWED if quarantine else 1 << 30)
        if row.state is NodeState.QUARANTINED:
            log.warning("node %s is quarantined: %s", row.id, row.reason)

    def _accepted(self, slot: RemoteSlot, place: Place, channel: Channel, want: Want) -> bool:
        """Checks a new agent and gives it to the slot; closes it if the check cannot be made."""
        try:
            return self._accepts(slot, place, channel, want)
        except BaseException:  # the database failed: the engine must get its node back
            if slot.channel is channel:
                slot.leave_node(gently=True)
            else:
                channel.close(gently=True)
            raise

    def _accepts(self, slot: RemoteSlot, place: Place, channel: Channel, want: Want) -> bool:
        """Checks a new agent and gives it to the slot; False: it is closed. A node with other code is quarantined."""
        hello = channel.hello or {}
        node = place.name if place.fixed else str(hello.get("host") or place.name)[:100]
        node_row = self.rows.node(node, hello)
        if (other := other_code(hello)) is not None:
            if (replaced := OWN_CODE.replaced(now=True)) is not None:  # this worker is the old one, and leaves
                channel.close()
                self._pause(place, replaced)
                return False
            transitions.quarantine_node(self.db, node_row, f"{other}; install the same there", self.who)
            channel.close()
            return False
        known = queries.node(self.db, node)
        if known is not None and not known.takes:
            reason = f" ({known.reason})" if known.reason else ""
            self._pause(place, f"the agent started on {node}, which is {known.state}{reason}")
            channel.close(gently=True)
            return False
        if useless := disk_short(hello) or hello.get("lacks"):
            self._pause(place, f"{node}: {str(useless)[:300]}")
            lost = replace(node_row, state=NodeState.LOST, reason=f"no trial can run on {node}: {str(useless)[:300]}")
            self._fail(lost, "failures", channel.began, quarantine=False)
            channel.close(gently=True)
            return False
        place.fingerprint = str(hello.get("fingerprint"))
        if place.why and node != place.name:  # remove the command's own row of failures: it works again
            transitions.forget_nodes(self.db, [place.name])
        place.resume()
        cores = hello.get("cores") if isinstance(hello.get("cores"), int) else None
        room = MemoryPool(gpus_of(hello), cores)
        if place.fixed:
            place.gpus, place.cores = len(room.gpus), cores
            if place not in self._able(want):
                channel.close(gently=True)
                return False
            if place.pool is None:
                place.pool = room
            room = place.pool.has_now(room)
        slot.take_node(channel, node, room, place.slots if place.fixed else 1)
        self.rows.write(node_row)
        return True

    # -- ends of trials

    def lost(self, slot: RemoteSlot, kind: ExitKind, why: str) -> None:
        """Records that a node lost a trial, and leaves the node."""
        channel, node = slot.channel, slot.node
        if slot.brought_checkpoint:  # no loss of work, however often the link breaks
            self.served(slot, False)
        blameless = channel is None or channel.is_blameless
        slot.leave_node()
        self._release_place(slot.index)
        if channel is None or blameless or kind is ExitKind.PREEMPTED:
            return
        what = "losses" if kind is ExitKind.NODE_LOST else "failures"
        self._fail(self.rows.node(node, state=NodeState.LOST, reason=why), what, channel.began)

    def may_do_better(self, slot: RemoteSlot, missing: str) -> bool:
        """Records that something is `missing` on the slot's node; returns whether another node may have it."""
        with self._lock:
            nodes = self._missing.setdefault(missing, [])
            nodes.append(slot.node)
            if slot.runs in self._ran:
                return True
            if not all(place.fixed for place in self.places):
                return len(nodes) <= ALLOWED
            return any(place.name not in nodes and self._takes(place.name) for place in self.places)

    def served(self, slot: RemoteSlot, ran: bool) -> None:
        if ran:
            self._ran.add(slot.runs)
        with contextlib.suppress(StateError):
            transitions.node_served(self.db, slot.node)

    # -- code

    def send_code(self, channel: Channel, program: Program, looks: Callable[[], None]) -> None:
        """Sends the declared code and data of the program's folder. Raises like `code.send_code`."""
        sync, folder = (*self.sync, *program.sync), program.folder
        if (sync or program.data) and folder is not None:
            sets = self._sums.read(Path(folder), program.data, looks)
            send_code(channel, Path(folder), sync, self.outputs, sets, looks)

    # -- the keeper threads

    def _keep_beating(self) -> None:
        """Sends heartbeats to the agents until the executor closes; waits for neither the database nor an engine."""

        def beat() -> float:
            for slot in self.slots:
                if (channel := slot.channel) is not None:
                    channel.beat()
            return self._every_s

        repeat(beat, self._over, "heartbeats to the agents", self._every_s)

    def _keep_rows(self) -> None:
        """Writes the node rows until the executor closes."""
        written = asked = time.monotonic()

        def look() -> float:
            nonlocal written, asked
            now = time.monotonic()
            if now - asked > ENGINE_S:
                asked = now
                self._leave_drained()
            with contextlib.suppress(StateError):  # the next pass tries again
                if self.rows.refresh(self._drained, due=now - written >= TELL_S):
                    written = now
            return self._every_s

        repeat(look, self._over, "the states of the nodes", self._every_s)

    def _leave_drained(self) -> None:
        """Closes idle agents on nodes that Slurm drains: they would keep the node busy."""
        if not any(one.channel is not None and (one.channel.hello or {}).get("job") for one in self.slots):
            return
        self._drained = drained()
        for place in self.places if self._drained else ():
            self._close_idle_agent(place, lambda slot: self.slots[slot].node in self._drained)
