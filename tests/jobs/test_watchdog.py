import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from fts.jobs.sensors.detect import FileSensors, SystemPart
from fts.jobs.sensors.process_usage import TreeUse, occupied, physical_footprint, resident_and_swapped
from fts.jobs.sensors.reading import Reading
from fts.jobs.supervisor.child import TrialProcess
from fts.jobs.supervisor.process_tree import descendants, fast_descendants
from fts.jobs.supervisor.slot import Slot
from fts.jobs.watchdog.policy import Decision, HeatPolicy, MemoryLimits, Thresholds, WatchdogAction
from fts.jobs.watchdog.watchdog import Clock, PaceLimits, PaceWatch, Watchdog, seconds_to_next_sample
from fts.state.values import Cause
from tests.jobs.test_process import eventually

GiB, MiB = 1 << 30, 1 << 20
PRELUDE = """
import json, os, signal, subprocess, sys, time
fd = int(sys.argv[sys.argv.index("--facts-fd") + 1])
def say(**fields): os.write(fd, json.dumps(fields).encode() + b"\\n")
"""
SLEEP = "say(fact='ready'); time.sleep(60)"
BUSY = "say(fact='ready')\nwhile True: pass"
HOLD_200_MIB = "held = bytearray(os.urandom(1 << 20) * 200); say(fact='ready'); time.sleep(60)"
NOTHING_ELSE = MemoryLimits(soft=None, hard=None, available_low=None, swap_growth=None, disk_reserve=None)


class HandClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now, self.day = 1000.0, 1_700_000_000.0

    def pass_(self, seconds: float, asleep_s: float = 0.0) -> None:
        self.now += seconds
        self.day += seconds + asleep_s

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, wall=lambda: self.day)


class Post:
    """A watchdog at its post, beside a real child, with a file for a thermometer."""

    def __init__(self, child: TrialProcess, folder: Path, limits: MemoryLimits, **options: Any) -> None:
        self.time = HandClock()
        self.first_look: list[Decision] = []
        self.file = folder / "sensors"
        self.feel(temperature=60)
        sensors = FileSensors(self.file, SystemPart(folder))
        self.dog = Watchdog(child, limits, sensors, HeatPolicy(Thresholds()), clock=self.time.clock(), **options)

    def feel(self, **fields: Any) -> None:
        self.file.write_text("\n".join(f"{name}={value}" for name, value in fields.items()))

    def watch(self, seconds: float, step_s: float | None = None) -> list[Decision]:
        """Look every second for so long; with `step_s` the trial makes progress before each look."""
        found = []
        for _ in range(round(seconds)):
            self.time.pass_(1.0)
            if step_s is not None:
                self.dog.progress(step_s)
            found += self.dog.check()
        return found


@contextmanager
def at_work(body: str, folder: Path, limits: MemoryLimits = NOTHING_ELSE, **options: Any) -> Iterator[Post]:
    argv = [sys.executable, "-S", "-c", PRELUDE + body]
    with TrialProcess(argv, folder / "trial.log") as child:
        deadline = time.monotonic() + 30
        while not (child.facts(0.1)) and time.monotonic() < deadline:
            pass
        post = Post(child, folder, limits, **options)
        post.first_look = post.dog.check()  # has nothing to compare with yet
        yield post
        post.dog.close()


def actions(found: list[Decision]) -> list[WatchdogAction]:
    return [decision.action for decision in found if decision.action is not WatchdogAction.NONE]


# -- memory


def test_a_learned_stall_is_ten_times_the_longest_gap_and_never_before_a_minute():
    pace = PaceWatch(PaceLimits(), None, gap_s=0.0)
    pace.start(0.0)
    busy = itertools.count(5.0, 5.0)

    def works(seconds: float):
        for _ in range(int(seconds / 5)):
            pace.work(5.0, next(busy), disturbed=False)
        return pace.stalled()

    assert works(900) is None, "nothing was reported yet, and it works"
    pace.reported()
    assert works(300) is None, "900 s were the longest gap: 9,000 s are allowed"
    pace = PaceWatch(PaceLimits(), None, gap_s=2.0)  # of an earlier trial
    pace.start(next(busy))
    assert works(55) is None
    said = works(10)
    assert said is not None and said.cause is Cause.STALLED
    assert said.message == "no report for 65 s, 60 s allowed, where the longest gap so far is 2 s: killed"
    pace.reported()
    assert works(600) is None and pace.gap_s == 65.0
    assert works(55) is not None


