import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fts.jobs.sensors.process_usage import TreeUse
from fts.jobs.supervisor import child as process
from fts.jobs.supervisor.child import ChildGone, ChildNotReading, TrialProcess
from fts.jobs.supervisor.process_tree import Reaped, is_of_another_study, reap_recorded, same_process, started_at
from fts.jobs.supervisor.slot import held_by_trials

PRELUDE = """
import json, os, signal, subprocess, sys, time
fd = int(sys.argv[sys.argv.index("--facts-fd") + 1])
def raw(data): os.write(fd, data)
def say(**fields): raw(json.dumps(fields).encode() + b"\\n")
"""
ECHO = "say(fact='ready')\nfor line in sys.stdin: say(fact='echo', **json.loads(line))\nsay(fact='eof')"
SLEEP = "say(fact='ready')\ntime.sleep(60)"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay(fact='ready')\ntime.sleep(60)"
POLITE = """
def leave(*_):
    say(fact='checkpoint'); sys.exit(7)
say(fact='ready')
for line in sys.stdin: leave()
"""


def spawn(body: str, folder: Path, **options: Any) -> TrialProcess:
    return TrialProcess([sys.executable, "-S", "-c", PRELUDE + body], folder / "logs" / "trial.log", **options)


def facts_until(child: TrialProcess, kind: str, patience_s: float = 20.0) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        seen += child.facts(0.2)
        if any(fact["fact"] == kind for fact in seen):
            return seen
    raise AssertionError(f"no {kind} among {seen}")


def all_facts(child: TrialProcess, patience_s: float = 20.0) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    deadline = time.monotonic() + patience_s
    while not child.facts_ended and time.monotonic() < deadline:
        seen += child.facts(0.2)
    return seen


def eventually(claim: Callable[[], bool], patience_s: float = 20.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.01)
    return claim()


def is_alive(pid: int) -> bool:
    return started_at(pid) is not None


def test_commands_go_down_and_facts_come_up(tmp_path: Path) -> None:
    with spawn(ECHO, tmp_path) as child:
        facts_until(child, "ready")
        child.send({"n": 1})
        child.send({"n": 2, "text": "line\nbreak"})
        child.close_stdin()
        assert all_facts(child) == [
            {"fact": "echo", "n": 1},
            {"fact": "echo", "n": 2, "text": "line\nbreak"},
            {"fact": "eof"},
        ]
        assert child.wait(10) == 0


def test_what_it_prints_goes_to_a_private_log_that_is_appended_to(tmp_path: Path) -> None:
    for word in ("first", "second"):
        with spawn(f"print('{word}'); print('oops', file=sys.stderr)", tmp_path) as child:
            assert child.wait(20) == 0
    log = tmp_path / "logs" / "trial.log"
    assert sorted(log.read_text().split()) == ["first", "oops", "oops", "second"]
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.parent.stat().st_mode & 0o777 == 0o700


def test_a_log_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "trial.log").symlink_to(tmp_path / "elsewhere")
    before = psutil.Process().num_fds()
    with pytest.raises(OSError, match=r"trial.log"):
        spawn(SLEEP, tmp_path)
    assert not (tmp_path / "elsewhere").exists()
    assert psutil.Process().num_fds() == before


def test_a_part_of_a_line_does_not_end_the_wait_for_the_rest(tmp_path: Path) -> None:
    body = "time.sleep(0.1)\nraw(b'{\"fact\":')\ntime.sleep(0.3)\nraw(b'\"ok\"}\\n')\ntime.sleep(60)"
    with spawn(body, tmp_path) as child:
        assert child.facts(60.0) == [{"fact": "ok"}]


def test_unreadable_lines_become_garbage_facts_and_the_rest_is_read(tmp_path: Path) -> None:
    body = (
        "raw(b'{half'); time.sleep(0.1); raw(b' a line\\n[1]\\n\\n\\xff\\n' + b'[' * 90000 + b'\\n')\n"
        "say(fact='ok'); raw(b'{cut')"
    )
    with spawn(body, tmp_path) as child:
        seen = all_facts(child)
    assert [fact["fact"] for fact in seen] == ["garbage"] * 4 + ["ok", "garbage"]
    assert seen[0]["line"] == "{half a line"
    assert seen[1]["reason"] == "not a JSON object"
    assert seen[-1]["reason"] == "the process ended before it finished this line"
    assert all(len(fact.get("line", "")) <= 200 for fact in seen)


