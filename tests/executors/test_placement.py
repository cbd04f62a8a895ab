"""Which node a trial gets, and what becomes of a node that fails."""

from __future__ import annotations

import itertools
import shlex
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.executors import command
from fts.jobs.executors.base import ExitKind, Want
from fts.jobs.executors.channel import Channel
from fts.jobs.executors.choose import executor_of
from fts.jobs.executors.node_rows import NodeRows
from fts.jobs.executors.place import REFUSED_S
from fts.jobs.executors.ray_cluster import RayLaunch
from fts.jobs.sensors import detect
from fts.jobs.settings import Places, Where, WorkerSettings
from fts.jobs.supervisor.attempt import AttemptEnd, Ended
from fts.jobs.supervisor.memory_pool import RoomWant
from fts.jobs.supervisor.upgrade_check import OWN_CODE
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.errors import DatabaseBusy, NoDatabase
from fts.state.values import Node, NodeState
from tests.executors.crew import NODE
from tests.executors.programs import ended, facts_until, nodes_of, program
from tests.fts_process import wait_until


def test_a_node_of_another_fts_is_quarantined_before_any_trial_and_stays_so_until_released(tmp_path: Path) -> None:
    (tmp_path / "other-a").touch()
    executor = nodes_of(tmp_path, "a:1,b:1")
    try:
        assert executor.place(0, Want(), lambda: False, lambda _: None)
        assert executor.slots[0].node == "b"  # type: ignore[attr-defined]
        known = {node.id: node for node in executor.nodes()}
        assert known["a"].state is NodeState.QUARANTINED and "another fts" in str(known["a"].reason)
        assert known["b"].state is NodeState.UP and known["b"].hardware
        (tmp_path / "other-a").unlink()
        db = executor.db  # type: ignore[attr-defined]
        transitions.ask_node(db, "a", "release")
        transitions.ask_node(db, "b", "drain")
        assert executor.place(0, Want(), lambda: False, lambda _: None)
        assert executor.slots[0].node == "a"  # type: ignore[attr-defined]
    finally:
        executor.close()


@pytest.mark.parametrize("while_it", ["checks the agent", "asks for an order", "says what it waits for"])
def test_an_agent_is_closed_and_its_place_free_when_the_database_fails_during_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, while_it: str
) -> None:
    executor = nodes_of(tmp_path, "a:1", lease_s=60.0)
    (place,) = executor.places  # type: ignore[attr-defined]
    made: list[Channel] = []
    real = Channel.__init__

    def begins(self: Channel, *given: Any) -> None:
        real(self, *given)
        made.append(self)

    def fails(*_: object) -> bool:
        if made:
            raise NoDatabase("the database is gone")
        return False

    monkeypatch.setattr(Channel, "__init__", begins)
    try:
        with monkeypatch.context() as trouble, pytest.raises(NoDatabase):
            if while_it == "checks the agent":
                trouble.setattr(command.queries, "node", fails)
                executor.place(0, Want(), lambda: False, lambda _: None)
            (tmp_path / "slow-a").touch()
            asks = fails if while_it == "asks for an order" else lambda: False
            executor.place(0, Want(), asks, fails)  # type: ignore[arg-type]
        (tmp_path / "slow-a").unlink(missing_ok=True)
        assert [one.has_ended(5.0) for one in made] == [True], "an agent keeps its node"
        assert place.used == set() and executor.slots[0].channel is None  # type: ignore[attr-defined]
        assert executor.place(0, Want(), lambda: False, lambda _: None)
    finally:
        executor.close()


def test_a_node_that_starts_nothing_is_quarantined_after_two_tries_and_nobody_waits_in_silence(tmp_path: Path) -> None:
    (tmp_path / "fail-a").touch()
    executor = nodes_of(tmp_path, "a:1")
    said: list[str] = []
    try:
        leaves = lambda: any("quarantined" in one for one in said)  # noqa: E731
        assert not executor.place(0, Want(), leaves, said.append)
        (node,) = executor.nodes()
        assert node.state is NodeState.QUARANTINED and "no route to host" in str(node.reason)
        assert "a is quarantined" in said[-1]
    finally:
        executor.close()


