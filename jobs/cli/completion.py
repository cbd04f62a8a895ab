"""`fts completion`: installs the script with which a shell completes commands, options, cells and jobs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fts.jobs.cli.output import put, say
from fts.state.files import atomic_write, make_folder

SHELLS = ("bash", "zsh", "fish")
OF_BASH = (  # the package that loads what lies in its folder
    Path("/usr/share/bash-completion/bash_completion"),
    Path("/opt/homebrew/share/bash-completion/bash_completion"),
    Path("/usr/local/share/bash-completion/bash_completion"),
)


BASH = """\
_fts_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" words word prefix response completion type value
    read -ra words <<< "$line"
    local place=$(( ${#words[@]} - 1 ))
    if [[ $line == *[[:space:]] ]]; then words+=(""); place=$(( place + 1 )); fi
    word="${words[place]}"
    # bash begins a new word behind : and =, which stand in names of cells such as size=S and state:done
    if [[ $word == *[:=]* ]]; then prefix="${word%"${word##*[:=]}"}"; fi
    response=$(env COMP_WORDS="$line" COMP_CWORD=$place _FTS_COMPLETE=bash_complete "$1")
    COMPREPLY=()
    while IFS=',' read -r type value; do
        if [[ $type == dir ]]; then
            compopt -o dirnames
        elif [[ $type == file ]]; then
            compopt -o default
        elif [[ $type == plain ]]; then
            COMPREPLY+=("${value#"$prefix"}")
        fi
    done <<< "$response"
}
complete -o nosort -F _fts_completion fts
"""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("-n", "--print", "only_print", is_flag=True, help="print the script, install nothing; so does a pipe")
def completion(shell: str, only_print: bool) -> None:
    """Install the script that completes words with Tab in SHELL: commands, options, cells and jobs of the study here.

    It says which file it wrote, and what your shell still needs. A line `eval "$(fts completion bash)"` in ~/.bashrc
    does the same without a file.
    """
    script = script_for(shell)
    if only_print or not sys.stdout.isatty():
        return put(script)
    path = file_of(shell)
    make_folder(path.parent)
    atomic_write(path, script, mode=0o644)
    say(f"wrote {path}")
    return say(still_needed(shell, path))


def script_for(shell: str) -> str:
    """Click's own, but for bash, where it breaks words at : and =."""
    if shell == "bash":
        return BASH
    from click.shell_completion import get_completion_class  # here, not above: for this command only

    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    return made(click.get_current_context().find_root().command, {}, "fts", "_FTS_COMPLETE").source()


def file_of(shell: str) -> Path:
    """Where the shell looks for it by itself, or where people keep it."""
    home = Path("~").expanduser()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "bash":
        own = os.environ.get("BASH_COMPLETION_USER_DIR")
        return (Path(own) if own else data / "bash-completion") / "completions" / "fts"
    if shell == "fish":
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / "fts.fish"
    return home / ".zfunc" / "_fts"


def still_needed(shell: str, path: Path) -> str:
    """What the person has to do, if anything, before Tab completes."""
    if shell == "zsh" and not _stands_in(Path("~/.zshrc").expanduser(), ".zfunc"):
        return (
            "put this into ~/.zshrc, then open a new terminal: fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit"
        )
    if shell == "bash" and not any(each.exists() for each in OF_BASH):
        return f"the package bash-completion is missing: install it, or put this into ~/.bashrc: source '{path}'"
    return "open a new terminal: fts <Tab> completes"


def _stands_in(path: Path, text: str) -> bool:
    try:
        return text in path.read_text(errors="replace")
    except OSError:
        return False