def test_a_trial_above_the_soft_limit_is_asked_once_to_shrink(tmp_path: Path) -> None:
    with at_work(HOLD_200_MIB, tmp_path, MemoryLimits(soft=100 * MiB, hard=GiB)) as post:
        [decision] = [d for d in post.first_look + post.watch(5) if d.action is not WatchdogAction.NONE]
        assert decision.action is WatchdogAction.SHRINK and decision.cause is Cause.OUT_OF_MEMORY
        assert "soft limit 100 MB" in decision.message
        assert post.dog.latest is not None and post.dog.latest.peak_bytes > 200 * MiB


def test_a_tree_that_grows_beyond_the_hard_limit_is_killed_before_it_has_grown_much_more(tmp_path: Path) -> None:
    body = "say(fact='ready'); sys.stdin.readline(); held = []\nwhile True: held.append(bytearray(os.urandom(1 << 20)))"
    with at_work(body, tmp_path, MemoryLimits(soft=None, hard=300 * MiB)) as post:
        child = post.dog.child
        with post.dog:
            child.send({})
            assert child.wait(60) == -signal.SIGKILL
            [decision] = post.watch(3)
        assert (decision.action, decision.cause) == (WatchdogAction.KILL, Cause.OUT_OF_MEMORY)
        assert 300 * MiB <= post.dog.memory.peak < 1 * GiB
        assert post.watch(3) == []


def test_the_peak_is_that_of_the_trial(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path) as post:
        post.dog.memory.add(100 * GiB)
        post.dog.begin_trial()
        post.dog.check()
        assert 0 < post.dog.memory.peak < GiB


def test_a_trial_that_cannot_be_measured_is_neither_small_nor_idle_and_the_user_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_work(BUSY, tmp_path, pace=PaceLimits(stall_first_s=20.0)) as post:
        real = Path.read_bytes
        for name in ("cpu_times", "memory_info", "children", "ppid"):
            monkeypatch.setattr(psutil.Process, name, no_files_left)
        monkeypatch.setattr(Path, "read_bytes", lambda path: no_files_left() if "/proc" in str(path) else real(path))
        found = post.watch(300)
        assert [decision.message for decision in found] == [
            "the memory and processor time of the trial cannot be measured (Too many open files): its limits are not "
            "enforced until they can"
        ]
        for measure in (post.dog.use.memory, post.dog.use.cpu_s):
            with pytest.raises(OSError, match="Too many open files"):
                measure()
        monkeypatch.undo()
        assert actions(post.watch(3)) == [], "the time in which it could not be measured does not count as idle"
        assert post.dog.latest is not None and post.dog.latest.tree_bytes > 0


def no_files_left(*_: object, **__: object) -> Any:
    raise OSError(24, "Too many open files")


def test_memory_of_grandchildren_counts(tmp_path: Path) -> None:
    body = (
        "held = subprocess.Popen([sys.executable, '-S', '-c', 'b = bytearray(200 << 20); input()'],"
        " stdin=subprocess.PIPE)\nsay(fact='ready'); time.sleep(60)"
    )
    with at_work(body, tmp_path) as post:
        use = TreeUse(post.dog.child.tree)
        deadline = time.monotonic() + 20
        while use.memory() < 200 * MiB and time.monotonic() < deadline:
            time.sleep(0.02)
        assert use.memory() >= 200 * MiB


