"""Who has no study yet is led to `fts init` and `fts check`, whatever was typed first."""

from __future__ import annotations

from pathlib import Path

import pytest

from fts.jobs.cli import main
from fts.jobs.cli.app import entries
from fts.jobs.cli.enqueue_command import OF_MANY_PROGRAMS, enqueue_command
from fts.jobs.cli.newcomer import objective_in
from fts.jobs.cli.synonyms import COMMANDS
from fts.jobs.commands import BadCommand, parse_command


def test_fts_alone_in_an_empty_folder_says_how_to_begin(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    first, *steps, last = capsys.readouterr().err.splitlines()
    assert (first, last) == ("There is no study in this folder yet. To begin:", "All commands: fts --help")
    assert [line.split("  ")[1] for line in steps] == ["fts init", "fts enqueue study.toml", "fts worker"]
    (tmp_path / "tune.py").write_text("def helper(x):\n    return x\ndef goal(trial):\n    return 1.0\n")
    main([])
    assert "fts check tune.py:goal" in capsys.readouterr().err


def test_the_objective_of_a_folder_is_found_without_running_anything(tmp_path: Path):
    (tmp_path / "a.py").write_text("raise SystemExit\n")
    (tmp_path / "b.py").write_text("this is no Python")
    assert objective_in(tmp_path) is None
    (tmp_path / "c.py").write_text("def other(trial): ...\ndef objective(t): ...\n")
    assert objective_in(tmp_path) == "c.py:objective"


@pytest.mark.parametrize("name", ["enqueue", "check"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "name"),
        (["train.py"], "such as train.py:goal"),
        (["study.toml"], "`fts init` writes one with an example"),
        (["python", "train.py"], "put -- before a command, and name its metric"),
        (["--trials", "5", "bash", "train.sh"], "-- bash train.sh"),
    ],
)
def test_a_first_try_that_nothing_understands_gets_one_sentence(
    tmp_path: Path, monkeypatch, capsys, name: str, words: list[str], expected: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("def goal(trial):\n    return 1.0\n")
    assert main([name, *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and expected in said.err and said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


@pytest.mark.parametrize("name", ["enqueue", "check"])
def test_a_script_of_a_shell_is_named_behind_dashes(tmp_path: Path, monkeypatch, capsys, name: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.sh").write_text("echo loss 1\n")
    for word, run in (("fit.sh", "bash fit.sh"), ("./fit.sh", "bash ./fit.sh")):
        assert main([name, word, "--trials", "3"]) == 2
        assert f"fts {name} --metric loss -- {run}" in capsys.readouterr().err
    (tmp_path / "fit.sh").chmod(0o755)
    assert main([name, "fit.sh"]) == 2
    assert "-- ./fit.sh" in capsys.readouterr().err


def test_a_function_may_be_named_by_its_module(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "src" / "pkg"
    package.mkdir(parents=True)
    (package / "train.py").write_text("def goal(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    assert main(["enqueue", "-n", "pkg.train:goal"]) == 0
    assert "train is new: 20 trials" in capsys.readouterr().err
    assert main(["enqueue", "-n", "pkg.trian:goal"]) == 2
    assert f"there is no pkg/trian.py in {tmp_path}" in capsys.readouterr().err


def test_a_command_that_runs_a_module_has_its_name_and_its_file(tmp_path: Path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "train.py").write_text("print(1)\n")
    (tmp_path / "pkg" / "__main__.py").write_text("print(2)\n")
    module = parse_command(("python", "-m", "pkg.train"), tmp_path)
    assert (module.script, module.stem) == ("pkg/train.py", "train")
    package = parse_command(("python", "-m", "pkg", "data.txt"), tmp_path)
    assert (package.script, package.stem) == ("pkg/__main__.py", "pkg")
    assert parse_command(("python", "-m", "json.tool"), tmp_path).script is None


def test_a_script_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(BadCommand, match=r"there is no file fti\.sh in"):
        parse_command(("bash", "fti.sh", "{rate:0..1}"), tmp_path)
    parse_command(("bash", "-c", "fti.sh"), tmp_path)
    parse_command(("python", "{script:a.py,b.py}"), tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("list", "did you mean 'queue'?"),
        ("create-study", "did you mean 'enqueue'?"),
        ("remove 1", "`fts cancel` takes a job out of the queue"),
        ("enqueue train.py:goal --n-trials 5", "did you mean --trials?"),
        ("enqueue train.py:goal --n_trials=5", "did you mean --trials?"),
        ("enqueue train.py:goal --maximize", "did you mean --direction maximize?"),
        ("worker --n-jobs 2", "did you mean --slots?"),
        ("enqueue --metric loss --num-samples 3 -- ./a", "did you mean --trials?"),
        ("enqueue train.py:goal --triasl 3", "Did you mean"),
    ],
)
def test_a_word_of_another_program_is_translated(tmp_path: Path, monkeypatch, capsys, words: str, expected: str):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1


WRONG_WORDS = [
    ("check n.ipynb:goal", "n.ipynb is a notebook, and a trial imports a Python file"),
    ("enqueue n.ipynb", "n.ipynb is a notebook"),
    ("check study.yaml", "'study.yaml' is no study file, which is TOML"),
    ("enqueue study.yaml", "'study.yaml' is no study file, which is TOML"),
    ("check trian.py:goal", "did you mean train.py:goal?"),
    ("check pkg/model.py:run", "did you mean src/pkg/model.py:run?"),
    ("check train.py::goal", "such as train.py:goal"),
    ("check src/pkg/model:run", "such as src/pkg/model.py:run"),
    ("check pkg.model.run", "such as src/pkg/model.py:run"),
    ("enqueue train.py:goal -n 20", "the number of trials is --trials 20, and -n is a dry run"),
    ("enqueue train.py:goal -m size S,M", "write -m size=S,M as one word"),
    ("enqueue train.py goal", "write file and function as one word, such as train.py:objective"),
    ("enqueue train.py:goal --space lr=loguniform(1e-4,0.1)", "a range is LOW:HIGH or LOW:HIGH:log"),
    ("enqueue train.py:goal --sampler bayes", "did you mean 'tpe'?"),
    ("enqueue train.py:goal --sampler optuna.samplers.CmaEsSampler()", "did you mean 'cmaes'?"),
    ("enqueue train.py:goal --pruner NopPruner", "did you mean 'none'?"),
    ("enqueue train.py:goal --direction max", "did you mean 'maximize'?"),
]


def test_a_name_or_value_that_is_nearly_right_is_answered_with_what_to_type(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    for file, name in (("train.py", "goal"), ("src/pkg/model.py", "run")):
        (tmp_path / file).write_text(f"def {name}(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    for words, expected in WRONG_WORDS:
        assert main(words.split()) == 2, words
        said = capsys.readouterr().err
        assert expected in said and said.count("\n") == 1, (words, said)
    for name in ("enqueue", "check"):
        assert main([name, "python train.py --x 1"]) == 2
        assert "put -- before a command" in capsys.readouterr().err
        assert main([name, "--metric", "loss", "--", "python train.py --x {x:0..9}"]) == 2
        assert "the command is one word with spaces" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()
    late = ["--metric", "loss", "--stdout", "--", "python", "train.py", "{x:0..9}", "--trials", "5"]
    assert main(["enqueue", "-n", *late]) == 0
    assert "--trials stands after --, so it goes to train.py" in capsys.readouterr().err
    (tmp_path / "train.py").write_text("")
    words = ["python", "train.py", "{x:0..9}", *(w for o in enqueue_command.params for w in o.opts if w[:2] == "--")]
    assert main(["enqueue", "-n", "--metric", "loss", "--stdout", "--", *words]) == 0
    said = capsys.readouterr().err
    assert not [word for word in words[3:] if (f"{word} stands after --" in said) is (word in OF_MANY_PROGRAMS)]
    (tmp_path / "train.py").write_text("parser.add_argument('--trials')\n")
    assert main(["enqueue", "-n", *late]) == 0
    assert "stands after --" not in capsys.readouterr().err


def test_every_word_of_fts_in_the_translations_exists(tmp_path: Path):
    assert set(COMMANDS) <= set(entries())
    assert not {theirs for every in COMMANDS.values() for theirs in every} & set(entries())


def test_a_study_in_a_folder_above_or_below_is_named(tmp_path: Path, monkeypatch, capsys):
    for folder in ("my study/outputs", "my study/sub", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "my study" / "outputs" / "fts.db").write_bytes(b"no matter")
    for words in (["status"], ["results"], ["worker"], []):
        for folder, told in (("my study/sub", "cd .."), (".", "cd 'my study'")):
            monkeypatch.chdir(tmp_path / folder)
            assert main(words) in (2, 6)
            assert told in capsys.readouterr().err
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert main(words) in (2, 6)
        assert "there is one in" not in capsys.readouterr().err.lower()
