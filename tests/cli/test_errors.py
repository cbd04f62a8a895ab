"""Every error is one sentence on stderr, with the exit code that says what kind it is."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest

from fts.jobs.cli import errors, main
from fts.jobs.cli.app import entries, exists, sections
from fts.jobs.cli.app import fts as group
from fts.jobs.cli.errors import sentence_of
from fts.jobs.devices import may_have_more
from fts.state import transitions
from fts.state.db import Database
from tests.cli.study import places_of
from tests.fts_process import Study, start

FTS = [sys.executable, "-m", "fts.jobs.cli"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["qeue"], "did you mean 'queue'"),
        (["queue", "--nonsense"], "No such option"),
        (["move", "1"], "end with up, down, top"),
        (["move", "1", "sideways"], "end with up, down, top"),
        (["pause"], "name jobs"),
        (["pause", "1", "--queue"], "name jobs"),
        (["cancel"], "Missing argument"),
        (["queue", "colour:red"], "expected one of"),
        (["queue", "state:sleeping"], "there is no state"),
        (["enqueue"], "name what to enqueue: study.toml, train.py:objective, or -- and a command"),
        (["enqueue", "--trials", "4"], "--matrix or a cell such as 2M/h1"),
        (["enqueue", "3M/h1"], "nor a cell"),
        (["enqueue", "tiny/h9999"], "the horizon of 'tiny/h9999' is 9999, expected a whole number from 1 to 250"),
        (["run", "tiny/h-1"], "the horizon of 'tiny/h-1' is -1, expected a whole number from 1 to 250"),
        (["script", "tiny/h1.5"], "the horizon of 'tiny/h1.5' is 1.5, expected a whole number"),
        (["run", "train.py:objective"], "`fts enqueue` and `fts worker` run a function"),
        (["why", "train.py:objective"], "is a function, and this command takes jobs, by cell or number"),
        (["script", "7"], "'7' is not a cell of the PatchTST study"),
        (["plan", "--memory", "train.py:objective"], "`fts enqueue` and `fts worker` run a function"),
        (["data", "build", "--tier", "zz"], "there is no tier 'zz'; there are r20, a20, a25, c, a39"),
        (["enqueue", "2M/h1", "--matrix"], "not both"),
        (["enqueue", "--matrix", "--horizons", "one"], "not a list of whole numbers"),
        (["events", "--since", "yesterday-ish"], "is not a time"),
        (["budgets", "3M"], "there is no budget"),
        (["undo", "0"], "expected 1 or more"),
        (["worker", "--memory-limit", "lots"], "is not a size"),
        (["worker", "--memory-limit", "0"], "is not a size"),
        (["worker", "--memory-limit", "5MB"], "a trial needs 256 MB even without a model"),
        (["worker", "--memory-limit", "900TB"], "of this machine has"),
        (["run", "1", "--memory-limit", "900TB"], "of this machine has"),
        (["worker", "--device", "gpu"], "expected cpu, cuda, cuda:N or mps; this machine has: cpu"),
        (["worker", "--device", "CUDA"], "this machine has: cpu"),
        (["worker", "--device", ""], "it is empty; give a value"),
        (["run", "1", "--device", "tpu"], "this machine has: cpu"),
        (["plan", "--memory", "--device", "gpu"], "this machine has: cpu"),
        (["worker", "--slots", "500"], "more threads than cores"),
        (["worker", "--slots", "0"], "0 is not in the range"),
        (["worker", "--threads", "0"], "0 is not in the range"),
        (["worker", "--threads", "-1"], "-1 is not in the range"),
        (["worker", "--memory-limit", "9" * 25], "is not a size"),
        (["plan", "--memory", "--slots", "0"], "0 is not in the range"),
        (["budgets", "2M", "--features", "0"], "0 is not in the range"),
        (["backup", "--keep", "-1"], "-1 is not in the range"),
        (["backup", "--keep", "0"], "0 is not in the range"),
        (["events", "--limit", "0"], "0 is not in the range"),
        (["events", "--limit", "9" * 25], "is not in the range"),
        (["db", "query", "select 1", "--limit", "0"], "0 is not in the range"),
        (["drain", "-n", "--worker", "9" * 25], "is not in the range"),
        (["watch", "--from", "9" * 25], "is not in the range"),
        (["watch", "--every", "0"], "0.0 is not in the range"),
        (["watch", "--every", "nan"], "nan is not in the range"),
        (["mirror", "tensorboard", "x", "--every", "nan"], "nan is not in the range"),
        (["logs", "-n", "0"], "0 is not in the range"),
        (["status", "--at", "99:99"], "is not a time"),
        (["logs", "--grep", "("], "not a regular expression"),
        (["db", "query", "select nonsense from job"], "SQLite says"),
        (["db", "query", " "], "the query is empty"),
        (["--db", "", "status"], "it is empty; give a value"),
    ],
)
def test_a_usage_error_is_one_sentence_and_exit_2(fts, db: Database, words, expected):
    said = fts(*words)
    assert said.code == 2
    assert said.out == ""
    assert expected in said.err
    assert said.err.startswith("fts: ") and said.err.count("\n") == 1


def with_a_value() -> Iterator[list[str]]:
    """Every option that takes a value, of every command, with its command's words before it."""
    context = click.Context(group)
    open_: list[tuple[list[str], click.Command]] = [([], group)]
    while open_:
        words, command = open_.pop()
        if isinstance(command, click.Group):
            named = ((name, command.get_command(context, name)) for name in command.list_commands(context))
            open_ += [([*words, name], inner) for name, inner in named if inner is not None]
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag and command is not group:
                yield [*words, option.opts[0]]