@pytest.mark.skipif(sys.platform != "linux", reason="proportional sizes are Linux's")
def test_memory_shared_by_forked_processes_is_counted_once_where_it_matters(tmp_path: Path) -> None:
    body = """
held = bytearray(os.urandom(1 << 20) * 100)
for _ in range(4):
    if os.fork() == 0: time.sleep(60)
say(fact='ready'); time.sleep(60)
"""
    with at_work(body, tmp_path) as post:
        use = TreeUse(post.dog.child.tree)
        assert use.memory() > 400 * MiB
        assert use.memory(exact_above=300 * MiB) < 200 * MiB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_process_is_what_psutil_says_and_of_an_ended_one_nothing() -> None:
    own = psutil.Process()
    assert occupied(own) == pytest.approx(own.memory_info().rss, rel=0.1)
    status = b"Name:\tx\nVmRSS:\t    2048 kB\nVmData:\t 9 kB\nVmSwap:\t    1024 kB\n"
    assert resident_and_swapped(status) == 3 * MiB
    assert resident_and_swapped(b"Name:\tzombie\nState:\tZ\n") == 0


@pytest.mark.skipif(sys.platform == "darwin", reason="elsewhere than on macOS")
def test_without_libproc_there_is_no_footprint() -> None:
    assert physical_footprint(os.getpid()) is None


def test_the_cheap_list_of_kin_is_the_thorough_one(tmp_path: Path) -> None:
    nested = "subprocess.Popen(['sh', '-c', 'sleep 60 & sleep 60 & wait'])\nsay(fact='ready'); time.sleep(60)"
    with at_work(nested, tmp_path) as post:
        pid = post.dog.child.pid
        deadline = time.monotonic() + 20
        while len(descendants(pid)) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert {p.pid for p in fast_descendants(pid)} == {p.pid for p in descendants(pid)}
    assert fast_descendants(pid) == []


def test_looks_come_faster_near_the_limit() -> None:
    assert seconds_to_next_sample(None, 5 * GiB) == 0.5
    assert seconds_to_next_sample(10 * GiB, 5 * GiB) == 0.5
    assert seconds_to_next_sample(10 * GiB, 9 * GiB) == pytest.approx(0.25)
    assert seconds_to_next_sample(10 * GiB, 10 * GiB - 1) == 0.05


