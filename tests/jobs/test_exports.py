"""Exports mirror the database at a cost that does not grow, and none of them decides over a job."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fts.jobs.records import exports, frames
from fts.jobs.records.code_version import _git
from fts.jobs.records.exports import (
    catch_up,
    export_all,
    export_job,
    export_results,
    export_trials,
    exporting,
    written,
)
from fts.jobs.records.optuna import _fill
from fts.jobs.records.pending_exports import PendingExports
from fts.jobs.records.results_cache import RowCache
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.status import formatting
from fts.jobs.supervisor.job_runner import JobRunner
from fts.jobs.supervisor.machine_errors import is_disk_trouble
from fts.jobs.worker.console import Console
from fts.jobs.worker.startup import clean_up_after_dead_workers
from fts.jobs.worker.worker import Worker
from fts.state import queries, transitions
from fts.state.db import Database
from fts.state.files import CannotWrite
from fts.state.values import WorkerOrder
from tests.cli.study import claim, finish_trial, finished_cell, make_study, places_of, start_trial
from tests.fts_process import wait_until
from tests.jobs.many import multiply_trials

CELL = "phase6a_2M_h1_threshold_1pct"


@pytest.fixture
def study(tmp_path: Path) -> Any:
    db = make_study(tmp_path)
    yield db, places_of(tmp_path)
    db.close()


def test_asking_for_the_version_of_the_code_takes_no_lock_of_git(tmp_path: Path) -> None:
    """A worker that was killed in it left .git/index.lock behind, at which every later git command ends."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    file, index = tmp_path / "code.py", tmp_path / ".git" / "index"
    file.write_text("1")
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)
    os.utime(file, (0, 0))  # what the index says of it is old: a status would write it anew
    before = index.read_bytes()
    assert "code.py" in (_git(tmp_path, "status", "--porcelain") or "")
    assert index.read_bytes() == before


def large(study: tuple[Database, Places], count: int) -> Any:
    """A running job of so many trials, its exports written; the last number is the trial that has just ended."""
    db, places = study
    claimed = claim(db)
    finish_trial(db, claimed, start_trial(db, claimed), 0.5)
    multiply_trials(db, claimed.job_id, count)
    export_job(db, places, claimed.job)
    return claimed


def fresh(places: Places) -> Path:
    path = places.exports / CELL / f"{CELL}_all_trials.json"
    os.utime(path)  # written this moment, however long the machine took since
    return path


def cost_of(db: Database, act: Callable[[], object]) -> tuple[int, int]:
    """(rows read, bytes written) of an act."""
    written: list[int] = []
    rows: list[int] = []
    real_write, real_rows = exports.atomic_write, Database.rows

    def counted_write(path: Path, content: bytes, *more: Any, **named: Any) -> None:
        written.append(len(content))
        real_write(path, content, *more, **named)

    def counted_rows(self: Database, query: Any) -> Any:
        found = list(real_rows(self, query))
        rows.append(len(found))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "atomic_write", counted_write)
        patch.setattr(Database, "rows", counted_rows)
        act()
    return sum(rows), sum(written)


def test_exports_after_a_trial_cost_no_more_with_800_trials_than_with_50(tmp_path: Path):
    costs = {}
    for count in (50, 800):
        db = make_study(tmp_path / str(count))
        places = places_of(tmp_path / str(count))
        claimed = large((db, places), count)
        number = count
        finish_trial(db, claimed, start_trial(db, claimed, number), 0.6)
        fresh(places)
        costs[count] = cost_of(db, lambda d=db, p=places, c=claimed, n=number: export_trials(d, p, c.job, [n]))
        assert (places.exports / CELL / "trials" / f"trial_{number:04d}.json").exists()
        db.close()
    assert costs[800][0] <= costs[50][0] and costs[800][1] <= costs[50][1], costs


def test_the_best_files_of_a_large_job_follow_each_new_best_at_once(study: tuple[Database, Places]):
    db, places = study
    claimed = large(study, 130)
    finish_trial(db, claimed, start_trial(db, claimed, 130), 0.1)
    fresh(places)
    export_trials(db, places, claimed.job, [130])
    for name in exports.best_files(claimed.job):
        assert json.loads((places.exports / CELL / name).read_text())["best_trial"] == 130


