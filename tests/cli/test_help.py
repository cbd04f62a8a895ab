"""The help of every command: options explained, defaults shown, ranges in plain numbers, an example that works."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from fts.data.tasks import TASKS
from fts.features.tiers import TIERS
from fts.jobs.cli.app import fts as group
from fts.jobs.python import python
from fts.model.budgets import BUDGETS
from fts.study import choices
from tests.cli.study import finished_cell, places_of
from tests.fts_process import ROOT
from tests.reference import FORMS, commands

ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_every_option_has_help_and_shows_its_default(name: str):
    command = ALL[name]
    context = click.Context(command, info_name=name)
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        record = option.get_help_record(context)
        assert record is not None and option.help, f"fts {name} {option.opts[0]} has no help"
        text = record[1]
        assert "x<=" not in text and "<=x" not in text and "x>" not in text, text  # click's own range
        if option.is_flag or option.multiple or option.required or option.flag_value in ("line", "plain", "json"):
            continue
        usual = option.default if isinstance(option.default, int | float | str) else ""
        assert f"default: {usual}" in text, f"fts {name} {option.opts[0]} does not say what holds without it: {text}"


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_an_example_that_it_would_accept(name: str):
    command = ALL[name]
    example = (command.epilog or "").removeprefix("Example: ")
    words = shlex.split(example)
    typed = [word for word in name.split() if word.islower()]  # not STUDY.toml, which stands for a value
    assert words[: 1 + len(typed)] == ["fts", *typed], example
    rest = words[1 + len(typed) :]
    parser = command.make_parser(click.Context(command))
    parser.parse_args(list(rest))  # every option exists and has its value
    files = [p for p in command.params if isinstance(p.type, click.Path)]
    if not files:
        command.make_context(name, list(rest), parent=click.Context(group, obj=None))


GROUPS = sorted({name.rpartition(" ")[0] for name in ALL if name.islower()} - {""})


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_says_of_each_of_its_commands_a_whole_sentence(fts, name: str):
    said = " ".join(fts(name, "--help").out.split())
    for inner, command in ALL.items():
        if inner.rpartition(" ")[0] == name:
            assert " ".join((command.help or "").split("\n\n")[0].split()) in said, inner


@pytest.mark.parametrize("name", ["enqueue", "check", "run"])
def test_the_help_of_a_command_leads_to_that_of_each_of_its_forms(fts, name: str):
    first = " ".join(fts(name, "--help").out.split())
    for title in (title for title in FORMS if title.split()[0] == name):
        form = title.removeprefix(f"{name} ")
        words = " ".join(FORMS[title][1:]).replace("python train.py", "COMMAND")
        line = f"fts {name} --help {words}" if words.startswith("--") else f"fts {name} {words} --help"
        assert line in first
        assert f"Usage: fts {name} [OPTIONS] {form}" in fts(*line.split()[1:]).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "enqueue --metric loss",
            "--metric needs a function or a command: fts enqueue train.py:objective --metric",
        ),
        ("enqueue train.py:objective --regex x", "--regex needs a command: fts enqueue --regex ... -- COMMAND (see"),
        ("check --set a=b", "--set needs a study file: fts check study.toml --set ... (see"),
        (
            "enqueue study.toml --trials 5",
            "--trials is a key of the study file: give --set budget.trials=..., or",
        ),
        ("check study.toml --n-trials 5", "give --set budget.trials=..., or change it there (see fts check study.toml"),
        (
            "run study.toml --metric loss",
            "--metric is a key of the study file: change [metrics] there (see fts",
        ),
        ("enqueue study.toml --maximize", "change [metrics] there"),
        ("run 1 --cell S", "--cell needs a study file: fts run study.toml --cell ..."),
    ],
)
def test_an_option_of_another_form_is_found_there(fts, words: str, said: str):
    found = fts(*words.split())
    assert found.code == 2 and said in found.err, found.err


def test_an_option_without_its_argument_names_the_help_of_its_command(fts):
    seen = set()
    for name, command in ALL.items():
        options = [one for one in command.params if isinstance(one, click.Option) and not one.is_flag and not one.count]
        for option in options[:1]:
            said = fts(*name.split(), option.opts[-1])
            if "requires an argument" in said.err:
                assert said.code == 2 and f"(see fts {name.split()[0]} " in said.err, (name, option.opts, said.err)
                seen.add(name)
    assert len(seen) > 30, seen


def test_budgets_and_tasks_are_named(capsys):
    text = " ".join(str(option.help) for option in ALL["enqueue"].params if isinstance(option, click.Option))
    assert all(budget in text for budget in BUDGETS) and all(task in text for task in TASKS)
    assert set(choices.TIERS) == set(TIERS)


@pytest.mark.parametrize("name", ["data", "db"])
def test_summaries_in_a_group_are_not_cut(fts, name: str):
    assert "..." not in fts(name, "--help").out.partition("Commands:")[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_is_printed(fts, shell: str):
    said = fts("completion", shell, "--print")
    assert said.code == 0 and "_FTS_COMPLETE" in said.out and re.search(r"\bfts\b", said.out)
    assert fts("completion", shell).out == said.out, "a pipe gets the script"


@pytest.mark.parametrize(
    ("shell", "path"),
    [
        ("bash", ".local/share/bash-completion/completions/fts"),
        ("zsh", ".zfunc/_fts"),
        ("fish", ".config/fish/completions/fts.fish"),
    ],
)
def test_at_a_terminal_it_is_installed_where_the_shell_looks(tmp_path: Path, shell: str, path: str):
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            python("-m", "fts.jobs.cli", "completion", shell), stdout=slave, stderr=subprocess.PIPE, text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}, check=False,
        )  # fmt: skip
    finally:
        os.close(master)
        os.close(slave)
    first, then = done.stderr.splitlines()
    assert done.returncode == 0 and first == f"wrote {tmp_path / path}" and then, done
    assert "_FTS_COMPLETE" in (tmp_path / path).read_text()


def completed(words: str, db: Path | None = None) -> list[str]:
    """What a shell is offered behind the words."""
    asked = {"_FTS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_BREAKS": "", "FTS_DB": str(db or "")}
    done = subprocess.run(
        python("-m", "fts.jobs.cli"), capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **asked},
    )  # fmt: skip
    assert done.stderr == "", done
    return [line.partition(",")[2] for line in done.stdout.split()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("line", "replies"), [("fts pause state:", "queued"), ("fts trials 20", "20M/h1 20M/h3"), ("fts data bui", "build")]
)
def test_bash_itself_completes_words_with_colons(fts, db, tmp_path: Path, line: str, replies: str):
    (tmp_path / "fts").write_text(f'#!/bin/sh\nexec {shlex.join(python("-m", "fts.jobs.cli"))} "$@"\n')
    (tmp_path / "fts").chmod(0o755)
    script = fts("completion", "bash", "--print").out
    asked = (
        f"compopt() {{ :; }}; COMP_LINE='{line}' COMP_POINT={len(line)}; _fts_completion ./fts; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FTS_DB": str(places_of(tmp_path).db)},
    )  # fmt: skip
    assert done.stdout.strip() == replies, done


def test_completion_offers_commands_and_options():
    for words, offered in (("fts enq", "enqueue"), ("fts enqueue --hor", "--horizons"), ("fts serve --the", "--theme")):
        assert offered in completed(words)


def test_completion_offers_cells_states_and_jobs_of_the_database_here(db, tmp_path: Path):
    here = places_of(tmp_path).db
    assert completed("fts pause ", here) == ["2M/h1", "2M/h3", "20M/h1", "20M/h3", "state:queued", "1", "2", "3", "4"]
    assert completed("fts trials 20m", here) == ["20M/h1", "20M/h3"]
    assert completed("fts events --job 2M", here) == ["2M/h1", "2M/h3"]
    assert completed("fts pause ", tmp_path / "nowhere.db") == []


def test_completion_offers_what_can_be_put_in_line_here(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").touch()
    (tmp_path / "train.py").write_text("def helper(x): pass\ndef objective(trial): pass\n")
    nowhere = tmp_path / "nowhere.db"
    for command in ("enqueue", "check"):
        assert completed(f"fts {command} ", nowhere) == ["study.toml", "train.py:objective"]
        assert completed(f"fts {command} tr", nowhere) == ["train.py:objective"]
    assert completed("fts check --cell ", nowhere) == []
    assert "sklearn" in completed("fts init ", nowhere)


def test_completion_offers_trials_behind_a_cell_and_studies(db, tmp_path: Path):
    cell = finished_cell(db).job.id
    here = places_of(tmp_path).db
    assert completed(f"fts curve {cell}:", here) == [f"{cell}:t0"] == completed(f"fts logs {cell}:t0", here)
    assert completed("fts report ", here)


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("statsu", "status"),
        ("db quer", "query"),
        ("notify lst", "list"),
        ("worker --slot 2", "--slots"),
        ("snapshot --screen quue", "queue"),
        ("queue state:faild", "failed"),
        ("queue buget:2M", "budget"),
        ("why 2M/h2", "2M/h"),
        ("init functon", "function"),
    ],
)
def test_a_wrong_word_gets_the_right_one(fts, db, words: str, right: str):
    said = fts(*words.split())
    assert said.code in (2, 6) and re.search(rf"[Dd]id you mean (one of: )?'?{right}", said.err), said


def test_the_package_itself_is_the_command(tmp_path: Path):
    """`python -m fts` works where the script is not in PATH, with the same output and exit code."""
    for words in (["--version"], ["enqueue", "missing.py:f"]):
        answers = [ran_from(tmp_path, name, *words) for name in ("fts", "fts.jobs.cli")]
        assert answers[0] == answers[1]
        assert any(answers[0][1:])


def ran_from(folder: Path, module: str, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        python("-m", module, *words), capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr
