"""A selection that names nothing is refused by every command that takes one, with what could have been meant."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from fts.jobs.cli.app import entries
from fts.jobs.cli.app import fts as group
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.selection import choose, only_cell, split_trial
from fts.jobs.python import python
from fts.state import queries
from fts.state.db import Database
from fts.state.transitions import claim as claim_job
from fts.state.values import Job, JobStatus
from tests.cli.study import finished_cell, places_of, start_worker
from tests.tui.values import make_job

NAMES = ("cell", "cells", "wanted", "job")
MORE = {"move": ["top"], "predict": ["x.csv"], "note": ["hello"]}  # what else the command needs


def selecting() -> Iterator[tuple[str, list[str]]]:
    """Every command with an argument or option that names jobs, and the words that name 9M/h1 there."""
    context = click.Context(group)
    for name in entries():
        command = group.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Argument) and parameter.name in NAMES:
                yield name, [name, "{}", *MORE.get(name, [])]
            elif isinstance(parameter, click.Option) and parameter.name in NAMES:
                yield name, [name, parameter.opts[0], "{}", *MORE.get(name, [])]


SELECTING = list(selecting())


def test_the_commands_that_select_are_found():
    names = {name for name, _ in SELECTING}
    assert names >= {
        "plan",
        "run",
        "why",
        "move",
        "curve",
        "trials",
        "logs",
        "export",
        "pause",
        "note",
        "events",
        "results",
    }


@pytest.mark.parametrize(("name", "words"), SELECTING, ids=[name for name, _ in SELECTING])
def test_a_budget_that_does_not_exist_is_a_usage_error(fts, db: Database, name: str, words: list[str]):
    said = fts(*[word.format("9M/h1") for word in words])
    assert said.code == 2 and said.out == "", said
    assert "9M" in said.err and "2M, 20M, 200M, 2B" in said.err


@pytest.mark.parametrize(("name", "words"), SELECTING, ids=[name for name, _ in SELECTING])
def test_a_number_that_no_job_has_is_refused(fts, db: Database, name: str, words: list[str]):
    said = fts(*[word.format("99") for word in words])
    assert said.code in (2, 6) and said.out == "", said
    assert "99" in said.err


@pytest.mark.parametrize("empty", ["", " ", "cause:", "!task:"])
@pytest.mark.parametrize(("name", "words"), SELECTING, ids=[name for name, _ in SELECTING])
def test_an_empty_word_is_not_every_job(fts, db: Database, name: str, words: list[str], empty: str) -> None:
    """`fts cancel "$JOB"` without such a variable cancelled the jobs of all studies without a budget."""
    said = fts(*[word.format(empty) for word in words])
    assert said.code == 2 and said.out == "", said
    assert db.execute_sql("SELECT count(*) FROM event WHERE verb <> 'enqueued'").fetchone()[0] == 0


def test_the_nearest_name_is_offered(fts, db: Database):
    assert "did you mean 2M/h3?" in fts("why", "2M/h33").err
    assert "did you mean phase6a_2M_h1_threshold_1pct?" in fts("trials", "phase6a_2M_h1_treshold_1pct").err
    assert "asks for 'bugdet'; did you mean budget?" in fts("queue", "bugdet:2").err
    assert "did you mean budget:2M?" in fts("queue", "budget:2N").err


def test_plan_shows_the_cells_that_were_named_only(fts, db: Database):
    assert [line.split()[1] for line in fts("plan", "20M").out.splitlines()[1:]] == ["20M/h1", "20M/h3"]
    finished_cell(db)
    assert "nothing is left to run of 2M/h1" in fts("plan", "2M/h1").err


@pytest.mark.parametrize("word", ["2M/h1:x", "2M/h1:t0:e4", "1:", "2M/h1:t", "2M/h1:t1.5"])
@pytest.mark.parametrize("command", ["curve", "logs"])
def test_what_names_a_trial_is_said(fts, db: Database, command: str, word: str):
    said = fts(command, word)
    assert said.code == 2 and "a trial is CELL:tN such as" in said.err and "fts trials" in said.err


@pytest.mark.parametrize("command", ["trials", "why", "results"])
def test_a_trial_where_cells_are_taken_is_named_so(fts, db: Database, command: str):
    said = fts(command, "2M/h1:t3")
    assert said.code == 2 and "takes whole cells: write 2M/h1" in said.err


def test_undo_of_several_jobs_names_them_and_the_one_that_has_moved_on(fts, db: Database):
    finished_cell(db)
    said = fts("undo")
    assert said.code == 1
    assert "cannot undo the change of jobs 1, 2, 3, 4 (enqueued): job 1 is done now, not queued" in said.err


# -- fts run


def test_run_says_who_runs_a_job_and_how_one_ended(fts, db: Database):
    finished_cell(db)
    claim_job(db, start_worker(db), lease_s=60.0)
    running = fts("run", "2")
    assert running.code == 6 and "job 2 (2M/h3) is running; worker 2 runs it, attempt 1" in running.err
    assert "is running" in fts("run", "2M/h3").err
    ended = fts("run", "1")
    assert ended.code == 6 and "job 1 (2M/h1) is done, not waiting" in ended.err
    assert "there are jobs 1-4" in fts("run", "99").err


def test_run_without_a_free_slot_puts_nothing_in_line(fts, db: Database, tmp_path: Path, monkeypatch):
    from fts.state.slot_lock import SlotLock

    monkeypatch.setattr("os.cpu_count", lambda: 1)
    with SlotLock(places_of(tmp_path).outputs, 0):
        said = fts("run", "tiny/h1", "--no-check")
        assert said.code in (1, 6) and said.out == ""
        before = db.execute_sql("select count(*) from job").fetchone()
        assert before == (4,)
        waiting = fts("run", "1")
        assert waiting.code == 1 and "every slot of this machine (1) is taken by" in waiting.err
        assert "--slot 1 runs it now" in waiting.err
    assert db.execute_sql("select status, attempt from job where id = 1").fetchone() == ("queued", 0)


# -- fts worker in the wrong folder


@pytest.mark.parametrize("words", [["worker"], ["worker", "--until-empty"], ["worker", "--detach"]])
def test_a_worker_without_a_study_makes_none(fts, tmp_path: Path, words: list[str]):
    said = fts(*words)
    assert said.code == 6 and "there is no study at" in said.err and "--create" in said.err
    assert not places_of(tmp_path).outputs.exists()


OTHERS = tuple(
    replace(make_job(n), study=study, experiment=f"{study}_{name}", cell=name, labels=labels, spec={})
    for n, study, name, labels in (
        (1, "digits", "s", {"size": "s"}), (2, "digits", "S", {"size": "S"}), (3, "digits", "M", {"size": "M"}),
        (4, "other", "other", {}),
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("!digits", [4]), ("!M", [1, 2, 4]), ("!digits/M", [1, 2, 4]), ("!size:M", [1, 2, 4]), ("!3", [1, 2, 4]),
        ("!state:failed", [1, 2, 3, 4]), ("!!digits", [1, 2, 3]),
        ("S", [2]), ("s", [1]), ("digits/S", [2]), ("digits_s", [1]), ("!S", [1, 3, 4]), ("m", [3]),
        ("DIGITS", [1, 2, 3]),
    ],
)  # fmt: skip
def test_a_word_and_its_negation_share_the_jobs_also_where_names_differ_only_in_case(word: str, meant: list[int]):
    assert [job.id for job in choose(OTHERS, [word]).jobs] == meant


@pytest.mark.parametrize("word", ["!digit", "!h7", "!99", "!all"])
def test_a_negation_that_leaves_out_nothing_or_everything_is_refused(word: str):
    with pytest.raises(NothingThere):
        choose(OTHERS, [word])


def test_a_field_is_no_trial_and_a_cell_that_was_searched_again_is_one_cell():
    assert split_trial("size:5", ["size"]) == ("size:5", None) and split_trial("size:5") == ("size", 5)
    assert split_trial("size:5:t3", ["size"]) == ("size:5", 3) and split_trial("size:t3", ["size"]) == ("size", 3)
    with pytest.raises(click.UsageError, match="names no trial"):
        split_trial("size:S")
    done = replace(OTHERS[3], id=5, status=JobStatus.DONE)
    assert only_cell([OTHERS[3], done]).id == 4
    with pytest.raises(click.UsageError, match="name a cell"):
        only_cell(OTHERS[2:])


def test_a_note_about_several_jobs_is_refused_and_a_node_of_no_study_makes_none(fts, db: Database, tmp_path: Path):
    said = fts("note", "hot", "--job", "2M")
    assert said.code == 2 and "means several jobs" in said.err
    missing = tmp_path / "other" / "fts.db"
    assert fts("--db", str(missing), "nodes", "drain", "gpu1").code != 0 and not missing.parent.exists()


@pytest.mark.parametrize("words", [["train.py:f"], ["--", "echo", "{args}"]])
def test_a_direction_against_the_only_goal_is_refused(fts, tmp_path: Path, monkeypatch, words: list[str]):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("def f(trial):\n    return 1.0\n")
    goal = ["--goal", "acc=maximize", "--direction"]
    said = fts(
        "enqueue", *(words if "--" not in words else []), *goal, "minimize", "-n", *(words if "--" in words else [])
    )
    assert said.code == 2 and "--direction is minimize, but the --goal acc is maximize" in said.err


def named(number: int, study: str, cell: str = "", **more: Any) -> Job:
    return replace(make_job(number, **more), study=study, cell=cell or study, experiment=f"{study}_x", labels={})


def test_a_name_that_means_jobs_too_is_refused_with_a_word_for_each() -> None:
    """An earlier fts enqueued studies of such names: `fts cancel all` may mean neither the one nor the other."""
    jobs = [named(n, study) for n, study in enumerate(["plain", "all", "7", "3-5", "h1", "queued", "seven"], 1)]
    for word, name, number in (("all", "study:all", "1..7"), ("7", "study:7", "'#7'"), ("3-5", "study:3-5", "3..5")):
        with pytest.raises(click.UsageError) as refused:
            choose(jobs, [word])
        assert f"write {name} for what has this name, or {number} for the job" in str(refused.value)
        (meant,) = choose(jobs, [name]).jobs
        assert meant.study == word and choose(jobs, [f"{word}/{word}"]).jobs == (meant,)
    assert [job.id for job in choose(jobs, ["#7"]).jobs] == [7] and len(choose(jobs, ["1..7"]).jobs) == 7
    assert [job.id for job in choose(jobs[:6], ["7"]).jobs] == [3], "there is no job 7"
    assert [job.study for job in choose(jobs, ["queued"]).jobs] == ["queued"]
    with pytest.raises(click.UsageError, match="write part/all for"):
        choose([named(1, "part", "all"), named(2, "part", "some")], ["all"])


def test_a_new_study_gets_no_name_that_means_jobs_and_an_earlier_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import fts
    from fts.jobs.api.spec import BadSpec
    from fts.jobs.cli import main
    from fts.state.db import open_database

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTS_DB", str(tmp_path / "outputs" / "fts.db"))
    code = "def objective(trial):\n    return trial.suggest_float('x', 0, 1)\n"
    for name in ("train", "7", "all"):
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "study.toml").write_text('[study]\nobjective = "train.py:objective"\nname = "All"\n')
    for words in (
        ["train.py:objective", "--name", "7"],
        ["train.py:objective", "--name", "3-5"],
        ["all.py:objective"],
        ["7.py:objective", "-n"],
        ["study.toml"],
        ["--name", "12", "--metric", "loss", "--stdout", "--", "true"],
    ):
        for command in ("enqueue", "check"):
            assert main([command, *(word for word in words if word != "-n" or command == "enqueue")]) == 2, words
            said = capsys.readouterr().err
            assert "means " in said and "in a command; give another one with --name" in said, said
    with pytest.raises(BadSpec, match="means every job"):
        fts.Study("train:objective", name="all").enqueue()
    (tmp_path / "script.py").write_text(
        "import fts\n\n\ndef objective(trial):\n    return trial.suggest_float('x', 0, 1)\n\n\n"
        "if __name__ == '__main__':\n    fts.create_study('7').optimize(objective, n_trials=2)\n"
    )
    ran = subprocess.run(python("script.py"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "means jobs by their numbers" in ran.stderr, ran
    assert not (tmp_path / "outputs").exists(), "a refusal creates no queue"
    with monkeypatch.context() as earlier:
        earlier.setattr("fts.jobs.functions.means_jobs", lambda _: False)
        assert main(["enqueue", "train.py:objective", "--name", "7", "--trials", "2"]) == 0
    assert main(["check", "train.py:objective", "--name", "7", "--show", "1"]) == 0
    assert main(["enqueue", "train.py:objective", "--name", "7", "--trials", "5"]) == 0
    with closing(open_database(tmp_path / "outputs" / "fts.db")) as db:
        assert [(job.study, job.trials_wanted) for job in queries.jobs(db)] == [("7", 5)]


@pytest.mark.parametrize("word", ["lion:x", "lion:t0:e4", "lion:", "lion:t3"])
def test_a_part_of_a_cell_of_any_study_is_refused_with_the_name_of_the_cell(word: str):
    """A colon also asks for a field; `why lion:x` was answered with the list of fields."""
    jobs = [replace(make_job(1), study="zoo", experiment="zoo_lion", cell="lion", labels={"animal": "lion"}, spec={})]
    with pytest.raises(click.UsageError, match=r"takes whole cells: write lion$"):
        choose(jobs, [word])
    assert choose(jobs, ["animal:lion"]).jobs == tuple(jobs)
