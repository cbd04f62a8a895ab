"""The same study again, more of it, run in another way, or another question: what is kept, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fts.jobs import functions
from fts.jobs.api.command import BareStudy, question_of
from fts.jobs.api.function import FunctionCell
from fts.jobs.objective_file import to_file_path
from fts.jobs.records.results import tables
from fts.jobs.records.searches import begun_cells
from fts.jobs.study_file.enqueue import EnqueuedCell, StudyChanged, enqueue_cells, spelled_as_before
from fts.jobs.study_file.study import StudyFile
from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.state.errors import CannotUndo, WrongStatus
from tests.fts_process import Study
from tests.jobs import toy
from tests.jobs.test_study_file import study

BEFORE = """
[study]
objective = "train:objective"
[matrix]
size = ["S", "M"]
[space]
lr = { low = 0.0, high = 1.0 }
[budget]
trials = 5
epochs = 9
[resources]
stall = "10m"
"""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "outputs" / "fts.db", create=True)
    yield opened
    opened.close()


def enqueued(db: Database, folder: Path, *settings: str, **flags: Any) -> list[EnqueuedCell]:
    file = study(folder, BEFORE, *settings)
    return enqueue_cells(db, file.cells(), file.metrics, **flags)


def begin(db: Database, job: int) -> None:
    """As a worker would have left it after a first attempt."""
    db.execute_sql("UPDATE job SET attempt = 1, status = 'paused' WHERE id = ?", (job,))


def specs(db: Database) -> list[dict[str, Any]]:
    return [job.spec for job in queries.jobs(db)]


def test_the_same_study_again_changes_nothing(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    before = specs(db), len(queries.events(db, limit=100))
    assert [line.state for line in enqueued(db, tmp_path)] == ["queued", "queued"]
    assert (specs(db), len(queries.events(db, limit=100))) == before


def test_a_cell_that_waits_already_is_found_and_not_made_of_another_search_of_it(db: Database, tmp_path: Path) -> None:
    (first, _) = enqueued(db, tmp_path)
    (other, _) = enqueued(db, tmp_path, "resources.stall=20m", again=True)
    before = {job.id: job.spec for job in queries.jobs(db)}
    (found, _) = enqueued(db, tmp_path)  # the other one would be preferred, and would get the first one's specification
    assert (found.job_id, found.state) == (first.job_id, "queued") and other.job_id != first.job_id
    assert {job.id: job.spec for job in queries.jobs(db)} == before


def test_more_trials_extend_and_fewer_delete_nothing(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    begin(db, 1)
    lines = enqueued(db, tmp_path, "budget.trials=8")
    assert [(line.state, line.extended_from) for line in lines] == [("extended", 5), ("extended", 5)]
    lines = enqueued(db, tmp_path, "budget.trials=2")
    assert "0 of 8 trials ended (2 asked for)" in lines[0].told
    assert [job.trials_wanted for job in queries.jobs(db)] == [8, 8]
    transitions.undo(db, who="test")
    assert [job.trials_wanted for job in queries.jobs(db)] == [5, 5]


def test_what_is_said_counts_the_trials_that_a_person_asked_for(db: Database, tmp_path: Path) -> None:
    beside = ("budget.seeds=3", "baseline.objective=train:baseline")
    told = [line.told for line in enqueued(db, tmp_path, *beside)]
    assert "S is queued as job 1: 5 trials, then its baseline and its winner with 2 other seeds" in told
    (line, _) = enqueued(db, tmp_path, *beside, "budget.trials=7", dry_run=True)
    assert "S would be extended: job 1 from 5 to 7 trials; it is queued" in line.told and line.extended_from == 8
    (line, _) = enqueued(db, tmp_path, "budget.trials=7")  # neither named again: they stay
    assert "S is extended: job 1 from 5 to 7 trials; it is queued" in line.told
    (line, _) = enqueued(db, tmp_path, "budget.trials=6")
    assert "0 of 10 trials ended (3 of them outside its search, 6 asked for)" in line.told
    (line, _) = enqueued(db, tmp_path, "budget.seeds=4")
    assert "S is extended: job 1 runs its winner with 3 other seeds, too; it is queued" in line.told
    (line, _) = enqueued(db, tmp_path, "budget.trials=9", "budget.seeds=5")
    assert "job 1 from 7 to 9 trials, runs its winner with 4 other seeds, too; it is queued" in line.told


def test_a_renamed_axis_is_said(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    file = study(tmp_path, BEFORE.replace("size =", "width ="))
    first, second = enqueue_cells(db, file.cells(), file.metrics)
    assert "; it has the axis width, earlier jobs of train such as job 2 have the axis size: " in first.told
    assert "earlier" not in second.told
    assert not any("earlier" in line.told for line in enqueue_cells(db, file.cells(), file.metrics))
    jobs = queries.jobs(db)
    assert [job.id for job in begun_cells(jobs)] == [job.id for job in jobs], "the earlier jobs stay beside them"
    ((_, shown),) = tables(db, jobs)
    assert "older search" not in shown.csv and "job 3 has width instead of size" in shown.csv


def test_how_trials_run_is_taken_over_and_said(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    begin(db, 1)
    question = question_of(queries.job(db, 1).spec)
    settings = ("resources.stall=20m", "resources.threads=2", "study.env.A=1", "budget.trials=6")
    (line, _) = enqueued(db, tmp_path, *settings)
    assert "stall 10 min -> 20 min, resources.threads none -> 2" in line.told
    assert "study.env.A is new" in line.told and "from 5 to 6 trials" in line.told
    job = queries.job(db, 1)
    assert (job.spec["stall_s"], job.spec["threads"], job.spec["env"], job.trials_wanted) == (1200.0, 2, {"A": "1"}, 6)
    assert question_of(job.spec) == question
    assert [line.state for line in enqueued(db, tmp_path, *settings)] == ["paused", "queued"]
    assert [event.verb for event in queries.events(db, limit=9) if event.job_id == 1] == [
        "enqueued", "changed", "extended",
    ]  # fmt: skip
    (line, _) = enqueued(db, tmp_path, "budget.trials=6")
    assert "takes over: study.env.A is gone, resources.stall 20 min -> 10 min, resources.threads 2 -> none" in line.told
    assert "threads" not in queries.job(db, 1).spec


def test_more_seeds_and_a_baseline_add_trials_beside_the_search(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    begin(db, 1)
    settings = ("budget.seeds=3", "baseline.objective=train:baseline")
    (line, _) = enqueued(db, tmp_path, *settings)
    assert line.state == "extended"
    job = queries.job(db, 1)
    assert (job.trials_wanted, job.spec["trials"], job.spec["seeds"]) == (8, 5, 3)
    enqueued(db, tmp_path, *settings, "resources.threads=2")
    job = queries.job(db, 1)
    assert (job.trials_wanted, job.spec["trials"], job.spec["threads"]) == (8, 5, 2)


def stored(db: Database) -> list[tuple[Any, ...]]:
    names = "spec, spec_md5, question_md5, trials_wanted, metric, direction, cell, status, cause, message"
    return db.execute_sql(f"SELECT {names} FROM job ORDER BY id").fetchall()


@pytest.mark.parametrize(
    ("settings", "begun", "undone"),
    [
        (("resources.stall=20m", "resources.threads=2", "study.env.A=1"), True, "stall_s 600.0 instead of 1200.0"),
        (("budget.seeds=3", "baseline.objective=train:baseline"), True, "no seeds, no baseline"),
        (("space.lr.high=2.0", "search.sampler=random", "budget.trials=4"), False, "trials 5 instead of 4"),
        (("metrics.loss.goal=maximize", "budget.epochs=30"), False, "instead of maximize"),
        (("budget.seeds=2", "budget.trials=8"), True, "trials 5 instead of 8, no seeds"),
    ],
)
def test_undo_and_redo_of_any_change_of_a_specification(
    db: Database, tmp_path: Path, settings: tuple[str, ...], begun: bool, undone: str
) -> None:
    enqueued(db, tmp_path)
    if begun:
        begin(db, 1)
        begin(db, 2)
    before = stored(db)
    enqueued(db, tmp_path, *settings)
    after = stored(db)
    (said,) = transitions.undo(db)
    assert stored(db) == before != after and undone in said.message, said
    assert set(said.job_ids) == {1, 2}, "both jobs of the study, in one step"
    transitions.redo(db)
    assert stored(db) == after
    transitions.undo(db)
    assert stored(db) == before


def test_a_change_is_not_taken_back_once_it_runs(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    enqueued(db, tmp_path, "search.sampler=random")
    worker = transitions.register_worker(db, host="h", pid=1, pid_started=1.0, slots=1)
    transitions.claim(db, worker, lease_s=60.0)
    with pytest.raises(CannotUndo, match="job 1 has started since"):
        transitions.undo(db)


@pytest.mark.parametrize(
    "change",
    [{"experiment": "../x"}, {"study": "other"}, {"axes": {"size": "XL"}}, {"trials": 10**9}, {"trials": "x"}],
)
def test_a_hostile_way_back_changes_neither_the_files_nor_the_cell_of_a_job(
    db: Database, tmp_path: Path, change: dict[str, Any]
) -> None:
    enqueued(db, tmp_path)
    enqueued(db, tmp_path, "search.sampler=random")
    (number, sound) = db.execute_sql("SELECT id, inverse FROM event ORDER BY id DESC LIMIT 1").fetchone()
    hostile = json.loads(sound)
    hostile["jobs"][0]["spec"]["fields"] |= change
    db.execute_sql("UPDATE event SET inverse = ? WHERE id = ?", (json.dumps(hostile), number))
    before = stored(db)
    with pytest.raises(CannotUndo):
        transitions.undo(db)
    assert stored(db) == before


def test_a_running_job_keeps_how_it_runs_and_the_way_out_is_said(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    worker = transitions.register_worker(db, host="h", pid=1, pid_started=1.0, slots=1)
    claim = transitions.claim(db, worker, lease_s=60.0)
    assert claim is not None
    (line, other) = enqueued(db, tmp_path, "resources.stall=20m")
    assert (
        "it is running, so not changed yet: resources.stall 10 min -> 20 min; `fts pause 1`, enqueue the" in line.told
    )
    assert (line.state, other.state) == ("running", "changed")
    assert [spec["stall_s"] for spec in specs(db)] == [600.0, 1200.0]
    with pytest.raises(WrongStatus, match="job 1 is running; pause it"):
        row = {"experiment": "train_S", "kind": "cell", "trials_wanted": 1, "spec": {}, "study": "train", "labels": {}}
        transitions.respecify(db, [transitions.Respecified(1, row, "", unbegun=False)])


def test_a_waiting_job_without_trials_takes_any_change(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    (line, _) = enqueued(db, tmp_path, "space.lr.high=2.0", "search.sampler=random", "budget.trials=4")
    assert line.state == "changed"
    for words in ("space.lr.high 1.0 -> 2.0", "search.sampler tpe -> random", "4 trials, none has begun"):
        assert words in line.told
    assert [(job.spec["space"]["lr"]["high"], job.trials_wanted) for job in queries.jobs(db)] == [(2.0, 4), (2.0, 4)]
    assert [line.state for line in enqueued(db, tmp_path, "space.lr.high=2.0", "search.sampler=random")] == [
        "extended", "extended",
    ]  # fmt: skip


@pytest.mark.parametrize(("before", "now"), [("[1, 2]", "[1.0, 2.0]"), ("[1, 2]", "[true, 2]")])
def test_a_choice_of_another_type_is_a_change_although_python_calls_it_equal(
    db: Database, tmp_path: Path, before: str, now: str
) -> None:
    enqueued(db, tmp_path, f"space.n={before}")
    (line, _) = enqueued(db, tmp_path, f"space.n={now}")
    assert f"space.n.choices {before} -> {now}" in line.told
    assert json.dumps(specs(db)[0]["space"]["n"]["choices"]) == now
    begin(db, 1)
    with pytest.raises(StudyChanged, match=re.escape(f"space.n.choices {now} -> {before} (job 1 has begun)")):
        enqueued(db, tmp_path, f"space.n={before}")


def test_cells_with_similar_values_keep_apart_if_they_are_enqueued_one_by_one(db: Database, tmp_path: Path) -> None:
    file = study(tmp_path, BEFORE, "matrix.size=['a b', 'a-b']")
    for size in ("a b", "a-b"):
        enqueue_cells(db, file.cells(lambda _title, labels, size=size: labels["size"] == size))
    assert [job.cell for job in begun_cells(queries.jobs(db))] == ["a b", "a-b"]
    assert {job.experiment for job in queries.jobs(db)} == {cell.experiment for cell in file.cells()}


def test_other_parameters_of_as_many_first_trials_are_named(db: Database, tmp_path: Path) -> None:
    first = "search.warm_start=[{ lr = 0.1 }, { lr = 0.5 }]"
    enqueued(db, tmp_path, first)
    (line, _) = enqueued(db, tmp_path, "search.warm_start=[{ lr = 0.1 }, { lr = 0.2 }]")
    assert ", search.warm_start.1.lr 0.5 -> 0.2" in line.told
    (line, _) = enqueued(db, tmp_path)
    assert "search.warm_start 2 trials -> none" in line.told


def test_more_epochs_are_taken_over_by_a_job_with_trials(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    begin(db, 1)
    lines = enqueued(db, tmp_path, "budget.epochs=30")
    assert "budget.epochs 9 -> 30" in lines[0].told
    assert [(spec["steps"], spec["trials"]) for spec in specs(db)] == [(30, 5), (30, 5)]


def test_another_question_is_refused_as_a_whole_unless_again(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    for job in (1, 2):
        begin(db, job)
    before = specs(db)
    with pytest.raises(StudyChanged) as caught:
        enqueued(db, tmp_path, "space.lr.high=2.0", "matrix.size=['S', 'M', 'L']")
    assert str(caught.value) == (
        "train has changed what it searches: S and 1 other cell: space.lr.high 1.0 -> 2.0 (job 1 has "
        "begun); give it another name (--name train2), or start a new search beside the old one with --again"
    )
    assert specs(db) == before
    with pytest.raises(StudyChanged):
        enqueued(db, tmp_path, "space.lr.high=2.0", dry_run=True)
    assert [line.state for line in enqueued(db, tmp_path, "space.lr.high=2.0", again=True)] == ["new", "new"]
    assert [line.job_id for line in enqueued(db, tmp_path, "space.lr.high=2.0")] == [3, 4]
    assert [line.job_id for line in enqueued(db, tmp_path)] == [1, 2], "the earlier question still has its answer"


def test_a_study_that_was_moved_goes_on_and_a_copy_is_another(db: Database, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    enqueued(db, here)
    begin(db, 1)
    shutil.copytree(here, there)
    with pytest.raises(StudyChanged, match=f"the folder {here} -> {there}"):
        enqueued(db, there)
    shutil.rmtree(here)
    (here / "outputs").mkdir(parents=True)  # what a process that still ran has left behind
    lines = enqueued(db, there)
    assert [line.told.rpartition("; ")[2] for line in lines] == [f"takes over: the folder {here} -> {there}"] * 2
    assert [spec["folder"] for spec in specs(db)] == [str(there)] * 2
    assert [line.state for line in enqueued(db, there, "budget.trials=8")] == ["extended", "extended"]


def test_changed_code_is_another_question(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    for job in (1, 2):
        begin(db, job)
    (tmp_path / "helper.py").write_text("def width(size): return 3\n")
    file = StudyFile.read(tmp_path / "study.toml")
    with pytest.raises(StudyChanged, match=r"S and 1 other cell: train\.py or code beside it has changed"):
        enqueue_cells(db, file.cells())


def test_a_dry_run_says_the_same_and_writes_nothing(db: Database, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    before = specs(db), len(queries.events(db, limit=100))
    lines = enqueued(db, tmp_path, "space.lr.high=2.0", "matrix.size=['S', 'M', 'L']", dry_run=True)
    assert [line.state for line in lines] == ["changed", "changed", "new"]
    assert "would be changed" in lines[0].told and "L is new" in lines[2].told
    lines = enqueued(db, tmp_path, "budget.epochs=30", "budget.trials=7", dry_run=True)
    assert "would be" in lines[0].told
    assert (specs(db), len(queries.events(db, limit=100))) == before


def test_the_declaration_has_every_metric_and_axis(db: Database, tmp_path: Path) -> None:
    settings = ("metrics.loss.goal=minimize", "metrics.acc={}")
    enqueued(db, tmp_path, *settings)
    declared = queries.studies(db)["train"].declaration
    assert [(metric["name"], metric["goal"]) for metric in declared["metrics"]] == [("loss", "minimize"), ("acc", None)]
    assert [(axis["name"], axis["values"]) for axis in declared["axes"]] == [("size", ["S", "M"])]


# -- with a real worker


STORY = """
[study]
objective = "train:objective"
[matrix]
size = ["S", "M"]
[budget]
trials = 3
[search]
sampler = "random"
pruner = "none"
[[cell]]
where = "size == 'M'"
budget = { trials = 1 }
"""


@pytest.mark.slow
def test_a_study_runs_through_a_kill_is_extended_in_the_foreground_and_lends_its_best_trial(tmp_path: Path) -> None:
    made = toy.write(tmp_path / "study", keeps=True)
    (made.folder / "study.toml").write_text(STORY)
    (made.folder / "kills" / "00001_train_S t1 reported 2").write_text("worker trial")
    told = json.loads(made.ok("enqueue", "study.toml", "--json"))["cells"]
    assert [(each["cell"], each["job"], each["state"]) for each in told] == [("S", 1, "new"), ("M", 2, "new")]
    toy.run(made)
    assert toy.killed(made) == 1
    assert toy.recorded(made)["S"] == toy.plain_optuna(made.folder, "S", 3, "random", "none")
    said = made.ok("run", "study.toml", "--cell", "S", "--set", "budget.trials=4")
    assert said == ""
    assert toy.recorded(made)["S"] == toy.plain_optuna(made.folder, "S", 4, "random", "none")
    refused = made.fts("enqueue", "study.toml", "--set", "study.seed=5")
    assert refused.code == 2 and "S and 1 other cell: study.seed 0 -> 5 (job 1 keeps its 4 trials)" in refused.err
    words = ("--name", "warm", "--cell", "S", "--warm-start-from", "train/S:t2", "--set", "budget.trials=1")
    assert made.fts("run", "study.toml", *words).code == 0
    assert params(made, "warm") == [params(made, "train")[2]]
    assert made.fts("run", "study.toml").code == 2


def params(made: Study, name: str) -> list[dict[str, Any]]:
    rows = made.query(
        f"SELECT trial.params AS params FROM trial JOIN job ON job.id = trial.job_id WHERE job.study = '{name}' "
        "AND job.cell = 'S' ORDER BY number"
    )
    return [json.loads(row["params"]) for row in rows]


def test_a_command_line_changes_only_what_was_typed(tmp_path: Path) -> None:
    made = toy.write(tmp_path / "study", keeps=False)
    words = ("enqueue", "train.py:objective", "--trials", "3")
    made.ok(*words, "--stall", "10m", "--threads", "1")
    told = made.json(*words, "--stall", "20m", "--dry-run")["cells"][0]["told"]
    assert told.endswith("; would take over: resources.stall 10 min -> 20 min")
    assert made.json(*words, "--stall", "20m")["cells"][0]["told"].endswith(
        "; takes over: resources.stall 10 min -> 20 min"
    )
    spec = json.loads(made.one("SELECT spec FROM job"))
    assert (spec["stall_s"], spec["threads"], spec["trials"]) == (1200.0, 1, 3)
    made.folder = made.folder.rename(tmp_path / "moved")
    told = made.json(*words)["cells"][0]["told"]
    assert told.endswith(f"; takes over: the folder {tmp_path / 'study'} -> {made.folder}")
    assert "; takes over" not in (again := made.json(*words)["cells"][0])["told"] and again["job"] == 1
    assert made.json(*words, "--stall", "30m", "--again")["cells"][0]["job"] == 2
    assert made.json(*words, "--stall", "20m", "--threads", "1")["cells"][0]["job"] == 1


def test_one_undo_takes_back_what_one_command_changed_in_all_cells(tmp_path: Path) -> None:
    made = toy.write(tmp_path / "study", keeps=False)
    words = ("enqueue", "train.py:objective", "--trials", "3", "-m", "size=S,M,L", "--stall")
    made.ok(*words, "10m")
    made.ok(*words, "20m")
    stalls = "SELECT group_concat(json_extract(spec, '$.stall_s')) FROM job"
    assert made.one(stalls) == "1200.0,1200.0,1200.0"
    made.ok("undo")
    assert made.one(stalls) == "600.0,600.0,600.0"
    made.ok("redo")
    assert made.one(stalls) == "1200.0,1200.0,1200.0"


def test_one_undo_takes_back_how_trials_run_and_how_many_there_are(tmp_path: Path) -> None:
    made = toy.write(tmp_path / "study", keeps=False)
    words = ("enqueue", "train.py:objective", "-m", "size=S,M")
    made.ok(*words, "--trials", "3")
    states = "SELECT group_concat(trials_wanted || ' ' || spec_md5 || ' ' || spec) FROM job"
    before = made.one(states)
    made.ok(*words[:3], "size=S,M,L", "--trials", "5", "--memory", "2GB")
    after = made.one(states)
    assert made.one("SELECT count(*) FROM job WHERE trials_wanted = 5") == 3 and before != after
    made.ok("undo")
    assert made.one(states.replace("FROM job", "FROM job WHERE id < 3")) == before
    assert made.one("SELECT status FROM job WHERE id = 3") == "cancelled"
    made.ok("redo")
    assert made.one(states) == after
    made.ok("undo")
    assert made.one(states.replace("FROM job", "FROM job WHERE id < 3")) == before
    assert "job 1: queued -> cancelled; job 2: queued" in made.fts("undo", "-n").out, (
        "the next undo is of the first command"
    )


def test_a_large_matrix_is_enqueued_as_its_cells_one_by_one_with_few_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("def objective(trial, a, b):\n    return trial.suggest_float('x', 0, 1)\n")
    study, execute, counted = BareStudy("train"), Database.execute_sql, list[str]()
    rule = transitions.SameQuestion(question_of, lambda spec: str(study.cell(spec).identity))

    def rows(trials: int, a: Sequence[int], most: int) -> list[dict[str, Any]]:
        axes = {"a": a, "b": range(10)}
        return [study.row(cell) for cell in functions.cells("train.py:objective", tmp_path, trials, axes=axes)[:most]]

    def count(db: Database, sql: str, params: Any = None) -> Any:
        counted.append(sql)
        return execute(db, sql, params)

    monkeypatch.setattr(Database, "execute_sql", count)
    made = []
    for name, at_once in (("all", 1000), ("one", 1)):
        db = open_database(tmp_path / name / "fts.db")
        found = []
        for trials, a, most in [(3, 2, 15), (5, 3, 30), (5, 3, 30), (7, 20, 200), (7, 2, 20)]:
            every, again = rows(trials, range(a), most), most == 20
            counted.clear()
            for n in range(0, len(every), at_once):
                found += transitions.enqueue(db, every[n : n + at_once], rule=rule, again=again)
            if at_once > 1 and most == 200:
                new = [one for one in found[-200:] if one.created]
                assert len(new) == 170 and len(counted) < 12 * 30 + 5 * 170, "30 are extended"
        made.append((found, [replace(job, created_at=0.0) for job in queries.jobs(db)]))
        db.close()
    assert made[0] == made[1]


def test_every_path_of_a_file_asks_the_same_question(tmp_path: Path) -> None:
    """`./train.py:objective`, as a shell completes it, began another search beside the finished one of train.py."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "elsewhere").symlink_to("/")
    for name in ("train.py", "sub/train.py"):
        (tmp_path / name).write_text("def objective(trial): return 1.0\n")
    for typed in ("train.py", "./train.py", f"{tmp_path}/train.py", f"../{tmp_path.name}/train.py", "sub/..//train.py"):
        assert to_file_path(f"{typed}:objective", tmp_path) == "train.py:objective"
    assert to_file_path("./sub/train.py:objective", tmp_path) == "sub/train.py:objective"
    for typed in ("elsewhere/../train.py", "gone/../train.py", "/bin/train.py", "../train.py"):
        assert to_file_path(f"{typed}:objective", tmp_path) == f"{typed}:objective"


