"""Offline runs of Weights & Biases, read back from their files; an upload needs an account."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.mirrors import wandb as ours
from fts.jobs.mirrors.follow import CannotMirror, Mirror
from fts.jobs.mirrors.wandb import records
from fts.state import transitions
from tests.fts_process import wait_until
from tests.mirrors.made import Made, end, everything, report

pytest.importorskip("wandb", reason="wandb is not installed: `pip install wandb`")
pytestmark = pytest.mark.slow  # a process of the library, and two seconds to load it


def mirror(folder: Path) -> Mirror:
    from fts.jobs.mirrors.wandb import Wandb

    return Mirror(Wandb(folder), everything)


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


def test_a_run_that_a_full_disk_cut_off_is_an_error_and_comes_with_the_next_pass(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """wandb's own process writes the file, and says nothing of a disk without room."""
    from fts.jobs.mirrors.wandb import Wandb

    begin, kept = Wandb._begin, 0

    def cut_off(self: Wandb, run: Any, draft: Path) -> Any:
        begun = begin(self, run, draft)
        finish = begun.finish

        def finished(**words: Any) -> None:
            finish(**words)
            (file,) = draft.glob("wandb/offline-run-*/*.wandb")
            wait_until(lambda: any(record.HasField("exit") for record in records(file)))
            os.truncate(file, kept)

        begun.finish = finished
        return begun

    for kept in (0, 100, 1000):  # noqa: B007  # `finished` reads it
        with monkeypatch.context() as patched:
            patched.setattr(Wandb, "_begin", cut_off)
            patched.setattr(ours, "WRITES_WITHIN_S", 0.1)
            with pytest.raises(CannotMirror, match=r"did not write all of .* free space"):
                mirror(tmp_path).bring_up_to_date(made[0])
        assert not list(tmp_path.glob("wandb/*"))
    assert mirror(tmp_path).bring_up_to_date(made[0]).written == 4 == len(shown(tmp_path))


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