WITH_A_VALUE = list(with_a_value())


@pytest.mark.parametrize("words", WITH_A_VALUE, ids=" ".join)
def test_an_empty_value_is_no_option_left_away(fts, db: Database, words: list[str]) -> None:
    """`--cell "$CELL"` where the shell has no such variable is not the whole matrix, `--host ""` not every address."""
    said = fts(*words, "")
    assert (said.code, said.out) == (2, "") and said.err.count("\n") == 1, said


def test_the_options_with_a_value_are_found() -> None:
    assert (
        len(WITH_A_VALUE) > 100 and ["serve", "--host"] in WITH_A_VALUE and ["data", "build", "--tier"] in WITH_A_VALUE
    )


@pytest.mark.parametrize("words", [["worker", "--until-empty"], ["run", "1"], ["demo"]])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FTS_DEVICE", "gpu"), ("FTS_MEMORY_LIMIT", "5MB"), ("FTS_MEMORY_LIMIT", "0"), ("FTS_MEMORY_LIMIT", "lots"),
        ("FTS_MEMORY_LIMIT", "900TB"), ("FTS_MEMORY_SOFT", "x"), ("FTS_DISK_RESERVE", "-1"), ("FTS_HEAT_WARM", "hot"),
        ("FTS_SENSORS", "x"), ("FTS_LEASE_S", "inf"), ("FTS_MAX_IDLE_ATTEMPTS", "2.5"), ("FTS_OUTAGE_PAUSE_S", "0"),
        ("FTS_BEAT_S", "45"), ("FTS_POLL_S", "31"),
    ],
)  # fmt: skip
def test_a_variable_that_makes_no_sense_is_refused_before_anything_is_made(
    fts, tmp_path: Path, monkeypatch, words, name, value
):
    monkeypatch.setenv(name, value)
    said = fts(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"fts: {name}") and said.err.count("\n") == 1
    assert not places_of(tmp_path).db.exists()