def test_what_the_engine_says_while_it_has_no_node_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "slow-a").touch()
    executor = nodes_of(tmp_path, "a:1")
    said: list[str] = []
    try:
        assert not executor.place(0, Want(), lambda: bool(said), said.append)
        assert "queued and waiting for resources" in said[0]
    finally:
        executor.close()


def test_a_command_that_fails_is_told_once_and_is_no_node_once_it_works(tmp_path: Path) -> None:
    """A pause of a minute is one event, not sixty; its reason is in it."""
    works = tmp_path / "works"
    script = f'[ -e {works} ] || {{ echo no route >&2; exit 1; }}; exec "$@"'
    settings = WorkerSettings(
        where=Where("command", f"sh -c {shlex.quote(script.replace('{', '{{').replace('}', '}}'))} sh")
    )
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    executor = executor_of(
        places, settings, open_database(places.db), detect.from_env(tmp_path, {"FTS_SENSORS": "none"})
    )
    said: list[str] = []
    try:
        assert not executor.place(0, Want(), lambda: any(one.failures > 2 for one in executor.nodes()), said.append)
        assert len(said) == 1 and "no route" in said[0]
        works.touch()
        assert executor.place(0, Want(), lambda: False, said.append)
        (node,) = executor.nodes()
        assert node.id == executor.slots[0].node and node.state is NodeState.UP  # type: ignore[attr-defined]
        works.unlink()
    finally:
        executor.close()
    assert executor.nodes() == ()


def test_nodes_of_a_worker_that_died_go_with_it_but_not_what_a_person_has_to_release(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "outputs" / "fts.db")) as db:
        dead, other = (transitions.register_worker(db, host, 1, 0.0, 1) for host in "ab")
        up, lost = NodeState.UP, NodeState.LOST
        told = [
            Node("a", up, 0.0, worker_id=dead),
            Node("b", lost, 0.0, worker_id=dead),
            Node("c", up, 0.0, worker_id=other),
        ]
        transitions.record_nodes(db, [*told, Node("d", up, 0.0, worker_id=dead)])
        transitions.ask_node(db, "d", "quarantine")
        transitions.reconcile(db, "a", lambda pid, started: False)
        assert [node.id for node in queries.nodes(db)] == ["c", "d"]


def test_what_ends_all_agents_of_a_node_at_once_is_one_loss(tmp_path: Path) -> None:
    """A broken link would else quarantine every node with two slots; the second break does."""
    executor = nodes_of(tmp_path, "a:2", slots=2)
    try:
        for losses, state in ((1, NodeState.LOST), (2, NodeState.QUARANTINED)):
            for slot in range(2):
                assert executor.place(slot, Want(), lambda: False, lambda _: None)
            for each in executor.slots:
                each.channel.process.kill()  # type: ignore[attr-defined]
            for each in executor.slots:
                wait_until(lambda each=each: each.channel.lost())  # type: ignore[misc]
                executor.lost(each, ExitKind.NODE_LOST, "its connection ended")  # type: ignore[attr-defined]
            (node,) = executor.nodes()
            assert (node.losses, node.state) == (losses, state)
    finally:
        executor.close()


def test_a_link_that_breaks_again_and_again_quarantines_no_node_that_makes_progress(tmp_path: Path) -> None:
    """Each trial brings a checkpoint home before it breaks; then the machine is down, and comes back."""
    executor = nodes_of(tmp_path, "a:1")
    slot = executor.slots[0]
    try:
        for _ in range(3):
            assert executor.place(0, Want(), lambda: False, lambda _: None)
            child = slot.child(program("say(fact='checkpoint')\ntime.sleep(60)"), 1)
            facts_until(child, "checkpoint")
            slot.channel.process.kill()  # type: ignore[attr-defined]
            executor.lost(slot, ended(child).kind, "its connection ended")  # type: ignore[attr-defined]
            assert [(node.losses, node.state) for node in executor.nodes()] == [(1, NodeState.LOST)]
        (tmp_path / "fail-a").touch()
        assert not executor.place(0, Want(), lambda: executor.nodes()[0].failures > 2, lambda _: None)
        assert executor.nodes()[0].state is NodeState.LOST
        events = queries.events(executor.db)  # type: ignore[attr-defined]
        assert ["no route" in one.message for one in events].count(True) == 1, "not each minute"
        (tmp_path / "fail-a").unlink()
        assert executor.place(0, Want(), lambda: False, lambda _: None)
    finally:
        executor.close()


