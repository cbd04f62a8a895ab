"""The last line of output is the program's own, not what the shell says of its end."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from fts.jobs.trial.death import last_printed
from fts.jobs.trial.process import say, sweep_drafts
from fts.state.files import draft_name


@pytest.mark.parametrize(
    "shell",
    [
        "Killed",
        "Terminated",
        "Killed: 9",
        "Segmentation fault (core dumped)",
        "./train.sh: line 3:  4242 Killed                  python train.py",
        "bash: line 1: 77 Segmentation fault      (core dumped) ./a.out",
    ],
)
def test_what_the_shell_says_is_not_the_last_line_of_a_program(shell: str) -> None:
    assert last_printed(f"epoch 3: loss .4\n\n{shell}\n") == "epoch 3: loss .4"
    assert last_printed(f"{shell}\n") == shell, "better than nothing"


@pytest.mark.parametrize("own", ["Killed by the user", "train.py: line 3: Terminated early", "Aborted: no data"])
def test_a_program_may_use_these_words(own: str) -> None:
    assert last_printed(f"epoch 3\n{own}") == own


def test_without_output_there_is_no_last_line() -> None:
    assert last_printed(" \n") == ""


def test_a_log_that_takes_no_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("sys.stdout", SimpleNamespace(write=fails, flush=lambda: None))
    with pytest.raises(OSError, match=r"Input/output error: .*the trial's log"):
        say("resumed")


def test_what_a_killed_attempt_was_writing_goes_when_the_next_begins(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    for folder in (tmp_path, tmp_path / "artifacts"):
        (folder / draft_name("model.bin")).touch()
        (folder / "model.bin").touch()
    sweep_drafts(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["artifacts", "model.bin", "model.bin"]
    sweep_drafts(tmp_path / "gone")
