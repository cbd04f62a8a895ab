"""A node is not trusted: what it may not send ends its connection, and changes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.api.study import Program
from fts.jobs.executors.base import ExitKind, OrderReceived, Placed, Want
from fts.jobs.executors.choose import executor_of
from fts.jobs.sensors import detect
from fts.jobs.settings import Places, Where, WorkerSettings
from fts.state.db import open_database
from tests.executors.programs import ECHO, ended, facts_until, placed

SPEAKS = """
import sys, time
from pathlib import Path
from fts.jobs.executors.fingerprint import code_md5
from fts.jobs.executors.frames import *
from fts.jobs.executors.frames import MOST_FROM_HEAD
reader, writer = FrameReader(0, MOST_FROM_HEAD), Writer(1, lambda: False)
writer.begin()
writer.send(FrameKind.HELLO, {"host": "n", "code": code_md5(), "fingerprint": "f", "scratch": "/s", "cores": 1})
while (frame := reader.next()) is not None:
    if frame.kind is FrameKind.START:
        writer.send(FrameKind.FACT, {"process": 1, "token": None, "fact": {"fact": "ready"}})
    if frame.kind is FrameKind.ATTEMPT:
        token = frame.meta["token"]
    if frame.kind is FrameKind.RUN:
        BODY
        time.sleep(30)
"""
MD5_OF_A = "0cc175b9c0f1b6a831c399e269772661"


WRONG = {
    "a name outside": ("writer.send(FrameKind.FILE, {'token': token, 'name': '../x', 'size': 1}, b'a')", "the name of"),
    "a file that stays there": (
        "writer.send(FrameKind.FILE, {'token': token, 'name': 'x', 'size': 1, 'md5': 'a' * 32, 'stays': 0})",
        "without a request",
    ),
    "a state that is none": ("writer.send(FrameKind.VITALS, {'guard': 'x'})", "cannot be used: 'x' is not a valid"),
    "bytes that are none": ("writer.send(FrameKind.VITALS, {'tree': 1e999})", "cannot be used: cannot convert"),
    "an action that is none": ("writer.send(FrameKind.DECISION, {'process': 1, 'action': 'x'})", "cannot be used"),
    "an end that is none": ("writer.send(FrameKind.EXIT, {'process': 1, 'whose': 'x'})", "cannot be used"),
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


NEED = "writer.send(FrameKind.NEED, {'files': [md5 for md5, _ in frame.meta['files'].values()]})"
SLOW = (
    f"if frame.kind is FrameKind.DATA:\n        {NEED}\n"
    "    if frame.kind is FrameKind.FILE:\n        time.sleep(0.2)\n    if"
)


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
    live = "writer.send(FrameKind.FACT, {'process': 1, 'token': token, 'fact': {'fact': 'live'}})"
    body = f"writer.send(FrameKind.VITALS, {vitals % repr('1-dead')}); {live}; frame = reader.next();"
    body += f"writer.send(FrameKind.VITALS, {vitals % 'token'}); {live}"

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
        f"writer.send(FrameKind.FILE, {late}, b'a');"
        "writer.send(FrameKind.FILES, {'token': '1-dead', 'whole': True, 'gone': []});"
        "writer.send(FrameKind.FACT, {'process': 1, 'token': '1-dead', 'fact': {'fact': 'late'}});"
        "writer.send(FrameKind.FACT, {'process': 0, 'token': token, 'fact': {'fact': 'late'}});"
        "writer.send(FrameKind.EXIT, {'process': 0, 'code': 0, 'whose': 'trial'});"
        "writer.send(FrameKind.FACT, {'process': 1, 'token': token, 'fact': {'fact': 'live'}})"
    )

    def look(child: Placed, home: Path) -> None:
        assert facts_until(child, "live") == [{"fact": "live"}]
        assert child.poll() is None and list(home.rglob("*")) == []

    faked(tmp_path, body, look)
