"""Code of a study reaches its nodes, its copy stands for its folder there, and code that cannot be sent is refused."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fts.jobs.executors.base import CodeNotSent
from fts.jobs.executors.code import md5_of, read_code
from fts.jobs.executors.on_node import CodeCopy, new_scratch
from fts.state.files import remove
from tests.executors.crew import Crew

MD5_OF_A = "0cc175b9c0f1b6a831c399e269772661"
RUN = """\
#!/bin/sh
cat beside/linked
echo "in $PWD"
echo "loss=$1"
"""


def folder_of_all_kinds(folder: Path) -> Path:
    """A program, links inside and out of the folder, and what is no file beside them."""
    code = folder / "code"
    (code / "beside").mkdir(parents=True)
    (code / "run.sh").write_text(RUN)
    (code / "run.sh").chmod(0o755)
    (folder / "shared.txt").write_text("shared\n")
    (code / "beside" / "linked").symlink_to(folder / "shared.txt")
    (code / "beside" / "again.sh").symlink_to("../run.sh")
    (code / "broken").symlink_to("nowhere")
    os.mkfifo(code / "pipe")
    with socket.socket(socket.AF_UNIX) as listens:
        listens.bind(str(code / "socket"))
    return code


def test_a_link_is_the_file_it_leads_to_and_what_is_no_file_stays_here(tmp_path: Path) -> None:
    code = folder_of_all_kinds(tmp_path)
    found = {part.name: (part.content, part.runs) for part in read_code(code, ["."], tmp_path / "outputs")}
    run = (RUN.encode(), True)
    assert found == {"run.sh": run, "beside/again.sh": run, "beside/linked": (b"shared\n", False)}
    before = md5_of(read_code(code, ["."], tmp_path))
    (code / "run.sh").chmod(0o644)
    assert md5_of(read_code(code, ["."], tmp_path)) != before, "a program that may not be run is another one"


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("gone.py", "`sync` names gone.py, which is not in "),
        ("../shared.txt", r"`sync` names \.\./shared.txt, which lies outside .*; name files and folders inside it"),
        ("odd", r"the name of a file is 'odd/a\\x07b', expected .*; rename it, or leave it out of `sync`"),
        ("large", "`sync`: large holds more than code: over 2,000 files or 100 MB; name only the folders of "),
    ],
)
def test_code_that_cannot_be_sent_is_named_before_anything_is_sent(word: str, words: str, tmp_path: Path) -> None:
    code = folder_of_all_kinds(tmp_path)
    (code / "odd").mkdir()
    (code / "odd" / "a\x07b").touch()
    with (code / "large").open("wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(CodeNotSent, match=words):
        list(read_code(code, [word], tmp_path / "outputs"))


def test_only_the_folder_of_the_program_that_runs_is_another_one_there(tmp_path: Path) -> None:
    """A study in a folder of a study whose code was sent: its own folder is shared, and it finds that one."""
    mapped = CodeCopy(tmp_path)
    mapped.expect("a" * 32, "/home/ada/study")
    mapped.part({"name": "run.sh", "size": 1, "md5": MD5_OF_A, "runs": True}, b"a")
    mapped.settle()
    copy = tmp_path / "code" / ("a" * 32)
    assert mapped.here("/home/ada/study/deep") == str(copy / "deep") and mapped.here("/home/ada") == "/home/ada"
    assert os.access(copy / "run.sh", os.X_OK)
    mapped.settle()  # a program begins that no code was sent for
    assert mapped.here("/home/ada/study/deep") == "/home/ada/study/deep"


def test_a_program_beside_the_study_runs_on_the_node_and_missing_code_ends_the_job(tmp_path: Path) -> None:
    code = folder_of_all_kinds(tmp_path)
    crew = Crew(code)
    crew.study.environ["FTS_SCRATCH"] = str(tmp_path)
    crew.study.ok("enqueue", "--stdout", "--metric", "loss", "--trials", "1", "--", "./run.sh", "{x:0..1}")
    worker = crew.start("a:1", "--sync", "beside", "--sync", "run.py")
    assert worker.wait(120) == 0, crew.said()
    cause, message = crew.study.query("SELECT cause, message FROM job")[0].values()
    assert cause == "machine error"
    assert message.startswith(f"t0 cannot run: the code cannot be sent: `sync` names run.py, which is not in {code}; ")
    assert "quarantine" not in crew.said(), "no node is at fault"
    crew.study.ok("retry", "1")
    worker = crew.start("a:1", "--sync", ".")
    assert worker.wait(120) == 0, crew.said()
    assert "shared\nin " in crew.printed() and "/fts-agent-" in crew.printed()
    assert crew.leftovers() == []


def test_agents_that_start_at_the_same_time_leave_each_other_their_scratch_folders(tmp_path: Path) -> None:
    """Each sweeps those that nobody holds, and one that was made a moment ago is not held yet."""

    def lives(_: int) -> None:
        scratch, lock = new_scratch(str(tmp_path))
        assert scratch.is_dir()
        remove(scratch)
        os.close(lock)

    with ThreadPoolExecutor(6) as agents:
        list(agents.map(lives, range(240)))
    assert list(tmp_path.iterdir()) == []