def test_heartbeats_wait_for_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is busy, or that cannot be read, would cost every trial its node."""
    began, goes_on, beats = threading.Event(), threading.Event(), [0]

    def refresh(*_: object, **__: object) -> bool:
        if not began.is_set():
            began.set()
            raise DatabaseBusy("busy")
        return goes_on.wait()

    monkeypatch.setattr(NodeRows, "refresh", refresh)
    executor = nodes_of(tmp_path, "a:1", lease_s=2.0)
    try:
        assert executor.place(0, Want(), lambda: False, lambda _: None)
        channel = executor.slots[0].channel  # type: ignore[attr-defined]
        beat = channel.beat
        monkeypatch.setattr(channel, "beat", lambda: (beats.append(1), beat()))
        wait_until(lambda: len(beats) > 12)  # four seconds
        assert channel.lost() is None and began.is_set()
    finally:
        goes_on.set()
        executor.close()


def test_a_row_says_no_trial_after_its_agent_has_left(tmp_path: Path) -> None:
    executor = nodes_of(tmp_path, "a:1")
    rows: NodeRows = executor.rows  # type: ignore[attr-defined]
    try:
        assert executor.place(0, Want(), lambda: False, lambda _: None)
        rows.set_running(0, "x t1")
        rows.refresh((), due=True)
        assert [node.trials for node in executor.nodes()] == [("x t1",)]
        executor.slots[0].release()
        rows.refresh((), due=True)
        assert [(node.state, node.trials) for node in executor.nodes()] == [(NodeState.UP, ())]
        executor.places[0].fixed = False  # type: ignore[attr-defined]  # the engine chose the node
        rows.refresh((), due=False)
        assert executor.nodes() == ()
    finally:
        executor.close()


def test_a_worker_whose_own_fts_was_replaced_quarantines_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install` in the environment that all share: new agents run the new fts, and the worker is the old one."""
    monkeypatch.setattr(OWN_CODE, "replaced", lambda now: "the files were replaced")
    (tmp_path / "other-a").touch()
    executor, said = nodes_of(tmp_path, "a:1"), list[str]()
    try:
        assert not executor.place(0, Want(), lambda: bool(said), said.append)
        assert "the files were replaced" in said[0] and executor.nodes() == ()
    finally:
        executor.close()


def test_the_agent_of_an_idle_slot_ends_where_its_node_is_wanted_back(tmp_path: Path) -> None:
    """Else an engine would keep the node for it, and a trial that waits would never get one."""
    executor: Any = nodes_of(tmp_path, "a:1")
    (place,), slot = executor.places, executor.slots[0]
    try:
        assert executor.place(0, Want(), lambda: False, lambda _: None)
        channel = slot.channel
        executor._close_idle_agent(place)
        assert slot.channel is channel, "it runs a trial"
        executor.mark_idle(0)
        executor._close_idle_agent(place, lambda _: False)
        assert slot.channel is channel and not channel.has_ended(), "another node is wanted"
        executor._close_idle_agent(place)
        assert slot.channel is None and not place.used
        assert channel.ended is not None, "its lease lasts longer"
        wait_until(channel.has_ended)
    finally:
        executor.close()


def engine_of(tmp_path: Path) -> Any:
    """The nodes of an engine that chooses them itself: all are this machine."""
    settings = WorkerSettings(where=Where("command", "sh -c 'exec \"$@\"' sh"))
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    sensors = detect.from_env(tmp_path, {"FTS_SENSORS": "none"})
    return executor_of(places, settings, open_database(places.db), sensors)


def test_an_agent_on_a_drained_node_is_told_and_not_started_at_once_again(tmp_path: Path) -> None:
    executor, said, looks = engine_of(tmp_path), list[str](), itertools.count()
    try:
        assert executor.place(0, Want(), lambda: False, said.append)
        node = executor.slots[0].node
        executor.slots[0].leave_node(gently=True)
        executor._release_place(0)
        transitions.ask_node(executor.db, node, "drain")
        assert not executor.place(0, Want(), lambda: bool(said) or next(looks) > 100, said.append)
        assert f"the agent started on {node}, which is drain" in said[0]
        assert executor.places[0].pause_until > time.monotonic()
    finally:
        executor.close()


