"""Makes cells from a command: extracts the parameters declared in its words, and freezes one cell per combination.

cells(["python", "train.py", "--lr", "{lr:1e-5..1e-1:log}"], folder, trials=20, metric="val_loss")
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.command import PLACE, WHOLE_ARGS, CommandCell
from fts.jobs.api.shell_text import DOUBLE, HERE, SINGLE, places
from fts.jobs.api.spec import BadSpec
from fts.jobs.axis_words import RANGE, Value, parse_parameter
from fts.jobs.functions import check_baseline, checked_name, clean, combinations, experiment_name, with_unique_names
from fts.jobs.objective_file import module_file
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PYTHON = re.compile(r"python[\d.]*")
INTERPRETER = re.compile(r"python[\d.]*|bash|sh|zsh|Rscript|julia|node|perl|ruby")
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")  # after python -m
LARGEST_SCRIPT = 100_000_000  # bytes; a larger file in the command counts as data


class BadCommand(BadSpec):
    """The command cannot run, or a parameter in it is declared wrongly."""


def cells(
    words: Sequence[str],
    folder: Path,
    trials: int,
    axes: Mapping[str, Sequence[Value]] | None = None,
    study: str | None = None,
    space: Mapping[str, dict[str, Any]] | None = None,
    shell: bool = False,
    **fields: Any,
) -> list[CommandCell]:
    """Returns one cell per combination of the axes' values. Raises BadCommand or BadSpec."""
    if not shell and (split := split_by_shell(words)):
        raise BadCommand(f"your shell has made {split[0]!r} and {split[1]!r} of a parameter; quote it: {split[2]}")
    command = parse_command(words, folder, shell)
    for name in command.declared:
        if name in (space or {}):
            raise BadCommand(f"{name} is declared in the command and with --space; declare it once")
    check_baseline(fields.get("baseline"), folder, list(axes or {}))
    axes = axes or {}
    name = checked_name(study or clean(command.stem))
    made = []
    for values in combinations(axes):
        labels = dict(zip(axes, values, strict=True))
        made.append(frozen(command, folder, study=name, trials=trials, axes=labels, space=space, **fields))
    return with_unique_names(made)


@dataclass(frozen=True)
class ParsedCommand:
    """A parsed command line, not yet of one cell."""

    words: tuple[str, ...]  # with plain placeholders such as {lr}
    declared: dict[str, dict[str, Any]]  # parameters declared in its placeholders
    shell: bool
    script: str | None
    program: str | None
    md5: str  # of the script
    stem: str  # default name of its study


def parse_command(words: Sequence[str], folder: Path, shell: bool = False, path: str | None = None) -> ParsedCommand:
    """Parses a command: finds its parameters, script and program. `path` is the PATH of its trials; None: that of this
    process. Raises BadCommand."""
    if not shell and len(words) == 1 and len(words[0].split()) > 1 and not (folder / words[0]).exists():
        raise BadCommand(
            "the command is one word with spaces, because of the quotes around it; leave them away, or add "
            "--shell for a text that a shell runs"
        )
    command, declared = parse_words([" ".join(words)] if shell else words)
    plain = shell_paths(command[0]) if shell else list(command)
    for found, quotes in places(command[0], PLACE) if shell else ():
        if found["name"] in WHOLE_ARGS and quotes in (SINGLE, DOUBLE):
            raise BadCommand(f"{found[0]} stands for several words; write it without quotes around it, as {found[0]}")
    script = module_of(plain, folder) or script_of(plain, folder)
    if not shell and script is None:
        check_script(plain, folder)
    program = None if shell else found_program(command[0], folder, path)
    md5 = "" if script is None else hashlib.md5((folder / script).read_bytes()).hexdigest()
    named = Path(script or (plain or command)[0])
    stem = (named.parent.name if named.stem == "__main__" else "") or named.stem
    return ParsedCommand(command, declared, shell, script, program, md5, stem)


def frozen(
    command: ParsedCommand,
    folder: Path,
    *,
    study: str,
    axes: Mapping[str, Value],
    space: Mapping[str, dict[str, Any]] | None = None,
    **fields: Any,
) -> CommandCell:
    """Returns one cell of the command. Raises BadCommand or BadSpec."""
    parameters = {**(space or {}), **command.declared}
    if both := [name for name in parameters if name in axes]:
        raise BadCommand(f"{', '.join(both)} cannot be a parameter and an axis; take one of them away")
    fields = {"code_md5": command.md5} | fields
    cell = CommandCell(
        study=study,
        experiment=experiment_name(study, tuple(axes.values())),
        command=command.words,
        folder=str(folder),
        axes=dict(axes),
        space=parameters or None,
        shell=command.shell,
        script=command.script,
        program=command.program,
        **fields,
    )
    return CommandCell.from_json(cell.to_json())


