"""The study of a command in any language: placeholders for parameters, metrics from its report, output or files.

    fts enqueue --metric val_loss -- python train.py --lr {lr:1e-5..1e-1:log} --layers {layers:1..4}

The specification of such a job has the field `command`, that of a function has not.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY
from glob import escape
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from fts.frozen import dataclass
from fts.jobs.api import shell_text
from fts.jobs.api.bare_cell import LIMITS, SOURCES, BareCell
from fts.jobs.api.function import FunctionCell, FunctionStudy
from fts.jobs.api.names import alike, is_name, variable
from fts.jobs.api.nearest import nearest
from fts.jobs.api.spec import BadSpec, Limits
from fts.jobs.api.study import Program
from fts.raising import quoted

PLACE = re.compile(
    r"\{\{(?P<literal>[A-Za-z_][A-Za-z0-9_.]*(?::[^{}]*)?)\}\}"  # {{word}}: the literal text {word}
    r"|(?<!\$)\{(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"  # not ${HOME}, which the shell reads
    r"(?::(?P<declared>[^{}]*))?\}"
)
WHOLE_ARGS = ("args", "args_hydra")  # placeholders for several words
OWN = (*WHOLE_ARGS, "params", "seed", "number", "checkpoint_dir", "folder", "threads", "shrink")
TAKEN = (*WHOLE_ARGS, "params", "checkpoint_dir")  # no parameter or axis may have these names
COMMAND_LIMITS: Limits = {**LIMITS, "grace_s": (0.0, 86_400.0)}
MOST_WORDS, LONGEST_WORD = 1000, 8192
EPOCH_GROUPS = ("epoch", "step")  # groups of a regular expression that give the number of the report
SEED_BITS = 31  # of {seed}, so that every library accepts it


@dataclass(frozen=True)
class CommandCell(BareCell):
    """One cell of a command's study, frozen at enqueue."""

    command: tuple[str, ...]  # ("python", "train.py", "--lr", "{lr}"); one word if a shell reads it
    folder: str  # current directory at enqueue; the command starts there
    code_md5: str  # of the script; empty: the command names no file
    _: KW_ONLY
    shell: bool = False  # /bin/sh -c reads the command
    script: str | None = None  # the command's file that code_md5 covers, relative to `folder`
    program: str | None = None  # the path of the first word, found when the cell was enqueued
    regex: str | None = None  # finds the metric in a line of output
    stdout: bool = False  # JSON lines on its output are the report
    csv: str | None = None  # {folder}/**/metrics.csv: a CSV file with the metrics
    tensorboard: str | None = None  # {folder}/logs: a folder of event files with the metrics
    results: str | None = None  # {folder}/results.json: a JSON file with the metrics
    best: bool = False  # the value of a trial is its best report instead of its last
    grace_s: float = 30.0  # from SIGTERM to SIGKILL

    limits: ClassVar[Limits] = COMMAND_LIMITS
    no_identity: ClassVar[tuple[str, ...]] = ("env", "program", "grace_s")

    @property
    def file(self) -> str | None:
        return self.script

    @property
    def source(self) -> str:
        """Where the metric is read, in words."""
        if self.regex is not None:
            return f"a line of output that matches {self.regex!r}"
        if self.file_source is not None:
            what, path = self.file_source
            return f"{self.metric} {FOUND_IN[what]} {path}"
        return f"a JSON line with {self.metric} " + ("on its output" if self.stdout else "in the file $FTS_REPORT")

    @property
    def file_source(self) -> tuple[str, str] | None:
        """The kind of file that the metrics are read from, and its path with placeholders; None: not from a file."""
        return next(((name, path) for name in SOURCES if (path := getattr(self, name)) is not None), None)

    def check(self) -> None:
        if self.process != "fresh":
            raise BadSpec(f"process is {self.process}, expected fresh: each trial of a command needs a new process")
        check_words(self)
        check_regex(self)
        check_source(self)


