"""`~` and `$HOME` in every option that takes a path, where no shell has expanded them: no folder is ever called `~`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fts.jobs.cli import app
from fts.jobs.cli.paths import FileType, PathType
from fts.jobs.executors.base import Want
from fts.jobs.executors.launch import Launch
from fts.jobs.executors.on_node import new_scratch
from fts.jobs.library.study import Study as Written
from fts.jobs.settings import places
from fts.state.errors import StateError
from fts.state.files import expanded
from fts.state.location import database_path, refuse_other_than_file
from tests.fts_process import Study

EXPANDED_LATER = {"--db", "--to", "--python", "--node-python"}  # by the function that reads them; cases below
SHOWN_AS_PATH = ("PATH", "FOLDER", "DIR", "FILE", "STORAGE", "STUDY.TOML")


def every_parameter(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                yield from every_parameter(below, (*words, name))
    yield from ((words, parameter) for parameter in command.params)


def test_every_option_that_takes_a_path_expands_it() -> None:
    root = next(value for value in vars(app).values() if isinstance(value, click.Group))
    seen = 0
    for words, parameter in every_parameter(root):
        metavar = (parameter.metavar or "").upper()
        is_path = isinstance(parameter.type, click.Path) or any(one in metavar for one in SHOWN_AS_PATH)
        if not is_path or set(parameter.opts) & EXPANDED_LATER:
            continue
        seen += 1
        assert isinstance(parameter.type, PathType | FileType), f"fts {' '.join(words)} {parameter.opts[0]}"
    assert seen > 15


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Study]:
    """A study in a folder below home, run from elsewhere."""
    home = tmp_path / "home"
    (home / "study").mkdir(parents=True)
    (home / "study" / "train.py").write_text(
        "def objective(trial):\n    return trial.suggest_float('x', 0, 1)\ndef usual(trial):\n    return 0.5\n"
    )
    yield Study(tmp_path / "here", HOME=str(home), FTS_DB="$HOME/study/outputs/fts.db", XDG_STATE_HOME="~/state")
    assert not list(tmp_path.rglob("~*")) and not list(tmp_path.rglob("$HOME"))
    assert not (tmp_path / "here" / "outputs").exists()


def test_a_study_is_run_and_shown_with_paths_below_home(away: Study, tmp_path: Path) -> None:
    home = tmp_path / "home"
    enqueue = ("enqueue", "~/study/train.py:objective", "--trials", "2", "--baseline", "~/study/train.py:usual")
    away.ok(*enqueue)
    away.ok("worker", "--until-empty", "--db", "~/study/outputs/fts.db")
    away.ok("results", "--db", "~/study/outputs/fts.db")
    away.ok("report", "--out", "~/report")
    away.ok("export", "--parquet", "$HOME/parquet")
    away.ok("snapshot", "--to", "~/picture.svg")
    away.ok("init", "--to", "~/new")
    for name in ("report", "parquet", "picture.svg", "new/train.py"):
        assert (home / name).exists(), name
    away.ok("backup")
    (copy,) = (home / "study" / "outputs" / "backups").iterdir()
    away.ok("restore", "-y", f"~/study/outputs/backups/{copy.name}")
    said = away.fts("import", "~/none.db")
    assert f"there is no file {home}/none.db" in said.err
    said = away.fts("check", "~/study/train.py:objective", "--python", "~/no/python")
    assert f"{home}/no/python" in said.err


def test_a_study_file_names_programs_below_home(away: Study, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "study" / "study.toml").write_text(
        '[study]\nname = "s"\ncommand = "sh ~/study/run.sh {x}"\nstdout = true\n'
        "[metrics.loss]\ngoal = 'minimize'\n[space]\nx = [0, 1]\n[budget]\ntrials = 1\n"
    )
    (home / "study" / "run.sh").write_text('echo "{\\"loss\\": $1}"\n')
    said = away.fts("enqueue", "~/study/study.toml")
    assert said.code == 0, said
    away.ok("worker", "--until-empty")
    assert away.json("trials", "1")["trials"][0]["status"] == "complete"


def test_paths_of_the_environment_and_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTS_DB", "~/a/fts.db")
    assert database_path() == tmp_path / "a" / "fts.db"
    assert expanded("$HOME/x") == expanded("${HOME}/x") == tmp_path / "x"
    assert expanded("$HOMEX/x") == Path("$HOMEX/x")
    assert Written("train.py:objective", folder="~/b").folder == tmp_path / "b"
    scratch, _ = new_scratch("~/scratch")
    assert scratch.is_relative_to(tmp_path / "scratch")
    assert not (tmp_path / "~").exists()


def test_the_interpreter_of_a_node_is_found_below_the_home_there() -> None:
    by_shell = Launch("ssh {name}", "~/my venv/bin/python", quotes=True).argv(Want(), "gpu1", None)
    assert "~/'my venv/bin/python'" in by_shell
    assert str(Path("~/venv/bin/python").expanduser()) in Launch("srun", "~/venv/bin/python").argv(Want(), "n", None)


def test_the_address_of_a_server_is_refused_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    """Read as a path it would be `postgresql:/ada:secret@db.lab/fts` in a sentence."""
    from fts.jobs.cli import main

    address = "postgresql://ada:secret@db.lab/fts"
    assert main(["--db", address, "status"]) != 0
    monkeypatch.setenv("FTS_DB", address)
    assert main(["status"]) != 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all("db.lab/fts is of kind 'postgresql'" in line for line in said), said
    assert "secret" not in "".join(said)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("sqlite:///x.db", "sqlite:///x.db is an address, and fts takes a path: x.db (in this folder) or /x.db"),
        ("file:x.db?mode=ro", "file:x.db?mode=ro is an address, and fts takes a path: x.db"),
        ("file:", "file: is an address, and fts takes a path: outputs/fts.db"),
        (":memory:", ":memory: would be in memory, where no other process could read it: give the path of a file"),
        ("  ", "'  ' is blank: give the path of a file, such as outputs/fts.db"),
        ("new/", "new/ ends with a slash, as folders do: give the path of a file, new or new/fts.db"),
        ("there/", "there is a folder, and the database is a file; give the path of a file, "),
    ],
)
def test_what_is_no_path_of_a_database_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    for refused in (lambda: places(given), lambda: database_path(given)):
        with pytest.raises(StateError, match=re.escape(told)):
            refuse_other_than_file(getattr(found := refused(), "db", found))
    assert [one.name for one in tmp_path.iterdir()] == ["there"]


def test_odd_names_that_are_paths_stay_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file:old.db").touch()
    for given in ("file:old.db", "a:b.db", "fts.db"):
        assert places(given).db == tmp_path / given and database_path(given) == Path(given)
    assert database_path(f"sqlite:///{tmp_path}/x.db") == tmp_path / "x.db", "four slashes: absolute for everybody"
    monkeypatch.setenv("FTS_DB", "")
    assert places().db == tmp_path / "outputs" / "fts.db", "an empty variable is one that is not set"