def test_a_line_beyond_the_limit_is_one_garbage_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_LINE", 100_000)
    with spawn("raw(b'x' * 300000 + b'\\n'); say(fact='ok'); raw(b'y' * 150000)", tmp_path) as child:
        seen = all_facts(child)
    assert [fact["fact"] for fact in seen] == ["garbage", "ok", "garbage"]


def test_a_fact_split_over_many_writes_arrives_whole(tmp_path: Path) -> None:
    with spawn(
        "for c in json.dumps({'fact': 'slow', 'n': 5}): raw(c.encode()); time.sleep(0.002)\nraw(b'\\n')", tmp_path
    ) as child:
        assert all_facts(child) == [{"fact": "slow", "n": 5}]


def test_a_child_that_does_not_read_is_named_and_hears_every_command_later(tmp_path: Path) -> None:
    body = "say(fact='ready'); os.kill(os.getpid(), signal.SIGSTOP)\n" + ECHO
    with spawn(body, tmp_path) as child:
        facts_until(child, "ready")
        child.send({"text": "x" * 40_000})  # so that the pipe takes a part of the next write only
        with pytest.raises(ChildNotReading, match="unread"):
            child.send({"text": "x" * 300_000}, timeout_s=0.1)
        child.thaw()
        child.send({"text": "after"})
        child.close_stdin()
        echoes = [fact["text"] for fact in all_facts(child) if fact["fact"] == "echo"]
    assert echoes == ["x" * 40_000, "x" * 300_000, "after"]


def test_what_an_ended_child_left_is_killed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id may then be that of a group of somebody else."""
    killed: list[int] = []
    with spawn("pass", tmp_path) as child:
        monkeypatch.setattr(os, "killpg", lambda group, _: killed.append(group))
        assert child.wait(20) == 0
        assert child.poll() == 0 and child.kill() == 0
    assert killed == [child.pid]


def test_a_command_to_an_ended_child_says_so(tmp_path: Path) -> None:
    with spawn("pass", tmp_path) as child:
        assert child.wait(20) == 0
        with pytest.raises(ChildGone, match=str(child.pid)):
            child.send({"fact": "stop"})


def test_stop_lets_a_polite_child_checkpoint_and_keeps_its_last_facts(tmp_path: Path) -> None:
    with spawn(POLITE, tmp_path) as child:
        facts_until(child, "ready")
        assert child.stop(20) == 7
        assert {"fact": "checkpoint"} in all_facts(child)


def test_stop_reads_facts_while_it_waits_so_that_a_full_pipe_does_not_block_the_child(tmp_path: Path) -> None:
    body = POLITE.replace("say(fact='checkpoint')", "[say(fact='checkpoint', pad='x' * 1000) for _ in range(500)]")
    with spawn(body, tmp_path) as child:
        facts_until(child, "ready")
        assert child.stop(30) == 7
        assert len(all_facts(child)) == 500


def test_stop_kills_a_stubborn_child_after_the_grace(tmp_path: Path) -> None:
    with spawn(STUBBORN, tmp_path) as child:
        facts_until(child, "ready")
        assert child.stop(0.3) == -signal.SIGKILL


def test_stop_reaches_a_frozen_child(tmp_path: Path) -> None:
    with spawn(POLITE, tmp_path) as child:
        facts_until(child, "ready")
        child.freeze()
        assert child.stop(20) == 7


GRANDCHILDREN = """
same = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])
away = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'], start_new_session=True)
say(fact='ready', pids=[same.pid, away.pid])
"""


@pytest.mark.parametrize("signals", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"])
def test_stop_ends_grandchildren_too(tmp_path: Path, signals: str) -> None:
    with spawn(signals + GRANDCHILDREN + "time.sleep(60)", tmp_path) as child:
        [ready] = facts_until(child, "ready")
        child.stop(0.5)
    for pid in ready["pids"]:
        assert eventually(lambda pid=pid: not is_alive(pid))


def test_a_stubborn_grandchild_in_a_session_of_its_own_is_ended_after_a_polite_child(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    body = f"""
def leave(*_): sys.exit(7)
argv = [sys.executable, '-S', '-c', {stubborn!r}]
away = subprocess.Popen(argv, start_new_session=True, stdout=subprocess.PIPE)
away.stdout.readline()
say(fact='ready', pid=away.pid)
for line in sys.stdin: leave()
"""
    with spawn(body, tmp_path) as child:
        [ready] = facts_until(child, "ready")
        assert child.stop(20) == 7
    assert eventually(lambda: not is_alive(ready["pid"]))


def test_helpers_left_in_the_group_of_an_ended_child_are_ended(tmp_path: Path) -> None:
    with spawn(GRANDCHILDREN.replace(", start_new_session=True", ""), tmp_path) as child:
        [ready] = facts_until(child, "ready")
        assert child.wait(20) == 0
    for pid in ready["pids"]:
        assert eventually(lambda pid=pid: not is_alive(pid))


def test_the_tree_is_found_where_the_system_hides_the_processes_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hidepid=1 psutil refused to list children, so nothing could be measured, frozen or killed."""

    def refused(self: psutil.Process, recursive: bool = False) -> list[psutil.Process]:
        raise psutil.AccessDenied(1)

    def hidden(pid: int) -> list[int]:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(psutil.Process, "children", refused)
    monkeypatch.setattr("fts.jobs.supervisor.process_tree.listed_children", hidden)
    with spawn(GRANDCHILDREN + "time.sleep(60)", tmp_path) as child:
        [ready] = facts_until(child, "ready")
        assert {process.pid for process in child.tree()} == {child.pid, *ready["pids"]}
        assert held_by_trials() > 0
        child.kill()
    for pid in ready["pids"]:
        assert eventually(lambda pid=pid: not is_alive(pid))


