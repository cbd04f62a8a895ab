"""Offline runs of Weights & Biases, read back from their files; an upload needs an account."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.mirrors.follow import Mirror
from fts.state import transitions
from tests.mirrors.made import Made, end, everything, report

pytest.importorskip("wandb", reason="wandb is not installed: `pip install wandb`")
pytestmark = pytest.mark.slow  # a process of the library, and two seconds to load it

BLOCK, HEAD = 32768, 7  # of the log that wandb writes


def mirror(folder: Path) -> Mirror:
    from fts.jobs.mirrors.wandb import Wandb

    return Mirror(Wandb(folder), everything)


def records(path: Path) -> Iterator[Any]:
    """What a .wandb file holds: a log in blocks, of records that may have several parts."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = path.read_bytes(), HEAD, b""
    while at + HEAD <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEAD:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        whole = (whole if kind in (3, 4) else b"") + content[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if kind in (1, 4):
            yield Record.FromString(whole)


def shown(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        run: dict[str, Any] = {"steps": [], "folder": path.parent.name}
        name = ""
        for record in records(path):
            if record.HasField("run"):
                name = record.run.display_name
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                run |= {"project": record.run.project, "group": record.run.run_group, "tags": list(record.run.tags)}
                run |= {"params": {key: value for key, value in config.items() if key != "_wandb"}}
            if record.HasField("history"):
                items = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
                run["steps"].append((record.history.step.num or items["_step"], items))
            if record.HasField("summary"):
                for item in record.summary.update:
                    run.setdefault("summary", {})["/".join([item.key, *item.nested_key]).strip("/")] = item.value_json
            if record.HasField("exit"):
                run["exit"] = record.exit.exit_code
        assert name not in found, "nothing is doubled"
        for _, items in run["steps"]:
            items.pop("_runtime")  # of the copy
        run["summary"] = {key: value for key, value in run["summary"].items() if "runtime" not in key}
        found[name] = run
    return found


def test_ended_trials_are_runs_with_their_curves_and_a_new_one_comes_when_it_ends(made: Made, tmp_path: Path) -> None:
    db, claimed, live = made
    following = mirror(tmp_path)
    assert following.bring_up_to_date(db).written == 4
    found = shown(tmp_path)
    assert sorted(found) == [f"mnist/S t{n}" for n in range(4)]
    best, failed, pruned = (found[f"mnist/S t{n}"] for n in (1, 2, 3))
    assert best["params"] == {"lr": 1e-4, "optimizer": "sgd", "momentum": 0.5, "data": "mnist", "size": "S"}
    assert (best["project"], best["group"], best["tags"]) == ("train", "train_mnist_S", ["complete"])
    assert (failed["exit"], failed["tags"], best["exit"], pruned["exit"]) == (1, ["failed"], 0, 0)
    assert [step for step, _ in pruned["steps"]] == [0, 1, 2, 3]
    assert [items["acc"] for _, items in pruned["steps"]] == [0.1 + 0.7 * n / 9 for n in range(4)]
    reported = db.execute_sql("SELECT at FROM epoch WHERE trial_id = 2 ORDER BY epoch").fetchall()
    assert [items["_timestamp"] for _, items in best["steps"]] == [pytest.approx(at, abs=1e-3) for (at,) in reported]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "wandb").rglob("*") if path.is_file()}
    report(db, claimed, live, 5, 9)
    transitions.record_epoch(db, claimed, live, {"epoch": 9, "value": 0.5, "metrics": {"_step": 7.0}})
    end(db, claimed, live)
    assert following.bring_up_to_date(db).written == 1 and mirror(tmp_path).bring_up_to_date(db).written == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was there is untouched"
    steps = shown(tmp_path)["mnist/S t4"]["steps"]
    assert [step for step, _ in steps] == list(range(10)) and steps[-1][1]["metrics/_step"] == 7


def test_wandb_itself_finds_every_run_to_upload(made: Made, tmp_path: Path) -> None:
    mirror(tmp_path).bring_up_to_date(made[0])
    words = [sys.executable, "-m", "wandb", "sync", "--dry-run"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")} | {
        "HOME": str(tmp_path)
    }
    said = subprocess.run(words, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120, check=True)
    assert "Would sync 4 run(s)" in said.stderr + said.stdout, said


def test_what_a_kill_left_is_swept_and_what_changed_is_replaced(made: Made, tmp_path: Path) -> None:
    db, _, _ = made
    mirror(tmp_path).bring_up_to_date(db)
    names = {name: run["folder"] for name, run in shown(tmp_path).items()}
    folders = [tmp_path / "wandb" / names[f"mnist/S t{n}"] for n in (0, 1, 3)]
    shutil.rmtree(folders[0])
    (folders[1] / "fts.json").unlink()
    draft = tmp_path / "wandb" / ".offline-run-1.0123456789ab.part"
    (draft / "wandb").mkdir(parents=True)
    (folders[2] / f"{next(folders[2].glob('*.wandb')).name}.synced").touch()
    db.execute_sql("UPDATE trial SET badges = '[\"drifted\"]' WHERE number = 3")
    with db.atomic():
        db.execute_sql("DELETE FROM draw WHERE trial_id = 3")
        db.execute_sql("DELETE FROM attempt WHERE trial_id = 3")
        db.execute_sql("DELETE FROM trial WHERE id = 3")
    done = mirror(tmp_path).bring_up_to_date(db)
    assert done.removed == 1 and not draft.exists()
    mirror(tmp_path / "fresh").bring_up_to_date(db)
    assert shown(tmp_path) == shown(tmp_path / "fresh")
