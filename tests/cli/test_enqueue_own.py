"""What `fts enqueue` says of a function, a command or a study file of one's own before it writes a job."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from fts.state import queries
from fts.state.db import Database
from tests.cli.study import Said, places_of


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text("def objective(trial, size='S'):\n    return trial.suggest_float('x', 0, 1)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dry_run_in_a_fresh_folder_leaves_nothing(fts: Callable[..., Said], stand: Path):
    said = fts("enqueue", "train.py:objective", "-m", "size=S,M", "--dry-run")
    assert said.code == 0 and "S is new: 20 trials" in said.err and "nothing was enqueued" in said.err.lower()
    assert not places_of(stand).outputs.exists()


def test_more_trials_extend_and_a_changed_file_is_another_question(fts: Callable[..., Said], stand: Path):
    words = ("enqueue", "train.py:objective", "-m", "size=S")
    assert "S is queued as job 1: 8 trials" in fts(*words, "--trials", "8").err
    assert "S is queued: job 1, 0 of 8 trials ended" in fts(*words, "--trials", "8").err
    assert "job 1 from 8 to 12 trials" in fts(*words, "--trials", "12").err
    said = fts(*words, "--metric", "acc", "--direction", "maximize", "--dry-run").err
    assert "is a different search of this cell: the metric value -> acc, its goal minimize -> maximize" in said
    (stand / "train.py").write_text((stand / "train.py").read_text() + "# better\n")
    said = fts(*words, "--trials", "12").err
    assert "S is queued as job 2: 12 trials; train.py has changed since job 1, so this is a new search" in said
    assert fts("cancel", "2", "-y").code == 0
    assert "S is queued as job 3: 12 trials\n" in fts(*words, "--trials", "12", "--again").err
    assert "'1-3' means several jobs: " in fts("why", "1-3").err, "three jobs of one cell"
    assert "job 3 (S)" in fts("why", "S").out and "job 1 (S)" in fts("why", "1-1").out


@pytest.mark.parametrize(
    ("words", "script", "unread"),
    [
        ("sh run.sh --lr {lr}", "", "the command has no {mom}, and run.sh does not name FTS_PARAM_MOM: unless"),
        ("sh run.sh --lr {lr} {mom}", "", "the command has no {depth}, and run.sh does not name FTS_CELL_DEPTH: "),
        ("sh run.sh {args}", "", None),
        ("sh run.sh {lr}", "echo $FTS_PARAM_MOM $FTS_CELL_DEPTH", None),
        ("sh run.sh", "read-json $FTS_PARAMS", None),
    ],
)
def test_a_parameter_or_an_axis_that_no_command_gets_is_said(
    fts: Callable[..., Said], stand: Path, words: str, script: str, unread: str | None
):
    (stand / "run.sh").write_text(script)
    space = ("--space", "lr=1:2", "--space", "mom=1:2", "-m", "depth=1,2")
    said = fts("enqueue", "--dry-run", "--metric", "loss", *space, "--", *words.split())
    assert said.code == 0 and ("unless" in said.err) == (unread is not None) and (unread or "") in said.err


def test_trials_that_would_all_run_the_same_are_said(fts: Callable[..., Said], stand: Path):
    words = ("enqueue", "--dry-run", "--metric", "loss", "--trials")
    for command in ("sh run.sh --lr 0.1..1", "sh run.sh {lr:0..1}"):
        (stand / "run.sh").write_text("")
        said = fts(*words, "3", "--", *command.split())
        told = "lr is a whole number from 0" if "{" in command else "no parameter: its 3 trials run the same, unless"
        assert said.code == 0 and told in said.err
    for trials, command in (("1", "sh run.sh"), ("3", "sh run.sh {seed}"), ("3", "sh run.sh {lr:0.0..1}")):
        assert "same" not in (said := fts(*words, trials, "--", *command.split()).err) and "whole" not in said


def test_a_declared_parameter_that_the_function_does_not_read_is_said(fts: Callable[..., Said], stand: Path):
    words = ("enqueue", "-n", "train.py:objective", "--space", "x=0:1", "--space", "lr=0:1")
    said = fts(*words).err
    assert "does not read the parameter lr: it changes nothing, unless" in said and "parameter x" not in said
    (stand / "s.toml").write_text(
        '[study]\nobjective = "train:objective"\n[space]\nkind = ["a", "b"]\n'
        "x = { low = 0, high = 1, when = \"kind == 'a'\" }\n"
    )
    assert "does not read" not in fts("enqueue", "-n", "s.toml").err, "`kind` decides whether x is drawn"


def test_the_queue_that_was_begun_or_taken_is_said_where_it_may_surprise(
    fts: Callable[..., Said], stand: Path, monkeypatch: pytest.MonkeyPatch
):
    (stand / "there").mkdir()
    (stand / "there" / "train.py").write_text((stand / "train.py").read_text())
    (stand / "there" / "s.toml").write_text('[study]\nobjective = "train:objective"\n')
    own = places_of(stand).db
    assert f"{own.relative_to(stand)} is a new queue\n" in fts("enqueue", "train.py:objective").err
    assert "fts.db" not in fts("enqueue", "train.py:objective").err
    assert f"the queue is {own.relative_to(stand)}\n" in fts("enqueue", "there/s.toml").err
    fts("backup")
    own.unlink()
    again = fts("enqueue", "train.py:objective").err
    assert "is a new queue, but there is a backup of an earlier one: `fts restore " in again
    monkeypatch.chdir(stand / "there")
    other = stand / "there" / "outputs" / "fts.db"
    assert "outputs/fts.db is a new queue" in fts("enqueue", "s.toml", "--db", str(other)).err
    assert "fts.db" not in fts("enqueue", "s.toml", "--db", str(other)).err
    monkeypatch.chdir(stand)
    said = fts("enqueue", "there/s.toml").err
    assert f"the queue is {own.relative_to(stand)}; there is another one: --db there/outputs/fts.db\n" in said


@pytest.mark.parametrize(
    ("code", "unread"),
    [
        (
            "def f(trial):\n    return 1.0\ndef g(trial, depth):\n    return 2.0\n",
            "does not read the axis depth: ",
        ),
        ("def f(trial, seeds=1):\n    return seed\n", "does not read the axis depth: "),
        ("def f(trial, depth=1):\n    return 1.0\n", None),
        ("import fts\ndef f(trial):\n    return fts.cell(trial)['depth']\n", None),
        ("def f(trial, **axes):\n    return axes['depth']\n", None),
    ],
)
def test_an_axis_that_the_function_does_not_read_is_said(
    fts: Callable[..., Said], stand: Path, code: str, unread: str | None
):
    (stand / "train.py").write_text(code)
    (stand / "s.toml").write_text('[study]\nobjective = "train:f"\n[matrix]\ndepth = [1, 2]\n')
    for words in (("train.py:f", "-m", "depth=1,2"), ("s.toml",)):
        said = fts("enqueue", *words, "-n").err
        assert ("does not read" in said) == (unread is not None) and (unread or "") in said


def test_a_name_that_is_nearly_an_argument_with_a_default_is_refused(fts: Callable[..., Said], stand: Path):
    (stand / "train.py").write_text("def f(trial, depth=1):\n    return 1.0\n")
    (stand / "s.toml").write_text('[study]\nobjective = "train:f"\n[matrix]\ndept = [1, 2]\n')
    axis, space = ("train.py:f", "-m", "dept=1,2"), ("train.py:f", "--space", "dpeth=1:2", "--sampler", "random")
    for name, words in itertools.product(("enqueue", "check"), (axis, ("s.toml",), space)):
        said = fts(name, *words)
        assert said.code == 2 and "did you mean depth, which f takes?" in said.err and said.err.count("\n") == 1
    of_one_cell = "size = ['S']\ninclude = [{ size = 'M', dept = 3 }]"
    (stand / "train.py").write_text("def f(trial, size, depth=1):\n    return 1.0\n")
    (stand / "s.toml").write_text(f'[study]\nobjective = "train:f"\n[matrix]\n{of_one_cell}\n')
    assert "did you mean depth, which f takes?" in fts("enqueue", "s.toml").err
    (stand / "train.py").write_text("def f(trial, depth=1, dept=2):\n    return 1.0\n")
    assert fts("enqueue", "-n", *axis).code == 0


def test_the_declaration_grows_with_each_enqueue(fts: Callable[..., Said], stand: Path, db: Database):
    fts("enqueue", "train.py:objective", "-m", "size=S,M")
    fts("enqueue", "train.py:objective", "-m", "size=M,L", "--direction", "maximize", "--metric", "acc")
    declared = queries.studies(db)["train"].declaration
    assert declared["axes"][0]["values"] == ["S", "M", "L"]
    assert [(metric["name"], metric["goal"]) for metric in declared["metrics"]] == [
        ("value", "minimize"), ("acc", "maximize"),
    ]  # fmt: skip


def test_another_script_is_not_an_earlier_state_of_this_one(fts: Callable[..., Said], stand: Path):
    for number, file in enumerate(("fit.sh", "fit.bash", "fit.bash")):
        (stand / file).write_text(f"echo loss={number}\n")
        words = ["--", "bash", file, "{rate:0.0..1.0}", *["x"] * number]
        said = fts("enqueue", "--metric", "loss", "--regex", "loss=(.*)", *words).err
        assert ("and an earlier fit.bash" in said) == (number == 2), said
        assert ("is a different search of this cell" in said) == (number > 0), said