def test_a_killed_process_that_a_disk_keeps_from_ending_holds_up_nobody_else(tmp_path: Path) -> None:
    """The heartbeat waited with it for its lock, and the worker lost all its jobs."""
    ends = threading.Event()
    with spawn(SLEEP, tmp_path) as child:
        facts_until(child, "ready")
        waits, child._popen.wait = child._popen.wait, ends.wait  # type: ignore[method-assign, assignment]
        kills, looks = (threading.Thread(target=one, daemon=True) for one in (child.kill, child.tree))
        kills.start()
        try:
            assert eventually(lambda: not is_alive(child.pid))
            looks.start()
            looks.join(10.0)
            assert kills.is_alive() and not looks.is_alive()
        finally:
            ends.set()
            kills.join(10.0)
        child._popen.wait = waits  # type: ignore[method-assign]


def test_ended_processes_of_a_tree_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that starts a process every second for two weeks took gigabytes of its worker."""
    monkeypatch.setattr("fts.jobs.supervisor.child.ENDED_KEPT", 5)
    body = "for line in sys.stdin: subprocess.run(['true']); p = subprocess.Popen(['cat'], stdin=-1); "
    body += "say(fact='one'); sys.stdin.readline(); p.communicate(); say(fact='ended')"
    with spawn(body, tmp_path) as child:
        use, seen = TreeUse(child.tree, clock=itertools.count(0.0, 10.0).__next__), set()
        for _ in range(12):
            child.send({})
            facts_until(child, "one")
            use.waited_s()
            seen |= child._seen
            child.send({})
            facts_until(child, "ended")
        assert len(seen) > 10 and len(child._seen) < 10 and len(use._waits) < 5


def test_freeze_stops_the_whole_tree_and_thaw_lets_it_go_on(tmp_path: Path) -> None:
    with spawn(GRANDCHILDREN + "time.sleep(60)", tmp_path) as child:
        [ready] = facts_until(child, "ready")
        tree = [psutil.Process(pid) for pid in (child.pid, *ready["pids"])]
        assert child.freeze() and child.frozen
        assert eventually(lambda: all(p.status() == psutil.STATUS_STOPPED for p in tree))
        assert child.thaw() and not child.frozen
        assert eventually(lambda: all(p.status() != psutil.STATUS_STOPPED for p in tree))
        child.kill()
        assert not child.freeze()


def test_end_of_file_reaches_the_child_although_another_child_was_started_later(tmp_path: Path) -> None:
    with spawn(ECHO, tmp_path) as first, spawn(SLEEP, tmp_path) as second:
        facts_until(first, "ready")
        facts_until(second, "ready")
        first.close_stdin()
        assert first.wait(20) == 0


def test_end_of_file_thaws_a_frozen_child(tmp_path: Path) -> None:
    with spawn(ECHO, tmp_path) as child:
        facts_until(child, "ready")
        child.freeze()
        child.close_stdin()
        assert child.wait(20) == 0


def test_children_see_only_their_own_descriptors(tmp_path: Path) -> None:
    body = """
def is_open(n):
    try: os.fstat(n)
    except OSError: return False
    return True