def test_what_three_nodes_of_an_engine_miss_is_the_studys(tmp_path: Path) -> None:
    executor = engine_of(tmp_path)
    try:
        slot = executor.slots[0]
        assert [executor.may_do_better(slot, "No module named 'x'") for _ in range(3)] == [True, True, False]
    finally:
        executor.close()


def test_like_goes_to_like_and_a_node_that_lost_the_trial_comes_last(tmp_path: Path) -> None:
    executor = nodes_of(tmp_path, "a:1,b:1,c:1")
    choose = executor._choose  # type: ignore[attr-defined]
    places = {place.name: place for place in executor.places}  # type: ignore[attr-defined]
    try:
        executor._busy |= {0, 1, 2}  # type: ignore[attr-defined]
        places["c"].fingerprint = "f"
        assert choose(0, Want(like="f"), False)[0].name == "c"
        assert choose(1, Want(like="f", avoid=frozenset({"a"})), False)[0].name == "b"
        place, why = choose(2, Want(avoid=frozenset({"a"})), False)
        assert place is None and "all slots are in use" in why
        assert choose(2, Want(avoid=frozenset({"a"})), True)[0].name == "a"
    finally:
        executor.close()


def test_gpus_are_left_to_trials_that_want_them_and_a_free_node_to_the_one_that_has_waited_longer(
    tmp_path: Path,
) -> None:
    executor = nodes_of(tmp_path, "a:1,b:1")
    choose = executor._choose  # type: ignore[attr-defined]
    try:
        for place, gpus in zip(executor.places, (1, 0), strict=True):  # type: ignore[attr-defined]
            place.gpus = gpus
        executor._busy |= {0, 1, 2, 3}  # type: ignore[attr-defined]
        executor._waiting[0] = Want(gpus=1)  # type: ignore[attr-defined]
        place, why = choose(1, Want(gpus=1), False)
        assert place is None and why == "for a node with 1 GPU: another trial has waited longer"
        assert choose(2, Want(), False)[0].name == "b", "a has a GPU"
        assert choose(0, Want(gpus=1), False)[0].name == "a" and not executor._waiting  # type: ignore[attr-defined]
    finally:
        executor.close()


def test_a_node_without_the_gpus_that_a_trial_wants_is_passed_over(tmp_path: Path) -> None:
    """Where no node has enough, the trial comes to the one with the most, and is held with what that one has.

    GPUs come first, then memory, then cores, so that a trial is not sent to and fro between nodes.
    """
    for name, gpus in (("a", "none"), ("b", "0,1"), ("c", "0")):
        (tmp_path / f"gpus-{name}").write_text(gpus)
    executor = nodes_of(tmp_path, "a:1,c:1,b:1")
    try:
        for wanted, node in ((1, "c"), (2, "b"), (0, "b"), (3, "b")):
            assert executor.place(0, Want(gpus=wanted), lambda: False, lambda _: None)
            assert executor.slots[0].node == node  # type: ignore[attr-defined]
        assert executor.slots[0].machine == "node b"
        place, why = executor._choose(1, Want(gpus=2), False)  # type: ignore[attr-defined]
        assert place is None and "for a node with 2 GPUs: all slots are in use" in why
        needs = Want(gpus=2, needed=1 << 40)
        assert not executor.slots[0].refused(needs), "the others have too few GPUs"  # type: ignore[attr-defined]
        assert executor.slots[0].channel is None, "the next agent looks for GPUs again"  # type: ignore[attr-defined]
        (tmp_path / "gpus-c").write_text("0,1,2")
        (tmp_path / "gpus-b").write_text("0")
        assert executor.place(0, needs, lambda: False, lambda _: None)
        assert executor.slots[0].node == "c"  # type: ignore[attr-defined]
        assert len(executor.slots[0].room.gpus) == 3, "not those of an earlier agent"  # type: ignore[attr-defined]
        assert not executor.slots[0].refused(replace(needs, needed=0))  # type: ignore[attr-defined]
        (tmp_path / "gpus-c").write_text("0")
        (tmp_path / "gpus-b").write_text("0,1")
        assert executor.place(0, needs, lambda: False, lambda _: None)
        assert executor.slots[0].node == "b" and len(executor.slots[0].room.gpus) == 2  # type: ignore[attr-defined]
        for place, cores in zip(executor.places, (8, None, 2), strict=True):  # type: ignore[attr-defined]
            place.cores = cores
        for want, names in (
            (Want(threads=2), "acb"),
            (Want(threads=4), "ac"),
            (Want(threads=16), "c"),
            (Want(threads=4, gpus=2), "b"),
            (Want(threads=4, gpus=1), "c"),
        ):
            able = executor._able(want)  # type: ignore[attr-defined]
            assert "".join(one.name for one in able) == names, want
        transitions.ask_node(executor.db, "c", "drain")  # type: ignore[attr-defined]
        able = executor._able(Want(threads=16))  # type: ignore[attr-defined]
        assert [one.name for one in able] == ["a", "c", "b"], "a trial does not wait for a node that takes none"
    finally:
        executor.close()