def test_the_file_of_all_trials_follows_when_rewriting_it_is_cheap_again(study: tuple[Database, Places]):
    db, places = study
    claimed = large(study, 130)
    finish_trial(db, claimed, start_trial(db, claimed, 130), 0.6)
    path = fresh(places)
    export_trials(db, places, claimed.job, [130])
    assert len(json.loads(path.read_text())) == 130, "it was written this moment"
    ago = time.time() - path.stat().st_size / exports.SHARE - 1
    os.utime(path, (ago, ago))
    export_trials(db, places, claimed.job, [130])
    assert len(json.loads(path.read_text())) == 131
    os.utime(path, (time.time() + 86_400, time.time() + 86_400))  # before the clock was set back
    assert exports.is_due(path)


@pytest.mark.parametrize("leave", ["ended", "left"])
def test_a_large_job_that_ends_or_is_left_has_whole_exports(study: tuple[Database, Places], leave: str, tmp_path: Path):
    db, places = study
    claimed = large(study, 130)
    finish_trial(db, claimed, start_trial(db, claimed, 130), 0.6)
    fresh(places)
    export_trials(db, places, claimed.job, [130])
    if leave == "ended":
        transitions.finish_job(db, claimed)
        export_job(db, places, queries.job(db, claimed.job_id))
    else:
        exports.export_summaries(db, places, claimed.job)
    there = Places(tmp_path / "anew" / "fts.db", places.data)
    export_all(db, there)
    assert contents(places.exports / CELL) == contents(there.exports / CELL)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_says_the_same_is_not_written_again_unless_others_can_read_it(study: tuple[Database, Places]):
    db, places = study
    finished_cell(db)
    export_all(db, places)
    before = {path: path.stat().st_ino for path in places.exports.rglob("*.json")}
    opened = next(iter(before))
    opened.chmod(0o644)
    export_all(db, places)
    after = {path: path.stat().st_ino for path in before}
    assert {path for path in before if before[path] != after[path]} == {opened}
    assert opened.stat().st_mode & 0o077 == 0


# -- more than one writer


def test_the_table_has_every_cell_when_many_slots_end_at_once(study: tuple[Database, Places]):
    db, places = study
    done = [finished_cell(db) for _ in range(4)]
    errors: list[BaseException] = []

    def end(job_id: int) -> None:
        try:
            for _ in range(5):
                export_job(db, places, queries.job(db, job_id))
                export_results(db, places)
        except BaseException as error:  # noqa: BLE001  # the test raises it
            errors.append(error)

    slots = [threading.Thread(target=end, args=(claimed.job_id,)) for claimed in done for _ in range(2)]
    for slot in slots:
        slot.start()
    while any(slot.is_alive() for slot in slots):
        if places.results_csv.exists():
            assert len(list(csv.DictReader(places.results_csv.read_text().splitlines()))) == 4
    assert errors == []
    assert not list(places.outputs.rglob("*.part"))


def test_an_older_look_at_the_database_never_replaces_a_newer_one(
    study: tuple[Database, Places], monkeypatch: pytest.MonkeyPatch
):
    """One slot has read the jobs and is slow; another ends its cell meanwhile: its row must not go missing."""
    db, places = study
    finished_cell(db)
    has_read, may_write = threading.Event(), threading.Event()
    real = RowCache.of

    def slow(rows: RowCache, *jobs: Any) -> Any:
        if not has_read.is_set():
            has_read.set()
            may_write.wait(20)
        return real(rows, *jobs)

    monkeypatch.setattr(RowCache, "of", slow)
    first = threading.Thread(target=export_results, args=(db, places))
    first.start()
    assert has_read.wait(20)
    finished_cell(db)
    second = threading.Thread(target=export_results, args=(db, places))
    second.start()
    second.join(0.3)
    may_write.set()
    first.join()
    second.join()
    assert places.results_csv.read_text().count("\n") == 3


def test_another_writer_who_never_ends_is_a_sentence_not_a_wait_for_ever(
    study: tuple[Database, Places], monkeypatch: pytest.MonkeyPatch
):
    db, places = study
    monkeypatch.setattr(exports, "PATIENCE_S", 0.05)
    with exporting(places), pytest.raises(CannotWrite, match="another process has been writing the exports of"):
        export_results(db, places)


# -- exports that fail