@pytest.mark.skipif(may_have_more(), reason="this machine may have a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_here_is_refused_with_what_is(fts, tmp_path: Path, device):
    """One process asks torch, for all commands of this one."""
    for words in (["worker"], ["run", "1"]):
        said = fts(*words, "--device", device)
        assert (said.code, said.out) == (2, "")
        assert f"--device is '{device}', but this machine has: cpu" in said.err and said.err.count("\n") == 1
    assert not places_of(tmp_path).db.exists()


@pytest.mark.parametrize("words", [["queue"], ["status"], ["results"], ["pause", "1"], ["undo"], ["db", "query", "x"]])
def test_without_a_database_nothing_is_made_and_the_code_is_6(fts, tmp_path: Path, words):
    said = fts(*words)
    assert said.code == 6
    assert "fts enqueue" in said.err and said.err.count("\n") == 1
    assert not places_of(tmp_path).db.exists()


def test_a_job_that_is_not_there_is_named_with_what_there_is(fts, db: Database):
    said = fts("trials", "99")
    assert said.code == 6
    assert "'99'" in said.err and "there are jobs 1-4" in said.err


def test_a_newer_schema_can_be_read_but_a_change_ends_with_5(fts, db: Database):
    db.execute_sql("PRAGMA user_version = 99")
    assert fts("queue").code == 0
    said = fts("pause", "1")
    assert said.code == 5 and "update fts" in said.err


@pytest.mark.parametrize("words", [["queue"], ["status"], ["why", "1"], ["pause", "2"]])
def test_a_word_this_fts_does_not_know_is_named_and_hides_nothing_else(fts, db: Database, words: list[str]):
    db.execute_sql("UPDATE job SET cause = 'cosmic ray' WHERE id = 1")
    said = fts(*words)
    assert said.code == 0
    assert words[0] == "pause" or "cause is 'cosmic ray'" in said.out + said.err


@pytest.mark.parametrize("form", [[], ["--line"], ["--plain"], ["--json"], ["--exit-code"]])
def test_status_of_a_newer_schema_shows_what_it_knows_and_ends_with_5(fts, db: Database, form: list[str]):
    db.execute_sql("PRAGMA user_version = 99")
    said = fts("status", *form)
    assert said.code == 5
    assert "BLIND" in said.out and "the file has schema 99" in said.out
    assert ("2M/h3" in said.out) or form == ["--line"]


def test_a_damaged_file_is_one_sentence(fts, tmp_path: Path):
    path = places_of(tmp_path).db
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 1000)
    said = fts("queue")
    assert said.code == 1 and said.err.count("\n") == 1 and "damaged" in said.err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough free memory"),
        (SystemError("error return without exception set"), "not enough free memory"),
        (RuntimeError("can't start new thread"), "limit of processes or memory"),
    ],
)
def test_a_machine_without_room_is_no_fault_in_fts(error: Exception, words: str) -> None:
    assert words in sentence_of(error)


@pytest.mark.parametrize(("lives", "code"), [(False, 0), (True, 6)])
def test_a_job_whose_worker_was_killed_runs_again_by_hand(
    fts, db: Database, lives: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fts.jobs.worker.worker.run_job", lambda *_, **__: 0)
    pid = os.getpid() if lives else 2**22 + 7
    worker = transitions.register_worker(db, os.uname().nodename, pid, 1.0, 1)
    assert transitions.claim(db, worker, 60, 3, 1) is not None
    assert fts("run", "1").code == code


def test_debug_shows_where_an_error_comes_from(fts, db: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FTS_DEBUG", "1")
    with pytest.raises(Exception, match="not possible for job 1"):
        fts("retry", "1")


def test_missing_data_says_what_to_run(fts):
    said = fts("enqueue", "2M/h1", "--no-check")
    assert said.code == 6 and "`fts data build`" in said.err


def test_status_imports_neither_torch_nor_optuna_nor_textual_nor_pandas(tmp_path: Path, db: Database):
    code = (
        "import sys, fts.jobs.cli; "
        f"assert fts.jobs.cli.main(['--db', {str(places_of(tmp_path).db)!r}, 'status']) == 0; "
        "heavy = {'torch', 'optuna', 'textual', 'pandas', 'numpy', 'huey', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_is_no_error(tmp_path: Path, db: Database):
    command = f"{sys.executable} -m fts.jobs.cli --db {places_of(tmp_path).db} budgets 2M | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("architecture")


@pytest.mark.parametrize("words", [["events"], ["events", "--help"], ["--help"], ["--version"]])
def test_a_reader_that_left_before_the_first_line_leaves_exit_code_0(tmp_path: Path, db: Database, words: list[str]):
    read_end, write_end = os.pipe()
    os.close(read_end)  # as `| head` when it has seen enough: `set -o pipefail` must not call that a failure
    with os.fdopen(write_end, "wb") as out, (tmp_path / "err").open("wb") as err:
        done = start(["--db", str(places_of(tmp_path).db), *words], tmp_path, os.environ, out, err)
    assert (done.wait(60), (tmp_path / "err").read_text()) == (0, "")


@pytest.mark.parametrize(("words", "offered"), [([], "  worker "), (["data"], "  verify "), (["db"], "  query ")])
def test_a_group_without_a_command_lists_its_commands_line_by_line(
    capsys, monkeypatch, tmp_path: Path, db: Database, words: list[str], offered: str
):
    monkeypatch.setenv("FTS_DB", str(places_of(tmp_path).db))  # without a study `fts` alone says how to begin
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == "" and any(line.startswith(offered) for line in said.err.splitlines())


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["trials", "99"], 6),
        (["curve", "1:t5"], 6),
        (["queue", "--db", "nowhere.db"], 6),
        (["status", "--db", "nowhere.db"], 6),
        (["budgets", "nope"], 2),
        (["retry", "1"], 1),
        (["db", "query", "select nonsense from job"], 2),
    ],
)
def test_who_asked_for_json_gets_one_object_also_of_a_failure(fts, db: Database, words: list[str], code: int):
    said = fts(*words, "--json")
    record = json.loads(said.out)
    assert record["schema"] == 3 and record["taken_at"] > 1e9
    assert record["error"]["code"] == said.code == code
    assert said.err == f"fts: {record['error']['message']}\n"


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize(("words", "code"), [("queue --json", 0), ("status", 0), ("trials 99", 6), ("unseal 1", 1)])
def test_a_stream_that_was_closed_at_the_start_is_no_fault(
    tmp_path: Path, db: Database, closed: str, words: str, code: int
):
    command = f"{sys.executable} -m fts.jobs.cli --db {places_of(tmp_path).db} {words} {closed}"
    done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == code and "fault" not in done.stderr