say(fact='fds', fds=[n for n in range(256) if is_open(n)], mine=fd)
"""
    with spawn(SLEEP, tmp_path), spawn(body, tmp_path) as child:
        [seen] = all_facts(child)
    assert seen["fds"] == [0, 1, 2, seen["mine"]]


def test_fifty_spawns_leave_no_descriptor_and_no_zombie(tmp_path: Path) -> None:
    before, pids = psutil.Process().num_fds(), set()
    for n in range(50):
        child = spawn("time.sleep(60)" if n % 2 else "pass", tmp_path)
        pids.add(child.pid)
        child.stop(0.05)
        child.close()
        child.close()
    assert psutil.Process().num_fds() == before
    assert pids.isdisjoint(psutil.pids())


def test_threads_and_passive_waiting_are_set_and_the_caller_may_add_more(tmp_path: Path) -> None:
    with spawn("say(fact='env', **dict(os.environ))", tmp_path, threads=3, env={"FTS_EXTRA": "yes"}) as child:
        [seen] = all_facts(child)
    assert seen["OMP_NUM_THREADS"] == seen["MKL_NUM_THREADS"] == seen["OPENBLAS_NUM_THREADS"] == "3"
    assert (seen["OMP_WAIT_POLICY"], seen["GOMP_SPINCOUNT"], seen["FTS_EXTRA"]) == ("PASSIVE", "0", "yes")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps these limits")
def test_the_kernel_prefers_the_child_and_an_allocation_beyond_the_limit_fails_inside_it(tmp_path: Path) -> None:
    body = (
        "sys.stdin.readline()\n"  # the limits are set right after the start
        "try: bytearray(1 << 30); say(fact='fits')\n"
        "except MemoryError: say(fact='refused', oom=int(open('/proc/self/oom_score_adj').read()))"
    )
    with spawn(body, tmp_path) as child:
        assert process.limit_data(child.pid, 1 << 29)
        child.send({})
        assert all_facts(child) == [{"fact": "refused", "oom": process.OOM_SCORE}]


# -- children of a dead predecessor

SUPERVISOR = """
import sys, time
from pathlib import Path
from fts.jobs.supervisor.child import TrialProcess
child = TrialProcess([sys.executable, "-S", "-c", sys.argv[1]], Path(sys.argv[2]))
for fact in child.facts(20): pass
print(child.pid, child.started, flush=True)
time.sleep(60)
"""


def orphan(body: str, folder: Path) -> tuple[int, float]:
    """Start a supervisor with a child, kill -9 the supervisor, and hand back what it would have recorded."""
    argv = [sys.executable, "-c", SUPERVISOR, PRELUDE + body, str(folder / "trial.log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid, started = supervisor.stdout.readline().split()
        supervisor.kill()
    return int(pid), float(started)


def test_a_child_whose_supervisor_was_killed_reads_end_of_file(tmp_path: Path) -> None:
    pid, _ = orphan("say(fact='ready')\nsys.stdin.read()", tmp_path)
    assert eventually(lambda: not is_alive(pid))


def test_a_frozen_orphan_is_thawed_and_stopped_by_the_next_worker(tmp_path: Path) -> None:
    pid, started = orphan("say(fact='ready')\nos.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(60)", tmp_path)
    assert eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    assert reap_recorded(pid, started, grace_s=10) is Reaped.STOPPED
    assert not is_alive(pid)


def test_what_an_orphan_has_started_lives_until_its_last_checkpoint(tmp_path: Path) -> None:
    body = """
    child = subprocess.Popen(["sleep", "60"])
    def leave(*_):
        time.sleep(0.3)
        open("seen", "w").write(f"{child.pid} {child.poll()}")
        os._exit(75)
    signal.signal(signal.SIGTERM, leave)
    say(fact='ready')
    time.sleep(60)
    """
    pid, started = orphan(f"os.chdir({str(tmp_path)!r})\n" + textwrap.dedent(body), tmp_path)
    assert reap_recorded(pid, started, grace_s=10) is Reaped.STOPPED
    child, code = (tmp_path / "seen").read_text().split()
    assert code == "None" and not is_alive(int(child))


def test_a_stubborn_orphan_is_killed(tmp_path: Path) -> None:
    pid, started = orphan(STUBBORN, tmp_path)
    assert reap_recorded(pid, started, grace_s=0.2) is Reaped.KILLED
    assert not is_alive(pid)


def test_a_pid_that_now_belongs_to_someone_else_is_left_alone(tmp_path: Path) -> None:
    with spawn(SLEEP, tmp_path) as child:
        facts_until(child, "ready")
        assert reap_recorded(child.pid, child.started - 60, grace_s=0.1) is Reaped.NOT_OURS
        assert child.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel keeps the date of a start itself")
def test_a_process_is_the_same_after_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    started = started_at(os.getpid())
    assert started is not None
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 3 * 3600)  # what /proc/stat says after it
    assert same_process(os.getpid(), started)
    assert not same_process(os.getpid(), started - 60)


def test_a_process_that_an_older_fts_recorded_by_its_date_is_the_same() -> None:
    assert same_process(os.getpid(), psutil.Process().create_time())
    assert not same_process(os.getpid(), psutil.Process().create_time() - 60)


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has open is not listed elsewhere")
def test_the_trial_of_a_study_that_was_copied_while_it_ran_is_left_alone_by_the_copy(tmp_path: Path) -> None:
    first, copy, linked = (tmp_path / name / "outputs" for name in ("first", "copy", "linked"))
    with spawn("say(fact='ready')\nsys.stdin.read()", first) as child:
        facts_until(child, "ready")
        linked.parent.symlink_to(first.parent)
        logs = [outputs / "logs" / "trial.log" for outputs in (first, copy, linked)]
        assert [is_of_another_study(child.pid, log) for log in logs] == [False, True, False]
        shutil.copytree(first, copy)
        assert is_of_another_study(child.pid, logs[1]) and not is_of_another_study(
            child.pid, copy / "logs" / "other.log"
        )
        logs[0].unlink()
        assert not is_of_another_study(child.pid, logs[0]), "a person has removed our log"


@pytest.mark.parametrize("pid", [-1, 0, 1, 2**22 + 17])
def test_a_pid_that_cannot_be_a_child_is_gone(pid: int) -> None:
    assert reap_recorded(pid, time.time()) is Reaped.GONE


def test_the_worker_itself_is_never_reaped() -> None:
    started = started_at(os.getpid())
    assert started is not None
    assert reap_recorded(os.getpid(), started) is Reaped.GONE


def test_facts_are_json_a_person_can_read(tmp_path: Path) -> None:
    with spawn("say(fact='café', n=1.5, none=None)", tmp_path) as child:
        assert json.dumps(all_facts(child)) == json.dumps([{"fact": "café", "n": 1.5, "none": None}])


TIDIES = """
from fts.jobs.trial import orphans, process
class Spec: number, folder = 0, "/a/b/c/d"
def leave(*_):
    if os.fork() == 0:
        open("left", "w").write(str(os.getpid()))
        time.sleep(999)
    os._exit(0)
