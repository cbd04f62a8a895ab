"""docs/guide.md, followed literally: every file and command of it in fresh folders, with real workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fts_process import QUICK, ROOT

GUIDE = ROOT / "docs" / "guide.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w./]+\.\w+)`:\s*\Z")  # the end of the text before a file
AMOUNT = re.compile(r"(less than )?\b\d[\d.]*\s(s|ms|min|kB|MB|GB|TB)\b")  # of this machine, at this moment


@dataclass(frozen=True)
class Step:
    """A file to write, or a command to type with what it says; empty: the guide does not show it."""

    line: int
    command: str
    said: str = ""
    file: str = ""


def steps(text: str) -> Iterator[Step]:
    """Those of one section, in order."""
    for block in BLOCK.finditer(text):
        line = text[: block.start()].count("\n") + 1
        if block[1] == "console":
            for one in re.split(r"^\$ ", block[2], flags=re.MULTILINE)[1:]:
                command, _, said = one.partition("\n")
                yield Step(line, command, said.rstrip("\n"))
        elif named := NAMED.search(text[: block.start()]):
            yield Step(line, "", block[2], named[1])


SECTIONS = {part.partition("\n")[0]: part for part in GUIDE.read_text().split("\n## ")[1:]}
WALKED = {title: list(steps(text)) for title, text in SECTIONS.items() if list(steps(text))}


def test_the_guide_has_files_and_commands() -> None:
    every = [step for found in WALKED.values() for step in found]
    assert len([step for step in every if step.file]) == 3
    assert len([step for step in every if step.command.startswith(("fts ", "cd "))]) == len(every) - 3 > 12


LONG = ("A trial takes hours", "Written down")


@pytest.mark.parametrize("title", [pytest.param(one, marks=[pytest.mark.slow] * (one in LONG)) for one in WALKED])
def test_what_the_guide_says_is_what_happens(tmp_path: Path, title: str) -> None:
    scripts = tmp_path / "bin"
    scripts.mkdir()
    (scripts / "fts").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m fts.jobs.cli "$@"\n')
    (scripts / "fts").chmod(0o755)
    (scripts / "python").symlink_to(sys.executable)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FTS_")}
    path = os.pathsep.join([str(scripts), str(Path(sys.executable).parent), clean["PATH"]])
    environ = clean | QUICK | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    home = tmp_path / "home"
    home.mkdir()
    for step in WALKED[title]:
        if step.file:
            (home / step.file).write_text(step.said)
            continue
        done = subprocess.run(
            ["bash", "-c", step.command], cwd=home, env=environ, stdin=subprocess.DEVNULL, text=True,
            capture_output=True, timeout=240,
        )  # fmt: skip
        said = done.stdout + done.stderr if done.stdout == "" else done.stdout
        wanted = 1 if re.search(r"^ +bad ", said, re.MULTILINE) else 0
        assert done.returncode == wanted, f"line {step.line}, {step.command}: {done.stdout}{done.stderr}"
        if step.said:
            assert re.fullmatch(pattern(step.said), plain(said)), f"line {step.line}, {step.command}:\n{said}"


def plain(text: str) -> str:
    """Without amounts of time and memory, and blanks once."""
    return "\n".join(" ".join(line.split()) for line in AMOUNT.sub("#", text.strip()).splitlines())


def pattern(shown: str) -> str:
    """`...` stands for anything, in a line or instead of lines."""
    parts = [re.escape(part) for part in plain(shown).split("...")]
    return "(?s:.*)".join(parts)
