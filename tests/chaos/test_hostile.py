"""Whoever can write the database or the outputs folder can neither run code in a worker nor make it write elsewhere."""

from __future__ import annotations

import json
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fts.state import queries
from fts.state.db import open_database
from tests.chaos import study
from tests.chaos.harness import Harness, until
from tests.chaos.test_stopped import jobs, recorded_epochs


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


def test_hostile_tickets_are_put_aside_and_the_worker_lives_on(
    make_harness: Callable[..., Harness], undisturbed_small: Any, tmp_path: Path
) -> None:
    harness, canary = make_harness(trials=2), tmp_path / "canary"
    rows = [
        pickle.dumps(Bomb(canary)), b"\x00" * 1000, b"{}", b"[" * 100_000, b'{"task": "os.system"}',
        b'{"task": "look", "args": ["x"]}', "a text, not bytes",
    ]  # fmt: skip
    with sqlite3.connect(harness.places.db) as connection:
        connection.executemany(
            "INSERT INTO huey_task (queue, data, priority) VALUES ('fts', ?, 9)", [(r,) for r in rows]
        )
        connection.execute(
            "INSERT INTO huey_kv (queue, key, value) VALUES ('fts', 'k', ?)", (pickle.dumps(Bomb(canary)),)
        )
    connection.close()
    harness.finish()
    assert not canary.exists()
    with sqlite3.connect(harness.places.db) as connection:
        assert connection.execute("SELECT COUNT(*) FROM huey_quarantine").fetchone()[0] == len(rows)
    connection.close()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


def test_hostile_job_rows_fail_and_write_nothing_outside_outputs(
    make_harness: Callable[..., Harness], tmp_path: Path
) -> None:
    harness = make_harness(trials=2)
    good = json.dumps(jobs(harness)[0].spec)
    evil = json.dumps(json.loads(good) | {"experiment": "../../../evil"})
    put_in_line(harness, "../../../../evil", good)
    put_in_line(harness, "\x1b]52;c;ZXZpbA==\x07[@click=app.quit]", good)
    put_in_line(harness, "evil_spec", evil)
    put_in_line(harness, "other_name", good)
    put_in_line(harness, "huge", json.dumps(json.loads(good) | {"split": {"x": "y" * 300_000}}))
    put_in_line(harness, "endless", json.dumps(json.loads(good) | {"trials": 10**12}))
    put_in_line(harness, "no_object", "[1, 2]")
    put_in_line(harness, "elsewhere", json.dumps(json.loads(good) | {"data_md5": "../" * 10 + "0" * 2}))
    before = outside(tmp_path, harness)
    harness.finish()
    db = open_database(harness.places.db, readonly=True)
    statuses = {job.experiment: str(job.status) for job in queries.jobs(db)}
    db.close()
    assert sorted(statuses.values()) == ["done"] * 2 + ["failed"] * 8, statuses
    new = set(outside(tmp_path, harness)) - set(before)  # what goes is an earlier test's, whose database closes late
    assert not new
    assert not list(tmp_path.rglob("*evil*"))
    text = harness.places.results_csv.read_text()
    assert "\x1b" not in text


def put_in_line(harness: Harness, experiment: str, spec: str) -> None:
    """A row as somebody with a database shell writes it: past every check of ours."""
    with sqlite3.connect(harness.places.db) as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute(
            "INSERT INTO job (experiment, kind, study, cell, labels, metric, direction, status, rank, trials_wanted,"
            " spec, spec_md5, trials_complete, trials_pruned, trials_failed, attempt, idle_attempts, token, created_at)"
            " SELECT ?, kind, study, cell, labels, metric, direction, 'queued', -rank, trials_wanted,"
            " ?, ?, 0, 0, 0, 0, 0, 0, created_at FROM job WHERE id = 1",
            (experiment, spec, experiment),
        )
    connection.close()


def outside(root: Path, harness: Harness) -> list[Path]:
    """Everything around the study that is not its outputs."""
    mine = (harness.places.outputs, harness.folder / "worker.log", harness.journal)
    return [p for p in sorted(root.parent.rglob("*")) if not any(p.is_relative_to(own) for own in mine)]


def test_a_hostile_checkpoint_is_passed_over(
    make_harness: Callable[..., Harness], undisturbed_small: Any, tmp_path: Path
) -> None:
    harness, canary = make_harness(trials=2), tmp_path / "canary"
    worker = harness.start()
    until(lambda: recorded_epochs(harness) >= 3)
    worker.kill()
    until(lambda: not harness.trial_processes())
    [newest] = sorted(harness.places.outputs.glob("trials/*/*/checkpoint/checkpoint-*"))[-1:]
    bomb = pickle.dumps(Bomb(canary))
    for shard in newest.glob("*.safetensors"):
        shard.write_bytes(bomb)
    planted = newest.with_name("checkpoint-999998")
    planted.mkdir()
    (planted / "state.json").write_bytes(bomb)
    (planted / "manifest.json").write_text(json.dumps({"../../../../../../evil": {"md5": "0", "bytes": 1}}))
    harness.finish()
    assert not canary.exists()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None
