"""Commands that fts prints are typed into a real shell, in folders with blanks, quotes and leading dashes."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from fts.jobs.cli import main
from fts.jobs.maintenance.doctor import exposed
from fts.jobs.settings import places
from fts.state.files import shell_path
from tests.fts_process import Study

ODD = ("a b", "it's", '"$x"', "-f", "~", "böse")
OBJECTIVE = "def objective(trial):\n    return trial.suggest_float('x', 0, 1)\n"


def test_a_path_is_one_word_and_no_option(tmp_path: Path):
    for name in (*ODD, "plain.py:objective"):
        line = f"cd {shlex.quote(str(tmp_path))} && touch {shell_path(name)}"
        done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and (tmp_path / name).is_file(), (name, done)


@pytest.mark.parametrize("name", ["my train.py", "-train.py"])
def test_the_first_steps_can_be_typed_for_any_file(tmp_path: Path, monkeypatch, capsys, name: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(OBJECTIVE)
    main([])
    steps = [line for line in capsys.readouterr().err.splitlines() if "fts enqueue" in line]
    words = shlex.split(steps[0].partition("  adds")[0])
    assert main([*words[1:], "--trials", "2", "--name", "odd"]) == 0
    main(["check"])
    said = capsys.readouterr().err.partition("here: ")[2].partition(" (see")[0]
    assert shlex.split(said)[1:] == ["check", words[2]]


def test_the_folder_of_init_can_be_entered_as_it_is_printed(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("~/of home", "-dash", "a b"):
        assert main(["init", f"--to={folder}"]) == 0
        line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("  cd "))
        done = subprocess.run(["/bin/sh", "-c", f"{line} && ls"], capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["study.toml", "train.py"], (folder, line, done)


def test_the_cures_of_doctor_and_damage_name_the_whole_path(tmp_path: Path, monkeypatch, capsys):
    folder = tmp_path / "a b"
    (folder / "outputs").mkdir(parents=True)
    (folder / "outputs").chmod(0o755)
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text(OBJECTIVE)
    for cure in [finding.cure for finding in exposed(places(None))]:
        assert cure is not None and shlex.split(cure)[-1] == str(folder / "outputs")
    assert main(["enqueue", "train.py:objective", "--trials", "2"]) == 0 and main(["backup"]) == 0
    (folder / "outputs" / "fts.db").write_bytes(b"no database" * 1000)
    capsys.readouterr()
    assert main(["status"]) != 0
    typed = capsys.readouterr().err.partition("`")[2].partition("`")[0]
    assert shlex.split(typed)[:2] == ["fts", "restore"] and Path(shlex.split(typed)[2]).is_file(), typed


WRITES = """\
echo "lr=$FTS_PARAM_LR size=$FTS_CELL_SIZE seed=${FTS_SEED:+known}" > "$1/words"
"""


def test_the_line_of_the_best_trial_gives_a_shell_the_same_words(tmp_path: Path):
    """Every command of a shell's text gets the variables, and {folder} is one folder in the whole line."""
    study = Study(tmp_path / "a b")
    (study.folder / "write.sh").write_text(WRITES)
    report = "echo loss=$(cat '{folder}/a b/loss')"
    commands = {
        "text": ["--shell", "--", "true; sh write.sh {folder} && cat {folder}/words && echo loss=1"],
        "quoted": ["--shell", "--", f'mkdir "{{folder}}/a b"; echo {{lr}} > "$FTS_FOLDER/a b/loss"; {report}'],
        "words": ["--", "sh", "-c", 'sh write.sh "$1" && cat "$2/words" && echo loss=1', "x", "{folder}", "{folder}"],
        "args": ["--", "sh", "-c", 'echo "$* ${FTS_SEED:+known}"; echo loss=1', "x", "{args}"],
        "both": ["--shell", "--", 'echo {lr} $FTS_PARAM_LR $FTS_CELL_SIZE > "$FTS_REPORT"; echo $FTS_DEVICE loss=1'],
        "first": ["--", "{tool:echo,printf}", "loss=1 {lr}"],
    }
    for name, words in commands.items():
        options = ["--name", name, "--metric", "loss", "--regex", "loss=([0-9.]+)", "--trials", "1"]
        study.ok("enqueue", *options, "--axis", "size=S", "--space", "lr=0.1:0.2", *words)
    (study.folder / "env.py").write_text(
        "import os\nprint(os.environ['MINE'], os.environ['my-own'])\nprint('loss=1')\n"
    )
    (study.folder / "study.toml").write_text(
        '[study]\nname = "env"\ncommand = "python3 env.py {lr}"\nenv = { MINE = "a b", "my-own" = "it\'s" }\n'
        "[space]\nlr = { low = 0.0, high = 1.0 }\n[budget]\ntrials = 1\n"
        '[metrics]\nloss = { goal = "minimize", regex = "loss=([0-9.]+)" }\n'
    )
    study.ok("enqueue", "study.toml")
    study.ok("worker", "--until-empty")
    for name in [*commands, "env"]:
        lr = study.json("best", name)["best"]["params"]["lr"]
        done = subprocess.run(
            ["/bin/sh", "-c", f"set -e; {study.ok('best', name)}"], cwd=study.folder, env=study.environ,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        expected = {
            "text": f"lr={lr} size=S seed=known\nloss=1\n", "quoted": f"loss={lr}\n",
            "words": f"lr={lr} size=S seed=known\nloss=1\n", "args": f"--lr={lr} --size=S known\nloss=1\n",
            "both": "cpu loss=1", "first": f"loss=1 {lr}", "env": "a b it's\nloss=1",
        }  # fmt: skip
        assert (done.returncode, done.stdout.strip()) == (0, expected[name].strip()), (name, done)