def check_words(cell: CommandCell) -> None:
    """Raises BadSpec for words that are not a command, and for an unknown placeholder."""
    words = cell.command
    if not words or len(words) > MOST_WORDS or not all(isinstance(word, str) for word in words):
        raise BadSpec(f"command is {quoted(list(words))}, expected 1 to {MOST_WORDS} words")
    if not words[0] or any("\0" in word or len(word) > LONGEST_WORD for word in words):
        raise BadSpec(f"command is {quoted(shlex.join(words))}, expected words of at most {LONGEST_WORD} characters")
    if cell.shell and len(words) != 1:
        raise BadSpec(f"command has {len(words)} words, expected one text for the shell")
    declared = declared_in(cell)
    for name in declared:
        if not is_name(name) or not name.isascii() or name in TAKEN:
            taken = ", ".join(TAKEN)
            raise BadSpec(f"{name!r} cannot name a parameter or an axis: expected a-z, A-Z, 0-9 and _, none of {taken}")
    if two := alike(declared):
        one = f"FTS_PARAM_{variable(two[0])}"
        raise BadSpec(f"{' and '.join(two)} would both be the environment variable {one}; rename one of them")
    for word in words:
        for found in PLACE.finditer(word):
            place = name_of(found, declared)
            if place is None:
                continue
            if place not in declared and place not in OWN:
                raise BadSpec(unknown_place(place, declared))
            if found["declared"] is not None:
                raise BadSpec(f"{found[0]} declares a parameter a second time; write {{{place}}}")
            if place in WHOLE_ARGS and not cell.shell and word != found[0]:
                raise BadSpec(f"{found[0]} stands for several words and must be a word of its own, found in {word!r}")


def unknown_place(name: str, declared: Sequence[str]) -> str:
    """Returns the error message for an unknown placeholder."""
    near = nearest(name, [*declared, *OWN])
    hint = f"did you mean {{{near}}}? " if near else ""
    known = ", ".join(f"{{{one}}}" for one in dict.fromkeys([*declared, *OWN]))
    return (
        f"{{{name}}} is neither a parameter nor an axis; {hint}known are {known}; "
        f"declare one with {{{name}:1e-5..1e-1:log}} or {{{name}:A,B}}, or write {{{{{name}}}}} for the literal text"
    )


def check_regex(cell: CommandCell) -> None:
    """Raises BadSpec for a regular expression that cannot find the metric."""
    if cell.regex is None:
        return
    try:
        compiled = re.compile(cell.regex)
    except re.error as error:
        raise BadSpec(f"regex is {quoted(cell.regex)}, which is not a regular expression: {error}") from None
    named = set(compiled.groupindex) - set(EPOCH_GROUPS)
    if cell.metric not in named and (named or compiled.groups - len(compiled.groupindex) != 1):
        raise BadSpec(
            f"regex is {quoted(cell.regex)}, expected one group around the number, such as "
            f"'{cell.metric}=([-0-9.eE+]+)', or a group (?P<{cell.metric}>...)"
        )


def check_source(cell: CommandCell) -> None:
    """Raises BadSpec for two sources of metrics, and for a file that trials would share."""
    given = [f"--{name}" for name in ("regex", "stdout", *SOURCES) if getattr(cell, name)]
    if len(given) > 1:
        raise BadSpec(f"{' and '.join(given)} each name a source of the metrics; give only one of them")
    if cell.file_source is None:
        return
    what, path = cell.file_source
    declared = declared_in(cell)
    names = [name for found in PLACE.finditer(path) if (name := name_of(found, declared)) is not None]
    if unknown := [name for name in names if name not in (*declared, *OWN) or name in WHOLE_ARGS]:
        raise BadSpec(f"--{what}: {unknown_place(unknown[0], declared)}")
    if not set(names) & {"folder", "checkpoint_dir"}:
        raise BadSpec(
            f"--{what} is {quoted(path)}, which all trials would share; expected a path in the trial's folder, such as "
            f"'{{folder}}/{EXAMPLE[what]}', where the command writes it: it is $FTS_FOLDER, too"
        )


FOUND_IN = {"csv": "in a column of", "tensorboard": "as a tag of the event files in", "results": "in"}
EXAMPLE = {"csv": "**/metrics.csv", "tensorboard": "logs", "results": "results.json"}


