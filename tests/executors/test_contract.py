"""What every executor promises the runner: one set of tests, wherever the trial runs."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from fts.jobs.api.study import Program
from fts.jobs.executors.base import Executor, ExitKind, Want
from fts.jobs.executors.choose import executor_of
from fts.jobs.sensors import detect
from fts.jobs.settings import Places, Where, WorkerSettings
from fts.jobs.supervisor import attempt
from fts.jobs.supervisor.attempt import Ended
from fts.jobs.supervisor.child import NOT_RESIDENT
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state.db import open_database
from tests.cluster.ray_nodes import Ray, why_not
from tests.executors.programs import BROKEN, DEAF, ECHO, POLITE, PRELUDE, WRITES, ended, facts_until, placed, program
from tests.fts_process import wait_until


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

    end = attempt.RunningAttempt(child, lambda _: began.append(time.monotonic()), wish, 0.02, 80.0).run(spec, 0)
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
    for name in ("predictions.npz", "predictions.npz.index"):  # only the first is not needed there
        (home / name).touch()
    logged = tmp_path / "outputs" / "logs" / "a" / "t0.log"
    _, child = placed(remote, WRITES)
    facts_until(child, "ready")
    child.send({"do": "run", "spec": {"folder": str(home), "log_path": str(logged), "cell": {}}})
    (fact,) = [one for one in facts_until(child, "checkpoint") if one["fact"] == "checkpoint"]
    assert fact["seen"] == ["checkpoint/kept.bin", "old.txt", "predictions.npz.index"]
    assert fact["path"] == str(home / "checkpoint")
    assert (home / "checkpoint" / "new.bin").read_bytes() == b"n" * 3_000_000
    assert not (home / "old.txt").exists() and (home / "checkpoint" / "kept.bin").exists()
    assert logged.read_text() == "printed\n"
    assert sorted(path.name for path in home.iterdir()) == ["checkpoint", "predictions.npz", "predictions.npz.index"]


KEEPS = (
    "say(fact='ready')\nfrom pathlib import Path\n"
    "def write(name):\n    path = here / 'artifacts' / name\n    path.parent.mkdir(parents=True, exist_ok=True)\n"
    "    path.write_text('new')\n"
    "for line in sys.stdin:\n"
    "    here = Path(json.loads(line)['spec']['folder'])\n"
    "    write('model/x')\n    (here / 'artifacts/model/empty').mkdir()\n    say(fact='kept', name='artifacts/model')\n"
    "    write('plot')\n    say(fact='kept', name='artifacts/plot')\n    say(fact='result')"
)


def test_what_an_earlier_attempt_kept_is_replaced_whole_and_only_by_what_has_its_name(
    remote: Executor, tmp_path: Path
) -> None:
    """Its node has not got the files of the earlier one, so it cannot say that they are gone."""
    home = tmp_path / "outputs" / "trials" / "00001_a" / "trial_0000"
    for name in ("model/x", "model/old/y", "model/empty/z", "plot/old", "models", "other/x"):
        (home / "artifacts" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "artifacts" / name).write_text("old")
    (home / "artifacts" / "model" / "nothing").mkdir()
    _, child = placed(remote, KEEPS)
    facts_until(child, "ready")
    child.send({"do": "run", "spec": {"folder": str(home), "log_path": str(tmp_path / "l" / "t.log"), "cell": {}}})
    facts_until(child, "result")
    found = {str(path.relative_to(home / "artifacts")): path for path in sorted((home / "artifacts").rglob("*"))}
    assert {name: path.read_text() if path.is_file() else None for name, path in found.items()} == {
        "model": None, "model/empty": None, "model/x": "new", "models": "old", "other": None, "other/x": "old",
        "plot": "new",
    }  # fmt: skip


def test_a_link_of_a_checkpoint_that_stays_on_its_node_is_named_once_in_the_log(
    remote: Executor, tmp_path: Path
) -> None:
    """A trial that finds its last checkpoint by a link to a folder would start over elsewhere."""
    home, logged = (
        tmp_path / "outputs" / "trials" / "00001_a" / "trial_0000",
        tmp_path / "outputs" / "logs" / "a" / "t0",
    )
    links = "(here / 'checkpoint' / 'last').symlink_to('.')\nsay(fact='checkpoint', number=0, path='')\n"
    _, child = placed(remote, WRITES.replace("if (here", f"{links}if (here"))
    facts_until(child, "ready")
    child.send({"do": "run", "spec": {"folder": str(home), "log_path": str(logged), "cell": {}}})
    told = list[str]()
    wait_until(lambda: told.extend(one["fact"] for one in child.facts(0.1)) or told.count("checkpoint") == 2)
    said = logged.read_text()
    assert said.count("[fts: ") == 1 and "'checkpoint/last' is a link to a folder" in said, said
    assert [path.name for path in (home / "checkpoint").iterdir()] == ["new.bin"]


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
