"""Tab in real shells: what is typed, completed and entered is what `fts` gets, blanks, quotes and commas included."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from fts.jobs.cli.completion import BASH, BREAKS, last_word, quoted
from fts.jobs.python import python
from tests.cli.toy import make_toy
from tests.fts_process import ROOT

BEGIN = {  # shell -> file of the home that it reads, what stands there, where its script lies
    "bash": (".bashrc", "PS1='> '\n. ~/script\n", "script"),
    "zsh": (".zshrc", "PS1='> '\nfpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit -u\n", ".zfunc/_fts"),
    "fish": (".config/fish/config.fish", "", ".config/fish/completions/fts.fish"),
}
TYPED = {
    "fts enq\t": ["enqueue"],
    "fts why my\t": ["why", "my data/S"],
    "fts why my\\ d\t": ["why", "my data/S"],
    'fts why "my\t': ["why", "my data/S"],
    "fts why 'my\t": ["why", "my data/S"],
    "fts why it\t": ["why", "it's/S"],
    "fts why a,\t": ["why", "a,b/S"],
    "fts enqueue my\\ s\t": ["enqueue", "my study.toml"],
    'fts enqueue "my t\t': ["enqueue", "my train.py:objective"],
    "fts enqueue train.py:o\t": ["enqueue", "train.py:objective"],
    "fts pause state:q\t": ["pause", "state:queued"],
    'fts why "it\'s/S" --js\t': ["why", "it's/S", "--json"],
}


@pytest.mark.parametrize(
    ("line", "word", "given", "quote"),
    [
        ("fts ", None, "", ""),
        ("fts why my\\ d", "my d", "", ""),
        ("fts why 'it\\", "it\\", "", "'"),
        ('fts logs "a b:', "a b:", "", '"'),
        ("fts logs a\\ b:t", "a b:t", "a b:", ""),
        ("fts x --cell='my d", "--cell=my d", "--cell=", "'"),
        ("fts why ''", "", "", ""),
    ],
)
def test_the_last_word_of_a_line(line: str, word: str | None, given: str, quote: str) -> None:
    assert last_word(line, BREAKS) == (word, given, quote)


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_quoted_word_is_read_back(quote: str) -> None:
    for text in ("my data/S", "it's", 'a"b', "a,b", "ä$HOME`x`", "back\\slash"):
        said = subprocess.run(
            ["bash", "-c", f"printf %s {quote}{quoted(text, quote)}{quote}"], capture_output=True, text=True, check=True
        )
        assert said.stdout == text


@pytest.mark.slow
@pytest.mark.parametrize("shell", BEGIN)
def test_tab_in_a_real_shell(fts, tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    make_toy(tmp_path, axes={"data": ["my data", "it's", "a,b"], "size": ["S"]}).close()
    (tmp_path / "my study.toml").touch()
    shutil.copy(tmp_path / "train.py", tmp_path / "my train.py")
    home, entered, answered = tmp_path / "home", tmp_path / "entered", tmp_path / "answered"
    file, text, script = BEGIN[shell]
    for name, content in (
        (file, text),
        (script, fts("completion", shell, "--print").out),
        ("bin/fts", program(entered, answered)),
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)
    (home / "bin" / "fts").chmod(0o755)
    environ = {"HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "TERM": "xterm", "LANG": "C.UTF-8"}
    with_shell = {"PYTHONPATH": str(ROOT), "FTS_DB": str(tmp_path / "outputs" / "fts.db")}

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvpe(shell, [shell, "-i"], environ | with_shell)
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        read_until_quiet(terminal)
        for typed, words in TYPED.items():
            os.write(terminal, typed.encode())
            read_until(terminal, answered)
            answered.unlink()
            os.write(terminal, b"\r")
            read_until(terminal, entered)
            assert json.loads(entered.read_text()) == words, typed
            entered.unlink()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def program(entered: Path, answered: Path) -> str:
    """`fts` for the shell: completes as it is, and writes down what it is called with."""
    write = (
        "import json, os, sys; place = sys.argv[1]; "
        "json.dump(sys.argv[2:], open(place + '_', 'w')); os.rename(place + '_', place)"
    )
    return (
        f'#!/bin/sh\nif [ -n "$_FTS_COMPLETE" ]; then\n{shlex.join(python("-m", "fts.jobs.cli"))} "$@"\n'
        f"touch {shlex.quote(str(answered))}\nexit\nfi\n"
        f'exec {sys.executable} -c {shlex.quote(write)} {shlex.quote(str(entered))} "$@"\n'
    )


def read_until(terminal: int, file: Path) -> None:
    """Takes what the shell writes until the file is there, and what it writes then."""
    end = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < end, f"{file.name}: never"
        read_until_quiet(terminal, 0.1)
    read_until_quiet(terminal)


def read_until_quiet(terminal: int, quiet_s: float = 0.5) -> None:
    while select.select([terminal], [], [], quiet_s)[0]:
        os.read(terminal, 65536)


OLD = """
complete() {
    if [[ " $* " == *" nosort "* ]]; then echo "nosort: invalid option name" >&2; return 1; fi
    builtin complete "$@"
}
compopt() { echo "compopt: command not found" >&2; return 127; }
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_the_script_says_nothing_in_the_bash_of_macos(tmp_path: Path) -> None:
    """Version 3.2 has no `complete -o nosort` and no `compopt`."""
    (tmp_path / "train.py").touch()
    told = "complete -p fts; COMP_LINE='fts import tr'; COMP_POINT=13; _fts_completion fts; echo ${#COMPREPLY[@]}"
    (tmp_path / "fts").write_text("#!/bin/sh\necho file,tr\n")
    (tmp_path / "fts").chmod(0o755)
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{OLD}{BASH}{told}"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stderr == "" and done.stdout == "complete -o default -F _fts_completion fts\n0\n", done