def test_a_job_whose_path_was_typed_in_another_way_is_extended(db: Database, tmp_path: Path) -> None:
    """By an earlier version, which kept ./train.py in the specification."""
    (tmp_path / "train.py").write_text("def objective(trial): return 1.0\n")
    older = [replace(cell, objective="./train.py:objective") for cell in cells(tmp_path, 3)]
    assert [line.state for line in enqueue_cells(db, older)] == ["new", "new"]
    assert [line.state for line in enqueue_cells(db, cells(tmp_path, 5))] == ["extended", "extended"]
    assert spelled_as_before(cells(tmp_path, 5), queries.jobs(db)) == [replace(cell, trials=5) for cell in older]
    (tmp_path / "train.py").write_text("def objective(trial): return 2.0\n")
    changed = cells(tmp_path, 5)
    assert spelled_as_before(changed, queries.jobs(db)) == changed


def test_axes_in_another_order_are_the_same_cells_with_the_same_names(db: Database, tmp_path: Path) -> None:
    """The sentence named b/1, and a new cell was called so beside 1/a."""
    (tmp_path / "train.py").write_text("def objective(trial, k, l): return 1.0\n")
    for axes, states in (({"k": [1], "l": ["a"]}, ["new"]), ({"l": ["a", "b"], "k": [1]}, ["queued", "new"])):
        made = functions.cells("train.py:objective", tmp_path, 3, axes=axes)
        lines = enqueue_cells(db, made)
        assert [line.state for line in lines] == states
    assert [line.cell for line in lines] == [job.cell for job in queries.jobs(db)] == ["1/a", "1/b"]


def cells(folder: Path, trials: int) -> list[FunctionCell]:
    return functions.cells("train.py:objective", folder, trials, axes={"size": ["S", "M"]})
