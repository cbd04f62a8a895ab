"""Trial processes of a few lines, what they tell, and nodes of one machine to run them on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from fts.jobs.api.study import Program
from fts.jobs.executors.base import Executor, Placed, Want
from fts.jobs.executors.choose import executor_of
from fts.jobs.sensors import detect
from fts.jobs.settings import Places, Where, WorkerSettings
from fts.jobs.supervisor.slot import Slot
from fts.state.db import open_database
from tests.executors.crew import NODE

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


def placed(executor: Executor, body: str) -> tuple[Slot, Placed]:
    slot = executor.slots[0]
    assert slot.find(Want(), lambda: False, lambda _: None)
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


def nodes_of(tmp_path: Path, nodes: str, slots: int = 1, lease_s: float = 5.0) -> Executor:
    """Of node.py, which does as files in the folder say."""
    launch = f"{sys.executable} {NODE} {tmp_path} {{name}} {{agent}}"
    settings = WorkerSettings(slots, where=Where("ssh", launch, nodes), node_lease_s=lease_s, stop_grace_s=1.0)
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    return executor_of(places, settings, open_database(places.db), detect.from_env(tmp_path, {"FTS_SENSORS": "none"}))
