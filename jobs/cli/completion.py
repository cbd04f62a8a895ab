"""Implements `fts completion`: installs the script that makes a shell complete commands, options, cells and jobs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from fts.jobs.cli.output import put, say
from fts.state.files import atomic_write, expanded, home, make_folder, shell_path

SHELLS = ("bash", "zsh", "fish")
BASH_COMPLETION = (  # where the package bash-completion is, which loads our script
    Path("/usr/share/bash-completion/bash_completion"),
    Path("/opt/homebrew/share/bash-completion/bash_completion"),
    Path("/usr/local/share/bash-completion/bash_completion"),
)

# bash 3.2, which macOS has, knows neither nosort nor compopt: there, file names complete what nothing else does
BASH = """\
_fts_completion() {
    local type value
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" _FTS_COMPLETE=bash_complete "$1")
}
complete -o nosort -F _fts_completion fts 2>/dev/null || complete -o default -F _fts_completion fts
"""
BREAKS = "@><=;|&(:"  # outside of quotes, bash starts a new word after each of these
SAFE = re.compile(r"[^\w@%+=:,./-]")


class Bash(BashComplete):
    """Parses the typed line; returns what bash must put in place of its last word, with the same quotes."""

    def source(self) -> str:
        return BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        word, self.kept, self.quote = last_word(line, os.environ.get("COMP_BREAKS", BREAKS))
        words = split_arg_string(line)
        return (words[1:], "") if word is None else (words[1:-1], word)

    def format_completion(self, item: CompletionItem) -> str:
        value = str(item.value)
        if item.type == "plain":
            if value.lower().startswith(self.kept.lower()):
                value = value[len(self.kept) :]
            value = quoted(value, self.quote)
        return f"{item.type},{value}"


def last_word(line: str, breaks: str) -> tuple[str | None, str, str]:
    """Returns the last word (None after a blank), the part of it that bash keeps, and the open quote."""
    word: str | None = None
    given, quote, escaped = "", "", False
    for letter in line:
        if escaped:
            word, escaped = (word or "") + letter, False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if letter == quote else quote
            word = (word or "") + (letter if quote else "")
        elif letter in "'\"":
            quote, word = letter, word or ""
            given = word
        elif letter.isspace():
            word, given = None, ""
        else:
            word = (word or "") + letter
            given = word if letter in breaks else given
    return word, given, quote


def quoted(text: str, quote: str) -> str:
    """Escapes the text for use within this quote; without a quote, each special character gets a backslash."""
    if quote == "'":
        return text.replace("'", "'\\''")
    return re.sub(r'["$`\\]', r"\\\g<0>", text) if quote else SAFE.sub(r"\\\g<0>", text)


class Zsh(ZshComplete):
    """Fixes click's zsh script: at the second Tab its test for autoload fails, and it completes nothing."""

    source_template = ZshComplete.source_template.replace(
        "$zsh_eval_context[-1] == loadautofunc", "$funcstack[1] == _%(prog_name)s"
    )


class Fish(FishComplete):
    """Fixes click's fish script, which cuts a word at its comma."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("-n", "--print", "only_print", is_flag=True, help="print the script, install nothing; default in a pipe")
def completion(shell: str, only_print: bool) -> None:
    """Install the script that completes words with Tab in SHELL: commands, options, cells and jobs of the study here.

    It prints the path of the script, and what your shell still needs. The line `eval "$(fts completion bash)"` in
    ~/.bashrc does the same without a file.
    """
    script = script_for(shell)
    if only_print or not sys.stdout.isatty():
        return put(script)
    path = file_of(shell)
    make_folder(path.parent)
    atomic_write(path, script, mode=0o644)
    say(f"wrote {path}")
    return say(next_step(shell, path))


def register_shells() -> None:
    """Registers our shell classes in place of click's."""
    add_completion_class(Bash)
    add_completion_class(Zsh)
    add_completion_class(Fish)


def script_for(shell: str) -> str:
    register_shells()
    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    return made(click.get_current_context().find_root().command, {}, "fts", "_FTS_COMPLETE").source()


def file_of(shell: str) -> Path:
    """Returns the path from which the shell loads the script; for zsh, the usual folder ~/.zfunc."""
    data = expanded(os.environ.get("XDG_DATA_HOME") or home() / ".local" / "share")
    if shell == "bash":
        own = os.environ.get("BASH_COMPLETION_USER_DIR")
        return (expanded(own) if own else data / "bash-completion") / "completions" / "fts"
    if shell == "fish":
        return expanded(os.environ.get("XDG_CONFIG_HOME") or home() / ".config") / "fish" / "completions" / "fts.fish"
    return home() / ".zfunc" / "_fts"


def next_step(shell: str, path: Path) -> str:
    """Returns what the user must do before Tab completes."""
    if shell == "zsh" and not _contains(expanded("~/.zshrc"), ".zfunc"):
        return (
            "put this into ~/.zshrc, then open a new terminal: fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit"
        )
    if shell == "bash" and not any(each.exists() for each in BASH_COMPLETION):
        return (
            f"the package bash-completion is missing: install it, or put this into ~/.bashrc: source {shell_path(path)}"
        )
    return "open a new terminal: fts <Tab> completes"


def _contains(path: Path, text: str) -> bool:
    try:
        return text in path.read_text(errors="replace")
    except OSError:
        return False