def filled_path(cell: CommandCell, values: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """Returns the path pattern of the files with one trial's metrics; None: they are not read from a file."""
    if cell.file_source is None:
        return None
    known, declared = {**own, **values}, declared_in(cell)

    def fill(found: re.Match[str]) -> str:
        name = name_of(found, declared)
        return literal(found) if name is None else escape(text_of(known[name]))

    return str(Path(cell.folder) / PLACE.sub(fill, cell.file_source[1]))


Cell = TypeVar("Cell", FunctionCell, CommandCell)


def text_of(value: Any) -> str:
    """Returns a value as one word, with every digit of a number."""
    return value if isinstance(value, str) else repr(value)


def filled(cell: CommandCell, values: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Returns the command line of one trial. `values` are its parameters and axes, `own` the other placeholders."""
    known = {**own, **values}
    rest = {name: text_of(value) for name, value in values.items() if name not in named(cell)}
    several = {
        "args": [f"--{name}={text}" for name, text in rest.items()],
        "args_hydra": [f"{name}={text}" for name, text in rest.items()],
    }

    declared = declared_in(cell)

    def fill(found: re.Match[str], in_place: Callable[[str], str] = str) -> str:
        name = name_of(found, declared)
        if name is None:
            return literal(found)
        if name in several:
            return " ".join(in_place(word) for word in several[name])
        return in_place(text_of(known.get(name, "")))  # "" for a parameter of another branch

    if cell.shell:
        return ["/bin/sh", "-c", shell_text.filled(cell.command[0], PLACE, fill)]
    words: list[str] = []
    for word in cell.command:
        whole = PLACE.fullmatch(word)
        if whole is not None and whole["name"] in several:
            words += several[whole["name"]]
        else:
            words.append(PLACE.sub(fill, word))
    return [cell.program or words[0], *words[1:]]


def named(cell: CommandCell) -> set[str]:
    """Returns the names of the command's placeholders. {args} stands for all other parameters and axes."""
    declared = declared_in(cell)
    found = (name_of(place, declared) for word in cell.command for place in PLACE.finditer(word))
    return {name for name in found if name is not None}


def declared_in(cell: CommandCell) -> list[str]:
    """Returns the names of the cell's parameters and axes."""
    return [*(cell.space or {}), *cell.axes]


def name_of(found: re.Match[str], declared: Collection[str]) -> str | None:
    """Returns the name in a placeholder. None: it is literal text, as {{lr}} is for {lr}, or an undeclared name with
    dots, such as the {item.price} of a template.
    """
    name = found["name"]
    return name if name is None or "." not in name or name in declared else None


def literal(found: re.Match[str]) -> str:
    return found[0] if found["literal"] is None else "{" + found["literal"] + "}"


class BareStudy(FunctionStudy):
    """The Study of all functions and commands that are stored under one name."""

    def cell(self, spec: Mapping[str, Any]) -> Any:
        if isinstance(spec, Mapping) and "command" in spec:
            return CommandCell.from_json(spec)
        return super().cell(spec)

    def program(self, cell: Any) -> Program:
        if isinstance(cell, CommandCell):
            reads_log = cell.regex is not None or cell.stdout
            return Program(
                ("-m", "fts.jobs.trial.command"),
                None,
                cell.folder,
                cell.env,
                reads_log=reads_log,
                forks_for=cell.folder,
                relays=True,
                sync=cell.sync,
                data=cell.data,
            )
        return super().program(cell)


def question_of(spec: Any) -> str | None:
    """Returns the `question` md5 of a stored specification of a function or command; None: it cannot be read."""
    cell = _readable(spec)
    return None if cell is None else cell.question


def identity_of(spec: Any) -> str | None:
    """Returns the `identity` md5 of a stored specification of a function or command; None: it cannot be read."""
    cell = _readable(spec)
    return None if cell is None else cell.identity


def _readable(spec: Any) -> BareCell | None:
    try:
        cell: BareCell = BareStudy("").cell(spec)
    except BadSpec:
        return None
    return cell