def test_a_node_that_was_too_small_for_a_trial_is_passed_over_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all were too small, one is tried again, so that admission reports what it has."""
    gb = 1 << 30
    executor = nodes_of(tmp_path, "a:1,b:1")

    def node_for(want: Want) -> str:
        assert executor.place(0, want, lambda: False, lambda _: None)
        return str(executor.slots[0].node)  # type: ignore[attr-defined]

    def refused(want: Want) -> bool:
        return bool(executor.slots[0].refused(want))  # type: ignore[attr-defined]

    def age(seconds: float) -> None:
        for place in executor.places:  # type: ignore[attr-defined]
            place.refused = {key: at - seconds for key, at in place.refused.items()}

    try:
        large, small = Want(needed=40 * gb), Want(needed=8 * gb)
        assert node_for(large) == "a" and not refused(Want()), "nothing is known of what it needs"
        assert refused(large) and node_for(large) == "b"
        assert node_for(Want(needed=100 * gb)) == "b" and not refused(Want(needed=100 * gb)), "now both have refused"
        assert node_for(Want(needed=100 * gb)) == "b", "an agent is not started anew where none is better"
        assert node_for(small) == node_for(Want(needed=40 * gb, gpus=1)) == "b", "the slot keeps its agent"
        executor.slots[0].leave_node()  # type: ignore[attr-defined]
        assert node_for(large) == "a", "the trial was held: once a person resumes it, each node is tried again"
        assert refused(large) and node_for(large) == "b"
        place, why = executor._choose(1, large, False)  # type: ignore[attr-defined]
        assert place is None and why == "for a node with 40.0 GB of memory: all slots are in use"
        executor.slots[0].leave_node()  # type: ignore[attr-defined]
        assert node_for(small) == "a", "a small trial fits there"
        age(0.6 * REFUSED_S)
        assert refused(Want(needed=100 * gb)), "b has not refused it again"
        assert node_for(large) == "b"
        executor.slots[0].leave_node()  # type: ignore[attr-defined]
        age(0.6 * REFUSED_S)
        assert node_for(large) == "a", "the refusal of a larger trial says nothing of this one"
        executor.slots[0].leave_node()  # type: ignore[attr-defined]
        monkeypatch.setattr("fts.jobs.executors.place.REFUSED_S", 0.0)
        assert node_for(large) == "a"
    finally:
        executor.close()


def test_a_node_without_the_device_that_the_worker_names_gets_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every job would fail there, or a function would run on cpu under the name of another device."""
    launch = f"{sys.executable} {NODE} {tmp_path} {{name}} {{agent}}"
    settings = WorkerSettings(1, device="cuda:7", where=Where("ssh", launch, "a:1,b:1"), stop_grace_s=1.0)
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    (tmp_path / "cuda-b").write_text("8")
    sensors = detect.from_env(tmp_path, {"FTS_SENSORS": "none"})
    executor = executor_of(places, settings, open_database(places.db), sensors)
    try:
        assert executor.place(0, Want(), lambda: False, lambda _: None)
        assert executor.slots[0].node == "b"  # type: ignore[attr-defined]
        a, b = executor.places  # type: ignore[attr-defined]
        assert a.why.startswith("a: --device is 'cuda:7', but this machine has: cpu") and not b.why
        known = {node.id: node for node in executor.nodes()}
        assert (known["a"].state, known["a"].failures, known["b"].state) == (NodeState.LOST, 1, NodeState.UP)
        assert str(known["a"].reason).startswith(
            "no trial can run on a: --device is 'cuda:7', but this machine has: cpu"
        )
        a.pause_until = time.monotonic() + 60.0  # on a busy machine its pause is over by now
        place, why = executor._choose(1, Want(avoid=frozenset({"b"})), False)  # type: ignore[attr-defined]
        assert place is None and "a is tried again soon: a: --device is 'cuda:7'" in why
        executor.slots[0].leave_node()  # type: ignore[attr-defined]
        (tmp_path / "cuda-b").write_text("7")
        said: list[str] = []
        monkeypatch.setattr(command, "SAY_S", 0.1)  # before an agent says what it prints at its start
        until = time.monotonic() + 60.0

        def over() -> bool:
            nonlocal until
            if told():
                until = min(until, time.monotonic() + 2.0)  # long enough for the next launch to print something
            return time.monotonic() > until

        def told() -> list[str]:
            first = next((n for n, one in enumerate(said) if "b: --device is 'cuda:7'" in one), len(said))
            return said[first:]

        assert not executor.place(0, Want(), over, said.append)
        assert told() and not [one for one in told() if "Welcome" in one or "--device" not in one], said
    finally:
        executor.close()
    auto = RayLaunch("", address="h:1").argv(Want(), "fts-0", None)
    assert RayLaunch("", address="h:1", device="cuda").argv(Want(), "fts-0", None) == [*auto, "--device", "cuda"]