@pytest.mark.parametrize(("words", "code"), [("trials 99", 6), ("queue 99 --json", 6), ("unseal 1", 1)])
def test_an_error_nobody_reads_keeps_its_code(tmp_path: Path, db: Database, words: str, code: int):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as nobody:
        done = start(["--db", str(places_of(tmp_path).db), *words.split()], tmp_path, os.environ, nobody)
    assert done.wait(60) == code


def test_a_pipe_gets_no_colour_and_a_terminal_without_unicode_gets_ascii(tmp_path: Path, db: Database):
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    done = subprocess.run(
        [*FTS, "--db", str(places_of(tmp_path).db), "queue"], capture_output=True, text=True, check=True, env=env
    )
    assert "\x1b" not in done.stdout and done.stdout.isascii()
    assert "queued" in done.stdout


def test_the_help_lists_every_command_under_a_heading(fts):
    said = fts("--help")
    assert said.code == 0
    for title, section in sections():
        for entry in section:
            if exists(entry):
                assert f"  {entry.name} " in said.out and f"{title}:" in said.out


def test_what_works_on_cells_of_one_study_alone_stands_under_its_name(fts):
    own = fts("--help").out.partition("The PatchTST study:")[2]
    assert all(f"\n  {name} " in own for name in ("demo", "data", "train", "predict", "replicate", "final", "unseal"))


@pytest.mark.parametrize("name", [name for name, entry in entries().items() if exists(entry)])
def test_every_command_has_help(fts, name: str):
    said = fts(name, "--help")
    assert said.code == 0 and f"Usage: fts {name}" in said.out


def test_the_database_can_be_named_behind_the_command(fts, tmp_path: Path, db: Database):
    said = fts("queue", "--json", "--db", str(places_of(tmp_path).db))
    assert len(json.loads(said.out)["jobs"]) == 4


OF_AN_EMPTY_FILE = (
    ["status", "--json"], ["queue", "--json"], ["move", "1", "up", "-n"], ["move", "1", "top"], ["next", "1", "-n"],
    ["pause", "--queue", "-n"], ["pause", "--queue"], ["cancel", "1", "-n"], ["retry", "1", "-n"], ["note", "hello"],
    ["ack"], ["undo", "-n"], ["drain", "-n"], ["stop"], ["unseal", "1", "-n"], ["train", "1"], ["replicate", "1"],
    ["final", "1", "-y"], ["export", "--json"], ["gc", "-n", "--json"], ["backup", "--json"],
    ["db", "query", "select 1"],
)  # fmt: skip


@pytest.mark.parametrize("words", OF_AN_EMPTY_FILE, ids=" ".join)
def test_an_empty_file_is_no_study_and_is_left_empty(fts, words: list[str], tmp_path: Path) -> None:
    database = places_of(tmp_path).db
    database.parent.mkdir()
    database.touch()
    said = fts(*words)
    assert said.code == 6
    assert "is empty, there is no study in it yet" in said.err
    assert [path.name for path in database.parent.iterdir()] == ["fts.db"]
    assert database.stat().st_size == 0