def run(spec, orders):
    orders.training = True
    here, there = os.pipe()
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGCONT, leave)
        os.write(there, b"x")
        time.sleep(999)
    os.read(here, 1)
    yield {"fact": "result"}
def slowly(whole=orphans.end_children, turns=[1]):
    if turns:
        turns.pop()
        open("tidies", "w").close()
        time.sleep(999)
    whole()
orphans.end_children = slowly
process.serve(process.Commands(0, process.leave), fd, run, lambda data: Spec(), lambda spec: False)
"""


ALONE = """
from fts.jobs.trial import process
process.ORPHAN_S = 0.05
commands = process.Commands(0, process.leave)
commands.training = True
os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
say(fact="trains")
time.sleep(999)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no /dev/full elsewhere")
def test_a_trial_leaves_without_its_worker_although_its_log_is_full_and_an_order_was_none(tmp_path: Path) -> None:
    with spawn(ALONE, tmp_path, env={"PYTHONPATH": os.pathsep.join(sys.path)}) as child:
        facts_until(child, "trains")
        child.send({"do": "prune"})
        child.close_stdin()
        assert child.wait(20.0) == 75


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are not adopted")
def test_a_trial_process_that_is_let_go_before_it_has_tidied_leaves_nothing(tmp_path: Path) -> None:
    """A worker closes stdin as soon as it has the result; on a busy machine the trial's children are still there.

    Closing sends SIGCONT, at which this one has a child that its supervisor has never met.
    """
    left = tmp_path / "left"
    with spawn(TIDIES, tmp_path, env={"PYTHONPATH": os.pathsep.join(sys.path)}, cwd=tmp_path) as child:
        child.send({"do": "run", "spec": {}})
        facts_until(child, "result")
        assert eventually((tmp_path / "tidies").exists)
        child.close_stdin()
        assert child.wait(20.0) == 75
    found = psutil.Process(int(text)) if left.exists() and (text := left.read_text()) and is_alive(int(text)) else None
    try:
        assert found is None or eventually(lambda: not is_alive(found.pid), 2.0)
    finally:
        if found is not None and is_alive(found.pid):
            found.kill()
