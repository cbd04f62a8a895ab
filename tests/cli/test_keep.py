"""Export, backup, restore, gc and doctor on real files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fts.jobs.api.spec import trial_folder
from fts.jobs.maintenance import doctor
from fts.jobs.records import earlier_exports, exports
from fts.state import queries, transitions
from fts.state.backup import backup
from fts.state.db import Database
from fts.state.slot_lock import SlotLock
from tests.cli.study import add_epoch, claim, finished_cell, make_study, places_of, start_trial
from tests.fts_process import Study
from tests.namespaces import IN_NAMESPACE, can_mount


def test_exports_agree_with_the_database(fts, db: Database, tmp_path: Path):
    finished_cell(db)
    said = fts("export", "--all")
    assert said.code == 0
    best = json.loads((places_of(tmp_path).exports / "phase6a_2M_h1_threshold_1pct" / "best_params.json").read_text())
    assert best["best_value"] == queries.job(db, 1).best_value
    assert places_of(tmp_path).results_csv.read_text().count("\n") == 2


@pytest.mark.parametrize("options", [["--all"], ["--optuna", "sqlite:///x.db"], ["--parquet", "x"]])
def test_an_export_of_every_cell_takes_no_names(fts, db: Database, tmp_path: Path, monkeypatch, options: list[str]):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    said = fts("export", "2M/h1", *options)
    assert said.code == 2 and f"{options[0]} exports every cell; leave out 2M/h1" in said.err
    assert sorted(tmp_path.rglob("*")) == before


def test_exports_of_an_earlier_database_go_aside_and_its_own_stay(fts, db: Database, tmp_path: Path):
    """Somebody removed the database and began anew: what it had exported is all that is left of it."""
    places = places_of(tmp_path)
    name = "phase6a_2M_h1_threshold_1pct"
    finished_cell(db, 0.4)
    assert fts("export", "--all").code == 0
    first = (places.exports / name / "best_params.json").read_text()
    assert fts("export", "--all").err == "" and (places.exports / name / "best_params.json").read_text() == first
    assert earlier_exports.move_aside(db, places) is None
    db.close()
    for path in places.outputs.glob("fts.db*"):
        path.unlink()
    anew = make_study(tmp_path, another=True)
    finished_cell(anew, 0.6)
    said = fts("export", "--all")
    (aside,) = places.outputs.glob("replaced-*")
    assert said.code == 0 and str(aside) in said.err
    assert (aside / "hpo" / name / "best_params.json").read_text() == first
    assert (aside / places.results_csv.name).read_text().count("\n") == 2
    assert json.loads((places.exports / name / "best_params.json").read_text())["best_value"] == 0.6
    assert earlier_exports.move_aside(anew, places) is None, "once"
    anew.close()


def test_a_start_exports_what_the_table_lacks_whatever_the_clock_was_set_to(fts, db: Database, tmp_path: Path):
    places = places_of(tmp_path)
    exports.export_results(db, places)
    tomorrow = time.time() + 86_400  # the table was written before the clock was set back
    os.utime(places.results_csv, (tomorrow, tomorrow))
    finished_cell(db)
    exports.catch_up(db, places)
    assert places.results_csv.read_text().count("\n") == 2
    assert (places.exports / "phase6a_2M_h1_threshold_1pct" / "best_params.json").exists()
    before = places.results_csv.stat().st_mtime_ns
    exports.catch_up(db, places)
    assert places.results_csv.stat().st_mtime_ns == before


def test_a_backup_is_put_back_and_the_former_file_kept(fts, db: Database, tmp_path: Path):
    assert fts("backup").code == 0
    transitions.cancel(db, [1])
    db.close()
    assert fts("restore").code == 2  # nobody can be asked, and nobody said -y
    said = fts("restore", "-y")
    assert json.loads(fts("queue", "--json", "1").out)["jobs"][0]["status"] == "queued"
    (kept,) = places_of(tmp_path).outputs.glob("fts.db.replaced-*[0-9]")
    assert said.code == 0 and said.err == f"the former database is {kept}\n"


def test_a_backup_of_another_study_is_named_as_one(fts, db: Database, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = make_study(tmp_path / "other", another=True)
    copy = backup(other)
    other.close()
    db.close()
    said = fts("restore", str(copy), "-y")
    assert said.code == 0 and said.err.startswith(f"{copy} is the backup of another study"), said
    assert "another study" not in fts("restore", str(copy), "-y").err


def test_nothing_is_restored_under_a_living_worker_even_when_the_database_cannot_name_it(
    fts, db: Database, tmp_path: Path
):
    assert fts("backup").code == 0
    db.close()
    damaged = b"garbage" * 1000
    places_of(tmp_path).db.write_bytes(damaged)
    with SlotLock(places_of(tmp_path).outputs, 1):
        said = fts("restore", "-y")
    assert said.code == 1 and f"process {os.getpid()}" in said.err and "stop it first" in said.err
    assert places_of(tmp_path).db.read_bytes() == damaged
    assert fts("restore", "-y").code == 0


def checkpoint_of(tmp_path: Path, job: int, number: int) -> Path:
    folder = trial_folder(places_of(tmp_path).outputs, "phase6a_2M_h1_threshold_1pct", job, number)
    (folder / "checkpoint" / "checkpoint-000001").mkdir(parents=True)
    (folder / "checkpoint" / "checkpoint-000001" / "state.json").write_bytes(b"x" * 1000)
    (folder / "best.safetensors").write_bytes(b"x" * 500)
    return folder


def test_gc_frees_checkpoints_of_ended_trials_and_keeps_what_goes_on(fts, db: Database, tmp_path: Path):
    claimed = claim(db)
    trial = start_trial(db, claimed)
    add_epoch(db, claimed, trial, 1, 0.5)
    folder = checkpoint_of(tmp_path, 1, 0)
    assert "nothing to free" in fts("gc").err
    transitions.finish_trial(db, claimed, trial, "complete", "finished", value=0.5, best_epoch=1)
    running = start_trial(db, claimed, 1)
    live = checkpoint_of(tmp_path, 1, 1)
    assert running and json.loads(fts("gc", "-n", "--json").out)["gc"]["bytes"] == 1000
    assert (folder / "checkpoint").exists()
    assert fts("gc").code == 0
    assert not (folder / "checkpoint").exists() and (folder / "best.safetensors").exists()
    assert (live / "checkpoint").exists()


@pytest.mark.skipif(not can_mount(), reason="no user and mount namespaces here")
def test_gc_says_what_a_read_only_disk_keeps(fts, db: Database, tmp_path: Path):
    claimed = claim(db)
    trial = start_trial(db, claimed)
    add_epoch(db, claimed, trial, 1, 0.5)
    folder = checkpoint_of(tmp_path, 1, 0)
    transitions.finish_trial(db, claimed, trial, "complete", "finished", value=0.5, best_epoch=1)
    trials = places_of(tmp_path).outputs / "trials"
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -m fts.jobs.cli --db "$3" gc -y'
    done = subprocess.run(
        [*IN_NAMESPACE, "sh", "-c", script, "sh", trials, sys.executable, places_of(tmp_path).db],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "1 file or folder could not be removed" in done.stderr and "read-only" in done.stderr
    assert (folder / "checkpoint").exists()


def test_gc_takes_old_drafts_but_not_somebodys_write_of_this_moment(fts, db: Database, tmp_path: Path):
    exports = places_of(tmp_path).exports
    exports.mkdir()
    old, fresh = exports / ".best_params.json.1.part", exports / ".best_params.json.2.part"
    download = exports / ".model.bin.part"  # of a person
    for path in (old, fresh, download):
        path.write_text("{")
    for path in (old, download):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert fts("gc").code == 0
    assert not old.exists() and fresh.exists() and download.exists()


def test_gc_takes_the_half_copy_of_a_killed_backup(fts, db: Database, tmp_path: Path):
    backups = places_of(tmp_path).backups
    backups.mkdir()
    old, fresh = backups / "fts-20260101-000000.part", backups / "fts-20260102-000000.part"
    beside = [old.with_name(f"{old.name}{end}") for end in ("-journal", "-wal", "-shm")]
    for path in (old, *beside, fresh, backups / "fts-20260101-000000.db"):
        path.write_bytes(b"half")
        os.utime(path, (0, 0) if path != fresh else None)
    assert fts("gc", "-y").code == 0
    assert sorted(path.name for path in backups.iterdir()) == ["fts-20260101-000000.db", fresh.name]


def test_gc_does_not_follow_a_link_out_of_the_outputs(fts, db: Database, tmp_path: Path):
    finished_cell(db)
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "thesis").write_text("x")
    folder = trial_folder(places_of(tmp_path).outputs, "phase6a_2M_h1_threshold_1pct", 1, 0)
    folder.mkdir(parents=True)
    (folder / "checkpoint").symlink_to(outside)
    fts("gc")
    assert (outside / "thesis").exists()


def test_doctor_finds_a_dead_worker_and_fix_puts_its_job_back(fts, db: Database):
    worker = transitions.register_worker(db, os.uname().nodename, 2**22 + 7, 1.0, 1)
    assert transitions.claim(db, worker, 60.0) is not None
    said = fts("doctor", "--json")
    found = [f for f in json.loads(said.out)["findings"] if f["name"] == "worker"]
    assert found[0]["state"] == "warn" and "died without stopping properly" in found[0]["text"]
    fts("doctor", "--fix")
    assert str(queries.job(db, 1).status) == "queued"


def test_doctor_names_orphan_folders_and_never_calls_the_unknown_well(db: Database, tmp_path: Path, monkeypatch):
    (places_of(tmp_path).outputs / "trials" / "00099_of_another_study").mkdir(parents=True)
    monkeypatch.setenv("FTS_SENSORS", "none")
    (places_of(tmp_path).outputs / "trials" / ".DS_Store").touch()  # by the Finder of macOS
    found = doctor.examine(places_of(tmp_path))
    assert any("00099_of_another_study in" in finding.text for finding in found)
    assert next(f for f in found if f.name == "temperature").state == "unknown"
    assert {finding.state for finding in found} <= {"ok", "warn", "bad", "unknown"}


def test_an_installed_study_that_cannot_be_loaded_stops_no_other_study(tmp_path: Path):
    """Its own code may fail at import, and in the checks that doctor runs."""
    study, site = Study(tmp_path / "study", starts=True), tmp_path / "site"
    folder = site / "broken-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[fts.studies]\nbroken = broken:S\nrough = rough:S\n")
    (site / "broken.py").write_text("raise RuntimeError('it is broken')\n")
    (site / "rough.py").write_text(
        "from fts.jobs.api.study import Study\n"
        "class S(Study):\n    def checks(self, places):\n        raise KeyError('x')\n"
    )
    study.environ["PYTHONPATH"] += f":{site}"
    (study.folder / "train.py").write_text("def objective(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    for words in (
        "--help",
        "enqueue train.py:objective --trials 1",
        "worker --until-empty",
        "results",
        "enqueue --help",
    ):
        said = study.fts(*words.split())
        assert said.code == 0 and "broken" not in said.err, said
    found = {one["text"]: one["state"] for one in json.loads(study.fts("doctor", "--json").out)["findings"]}
    assert found["the study 'broken' cannot be loaded from broken:S: it is broken"] == "warn"
    assert "`fts doctor` says why" in study.fts("brokn").err
    elsewhere = Study(tmp_path / "empty", starts=True, PYTHONPATH=study.environ["PYTHONPATH"])
    found = {one["text"]: one["state"] for one in json.loads(elsewhere.fts("doctor", "--json").out)["findings"]}
    assert found["the checks of the study rough failed: KeyError: 'x'"] == "bad"


def test_a_gpu_that_reports_no_memory_has_no_dash_in_its_sentence(tmp_path: Path, monkeypatch):
    (tmp_path / "sensors").write_text("gpu_percent=50")  # as on a Mac
    monkeypatch.setenv("FTS_SENSORS", f"file:{tmp_path / 'sensors'}")
    (found,) = [one for one in doctor.sensed(places_of(tmp_path)) if one.name == "gpu"]
    assert (found.state, found.text) == ("ok", "50 % busy")


def test_doctor_says_that_a_damaged_database_is_bad(fts, tmp_path: Path):
    path = places_of(tmp_path).db
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1000)
    said = fts("doctor")
    assert said.code == 1 and "damaged" in said.out


def test_a_query_that_the_disk_fails_is_not_called_a_wrong_one(fts, db: Database, tmp_path: Path):
    assert fts("db", "query", "select locked from job").code == 2
    path = places_of(tmp_path).db
    db.close()
    path.write_bytes(path.read_bytes()[:4096] + b"x" * 8192)
    said = fts("db", "query", "select * from event")
    assert said.code == 1 and "is damaged" in said.err


def test_a_report_that_cannot_lie_here_is_told_of_another_place(fts, db: Database, tmp_path: Path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "index.html")

    monkeypatch.setattr("fts.study.report_data.make_report", refuse)
    said = fts("report")
    assert said.code == 1 and "--out DIR writes the report elsewhere" in said.err
