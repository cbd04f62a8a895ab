"""What every executor promises the runner: one set of tests, wherever the trial runs."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.api.study import Program
from fts.jobs.executors import command
from fts.jobs.executors.base import Executor, ExitKind, OrderReceived, Placed, Want
from fts.jobs.executors.channel import Channel
from fts.jobs.executors.choose import executor_of
from fts.jobs.executors.node_rows import NodeRows
from fts.jobs.executors.ray_cluster import RayLaunch
from fts.jobs.sensors import detect
from fts.jobs.settings import Places, Where, WorkerSettings
from fts.jobs.supervisor import attempt
from fts.jobs.supervisor.attempt import AttemptEnd, Ended
from fts.jobs.supervisor.child import NOT_RESIDENT
from fts.jobs.supervisor.slot import Slot
from fts.jobs.supervisor.upgrade_check import OWN_CODE
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.errors import DatabaseBusy, NoDatabase
from fts.state.values import Node, NodeState
from tests.cluster.ray_nodes import Ray, why_not
from tests.executors.crew import NODE
from tests.fts_process import wait_until

PRELUDE = """
import json, os, signal, sys, time
fd = int(sys.argv[sys.argv.index("--facts-fd") + 1])
def say(**fields): os.write(fd, json.dumps(fields).encode() + b"\\n")
"""
ECHO = "say(fact='ready')\nfor line in sys.stdin: say(fact='draw', **json.loads(line))\nsay(fact='step'); sys.exit(7)"
POLITE = (
    "def leave(*_):\n    say(fact='stopped'); sys.exit(75)\n"
    "signal.signal(signal.SIGTERM, leave)\nsay(fact='ready')\n"
    "for line in sys.stdin:\n    if json.loads(line) == {'do': 'stop'}: leave()"
)
DEAF = (
    "signal.signal(signal.SIGTERM, lambda *_: (say(fact='stopped'), sys.exit(75)))\n"
    "say(fact='ready')\nsay(fact='epoch', number=0, epoch=0, value=1.0)\ntime.sleep(100)"
)
BROKEN = "print('no module named torch'); sys.exit(1)"
WRITES = (
    "say(fact='ready')\n"
    "spec = json.loads(sys.stdin.readline())['spec']\n"
    "from pathlib import Path\n"
    "here = Path(spec['folder'])\n"
    "seen = sorted(str(p.relative_to(here)) for p in here.rglob('*') if p.is_file())\n"
    "(here / 'checkpoint').mkdir(exist_ok=True)\n"
    "(here / 'checkpoint' / 'new.bin').write_bytes(b'n' * 3_000_000)\n"
    "if (here / 'old.txt').exists(): (here / 'old.txt').unlink()\n"
    "open(spec['log_path'], 'a').write('printed\\n')\n"
    "say(fact='checkpoint', number=0, path=str(here / 'checkpoint'), seen=seen)\n"
    "sys.stdin.readline()"
)


def program(body: str) -> Program:
    return Program(("-S", "-c", PRELUDE + body))


@pytest.fixture(scope="session")
def ray() -> Iterator[Ray]:
    if (why := why_not()) is not None:
        pytest.skip(why)
    found = Ray(("n6",))
    yield found
    found.end()


@pytest.fixture(params=["local", "command", pytest.param("ray", marks=pytest.mark.slow)])
def executor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    where = Where(request.param, launch="env" if request.param == "command" else None)
    if request.param == "ray":
        ray = request.getfixturevalue("ray")
        where = Where("ray", address=ray.address)
        for name, value in ray.tells.items():
            monkeypatch.setenv(name, value)
    settings = WorkerSettings(where=where, node_lease_s=2.0, stop_grace_s=5.0, poll_s=0.05)
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    db = open_database(places.db)
    sensors = detect.from_env(tmp_path, {"FTS_SENSORS": "none"})
    found = executor_of(places, settings, db, sensors)
    yield found
    found.close()
    sensors.close()
    db.close()


def placed(executor: Executor, body: str) -> tuple[Slot, Placed]:
    slot = executor.slots[0]
    assert executor.place(0, Want(), lambda: False, lambda _: None)
    return slot, slot.child(program(body), 1)


def facts_until(child: Placed, kind: str, patience_s: float = 30.0) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    until = time.monotonic() + patience_s
    while time.monotonic() < until and not any(fact["fact"] == kind for fact in seen):
        seen += child.facts(0.2)
    assert any(fact["fact"] == kind for fact in seen), seen
    return seen


def ended(child: Placed, patience_s: float = 30.0) -> Any:
    until = time.monotonic() + patience_s
    while child.poll() is None and time.monotonic() < until:
        child.facts(0.1)
    return child.exit()


def is_there(executor: Executor) -> int | None:
    """Pid of the launch command: the agent itself, or what carries it."""
    channel = getattr(executor.slots[0], "channel", None)
    return None if channel is None else int(channel.process.pid)


def test_commands_go_down_facts_come_up_in_order_and_the_end_is_the_trials(executor: Executor) -> None:
    _, child = placed(executor, ECHO)
    facts_until(child, "ready")
    for n in range(50):
        child.send({"n": n})
    told: list[int] = []
    while len(told) < 50:
        told += [fact["n"] for fact in facts_until(child, "draw") if "n" in fact]
    assert told == list(range(50))
    child.close_stdin()
    end = ended(child)
    assert (end.code, end.kind) == (7, ExitKind.TRIAL)


def test_a_kill_ends_it_and_a_slot_can_run_another(executor: Executor) -> None:
    slot, child = placed(executor, ECHO)
    facts_until(child, "ready")
    child.kill()
    assert ended(child).code == -signal.SIGKILL
    slot.close()
    again = slot.child(program(ECHO), 1)
    facts_until(again, "ready")
    assert again is not child


def test_one_that_is_asked_to_stop_says_so_and_leaves_with_75_also_when_frozen(executor: Executor) -> None:
    _, child = placed(executor, POLITE)
    facts_until(child, "ready")
    child.freeze()
    child.ask_to_stop()
    facts_until(child, "stopped")
    assert ended(child).code == 75


@pytest.mark.parametrize("how", ["ask_to_stop", "kill", "close_stdin"])
def test_an_order_that_comes_before_the_process_is_there_is_not_lost(executor: Executor, how: str) -> None:
    _, child = placed(executor, POLITE)
    began = time.monotonic()
    getattr(child, how)()
    assert ended(child).kind is ExitKind.TRIAL, "no fault of a node"
    assert time.monotonic() - began < 25, "not by the grace"


def test_one_that_does_not_read_its_orders_gets_the_signal_early(executor: Executor, tmp_path: Path) -> None:
    """As a library does that keeps the interpreter: the agent of a node sees it, not the worker."""
    home, logged = tmp_path / "outputs" / "trials" / "00001_a" / "trial_0000", tmp_path / "outputs" / "logs" / "a" / "t"
    spec = {"folder": str(home), "log_path": str(logged), "cell": {}}
    _, child = placed(executor, DEAF)
    began: list[float] = []

    def wish() -> StopRequest | None:
        return StopRequest(StopReason.STOP) if began and time.monotonic() > began[0] + 0.3 else None

    end = attempt.Attempt(child, lambda _: began.append(time.monotonic()), wish, 0.02, 80.0).run(spec, 0)
    assert end.how is Ended.STOPPED
    assert time.monotonic() - began[0] < 40


def test_memory_can_be_planned_with_on_its_node(executor: Executor) -> None:
    slot, _ = placed(executor, ECHO)
    found = slot.sensors.read()
    assert found.total is not None and found.available is not None and found.total >= found.available > 0


def test_one_that_dies_before_it_is_ready_is_the_fault_of_a_node(executor: Executor) -> None:
    _, child = placed(executor, BROKEN)
    end = ended(child)
    assert end.code == 1
    if executor.name != "local":
        assert end.kind is ExitKind.LAUNCH_FAILED and "no module named torch" in end.message


@pytest.fixture
def remote(executor: Executor) -> Executor:
    if executor.name == "local":
        pytest.skip("of nodes alone")
    return executor


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_a_limit_that_follows_the_start_at_once_is_kept_there(remote: Executor) -> None:
    """The process is still being started when the limit arrives."""
    slot, child = placed(
        remote, "import resource\n" + ECHO.replace("json.loads(line)", "{'n': resource.getrlimit(2)[0]}")
    )
    slot._keep_within(777 << 20)
    facts_until(child, "ready")
    child.send({})
    assert slot._hard is not None
    assert facts_until(child, "draw")[-1]["n"] == slot._hard + NOT_RESIDENT


def test_an_earlier_victim_of_the_oom_killer_explains_no_later_kill(tmp_path: Path) -> None:
    """The kernel counts since the machine was started."""
    (tmp_path / "sitecustomize.py").write_text("import fts.jobs.supervisor.child as c\nc.count_oom_kills = lambda: 3\n")
    where = Where("command", f"env PYTHONPATH={tmp_path} {{agent}}")
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    with (
        closing(detect.from_env(tmp_path, {"FTS_SENSORS": "none"})) as sensors,
        closing(open_database(places.db)) as db,
        closing(executor_of(places, WorkerSettings(where=where, stop_grace_s=1.0), db, sensors)) as executor,
    ):
        _, child = placed(executor, "say(fact='ready', pid=os.getpid())\ntime.sleep(60)")
        os.kill(facts_until(child, "ready")[-1]["pid"], signal.SIGKILL)
        assert ended(child).code == -signal.SIGKILL and child.oom_kills() == 0


def test_a_process_that_takes_longer_to_start_than_a_lease_costs_no_node(remote: Executor, tmp_path: Path) -> None:
    """The modules that it imports may be on a cold network disk. This template takes long, and then cannot fork."""
    slow = "import sys, time\nif '--facts-fd' not in sys.argv: time.sleep(4); sys.exit()\n"
    slot, found = remote.slots[0], Program(("-S", "-c", slow + PRELUDE + ECHO), forks_for=str(tmp_path))
    assert remote.place(0, Want(), lambda: False, lambda _: None)
    child = slot.child(found, 1)
    wait_until(lambda: child.poll() is not None or child.facts(0.1))
    assert child.exit() is None


AFTER = (
    "say(fact='ready')\nfor line in sys.stdin:\n    spec = json.loads(line)['spec']\n"
    "    log = open(spec['log_path'], 'a')\n    say(fact='result')\n"
    "    log.write(f'after {spec[\"n\"]}'); log.close()\n    say(fact='draw')"
)


def test_what_a_process_prints_after_its_result_is_in_the_log_of_that_trial(remote: Executor, tmp_path: Path) -> None:
    _, child = placed(remote, AFTER)
    facts_until(child, "ready")
    logs = [tmp_path / "outputs" / "logs" / "a" / f"t{n}" for n in range(2)]
    for n, log in enumerate(logs):
        home = tmp_path / "outputs" / "trials" / "00001_a" / f"trial_{n:04d}"
        child.send({"do": "run", "spec": {"folder": str(home), "log_path": str(log), "cell": {}, "n": n}})
        facts_until(child, "result")
        wait_until(lambda log=log: remote.slots[0].channel.has_more or log.exists())  # type: ignore[misc, attr-defined]
    wait_until(lambda: child.facts(0.1) == [] and logs[1].exists())
    assert [log.read_text() for log in logs] == ["after 0", "after 1"]


def test_an_engine_that_wants_its_node_back_gets_a_trial_that_stops_by_itself(remote: Executor) -> None:
    _, child = placed(remote, POLITE)
    facts_until(child, "ready")
    agent = remote.slots[0].channel.process  # type: ignore[attr-defined]
    os.kill(agent.pid, signal.SIGTERM)
    facts_until(child, "stopped")
    end = ended(child)
    assert end.kind is ExitKind.PREEMPTED
    assert agent.wait(20) == 75


def test_a_killed_and_a_silent_agent_are_lost_nodes(remote: Executor) -> None:
    for number, words in ((signal.SIGKILL, "its connection ended"), (signal.SIGSTOP, "silent for")):
        _, child = placed(remote, ECHO)
        facts_until(child, "ready")
        pid = is_there(remote)
        assert pid is not None
        os.kill(pid, number)
        end = ended(child)
        assert end.kind is ExitKind.NODE_LOST and words in end.message
        remote.slots[0].leave_node()  # type: ignore[attr-defined]


def test_files_are_at_home_before_the_fact_that_tells_of_them(remote: Executor, tmp_path: Path) -> None:
    home = tmp_path / "outputs" / "trials" / "00001_a" / "trial_0000"
    (home / "checkpoint").mkdir(parents=True)
    (home / "old.txt").write_text("before")
    (home / "checkpoint" / "kept.bin").write_bytes(b"k" * 10)
    logged = tmp_path / "outputs" / "logs" / "a" / "t0.log"
    _, child = placed(remote, WRITES)
    facts_until(child, "ready")
    child.send({"do": "run", "spec": {"folder": str(home), "log_path": str(logged), "cell": {}}})
    (fact,) = [one for one in facts_until(child, "checkpoint") if one["fact"] == "checkpoint"]
    assert fact["seen"] == ["checkpoint/kept.bin", "old.txt"]
    assert fact["path"] == str(home / "checkpoint")
    assert (home / "checkpoint" / "new.bin").read_bytes() == b"n" * 3_000_000
    assert not (home / "old.txt").exists() and (home / "checkpoint" / "kept.bin").exists()
    assert logged.read_text() == "printed\n"
    assert [path.name for path in home.iterdir()] == ["checkpoint"]


UNSENDABLE = {
    "too many": "for n in range(10_001): (here / str(n)).touch()",
    "too large": "os.truncate(os.open(here / 'large', os.O_CREAT | os.O_RDWR), (16 << 30) + 1)",
    "too deep": "(here / '/'.join('abcdefghijkl')).mkdir(parents=True); (here / '/'.join('abcdefghijklm')).touch()",
    "odd name": "(here / 'two\\nlines').touch()",
}


@pytest.mark.parametrize("what", UNSENDABLE)
def test_what_cannot_leave_a_node_is_the_fault_of_its_trial(what: str, remote: Executor, tmp_path: Path) -> None:
    home = tmp_path / "outputs" / "trials" / "00001_a" / "trial_0000"
    begins, _, rest = WRITES.partition("(here / 'checkpoint').mkdir(exist_ok=True)\n")
    _, child = placed(remote, f"{begins}{UNSENDABLE[what]}\n(here / 'checkpoint').mkdir()\n{rest}")
    facts_until(child, "ready")
    child.send({"do": "run", "spec": {"folder": str(home), "log_path": str(tmp_path / "l" / "t.log"), "cell": {}}})
    facts = facts_until(child, "failed")
    assert [fact["fact"] for fact in facts] == ["failed"] and facts[0]["cause"] == "code error"
    assert ended(child).kind is ExitKind.TRIAL
    assert not [path for path in home.rglob("*") if path.is_file()]
    _, again = placed(remote, "say(fact='ready')")  # the node is well
    facts_until(again, "ready")


def test_a_claim_that_is_lost_lets_no_file_in(remote: Executor, tmp_path: Path) -> None:
    """The worker slept, and another one has the trial: what the old attempt brings home changes nothing."""
    home = tmp_path / "outputs" / "trials" / "00001_a" / "trial_0000"
    _, child = placed(remote, WRITES)
    facts_until(child, "ready")

    class Superseded(Exception):
        pass

    @contextmanager
    def refuses() -> Iterator[None]:
        raise Superseded
        yield

    child.fence = refuses  # type: ignore[attr-defined]
    child.send({"do": "run", "spec": {"folder": str(home), "log_path": str(tmp_path / "l" / "t.log"), "cell": {}}})
    with pytest.raises(Superseded):
        facts_until(child, "checkpoint")
    child.fence = nullcontext  # type: ignore[attr-defined]
    remote.slots[0].kill()
    assert list(home.rglob("*")) == []


# -- which node it gets


def nodes_of(tmp_path: Path, nodes: str, slots: int = 1, lease_s: float = 5.0) -> Executor:
    """Of node.py, which does as files in the folder say."""
    launch = f"{sys.executable} {NODE} {tmp_path} {{name}} {{agent}}"
    settings = WorkerSettings(slots, where=Where("ssh", launch, nodes), node_lease_s=lease_s, stop_grace_s=1.0)
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    return executor_of(places, settings, open_database(places.db), detect.from_env(tmp_path, {"FTS_SENSORS": "none"}))


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
        age(0.6 * command.REFUSED_S)
        assert refused(Want(needed=100 * gb)), "b has not refused it again"
        assert node_for(large) == "b"
        executor.slots[0].leave_node()  # type: ignore[attr-defined]
        age(0.6 * command.REFUSED_S)
        assert node_for(large) == "a", "the refusal of a larger trial says nothing of this one"
        executor.slots[0].leave_node()  # type: ignore[attr-defined]
        monkeypatch.setattr(command, "REFUSED_S", 0.0)
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
        (a, b), _ = executor.places, executor.nodes()  # type: ignore[attr-defined]
        assert a.why.startswith("a: --device is 'cuda:7', but this machine has: cpu") and not b.why
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


# -- a node is not trusted

SPEAKS = """
import sys, time
from pathlib import Path
from fts.jobs.executors.fingerprint import code_md5
from fts.jobs.executors.frames import *
from fts.jobs.executors.frames import MOST_FROM_HEAD
reader, writer = Reader(0, MOST_FROM_HEAD), Writer(1, lambda: False)
writer.begin()
writer.send(Kind.HELLO, {"host": "n", "code": code_md5(), "fingerprint": "f", "scratch": "/s", "cores": 1})
while (frame := reader.next()) is not None:
    if frame.kind is Kind.START:
        writer.send(Kind.FACT, {"process": 1, "token": None, "fact": {"fact": "ready"}})
    if frame.kind is Kind.ATTEMPT:
        token = frame.meta["token"]
    if frame.kind is Kind.RUN:
        BODY
        time.sleep(30)
