"""`fts logs` reads the whole file, whatever its size, and splits what progress bars draw."""

from __future__ import annotations

import json
import resource
import threading
import time
from pathlib import Path

import pytest

from fts.jobs.cli import logs
from fts.jobs.cli.logs import LINE_BYTES, all_lines, follow_lines, last_lines, matching
from tests.cli.study import places_of


def make_log(folder: Path, content: bytes) -> Path:
    path = places_of(folder).logs / "t0.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_grep_finds_the_first_line_of_a_log_larger_than_any_buffer(fts, db, tmp_path: Path):
    make_log(tmp_path, b"warmup=20\n" + b"epoch 1 of 2 is long enough\n" * 400_000)  # 11 MB
    said = fts("logs", "--grep", "warmup=")
    assert said.out == "warmup=20\n"
    assert "no line of this log matches" in fts("logs", "--grep", "nowhere").err
    some = fts("logs", "--grep", "epoch", "-n", "2")
    assert some.out.count("\n") == 2 and "the last 2 of 400000 matching lines" in some.err
    assert json.loads(fts("logs", "--grep", "warmup", "--json").out)["log"]["lines"] == ["warmup=20"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("content", [
    b"", b"a", b"a\n", b"a\nb", b"a\nb\n", b"\n\n\n", b"a\r\nb\r\n", b"\r 1%\r 2%\r 3%\nend\n", b"a\r", b"\r\r\n",
    "é\nü\r\nß".encode(), b"x" * 200 + b"\n" + b"y" * 200,
])  # fmt: skip
def test_the_last_lines_are_those_of_the_whole_text(tmp_path: Path, monkeypatch, chunk: int, content: bytes):
    monkeypatch.setattr(logs, "CHUNK", chunk)
    path = make_log(tmp_path, content)
    text = content.decode().replace("\r\n", "\n")
    whole = [line for part in text.split("\n") for line in ([p for p in part.split("\r") if p] or [""])]
    if text.endswith(("\n", "\r")) or not text:
        whole.pop() if whole and whole[-1] == "" else None
    with path.open("rb") as file:
        assert list(all_lines(iter(lambda: file.read(chunk), b""))) == whole
    for count in (1, 2, 3, 5, 100, 20_000):
        found = list(last_lines(path, count))
        assert found == whole[-len(found) :] if found else not whole
        assert len(found) >= min(count, len(whole))


def test_a_line_without_an_end_comes_in_pieces(tmp_path: Path):
    path = make_log(tmp_path, b"z" * (3 * LINE_BYTES + 5))
    assert [len(line) for line in last_lines(path, 50)] == [LINE_BYTES] * 3 + [5]


def test_a_gigabyte_is_searched_in_little_memory(tmp_path: Path):
    path = make_log(tmp_path, b"warmup=20\n")
    with path.open("r+b") as file:
        file.truncate(64 << 20)  # a hole: one line of zero bytes, the worst there is
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    import re

    found, total = matching(path, re.compile("warmup="), 50)
    assert (found, total) == (["warmup=20"], 1)
    assert len(list(last_lines(path, 3))) == 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_following_shows_each_step_of_a_progress_bar_and_a_file_that_was_replaced(tmp_path: Path):
    path = make_log(tmp_path, b"old\n")
    seen: list[str] = []

    def read() -> None:
        for line in follow_lines(path, poll_s=0.01):
            seen.append(line)
            if line == "end":
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.3)  # it starts at the end of what is there
    with path.open("ab", buffering=0) as file:
        file.write(b"\r 1%\r 2%")
        wait_for(seen, " 1%")
        file.write(b"\r 3%\nline\n")
        wait_for(seen, "line")
    new = path.with_suffix(".new")
    new.write_bytes(b"fresh\nend\n")
    new.replace(path)
    reader.join(20)
    assert seen == [" 1%", " 2%", " 3%", "line", "fresh", "end"]


def wait_for(seen: list[str], line: str) -> None:
    give_up = time.monotonic() + 20
    while line not in seen:
        assert time.monotonic() < give_up, seen
        time.sleep(0.01)
