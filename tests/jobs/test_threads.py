"""Threads that must live as long as their process: an error of one pass does not end them."""

from __future__ import annotations

import ast
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fts.jobs.executors.agent import Agent
from fts.jobs.executors.command import CommandExecutor
from fts.jobs.notify import keeper
from fts.jobs.sensors import macos
from fts.jobs.threads import repeat
from fts.jobs.watchdog.policy import MemoryLimits
from fts.jobs.watchdog.watchdog import MemoryWatch
from fts.jobs.worker import worker
from tests.test_layout import modules


def test_a_repeated_step_goes_on_after_any_error_and_logs_each_different_one_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = [
        OSError(24, "Too many open files"),
        OSError(24, "Too many open files"),
        ValueError("bad"),
        None,
        KeyError(1),
    ]
    calls = []

    def step() -> float | None:
        calls.append(1)
        if len(calls) > len(errors):
            return None
        if (error := errors[len(calls) - 1]) is not None:
            raise error
        return 0.0

    with caplog.at_level(logging.WARNING):
        repeat(step, threading.Event(), "this work", 0.0)
    assert len(calls) == 6
    said = [(record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    assert said == [
        ("this work: [Errno 24] Too many open files", False),
        ("this work: bad", True),
        ("this work: 1", True),
    ]


def test_a_repeated_step_ends_with_its_event() -> None:
    over = threading.Event()
    thread = threading.Thread(target=repeat, args=(lambda: 60.0, over, "this work"))
    thread.start()
    over.set()
    thread.join(60)
    assert not thread.is_alive()


# thread -> (how it runs for a test, given a function that fails once and then ends the loop)
def of_memory(failing: Callable[[], Any], over: threading.Event, patch: pytest.MonkeyPatch) -> None:
    child: Any = SimpleNamespace(pid=1, poll=lambda: None, kill=over.set)
    use: Any = SimpleNamespace(memory=lambda above: failing() or 2)
    watch = MemoryWatch(child, MemoryLimits(soft=None, hard=1), use)
    watch.start()
    assert over.wait(60), "the limit is enforced after the error"
    watch.close()


def of_the_notifier(failing: Callable[[], Any], over: threading.Event, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keeper, "LOOK_EVERY_S", 0.01)
    one = keeper.Keeper.__new__(keeper.Keeper)
    one._over = over
    patch.setattr(one, "_look", failing, raising=False)
    one._keep()


def of_the_mac(failing: Callable[[], Any], over: threading.Event, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(macos, "ask_all", lambda powermetrics: failing() or {})
    patch.setattr(macos, "may_run_powermetrics", lambda: False)
    one = macos.MacPart.__new__(macos.MacPart)
    one._every_s, one._closing = 0.01, over
    one._ask_on()


def of_heartbeats_to_agents(failing: Callable[[], Any], over: threading.Event, patch: pytest.MonkeyPatch) -> None:
    one: Any = CommandExecutor.__new__(CommandExecutor)
    one._over, one._every_s = over, 0.01
    one.slots = [SimpleNamespace(channel=SimpleNamespace(beat=failing))]
    one._keep_beating()


def of_node_rows(failing: Callable[[], Any], over: threading.Event, patch: pytest.MonkeyPatch) -> None:
    one: Any = CommandExecutor.__new__(CommandExecutor)
    one._over, one._every_s, one._drained = over, 0.01, frozenset()
    one.rows = SimpleNamespace(refresh=lambda drained, due: failing())
    one._keep_rows()


def of_an_agent(failing: Callable[[], Any], over: threading.Event, patch: pytest.MonkeyPatch) -> None:
    one: Any = Agent.__new__(Agent)
    one.lease_s, one._blocked_until, one.disconnected = 0.1, float("inf"), ""
    one.reader, one.inbox = SimpleNamespace(heard=float("inf")), SimpleNamespace(full=lambda: False)

    def beat() -> None:
        failing()
        one.disconnected = "over" if over.is_set() else ""

    one._beat = beat
    one._watch_silence()


def of_housekeeping(failing: Callable[[], Any], over: threading.Event, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker, "AGAIN_S", 0.01)
    patch.setattr(worker, "Maintenance", lambda db, places: SimpleNamespace(look=failing))
    one: Any = worker.Worker.__new__(worker.Worker)
    one.db = one.places = None
    one.owed, one.heartbeat, one._has_caught_up = (), SimpleNamespace(over=over), threading.Event()
    one._keep_house()


THREADS = [of_memory, of_the_notifier, of_the_mac, of_heartbeats_to_agents, of_node_rows, of_an_agent, of_housekeeping]


@pytest.mark.parametrize("runs", THREADS)
def test_the_thread_goes_on_after_an_error_that_nobody_expected(
    runs: Callable[[Callable[[], Any], threading.Event, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, over = [], threading.Event()

    def fails_twice() -> None:
        calls.append(1)
        if len(calls) <= 2:
            raise RuntimeError(f"error {len(calls)}")
        if runs is not of_memory:
            over.set()

    runs(fails_twice, over, monkeypatch)
    assert len(calls) == 3


# functions with a loop that a thread runs without `repeat` -> why an error of one pass may end it
MAY_END = {
    "fts.jobs.executors.channel:_read": "ends the connection",
    "fts.jobs.executors.agent:_read": "ends the connection",
    "fts.jobs.executors.ray_slot:_down": "the agent leaves when it hears nothing",
    "fts.jobs.trial.process:_read": "SIGTERM follows the order that nobody reads",
    "fts.jobs.worker.heartbeat:run": "stops the worker at a checkpoint",
    "fts.jobs.worker.worker:_work_in": "releases the job",
    "fts.jobs.executors.channel:_kill": "runs once",
    "fts.jobs.supervisor.study_calls:_run": "the slot leaves a question whose thread has ended",
    "fts.jobs.supervisor.declared_wants:_answer_all": "the next look asks the study again",
}


def test_every_thread_with_a_loop_repeats_or_says_why_not() -> None:
    found, wrong = 0, []
    for name, path in modules():
        tree = ast.parse(path.read_text())
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).split(".")[-1] != "Thread":
                continue
            found += 1
            target = next(ast.unparse(word.value) for word in call.keywords if word.arg == "target").split(".")[-1]
            body = functions.get(target)
            targets = [body] if body else [functions[each] for each in named_in_loops(tree, functions, call)]
            for each in targets:
                loops = any(isinstance(node, ast.While) for node in ast.walk(each))
                if loops and name.startswith("fts.jobs") and f"{name}:{each.name}" not in MAY_END:
                    wrong.append(f"{name}:{each.name}")
    assert found > 10 and wrong == []


def named_in_loops(tree: ast.AST, functions: dict[str, Any], call: ast.Call) -> list[str]:
    """Returns the functions of `for work in (self._a, self._b)` around a thread's start."""
    for node in ast.walk(tree):
        sources = [node.iter] if isinstance(node, ast.For) else [one.iter for one in getattr(node, "generators", ())]
        if any(call is inner for inner in ast.walk(node)):
            for source in sources:
                if isinstance(source, ast.Tuple):
                    return [name for item in source.elts if (name := ast.unparse(item).split(".")[-1]) in functions]
    return []


def test_the_list_of_threads_that_may_end_is_current() -> None:
    files = dict(modules())
    for one in MAY_END:
        name, _, function = one.partition(":")
        assert f"def {function}(" in Path(files[name]).read_text(), one