"""
MD5_OF_A = "0cc175b9c0f1b6a831c399e269772661"


WRONG = {
    "a name outside": ("writer.send(Kind.FILE, {'token': token, 'name': '../x', 'size': 1}, b'a')", "the name of"),
    "a file that stays there": (
        "writer.send(Kind.FILE, {'token': token, 'name': 'x', 'size': 1, 'md5': 'a' * 32, 'stays': 0})",
        "without a request",
    ),
    "a state that is none": ("writer.send(Kind.VITALS, {'guard': 'x'})", "cannot be used: 'x' is not a valid"),
    "bytes that are none": ("writer.send(Kind.VITALS, {'tree': 1e999})", "cannot be used: cannot convert"),
    "an action that is none": ("writer.send(Kind.DECISION, {'process': 1, 'action': 'x'})", "cannot be used"),
    "an end that is none": ("writer.send(Kind.EXIT, {'process': 1, 'whose': 'x'})", "cannot be used"),
    "a cut frame": ("import os; os.set_blocking(1, True); os.write(1, b'fts1' + bytes(9)); sys.exit()", "was cut off"),
}  # test_frames.py has the others


def speaks(folder: Path, body: str) -> str:
    """The words that start an agent which does what it may not."""
    path = folder / "speaks.py"
    path.write_text(SPEAKS.replace("BODY", body))
    return f"{sys.executable} {path}"


def faked(tmp_path: Path, body: str, then: Callable[[Placed, Path], Any]) -> Any:
    settings = WorkerSettings(where=Where("command", speaks(tmp_path, body)), node_lease_s=30.0, stop_grace_s=1.0)
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    db = open_database(places.db)
    sensors = detect.from_env(tmp_path, {"FTS_SENSORS": "none"})
    executor = executor_of(places, settings, db, sensors)
    try:
        _, child = placed(executor, ECHO)
        facts_until(child, "ready")
        home = tmp_path / "outputs" / "trials" / "00001_a" / "trial_0000"
        child.send({"do": "run", "spec": {"folder": str(home), "log_path": str(tmp_path / "t.log"), "cell": {}}})
        return then(child, home)
    finally:
        executor.close()
        sensors.close()
        db.close()


@pytest.mark.parametrize("what", WRONG)
def test_what_a_node_may_not_send_ends_its_connection_with_a_sentence(what: str, tmp_path: Path) -> None:
    body, words = WRONG[what]

    def look(child: Placed, home: Path) -> None:
        end = ended(child)
        assert end.kind is ExitKind.NODE_LOST and words in end.message
        child.close()
        assert list(home.rglob("*")) == []

    faked(tmp_path, body, look)
    assert [path.name for path in tmp_path.rglob("x")] == []


NEED = "writer.send(Kind.NEED, {'files': [md5 for md5, _ in frame.meta['files'].values()]})"
SLOW = f"if frame.kind is Kind.DATA:\n        {NEED}\n    if frame.kind is Kind.FILE:\n        time.sleep(0.2)\n    if"


@pytest.mark.parametrize("looks", [2, 3, 9])
def test_an_order_ends_the_way_of_a_data_set_to_its_node(looks: int, tmp_path: Path) -> None:
    """While it is read here, is asked for there, and travels to a node that reads slowly; no node is blamed."""
    (tmp_path / "large").write_bytes(bytes(2 << 20))
    (tmp_path / "speaks.py").write_text(SPEAKS.replace("BODY", "pass").replace("if", "if" if looks == 3 else SLOW, 1))
    settings = WorkerSettings(where=Where("command", f"{sys.executable} {tmp_path / 'speaks.py'}"), node_lease_s=30.0)
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    asked: list[bool] = []

    def leaves() -> bool:
        return bool(asked) and (asked.append(True) or len(asked) > looks)

    with (
        closing(detect.from_env(tmp_path, {"FTS_SENSORS": "none"})) as sensors,
        closing(open_database(places.db)) as db,
        closing(executor_of(places, settings, db, sensors)) as executor,
    ):
        assert executor.slots[0].find(Want(), leaves, lambda _: None)
        asked.append(True)
        with pytest.raises(OrderReceived):
            executor.slots[0].child(Program(("-S", "-c", ECHO), folder=str(tmp_path), data=("large",)), 1)
        assert executor.slots[0].channel is None and len(asked) == looks + 1  # type: ignore[attr-defined]
        assert not any(node.losses for node in executor.nodes())


def test_vitals_of_an_earlier_trial_are_not_those_of_the_next(tmp_path: Path) -> None:
    """They were on their way; with the time that the earlier one has worked, the next would be over its limit."""
    vitals = "{'token': %s, 'tree': 1, 'peak': 5, 'worked_s': 7200.0, 'guard': 'normal'}"
    live = "writer.send(Kind.FACT, {'process': 1, 'token': token, 'fact': {'fact': 'live'}})"
    body = f"writer.send(Kind.VITALS, {vitals % repr('1-dead')}); {live}; frame = reader.next();"
    body += f"writer.send(Kind.VITALS, {vitals % 'token'}); {live}"

    def look(child: Placed, home: Path) -> None:
        watchdog = child.slot._watchdog  # type: ignore[attr-defined]
        for worked_s in (0.0, 7200.0):
            facts_until(child, "live")
            assert watchdog.worked_s == worked_s and child.channel.vitals["guard"] == "normal"  # type: ignore[attr-defined]
            child.send({})

    faked(tmp_path, body, look)


def test_frames_of_a_superseded_attempt_change_nothing(tmp_path: Path) -> None:
    late = json.dumps({"token": "1-dead", "name": "x", "size": 1, "md5": MD5_OF_A})
    body = (
        f"writer.send(Kind.FILE, {late}, b'a');"
        "writer.send(Kind.FILES, {'token': '1-dead', 'whole': True, 'gone': []});"
        "writer.send(Kind.FACT, {'process': 1, 'token': '1-dead', 'fact': {'fact': 'late'}});"
        "writer.send(Kind.FACT, {'process': 0, 'token': token, 'fact': {'fact': 'late'}});"
        "writer.send(Kind.EXIT, {'process': 0, 'code': 0, 'whose': 'trial'});"
        "writer.send(Kind.FACT, {'process': 1, 'token': token, 'fact': {'fact': 'live'}})"
    )

    def look(child: Placed, home: Path) -> None:
        assert facts_until(child, "live") == [{"fact": "live"}]
        assert child.poll() is None and list(home.rglob("*")) == []

    faked(tmp_path, body, look)