def test_a_node_with_a_full_disk_is_passed_over_until_there_is_room_and_nobody_else_pauses(tmp_path: Path) -> None:
    (tmp_path / "sensors-a").write_text('{"disk_free": 1000}')
    executor = nodes_of(tmp_path, "a:1,b:1")
    slot = executor.slots[0]
    try:
        assert executor.place(0, Want(), lambda: False, lambda _: None) and slot.node == "b"  # type: ignore[attr-defined]
        place, why = executor._choose(1, Want(), False)  # type: ignore[attr-defined]
        assert place is None or place.name == "a", why
        (a,) = (one for one in executor.places if one.name == "a")  # type: ignore[attr-defined]
        assert "a: 1000 B of disk free, 1.0 GB reserved" in a.why
        full = StopRequest(StopReason.DISK, "b: 1.0 KB of disk free")
        end = slot.reclassified(AttemptEnd(Ended.STOPPED, {}, full))  # while a trial runs there
        assert (end.how, end.stop_request, end.facts["exit_kind"]) == (Ended.LOST, None, ExitKind.NODE_LOST)
        no_room = {"cause": "disk", "message": "no room"}
        assert slot.reclassified(AttemptEnd(Ended.FAILED, no_room)).facts["message"] == "b: no room"
        shared = AttemptEnd(Ended.FAILED, no_room | {"shared": True})  # the folder of all checkpoints
        assert slot.reclassified(shared) is shared
    finally:
        executor.close()


def test_what_one_node_misses_is_its_fault_and_what_all_miss_is_the_studys(tmp_path: Path) -> None:
    executor = nodes_of(tmp_path, "a:1,b:1,c:1")
    missing = AttemptEnd(Ended.FAILED, {"lasting": True, "message": "No module named 'x'", "cause": "machine error"})
    try:
        hows, slot = [], executor.slots[0]
        for node in "abc":
            slot.node = node  # type: ignore[attr-defined]
            hows.append(slot.reclassified(missing).how)
        assert hows == [Ended.LOST, Ended.LOST, Ended.FAILED]
        assert slot.reclassified(missing).facts["message"] == "c: No module named 'x'"
        executor.served(slot, True)  # type: ignore[attr-defined]  # somewhere it is there
        assert slot.reclassified(missing).how is Ended.LOST
    finally:
        executor.close()