def parse_words(words: Sequence[str]) -> tuple[tuple[str, ...], dict[str, dict[str, Any]]]:
    """Returns the words with plain placeholders, `{lr}`, and the declared parameters. Raises BadCommand."""
    declared: dict[str, dict[str, Any]] = {}

    def plain(found: re.Match[str]) -> str:
        name, text = found["name"], found["declared"]
        if name is None or text is None:
            return found[0]
        try:
            distribution = parse_place(name, text)
        except BadCommand:
            if "." in name:
                return found[0]  # a template's own {item.price:.2f}
            raise
        if declared.setdefault(name, distribution) != distribution:
            raise BadCommand(f"{name} is declared twice, and differently; write {{{name}}} the second time")
        return "{" + name + "}"

    return tuple(PLACE.sub(plain, word) for word in words), declared


def split_by_shell(words: Sequence[str]) -> tuple[str, str, str] | None:
    """Detects that bash has split `--opt {opt:adam,sgd}` or `--opt={opt:adam,sgd}`.

    Returns the two words and the quoted original, or None. Its end is left open where words behind it may be the
    command's own.
    """
    for n, (before, word, after) in enumerate(zip(["", *words], words, [*words[1:], ""], strict=False)):
        option, equals, value = word.rpartition("=")
        name, colon, first = value.partition(":")
        flag = option if equals else before
        if not colon or not name or flag.lstrip("-") != name or not after:
            continue
        behind = words[n + 1 :]
        if not equals:
            more = ",..." if len(behind) > 1 and not behind[1].startswith("-") else ""
            return word, after, f"'{{{name}:{first},{after}{more}}}'"
        if values := values_of(option, behind):
            return word, after, f"'{option}={{{name}:{','.join([first, *values])}}}'"
    return None


def values_of(option: str, words: Sequence[str]) -> list[str]:
    """Returns the values of `--opt=a --opt=b ...`, from the first word on."""
    mine = itertools.takewhile(lambda word: word.startswith(f"{option}="), words)
    return [word.removeprefix(f"{option}=") for word in mine]


def parse_place(name: str, text: str) -> dict[str, Any]:
    """Parses `1e-5..1e-1:log`, `1..4` (whole numbers stay whole) or `adam,sgd`. Raises BadCommand."""
    expected = f"expected {{{name}:LOW..HIGH}}, {{{name}:LOW..HIGH:log}} or {{{name}:A,B,C}}"
    if not RANGE.fullmatch(text) and (".." in text or ":" in text or "," not in text):
        raise BadCommand(f"{{{name}:{text}}} declares no parameter, {expected}")
    try:
        return parse_parameter(f"{name}={text}")[1]
    except BadSpec as error:
        raise BadCommand(f"{{{name}:{text}}}: {error}") from None


def shell_paths(text: str) -> list[str]:
    """Splits the text of a shell command into words, without running a shell. Raises BadCommand."""
    try:
        return shlex.split(text, comments=re.search(r"(^|\s)#.*'", text) is not None)  # a comment may contain "don't"
    except ValueError as error:
        if HERE.search(text):  # a here-document may contain "don't"
            return text.split()
        raise BadCommand(f"{quoted(text)} is no command of a shell: {error}") from None


def script_of(words: Sequence[str], folder: Path) -> str | None:
    """Returns the first word that is a file of the user: `train.py` of `python train.py`; None: no such word."""
    for place, word in enumerate(words):
        if PLACE.search(word) or (place == 0 and os.sep not in word):
            continue
        path = folder / word
        try:
            if path.is_file() and path.stat().st_size <= LARGEST_SCRIPT and (place > 0 or path.is_relative_to(folder)):
                return word
        except (OSError, ValueError):  # the word is not a path
            continue
    return None


def module_of(words: Sequence[str], folder: Path) -> str | None:
    """Returns the file of `python -m pkg.train` if it is below the folder or its `src`; else None."""
    for before, flag, module in zip(words, words[1:], words[2:], strict=False):
        if flag == "-m" and PYTHON.fullmatch(Path(before).name) and MODULE.fullmatch(module):
            return module_file(f"{module}.__main__", folder) or module_file(module, folder)
    return None


def check_script(words: Sequence[str], folder: Path) -> None:
    """Raises BadCommand for `bash train.sh` if train.sh does not exist: every trial would fail."""
    if len(words) < 2 or not INTERPRETER.fullmatch(Path(words[0]).name):
        return
    word = words[1]
    if word.startswith("-") or PLACE.search(word) or not Path(word).suffix or (folder / word).exists():
        return
    raise BadCommand(f"there is no file {word} in {folder}")


def found_program(word: str, folder: Path, path: str | None = None) -> str | None:
    """Returns the absolute path of a program in `path` (None: PATH of this process).

    Returns None if the word is a path or a placeholder. Raises BadCommand if the program does not exist.
    """
    if PLACE.search(word):
        return None
    if os.sep in word:
        file = folder / word
        if not file.is_file():
            raise BadCommand(f"{word} is no file in {folder}; expected a program")
        if not os.access(file, os.X_OK):
            raise BadCommand(f"{word} may not be executed; `chmod +x {word}`, or name its interpreter before it")
        return None
    if path is not None:  # the trials start in the folder
        path = os.pathsep.join(str(folder / entry) for entry in path.split(os.pathsep))
    found = shutil.which(word, path=path)
    if found is None:
        which = "PATH" if path is None else "PATH that `env` gives its trials"
        raise BadCommand(f"there is no program {word!r} in the {which}; for what a shell has built in, add --shell")
    return str(Path(found).absolute())