def test_what_could_not_be_exported_is_written_when_it_can(study: tuple[Database, Places], caplog: Any):
    db, places = study
    claimed = finished_cell(db)
    places.exports.write_text("in the way")
    owed = PendingExports(db, places)
    with pytest.raises(CannotWrite) as refused:
        export_job(db, places, queries.job(db, claimed.job_id))
    owed.postpone(claimed.job_id, refused.value)
    owed.postpone(claimed.job_id, refused.value)
    assert not owed.write() and len(owed) == 1
    assert len([line for line in caplog.messages if "hpo is a file, expected a folder" in line]) == 1, "said once"
    places.exports.unlink()
    assert owed.write() and not owed
    assert json.loads((places.exports / CELL / "best_params.json").read_text())["job"] == claimed.job_id
    assert places.results_csv.read_text().count("\n") == 2


def test_what_fails_while_it_is_written_later_is_still_owed(study: tuple[Database, Places], monkeypatch: Any):
    db, places = study
    claimed = finished_cell(db)
    owed = PendingExports(db, places)
    owed.postpone(claimed.job_id, CannotWrite(28, "the disk is full"))

    def and_fails_again(*_: Any) -> None:
        owed.postpone(claimed.job_id, CannotWrite(28, "the disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(exports, "export_job", and_fails_again)
        assert not owed.write()
    assert owed.write() and not owed


@pytest.mark.parametrize("lost", ["trial", "all", "folder", "half"])
def test_a_start_writes_what_a_failed_export_left_out_although_its_row_is_in_the_table(
    study: tuple[Database, Places], lost: str
):
    db, places = study
    finished_cell(db)
    export_all(db, places)
    folder, before = places.exports / CELL, contents(places.exports)
    if lost == "trial":
        (folder / "trials" / "trial_0000.json").unlink()
    if lost == "all":
        (folder / f"{CELL}_all_trials.json").unlink()
    if lost == "half":
        (folder / f"{CELL}_all_trials.json").write_text("[]\n")
    if lost == "folder":
        folder.rename(places.outputs / "gone")
    catch_up(db, places)
    assert contents(places.exports) == before


def test_missing_exports_are_written_beside_the_trials_and_an_order_to_leave_ends_that(
    study: tuple[Database, Places], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of several thousand trials, if a person has removed the folder, delayed the first trial by 15 s."""
    db, places = study
    for _ in range(3):
        finished_cell(db)
    clean_up_after_dead_workers(db, places)
    assert not places.exports.exists(), "the start of a worker writes none"
    written_jobs: list[int] = []
    export = exports.export_job

    def slow_export(db: Database, places: Places, job: Any) -> Path:
        written_jobs.append(job.id)
        begun.set()
        assert goes_on.wait(30)
        return export(db, places, job)

    monkeypatch.setattr(exports, "export_job", slow_export)
    for hurry in (True, False):
        written_jobs.clear()
        begun, goes_on = threading.Event(), threading.Event()
        one = Worker(db, places, WorkerSettings(), Console())
        one._housekeeping.start()
        assert begun.wait(30) and not one._has_caught_up.is_set(), "a trial could run now"
        if hurry:
            one.orders.signal(WorkerOrder.STOP, "a test")
        closing = threading.Thread(target=one.close)
        closing.start()
        wait_until(one.heartbeat.over.is_set)
        goes_on.set()
        closing.join(30)
        one._housekeeping.join(30)
        assert len(written_jobs) == (1 if hurry else 3), "what is missing is found again"
    before = contents(places.exports)
    shutil.rmtree(places.exports)
    catch_up(db, places)
    assert contents(places.exports) == before and len(before) >= 12
    done = queries.job(db, 1)
    shutil.rmtree(places.exports)
    monkeypatch.setattr(exports, "exportable", lambda db: [done])
    db.execute_sql("UPDATE job SET status = 'queued', ended_at = NULL WHERE id = 1")  # a person continues it meanwhile
    catch_up(db, places)
    assert not (places.exports / CELL).exists()


def test_a_long_fact_in_the_table_and_a_damaged_table_do_not_keep_a_worker_from_its_start(tmp_path: Path):
    table = tmp_path / "train_results.csv"
    table.write_text(f"timestamp,experiment,facts.x\n2026,train,{'9' * 200_000}\n")
    assert written(table) == {("train", "2026")}
    table.write_bytes(b"timestamp,experiment\r2026,train\r\n")
    assert written(table) <= {("train", "2026")}


def test_a_folder_that_cannot_be_written_is_trouble_of_the_disk_not_of_the_job():
    assert is_disk_trouble(CannotWrite(13, "this user may not write to outputs/models"))


# -- for Optuna and pandas


def test_an_axis_of_the_name_of_a_field_has_its_own_attribute_in_optuna():
    given: dict[str, Any] = {}
    study = SimpleNamespace(set_user_attr=given.__setitem__)
    job: Any = SimpleNamespace(
        id=7, labels={"job": "a", "size": "S"}, goals={"value": "minimize"}, metric="value", spec={"space": {}}
    )
    _fill(study, None, job, (), None)
    assert given == {"axis.job": "a", "size": "S", "job": 7}


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([1, 2.5, None], [1.0, 2.5, None]),
        ([2**62 + 1, 0], [2**62 + 1, 0]),
        ([2**63 + 1, 5], [str(2**63 + 1), "5"]),
        ([2**60 + 1, 0.5, None], [str(2**60 + 1), "0.5", None]),
        ([10**99 + 1, True], [str(10**99 + 1), "true"]),
        ([10**400, 5], [str(10**400), "5"]),
    ],
)
def test_a_column_of_numbers_keeps_every_digit(values: list[Any], kept: list[Any]):
    pa = pytest.importorskip("pyarrow")
    assert frames._array(pa, None, values).to_pylist() == kept


# -- formulas


@pytest.mark.parametrize("danger", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_the_results_is_a_formula(study: tuple[Database, Places], danger: str):
    db, places = study
    finished_cell(db)
    labels = json.dumps({"budget": "2M", "horizon": 1, "task": danger, "tier": danger})
    db.execute_sql("UPDATE job SET labels = ?", (labels,))
    db.execute_sql("UPDATE trial SET code_commit = ?, label_md5 = ?", (danger, danger))
    with export_results(db, places).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert {row[name] for name in ("task", "tier", "code_commit", "label_md5")} == {f"'{danger}"}
    catch_up(db, places)
    assert (CELL, formatting.iso(queries.job(db, 1).ended_at)) in exports.written(places.results_csv)


# -- an export decides over no job


def supervised(study: tuple[Database, Places]) -> tuple[JobRunner, PendingExports]:
    """A supervisor of a job whose trials have all ended, in a study whose exports cannot be written."""
    db, places = study
    claimed = claim(db)
    for number in range(3):
        finish_trial(db, claimed, start_trial(db, claimed, number), 0.5 + number / 10)
    places.exports.write_text("in the way")
    owed = PendingExports(db, places)
    slot: Any = None  # there is no trial to run
    said = WorkerSettings()
    return JobRunner(db, places, said, slot, claimed, lambda _: None, lambda *_: None, owed), owed


def test_a_job_that_is_done_stays_done_when_its_exports_fail_and_they_come_later(study: tuple[Database, Places]):
    db, places = study
    supervisor, owed = supervised(study)
    supervisor.run()
    job = queries.job(db, supervisor.job.id)
    assert (str(job.status), job.attempt, job.cause) == ("done", 1, "finished") and len(owed) == 1
    assert not [event for event in queries.events(db, since=0) if event.verb in ("released", "failed")]
    places.exports.unlink()
    assert owed.write()
    assert len(json.loads((places.exports / CELL / f"{CELL}_all_trials.json").read_text())) == 3
    assert (CELL, formatting.iso(job.ended_at)) in exports.written(places.results_csv)


def test_an_odd_row_neither_undoes_its_job_nor_keeps_the_table_from_the_others(study: tuple[Database, Places]):
    db, places = study
    supervisor, owed = supervised(study)
    places.exports.unlink()
    db.execute_sql("UPDATE trial SET architecture = 'somebody edited this' WHERE number = 0")
    supervisor.run()
    assert str(queries.job(db, supervisor.job.id).status) == "done" and not owed
    (row,) = csv.DictReader(places.results_csv.read_text().splitlines())
    assert (row["experiment"], row["d_model"], row["trial_number"]) == (CELL, "", "0")


def test_after_a_trial_a_folder_in_the_way_is_owed_and_a_full_disk_pauses(
    study: tuple[Database, Places], monkeypatch: pytest.MonkeyPatch
):
    supervisor, owed = supervised(study)
    supervisor._export_trial(0)
    assert len(owed) == 1
    full = CannotWrite(errno.ENOSPC, "the disk of outputs is full")
    monkeypatch.setattr(exports, "export_trials", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(CannotWrite):
        supervisor._export_trial(0)