def test_trials_with_gpus_get_a_node_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    (tmp_path / "gpus-a").write_text("0,1")
    executor = nodes_of(tmp_path, "a:1", slots=3)
    leaves = dict.fromkeys((1, 2), False)
    wants = {1: Want(gpus=2), 2: Want(gpus=1)}
    found: list[tuple[int, bool]] = []

    def place(slot: int) -> None:
        found.append((slot, executor.place(slot, wants[slot], lambda: leaves[slot], lambda _: None)))

    try:
        assert executor.place(0, Want(gpus=1), lambda: False, lambda _: None)
        waiting = [threading.Thread(target=place, args=(slot,)) for slot in wants]
        for slot, thread in zip(wants, waiting, strict=True):
            thread.start()
            wait_until(lambda slot=slot: slot in executor._waiting, every_s=0.01)  # type: ignore[attr-defined]
        followed = [slot for slot in wants if executor.slots[slot].is_followed(wants[slot])]
        assert followed == [1], "the second would take the node if the first left its slot"
        executor.slots[0].release_room()
        waiting[0].join()
        assert found == [(1, True)]
        leaves[2] = True
        waiting[1].join()
        assert found == [(1, True), (2, False)]
    finally:
        leaves.update({1: True, 2: True})
        executor.close()


def test_a_trial_that_waits_for_a_node_lets_those_run_that_fit_another(tmp_path: Path) -> None:
    """Those with GPUs get no node that an earlier trial with GPUs waits for: it would starve."""
    gb = 1 << 30
    (tmp_path / "gpus-a").write_text("0")
    (tmp_path / "gpus-b").write_text("0,1")
    (tmp_path / "gpus-c").write_text("none")
    executor = nodes_of(tmp_path, "b:1,a:1,c:1", slots=3)
    first = executor.slots[1].first_startable
    try:
        assert executor.slots[0].is_selective and first([Want(gpus=2)]) == 0, "no agent has looked for GPUs yet"
        for wanted in (2, 1):  # learn what b and a have; slot 0 stays on b
            for slot in (0, 1)[: 3 - wanted]:
                assert executor.place(slot, Want(gpus=wanted), lambda: False, lambda _: None)
        assert [one.node for one in executor.slots] == ["b", "a", ""]  # type: ignore[attr-defined]
        executor.slots[1].release_room()
        assert executor.place(2, Want(), lambda: False, lambda _: None)
        assert executor.slots[2].node == "c", "a is left to trials with GPUs"  # type: ignore[attr-defined]
        executor.slots[2].release_room()
        for wanted, found in (
            ((2,), None),
            ((2, 0), 1),
            ((2, 1), 1),  # on a, which has too few for the first
            ((2, 2, 0), 2),
            ((1, 0), 0),
            ((2, 3), None),  # of GPUs that no node has enough of, b has the most
        ):
            assert first([Want(gpus=one) for one in wanted]) == found, wanted
        assert executor.place(1, Want(gpus=1), lambda: False, lambda _: None)
        assert first([Want(gpus=1)]) == 0, "it has that node itself"
        others = executor.slots[2].first_startable
        assert (others([Want(gpus=1), Want()]), others([Want(gpus=1), Want(gpus=1)])) == (1, None)
        assert executor.slots[1].room.take(1, 0, lambda: None, lambda: False, RoomWant(gpus=1))
        transitions.ask_node(executor.db, "c", "drain")  # type: ignore[attr-defined]
        assert others([Want(gpus=1), Want()]) is None
        transitions.ask_node(executor.db, "c", "release")  # type: ignore[attr-defined]
        executor.places[2].refuse(Want(needed=9 * gb))  # type: ignore[attr-defined]  # c
        assert others([Want(needed=9 * gb), Want(needed=gb)]) == 1
        asked: list[int] = []

        def yields() -> bool:
            asked.append(1)
            return True

        assert not executor.place(2, Want(gpus=2), lambda: False, lambda _: None, yields) and asked == [1]
        assert executor.place(2, Want(), lambda: False, lambda _: None, yields) and asked == [1]
    finally:
        executor.close()
    engine = executor_of(
        Places(tmp_path / "outputs" / "fts.db", tmp_path / "data"),
        WorkerSettings(where=Where("command", "true")),
        open_database(tmp_path / "outputs" / "fts.db"),
        detect.from_env(tmp_path, {"FTS_SENSORS": "none"}),
    )
    assert not engine.slots[0].is_selective, "it chooses the node itself"
    engine.close()