@pytest.mark.parametrize("words", [("data", "list"), ("enqueue", "tiny/h1"), ("data", "build")])
def test_a_package_that_only_a_study_needs_is_named_where_it_is_missing(words: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'torch', 'talib', 'sklearn'])); "
        f"from fts.jobs.cli import main; sys.exit(main({list(words)!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 2 and "pip install 'fts-hpo[patchtst]'" in ran.stderr, ran.stderr


def test_the_doctor_and_the_core_commands_need_no_package_of_a_study(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'torch', 'talib', 'sklearn', 'arch', 'pyarrow'])); "
        "from fts.jobs.cli import main; sys.exit(main(['doctor']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "a fault in fts itself" not in ran.stderr + ran.stdout and "fts-hpo[patchtst]" in ran.stdout, ran.stderr


def test_an_interrupt_while_modules_are_loaded_shows_no_traceback(tmp_path: Path):
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # may be ignored here
    code += f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom fts.jobs.cli import main; main(['status'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


NAMES = {  # commands that take something recorded -> their words, with a name that nothing has
    "queue": ("nix",), "trials": ("nix",), "curve": ("nix:t0",), "logs": ("nix",), "events": ("--job", "nix"),
    "why": ("nix",), "results": ("nix",), "best": ("nix",), "move": ("nix", "top"), "next": ("nix",),
    "pause": ("nix",), "resume": ("nix",), "cancel": ("nix",), "retry": ("nix",), "note": ("hello", "--job", "nix"),
    "ack": ("nix",), "report": ("nix",), "export": ("nix",), "mirror tensorboard": ("tb", "nix"),
    "mirror mlflow": ("sqlite:///m.db", "nix"), "mirror wandb": ("wb", "nix"), "plan": ("nix",), "train": ("nix",),
    "replicate": ("nix",), "final": ("nix",), "unseal": ("nix",), "nodes": ("drain", "nix"),
    "notify remove": ("nix",), "notify test": ("nix",), "drain": ("--worker", "99"), "stop": ("--worker", "99"),
}  # fmt: skip
FILES = {  # commands that read a file -> their words, with a file that does not exist
    "check": ("nix.py:objective",), "enqueue": ("nix.toml",), "run": ("nix.py:objective",), "import": ("nix.db",),
    "script": ("nix.toml",), "restore": ("nix.db", "-y"), "predict": ("model", "nix.csv"),
    "data build": ("nix.csv",), "data register": ("nix.csv",),
}  # fmt: skip
NOT_NAMED = {  # what they take is a choice, a number, a place to write to, or a definition
    "init", "worker", "undo", "redo", "log", "completion", "service install", "notify add", "notify quiet", "doctor",
    "db query", "budgets",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_and_not_recorded_ends_with_code_6(fts, tmp_path: Path, db: Database, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    said = fts(*name.split(), *NAMES[name])
    word = next(word for word in ("99", "nix") if word in " ".join(NAMES[name]))
    assert said.code == 6 and word in said.err and said.err.count("\n") == 1, said
    assert [path for path in sorted(tmp_path.rglob("*")) if "fts.db" not in path.name] == [
        path for path in before if "fts.db" not in path.name
    ], "nothing was written"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_named_and_does_not_exist_ends_with_code_2(fts, db: Database, name: str) -> None:
    said = fts(*name.split(), *FILES[name])
    assert said.code == 2 and "nix." in said.err and said.err.count("\n") == 1, said


def test_every_command_that_names_something_stands_in_one_of_these_tables() -> None:
    def each(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            for more, one in command.commands.items():
                yield from each(f"{name} {more}", one)
        else:
            yield name, command

    context = click.Context(group)
    every = [pair for name in entries() for pair in each(name, group.get_command(context, name))]
    takes = {name for name, command in every if any(isinstance(one, click.Argument) for one in command.params)}
    assert takes - set(NAMES) - set(FILES) - NOT_NAMED == set()


def test_a_folder_that_this_user_may_not_look_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(closed / "inner" / "python")
    monkeypatch.setattr("fts.state.files.reasons.may_look_into", lambda folder: folder.resolve() != closed.resolve())
    for name, told in (
        (closed / "fts.db", f"this user may not look into {closed}; "),
        (closed / "inner" / "fts.db", f"{closed}/inner/fts.db: this user may not look into {closed}; "),
        (tmp_path / "link", f"{tmp_path}/link: this user may not look into {closed}; "),
        (tmp_path / "other", f"{tmp_path}/other cannot be written: this user may not write to {tmp_path} (mode "),
        (tmp_path / "closed", f"{tmp_path}/closed: this user may not "),
    ):
        denied = PermissionError(errno.EACCES, "Permission denied", str(name))
        assert errors.sentence_of(denied).startswith(told), name
    assert errors.sentence_of(PermissionError(errno.EACCES, "Permission denied")) == "Permission denied"
    (tmp_path / "removed").mkdir()
    monkeypatch.chdir(tmp_path / "removed")
    (tmp_path / "removed").rmdir()
    assert errors.sentence_of(PermissionError(errno.EACCES, "Permission denied", "a")).startswith("a cannot be")


def test_outputs_that_are_no_folder_are_named_instead_of_a_study_that_could_begin_there(fts, tmp_path: Path) -> None:
    made: dict[str, Callable[[Path], object]] = {
        "is a link to gone, which is no folder": lambda path: path.symlink_to("gone"),
        "is a link to outputs, which is no folder": lambda path: path.symlink_to("outputs"),
        "is not a folder, and the database lies in one": lambda path: path.write_text(""),
        "is not a folder, and the database lies in one;": os.mkfifo,
        "is a device or a pipe, and the database is a file": lambda path: (path.mkdir(), os.mkfifo(path / "fts.db")),
        "is a link that leads to no file": lambda path: (path.mkdir(), (path / "fts.db").symlink_to("gone")),
    }
    for n, (words, make) in enumerate(made.items()):
        folder = tmp_path / str(n)
        folder.mkdir()
        make(folder / "outputs")
        for command in (
            "status",
            "results",
            "worker --create",
            "worker",
            "enqueue --metric a --stdout -- true",
            "doctor",
        ):
            asked = fts("--db", str(folder / "outputs" / "fts.db"), *command.split())
            said = asked.out if command == "doctor" else asked.err
            assert asked.code == 1 and words in said and "Traceback" not in said, (command, said)
            assert command == "doctor" or said.count("fts: ") == 1, (command, said)
            assert "cannot be checked" not in said and "no study" not in said, (command, said)


def test_a_name_that_is_not_utf_8_is_refused_before_a_database_is_made(tmp_path: Path) -> None:
    command = ["--metric", "loss", "--", "python", "train.py", "{x:0..1}"]
    for folder, words in (
        ("caf\udce9", ["train.py:objective"]),
        ("caf\udce9", ["study.toml"]),
        ("caf\udce9", command),
        ("cafe", [*command, "caf\udce9"]),
    ):
        study = Study(tmp_path / folder)
        if not (study.folder / "study.toml").exists():
            study.ok("init")
        said = study.fts("enqueue", *words)
        assert said.code == errors.USAGE and "caf\\udce9' is not UTF-8: " in said.err, said
        assert not list(study.folder.rglob("*.db"))


def test_an_error_in_the_code_of_an_installed_study_is_no_fault_of_fts(monkeypatch: pytest.MonkeyPatch) -> None:
    def raised(source: str) -> Exception:
        space: dict[str, object] = {"__name__": "bowl.study"}
        exec(compile(source, "/home/me/bowl/study.py", "exec"), space)
        with pytest.raises(ValueError, match=r"no row|invalid literal") as found:
            space["hook"]()  # type: ignore[operator]
        return found.value

    monkeypatch.setattr(errors, "installed", lambda: {"bowls": EntryPoint("bowls", "bowl.study:Bowl", "fts.studies")})
    own, called = raised("def hook():\n    raise ValueError('no row')"), raised("def hook():\n    return int('x')")
    words = "a fault in the installed study 'bowls': ValueError: no row (study.py line 2; FTS_DEBUG=1 shows all of it)"
    assert sentence_of(own) == words and "study 'bowls'" in sentence_of(called)
    assert sentence_of(ValueError("ours")).startswith("a fault in fts itself: ValueError: ours")
