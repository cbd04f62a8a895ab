"""What the enqueue form is answered: studies found, options as the command line has them, cells as they are, costs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from fts.jobs.api.form import CellNow, grid_of, summary, to_cost, to_look, toggled
from fts.jobs.cli import enqueue, enqueue_command, enqueue_study
from fts.jobs.form import cell_state, cost, fields, studies
from fts.jobs.form.offers import OfFile, OfWords, cell_words
from fts.jobs.form.server import Session
from fts.jobs.python import python
from fts.jobs.settings import Places
from fts.jobs.status import forecast
from fts.jobs.study_file.enqueue import StudyChanged
from fts.state import queries, transitions
from fts.state.db import open_database
from tests.jobs.test_study_changes import BEFORE, begin, enqueued
from tests.jobs.test_study_file import study

EXAMPLE = Path(__file__).parents[2] / "examples" / "study"


@pytest.fixture
def db(tmp_path: Path) -> Any:
    opened = open_database(tmp_path / "outputs" / "fts.db", create=True)
    yield opened
    opened.close()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.chdir(tmp_path)
    return Session(Places(tmp_path / "outputs" / "fts.db", tmp_path / "data"), tmp_path)


# -- cells as they are, beside what a dry run of the command says


SITUATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "the same": ((), ()),
    "more trials": ((), ("budget.trials=9",)),
    "fewer trials": ((), ("budget.trials=2",)),
    "seeds and a baseline": ((), ("budget.seeds=3", "baseline.objective=train:baseline")),
    "how it runs": ((), ("resources.stall=20m", "resources.threads=2")),
    "epochs": ((), ("budget.epochs=3",)),
    "another question": ((), ("space.lr.high=2.0",)),
    "another question and more": (("budget.seeds=2",), ("search.sampler=random", "budget.trials=7")),
}


STATUSES = ["queued", "done", *(pytest.param(status, marks=pytest.mark.slow) for status in ("paused", "failed"))]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_cell_is_what_the_dry_run_says(db: Any, tmp_path: Path, name: str, status: str) -> None:
    before, after = SITUATIONS[name]
    enqueued(db, tmp_path, *before)
    if status != "queued":
        begin(db, 1)
        db.execute_sql("UPDATE job SET status = ? WHERE id = 1", (status,))
    file = study(tmp_path, BEFORE, *after)
    now = cell_state.of_file(db, file.cells(), queries.jobs(db), again=False)
    try:
        said = enqueued(db, tmp_path, *after, dry_run=True)
    except StudyChanged as error:
        refused = [cell for cell in now if cell.state == "another"]
        assert refused and all(cell.name in str(error) for cell in refused)
        return
    states = {"extended": "extends", "changed": "changes"}
    assert [cell.state for cell in now] == [states.get(line.state, line.state) for line in said]
    assert [cell.told for cell in now] == [line.told for line in said]
    wanted = {job.id: job.trials_wanted for job in queries.jobs(db)}
    enqueued(db, tmp_path, *after)
    more = {job.id: job.trials_wanted - wanted.get(job.id, 0) for job in queries.jobs(db)}
    assert [cell.more for cell in now] == [max(more[cell.job], 0) if cell.job else 5 for cell in now]


def test_the_hours_are_those_that_status_says_afterwards(db: Any, tmp_path: Path) -> None:
    enqueued(db, tmp_path)
    db.execute_sql(
        "UPDATE job SET status = 'done', attempt = 1, trials_complete = 5, best_trial = 0, best_value = 1.0, "
        "started_at = created_at, ended_at = created_at + 100 WHERE id = 1"
    )
    db.execute_sql("DELETE FROM job WHERE id = 2")
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path)
    known, orders = cost.of_file(places, study(tmp_path, BEFORE).cells(), again=False)
    assert [order.more for order in orders] == [0, 5]
    found = cost.hours(known, orders)
    enqueued(db, tmp_path)
    snapshot = queries.snapshot(db)
    one_slot = cost.hours(cost.KnownCosts(snapshot, (), 1, False, None, 0, None), orders)
    after = forecast.forecast(snapshot, snapshot.taken_at)
    assert after.finish_at is not None
    assert one_slot.seconds == pytest.approx(after.finish_at - snapshot.taken_at, rel=0.01)
    assert found.low < found.seconds < found.high and found.unknown == 0
    assert "from 5 trials of train that ended here" in cost.time_of(known, orders)


def test_where_nothing_ran_nobody_knows(tmp_path: Path) -> None:
    known, orders = cost.of_file(Places(tmp_path / "none.db", tmp_path), study(tmp_path, BEFORE).cells(), again=False)
    told = cost.sentences(known, orders)
    assert told[0].startswith("time: unknown: no trial of train has run yet")
    assert "memory: unknown" in told[1] and "what a trial keeps is unknown" in told[2]
    assert not (tmp_path / "none.db").exists(), "a look makes no database"


# -- options


@pytest.mark.parametrize(
    "command",
    [enqueue.enqueue, enqueue_command.enqueue_command, enqueue_study.enqueue_study],
    ids=["function", "command", "study"],
)
def test_every_option_of_the_command_line_is_a_field_with_its_help(command: click.Command) -> None:
    made = {field.name: field for field in fields.of_command(command)}
    with click.Context(command) as context:
        for option in command.params:
            if not isinstance(option, click.Option) or option.name in fields.NOT_HERE:
                continue
            record = option.get_help_record(context)
            assert record is not None and made[str(option.name)].help.startswith(record[1])


def test_typed_values_become_words_that_click_reads_back() -> None:
    typed = {"trials": "7", "axes": "size=S,M 'data=a b,c'", "again": "yes", "sampler": "random", "metric": "-odd"}
    words = fields.words_of(enqueue.enqueue, typed)
    with enqueue.enqueue.make_context("enqueue", ["train.py:objective", *words]) as context:
        found = context.params
    assert found["trials"] == 7 and found["axes"] == ("size=S,M", "data=a b,c") and found["again"]
    assert found["sampler"] == "random" and found["metric"] == "-odd"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"trials": "0"}, "0 is not in the range"),
        ({"trials": "many"}, "'many' is not a valid integer"),
        ({"axes": "size"}, "'size' is no axis"),
        ({"parameters": "lr=1:log"}, "'lr=1:log' is no parameter"),
        ({"stall_s": "soon"}, "--stall is 'soon', expected a duration"),
        ({"memory": "8"}, "write a size such as 8GB"),
        ({"axes": "'size=S"}, "an unclosed quote"),
    ],
)
def test_a_wrong_value_is_told_under_its_field(typed: dict[str, str], told: str) -> None:
    found = fields.problems_of(enqueue.enqueue, typed)
    assert list(found) == list(typed) and told in next(iter(found.values()))


def test_keys_of_a_file_are_fields_with_its_values_and_become_set(tmp_path: Path) -> None:
    file = study(tmp_path, BEFORE)
    made = {field.name: field for field in fields.of_file(file.tables)}
    assert made["budget.trials"].default == "5" and made["resources.stall"].default == "10m"
    assert made["search.sampler"].usual == "tpe" and made["budget.seeds"].usual == "1"
    assert "grid" in made["search.sampler"].choices
    assert fields.settings_of({"budget.trials": "9", "again": "yes"}) == ["budget.trials=9"]
    assert "expected a whole number" in fields.problems_of_keys({"budget.trials": "x"})["budget.trials"]


# -- which cells


def cells_of(sizes: str, data: str = "ab") -> list[CellNow]:
    return [CellNow(f"{d}/{s}", {"data": d, "size": s}, "new", "new", "", 2) for d in data for s in sizes]


def test_two_axes_make_a_matrix_and_one_axis_makes_rows() -> None:
    grid = grid_of(cells_of("SML"))
    assert grid.is_matrix and grid.axes == ("data",) and grid.columns == ("size S", "size M", "size L")
    assert grid.row_of(1) == ["b/S", "b/M", "b/L"] and grid.column_of(0) == ["a/S", "b/S"]
    one = [CellNow(size, {"size": size}, "new", "new", "") for size in "SM"]
    assert not grid_of(one).is_matrix and len(grid_of(one).rows) == 2
    assert len(grid_of([CellNow("train", {}, "new", "new", "")]).places) == 1


def test_a_long_axis_makes_rows_and_each_cell_has_a_place() -> None:
    many = cells_of("abcdefghijklmnop")
    grid = grid_of(many)
    assert not grid.is_matrix and sorted(grid.places.values()) == sorted(cell.name for cell in many)
    assert grid.alike(0, 0) == [cell.name for cell in many if cell.labels["data"] == "a"]


def test_ticks_are_set_or_all_taken_away_and_counted() -> None:
    assert toggled({"a"}, ["a", "b"]) == {"a", "b"} and toggled({"a", "b"}, ["a"]) == {"b"}
    cells = [*cells_of("S"), CellNow("c/S", {}, "done", "", ""), CellNow("d/S", {}, "extends", "", "", 3)]
    assert summary(cells, {cell.name for cell in cells}) == (3, 7, "2 new, 1 extended, 1 already there (done)")


def test_few_words_name_exactly_the_ticked_cells() -> None:
    from fts.jobs.form.offers import SeenCells

    every = cells_of("SML", "abc")
    seen = SeenCells(every, every)
    assert cell_words(seen, [cell.name for cell in every]) == []
    assert cell_words(seen, ["a/S", "a/M", "a/L"]) == ["--cell", "data:a"]
    assert cell_words(seen, ["a/S", "b/S", "c/S", "a/M"]) == ["--cell", "size:S", "--cell", "a/M"]
    case = [CellNow(name, {"size": name}, "new", "", "") for name in ("s", "S")]
    assert cell_words(SeenCells(case, case), ["s"]) == ["--cell", "s"]
    labels: tuple[dict[str, Any], ...] = ({"a": "x/y", "b": "z"}, {"a": "x", "b": "y/z"})
    alike = [CellNow(str(n), each, "new", "", "") for n, each in enumerate(labels, 1)]
    with pytest.raises(ValueError, match="read alike"):
        cell_words(SeenCells(alike, alike), ["1"])


# -- studies


def test_a_broken_file_is_listed_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    study(tmp_path, BEFORE)
    (tmp_path / "study.toml").write_text(BEFORE)
    (tmp_path / "bad.toml").write_text(BEFORE.replace("trials = 5", "trails = 5"))
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    (tmp_path / "torn.toml").write_text("[study]\nobjective = \n")
    found = {each.title: each for each in studies.found(Places(tmp_path / "no.db", tmp_path), [tmp_path])}
    assert next(iter(found)) == "study.toml" and not found["study.toml"].problem
    assert "bad.toml line 9" in found["bad.toml"].problem and "did you mean trials?" in found["bad.toml"].problem
    assert "torn.toml is not TOML" in found["torn.toml"].problem and "pyproject.toml" not in found
    assert "train.py:objective" in found


def test_listing_runs_no_line_of_the_person(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text((EXAMPLE / "study.toml").read_text())
    loud = "open('ran', 'w').close()\n" + (EXAMPLE / "train.py").read_text()
    (tmp_path / "train.py").write_text(loud)
    found = [each for each in studies.found(Places(tmp_path / "no.db", tmp_path), [tmp_path]) if each.kind == "file"]
    assert [each.problem for each in found] == [""] and not (tmp_path / "ran").exists()


def test_what_the_queue_has_is_offered_by_its_file_or_by_its_words(db: Any, tmp_path: Path, session: Session) -> None:
    from fts.jobs.cli import main

    (tmp_path / "train.py").write_text(
        "def objective(trial, size, opt=1):\n    return trial.suggest_float('x', 0, 1)\n"
    )
    words = ["enqueue", "train.py:objective", "-m", "size=S,M", "--name", "old", "--trials", "3", "--timeout", "2h"]
    assert main(["--db", str(session.places.db), *words]) == 0
    (found,) = [each for each in studies.found(session.places, [tmp_path]) if each.kind == "queue"]
    assert found.title == "old" and not found.problem and "2 jobs" in found.note
    answer = session.answer({"ask": "look", "key": found.key, "typed": {}, "fresh": True})
    assert [cell["state"] for cell in answer["look"]["cells"]] == ["queued", "queued"]
    (tmp_path / "train.py").write_text("def objective(trial, size):\n    return 2.0\n")
    changed = session.answer({"ask": "look", "key": found.key, "typed": answer["typed"]})
    assert [cell["state"] for cell in changed["look"]["cells"]] == ["new", "new"]
    assert "train.py has changed since job 1" in changed["look"]["cells"][0]["told"]


def test_a_command_or_function_of_the_queue_is_offered_with_the_very_same_specification(
    db: Any, tmp_path: Path, session: Session
) -> None:
    """Options go before the -- of a command; after it they would become words of the command itself."""
    from fts.jobs.cli import main

    (tmp_path / "train.py").write_text("def objective(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    enqueued_with = {
        "long": ["--stall", "1234567", "--timeout", "12d", "train.py:objective"],
        "words": ["--metric", "loss", "--grace", "12345.678", "--space", "lr=0.1:0.2", "--", "sh", "-c", "x -y"],
        "axes": ["--metric", "loss", "--axis", "size=S,M", "--trial-timeout", "90.5", "--", "python", "-x", "{size}"],
        "text": ["--metric", "loss", "--shell", "--regex", "loss=([0-9]+)", "--", "echo {x:0..1} --trials 7"],
    }
    for name, words in enqueued_with.items():
        assert main(["--db", str(session.places.db), "enqueue", "--trials", "3", "--name", name, *words]) == 0
    before = {job.id: job.spec for job in queries.jobs(db)}
    for found in [each for each in studies.found(session.places, [tmp_path]) if each.kind == "queue"]:
        assert not found.problem, found
        look = session.answer({"ask": "look", "key": found.key, "typed": {}, "fresh": True})["look"]
        assert not look["problem"] and {cell["state"] for cell in look["cells"]} == {"queued"}, look
        words = session.answer({"ask": "cost", "ticked": [cell["name"] for cell in look["cells"]]})["cost"]["words"]
        assert main(["--db", str(session.places.db), *words]) == 0, words
    assert {job.id: job.spec for job in queries.jobs(db)} == before


def test_a_working_folder_that_was_removed_is_a_sentence(tmp_path: Path, session: Session) -> None:
    session.here = tmp_path / "gone"
    assert "No such file or directory" in session.answer({"ask": "stamp"})["problem"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("train.py:objective -m size=S,M", "words"),
        ("fts enqueue train.py:objective", "words"),
        ("examples/study.toml", "file"),
        ("--metric loss -- python train.py --lr {lr:0..1}", "words"),
    ],
)
def test_what_is_typed_by_hand_is_a_study(text: str, kind: str, tmp_path: Path) -> None:
    assert json.loads(studies.typed_key(text, tmp_path))[0] == kind


@pytest.mark.parametrize("text", ["", "hello", "2M/h1", "'train.py:f", "train.py"])
def test_what_is_no_study_gets_a_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"FILE\.py:FUNCTION|cannot be read"):
        studies.typed_key(text, tmp_path)


# -- the whole


def test_the_example_is_looked_at_ticked_and_reckoned(tmp_path: Path, session: Session) -> None:
    for name in ("study.toml", "train.py"):
        (tmp_path / name).write_text((EXAMPLE / name).read_text())
    key = studies.key_of("file", str(tmp_path), "study.toml")
    answer = session.answer({"ask": "look", "key": key, "typed": {"budget.trials": "9"}})
    look = to_look(answer["look"])
    assert [cell.name for cell in look.cells] == ["sine/S", "sine/M", "sine/L", "steps/S", "steps/M", "line/S"]
    assert [cell.more for cell in look.cells] == [11, 11, 10, 11, 11, 11], "[[cell]] says 8 for L"
    found = to_cost(session.answer({"ask": "cost", "ticked": ["sine/S", "steps/S", "line/S"]})["cost"])
    assert found.line == "fts enqueue study.toml --cell size:S --set budget.trials=9"
    assert (found.cells, found.trials) == (3, 33) and found.check[:2] == ("check", "study.toml")
    assert "1.0 GB for each trial, as declared" in " ".join(found.sentences)
    anew = Session(session.places, tmp_path)  # the process before was killed
    question = {"ask": "cost", "ticked": ["sine/S", "steps/S", "line/S"], "key": key, "typed": {"budget.trials": "9"}}
    assert to_cost(anew.answer(question)["cost"]) == found
    stamp = session.answer({"ask": "stamp"})["stamp"]
    assert stamp == look.stamp
    os.utime(tmp_path / "train.py", (1, 1))
    assert session.answer({"ask": "stamp"})["stamp"] != stamp


def test_a_command_is_offered_with_its_options(tmp_path: Path, session: Session) -> None:
    (tmp_path / "run.py").write_text("print('loss=1')\n")
    key = session.answer({"ask": "typed", "text": "--metric loss --trials 4 -- python run.py --lr {lr:0.1..1}"})["key"]
    answer = session.answer({"ask": "look", "key": key, "typed": {}, "fresh": True})
    assert answer["typed"] == {"metric": "loss", "trials": "4"} and not answer["look"]["problem"]
    found = to_cost(session.answer({"ask": "cost", "ticked": ["run"]})["cost"])
    assert found.words[:1] == ("enqueue",) and found.words[-4:] == ("python", "run.py", "--lr", "{lr:0.1..1}")
    assert found.trials == 4 and "--metric loss" in found.line


def test_another_question_is_refused_and_says_why(db: Any, tmp_path: Path, session: Session) -> None:
    enqueued(db, tmp_path)
    begin(db, 1)
    (tmp_path / "study.toml").write_text(BEFORE)
    offer = OfFile(session.places, tmp_path, "study.toml")
    look, seen = offer.look({"search.sampler": "random"})
    assert [cell.state for cell in look.cells] == ["another", "changes"]
    refused = offer.cost({"search.sampler": "random"}, seen, ["S"])
    assert "--name train2" in refused.problem and refused.cells == 0
    assert not offer.cost({"search.sampler": "random"}, seen, ["M"]).problem


def test_a_cell_whose_worker_has_died_is_not_called_running(db: Any, tmp_path: Path, session: Session) -> None:
    enqueued(db, tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for host in (os.uname().nodename, "elsewhere"):
        worker = transitions.register_worker(db, host, ended.pid, 0.0, 1)
        assert transitions.claim(db, worker, lease_s=60.0)
    look, _ = OfFile(session.places, tmp_path, "study.toml").look({})
    assert [cell.state for cell in look.cells] == ["lost", "running"], "a beat of a moment ago is believed of another"
    assert look.cells[0].note == "lost, 0 of 5 trials"
    assert look.cells[0].told.startswith("S has lost its worker: job 1")


def test_a_function_without_its_axes_says_what_is_missing(tmp_path: Path, session: Session) -> None:
    (tmp_path / "f.py").write_text("def objective(trial, size):\n    return 1.0\n")
    offer = OfWords(session.places, tmp_path, ["f.py:objective"])
    assert "needs size, which nothing gives" in offer.look({})[0].problem
    assert [cell.name for cell in offer.look({"axes": "size=S,M"})[0].cells] == ["S", "M"]


def test_the_process_answers_line_by_line_and_its_prints_are_no_answers(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text((EXAMPLE / "study.toml").read_text())
    (tmp_path / "train.py").write_text("print('loud')\n" + (EXAMPLE / "train.py").read_text())
    asked = [
        {"id": 1, "ask": "look", "key": studies.key_of("file", str(tmp_path), "study.toml")},
        {"id": 2, "ask": "no"},
    ]
    done = subprocess.run(
        python("-m", "fts.jobs.form", "--db", str(tmp_path / "outputs" / "fts.db")),
        input="\n".join([*map(json.dumps, asked), "torn"]), capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["id"] == 1 and len(first["look"]["cells"]) == 6
    assert second["id"] == 2 and second["problem"]