def test_memory_that_other_programs_fill_is_told_once_and_again_when_it_comes_back(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, MemoryLimits(available_low=GiB, disk_reserve=None)) as post:
        told = []
        for available in (8 * GiB, GiB // 4, GiB // 4, 8 * GiB, GiB // 4):
            post.feel(temperature=60, available=available)
            told.append(len(post.watch(1)))
        assert told == [0, 1, 0, 0, 1]


def test_a_full_disk_stops_the_trial_once(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, MemoryLimits(disk_reserve=GiB)) as post:
        post.feel(temperature=60, disk_free=1000)
        assert actions(post.watch(4)) == [WatchdogAction.DISK]


# -- progress

PACE = PaceLimits(stall_min_s=30, stall_first_s=60)


def test_a_trial_that_sleeps_without_progress_is_stalled(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, pace=PACE) as post:
        post.watch(20, step_s=0.5)
        assert actions(post.watch(29)) == []
        [decision] = post.watch(30)
        assert (decision.action, decision.cause) == (WatchdogAction.KILL, Cause.STALLED)
        assert "no step for 31 s" in decision.message and "median step takes 0.5 s" in decision.message


def test_a_trial_of_long_steps_has_twenty_of_them_before_it_is_stalled(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, pace=PACE) as post:
        post.watch(20, step_s=4.0)
        assert actions(post.watch(79)) == []
        assert actions(post.watch(2)) == [WatchdogAction.KILL]


def test_a_trial_that_never_starts_is_stalled_later(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, pace=PACE) as post:
        assert actions(post.watch(60)) == []
        [decision] = post.watch(1)
        assert decision.action is WatchdogAction.KILL
        assert "(no step time is known)" in decision.message, "its reports may have no time of a step"


def test_a_trial_that_computes_is_never_stalled(tmp_path: Path) -> None:
    pace = PaceLimits(stall_first_s=60, stall_cpu_percent=0.1)  # the hand's seconds pass in 0.02 real ones
    with at_work(BUSY, tmp_path, pace=pace) as post:
        for _ in range(70):
            time.sleep(0.02)
            assert actions(post.watch(1)) == []


@pytest.mark.parametrize("gap_s", [None, 1.0], ids=["steps", "learned"])
def test_a_trial_that_waits_for_a_core_is_not_stalled(gap_s: float | None) -> None:
    pace = PaceWatch(PaceLimits(), None, gap_s=gap_s)
    pace.start(0.0)
    for second in range(1, 3000):  # of which it gets a two-hundredth, as one of low priority on a crowded machine
        pace.work(1.0, second * 0.005, False, second * 0.99)
        if second < 20:
            pace.progress(0.5)
            pace.reported()
        assert pace.stalled() is None
    for _ in range(100):  # nobody else wants the core, and it does nothing
        pace.work(1.0, 15.0, False, 2969.0)
    assert pace.stalled() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells no waiting")
def test_the_waiting_of_a_tree_is_what_others_took(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    pinned = f"os.sched_setaffinity(0, [{core}])\n{BUSY}"
    with at_work(pinned, tmp_path) as one, at_work(pinned, tmp_path):
        use = one.dog.use
        eventually(lambda: use.waited_s() > 0.05)


def test_frozen_time_is_no_stall(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, pace=PACE) as post:
        post.watch(20, step_s=0.5)
        post.dog.child.freeze()
        assert actions(post.watch(500)) == []
        post.dog.child.thaw()
        assert actions(post.watch(28)) == []
        assert actions(post.watch(15)) == [WatchdogAction.KILL]


def test_a_machine_that_slept_is_told_and_is_no_stall(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, pace=PACE) as post:
        post.watch(20, step_s=0.5)
        post.time.pass_(1.0, asleep_s=36000)
        [told] = post.dog.check()
        assert told.message.startswith("the machine slept 36000 s") and told.action is WatchdogAction.NONE
        assert actions(post.watch(28)) == []


def test_a_worker_that_was_held_up_does_not_blame_the_trial(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, pace=PACE) as post:
        post.watch(20, step_s=0.5)
        post.time.pass_(600)  # the database was locked; nobody looked
        assert actions(post.watch(24)) == []


def test_the_next_trial_of_the_same_process_starts_anew(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, pace=PACE) as post:
        post.watch(20, step_s=0.5)
        post.time.pass_(5000)
        post.dog.begin_trial()
        assert actions(post.watch(60)) == []


# -- slow steps


def test_steps_beyond_three_times_the_shapes_history_are_told_once_with_a_reason(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, usual_step_s=1.0) as post:
        assert post.watch(10, step_s=2.9) == []
        [told] = post.watch(10, step_s=4.0)
        assert told.message.startswith("4.0x slower than usual for this architecture: 4 s a step instead of ")
        assert post.watch(10, step_s=2.5) == []  # still slow, hysteresis
        assert post.watch(10, step_s=1.0) == []
        assert len(post.watch(10, step_s=4.0)) == 1


def test_without_a_history_the_trials_own_first_steps_are_the_measure(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path) as post:
        assert post.watch(30, step_s=1.0) == []
        assert len(post.watch(10, step_s=4.0)) == 1


def test_one_late_step_is_no_event(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, usual_step_s=1.0) as post:
        assert post.watch(5, step_s=1.0) + post.watch(1, step_s=90.0) + post.watch(5, step_s=1.0) == []


def test_a_step_that_contains_a_freeze_is_not_counted(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path, usual_step_s=1.0, pace=PaceLimits(slow_steps=1)) as post:
        post.watch(5, step_s=1.0)
        post.dog.child.freeze()
        post.watch(60)
        post.dog.child.thaw()
        assert post.watch(1, step_s=61.0) == []


@pytest.mark.parametrize(
    ("feeling", "reason"),
    [
        ({"temperature": 80}, "heat: 80 °C"),
        ({"temperature": 60, "thermal_pressure": "nominal", "available": GiB}, "memory pressure: 1.0 GB available"),
        ({"temperature": 60, "cpu_percent": 100}, "other programs use"),
        ({"temperature": 60, "cpu_percent": 10}, "throttling by the system"),
    ],
)
def test_the_likely_reason_of_slow_steps(tmp_path: Path, feeling: dict[str, Any], reason: str) -> None:
    limits = MemoryLimits(available_low=int(0.6 * GiB), swap_growth=None, disk_reserve=None)
    with at_work(SLEEP, tmp_path, limits, usual_step_s=1.0, pace=PaceLimits(slow_steps=3)) as post:
        post.feel(**({"cpu_percent": 10, "available": 20 * GiB} | feeling))
        slow = [told for told in post.watch(6, step_s=9.0) if "slower" in told.message]
        assert len(slow) == 1 and f"likely {reason}" in slow[0].message


# -- heat


def test_a_hot_day_beside_a_real_child(tmp_path: Path) -> None:
    with at_work(BUSY, tmp_path) as post:
        child, seen = post.dog.child, []
        for degrees in (60, 88, 80, 72, 97, 65):
            post.feel(temperature=degrees)
            for decision in post.watch(1):
                seen.append(decision.action)
                if decision.action is WatchdogAction.FREEZE:
                    child.freeze()
                if decision.action is WatchdogAction.THAW:
                    child.thaw()
            if degrees == 80:
                assert eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
        assert seen == [WatchdogAction.FREEZE, WatchdogAction.THAW, WatchdogAction.STOP, WatchdogAction.RESUME]


def test_a_child_that_starts_while_the_guard_is_frozen_is_frozen_too(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path) as post:
        post.dog.guard.step(Reading(at=0, temperature=90))  # an earlier child was frozen, and then stopped by a person
        post.feel(temperature=84)
        assert actions(post.watch(1)) == [WatchdogAction.FREEZE]
        post.dog.child.freeze()
        assert actions(post.watch(2)) == []


def test_a_child_that_was_asked_to_stop_is_not_frozen_any_more(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, lambda *_: None); say(fact='ready'); time.sleep(60)"
    with at_work(body, tmp_path) as post:
        post.dog.child.ask_to_stop()
        assert not post.dog.child.freeze()
        assert psutil.Process(post.dog.child.pid).status() != psutil.STATUS_STOPPED
        post.feel(temperature=90)
        assert len(actions(post.watch(3))) == 1  # told once, not every second


def test_an_unreadable_thermometer_is_told_and_never_normal(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path) as post:
        post.feel(temperature=-1)
        [told] = post.watch(3)
        assert told.state == "unknown" and "temperature unknown" in told.message
        assert post.dog.latest is not None and post.dog.latest.reading.temperature is None


def test_looks_closer_than_a_second_cost_nothing(tmp_path: Path) -> None:
    with at_work(SLEEP, tmp_path) as post:
        post.watch(1)
        before = post.dog.latest
        for _ in range(5):
            post.time.pass_(0.1)
            assert post.dog.check() == []
        assert post.dog.latest is before


def test_a_parameter_with_a_name_of_the_flagship_is_only_a_parameter() -> None:
    """A space with `effective_batch` or `epochs` of texts failed its job."""
    slot: Any = SimpleNamespace(
        _child=object(), _watchdog=SimpleNamespace(begin_trial=lambda *_: None), _announce_trial=lambda *_: None,
        settings=SimpleNamespace(device="cpu", threads=1), _keep_within=lambda _: None,
    )  # fmt: skip
    trial: Any = SimpleNamespace(
        effective={"effective_batch": "large"}, architecture="", device=None, threads=None, job_id=1, number=0
    )
    assert Slot.watch(slot, cast("Any", None), cast("Any", None), trial, None).trial is trial
