"""The study of a command in any language: words with places for parameters, metrics from its report or its output.

    fts enqueue --metric val_loss -- python train.py --lr {lr:1e-5..1e-1:log} --layers {layers:1..4}

A job of such a study is told apart from that of a function by the field `command` of its specification.
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

PLACE = re.compile(
    r"\{\{(?P<literal>[A-Za-z_][A-Za-z0-9_.]*(?::[^{}]*)?)\}\}"  # {{word}}: the letters {word}
    r"|(?<!\$)\{(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"  # not ${HOME}, which is the shell's
    r"(?::(?P<declared>[^{}]*))?\}"
)
WHOLE_ARGS = ("args", "args_hydra")  # stand for several words
OWN = (*WHOLE_ARGS, "params", "seed", "number", "checkpoint_dir", "folder", "threads", "shrink")
TAKEN = (*WHOLE_ARGS, "params", "checkpoint_dir")  # no parameter or axis may have these names
COMMAND_LIMITS: Limits = {**LIMITS, "grace_s": (0.0, 86_400.0)}
MOST_WORDS, LONGEST_WORD = 1000, 8192
EPOCH_GROUPS = ("epoch", "step")  # of a regular expression: which report it is
SEED_BITS = 31  # of {seed}: every library takes it


@dataclass(frozen=True)
class CommandCell(BareCell):
    """One cell of a study of a command, frozen at enqueue."""

    command: tuple[str, ...]  # ("python", "train.py", "--lr", "{lr}"); one word where a shell reads it
    folder: str  # where the person stood: the command starts there
    code_md5: str  # of the script; empty: the command names no file
    _: KW_ONLY
    shell: bool = False  # /bin/sh -c reads the command
    script: str | None = None  # the file of the command that code_md5 is of, relative to `folder`
    program: str | None = None  # where the first word was found when it was put in line
    regex: str | None = None  # finds the metric in a line of output
    stdout: bool = False  # JSON lines of output are the report
    csv: str | None = None  # {folder}/**/metrics.csv: a file that has the metrics
    tensorboard: str | None = None  # {folder}/logs: event files below it have the metrics
    results: str | None = None  # {folder}/results.json: a JSON file that has the metrics
    best: bool = False  # the value of a trial is its best report, not its last
    grace_s: float = 30.0  # from SIGTERM to SIGKILL

    limits: ClassVar[Limits] = COMMAND_LIMITS
    no_identity: ClassVar[tuple[str, ...]] = ("env", "program", "grace_s")

    @property
    def file(self) -> str | None:
        return self.script

    @property
    def source(self) -> str:
        """Where the metric is read, for a sentence."""
        if self.regex is not None:
            return f"a line of output that matches {self.regex!r}"
        if self.file_source is not None:
            what, path = self.file_source
            return f"{self.metric} {FOUND_IN[what]} {path}"
        return f"a JSON line with {self.metric} " + ("on its output" if self.stdout else "in the file $FTS_REPORT")

    @property
    def file_source(self) -> tuple[str, str] | None:
        """Which kind of file has the metrics, and its path with places; None: the report or the output has them."""
        return next(((name, path) for name in SOURCES if (path := getattr(self, name)) is not None), None)

    def check(self) -> None:
        if self.process != "fresh":
            raise BadSpec(
                f"process is {self.process}, expected fresh: a command cannot run in a process that ran before"
            )
        check_words(self)
        check_regex(self)
        check_source(self)


def check_words(cell: CommandCell) -> None:
    """Raises BadSpec for a command that is none, and for a place that nothing fills."""
    words = cell.command
    if not words or len(words) > MOST_WORDS or not all(isinstance(word, str) for word in words):
        raise BadSpec(f"command is {list(words)!r:.80}, expected 1 to {MOST_WORDS} words")
    if not words[0] or any("\0" in word or len(word) > LONGEST_WORD for word in words):
        raise BadSpec(f"command is {shlex.join(words)!r:.80}, expected words of at most {LONGEST_WORD} characters")
    if cell.shell and len(words) != 1:
        raise BadSpec(f"command has {len(words)} words, expected one text for the shell")
    declared = declared_in(cell)
    for name in declared:
        if not is_name(name) or not name.isascii() or name in TAKEN:
            taken = ", ".join(TAKEN)
            raise BadSpec(f"{name!r} cannot name a parameter or an axis: expected a name, none of {taken}")
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
    """What to say of a place that nothing fills."""
    near = nearest(name, [*declared, *OWN])
    hint = f"did you mean {{{near}}}? " if near else ""
    known = ", ".join(f"{{{one}}}" for one in dict.fromkeys([*declared, *OWN]))
    return (
        f"{{{name}}} is neither a parameter nor an axis; {hint}known are {known}; "
        f"declare one with {{{name}:1e-5..1e-1:log}} or {{{name}:A,B}}, or write {{{{{name}}}}} for the letters"
    )


def check_regex(cell: CommandCell) -> None:
    """Raises BadSpec for a regular expression that cannot give the metric."""
    if cell.regex is None:
        return
    try:
        compiled = re.compile(cell.regex)
    except re.error as error:
        raise BadSpec(f"regex is {cell.regex!r:.80}, which is no regular expression: {error}") from None
    named = set(compiled.groupindex) - set(EPOCH_GROUPS)
    if cell.metric not in named and (named or compiled.groups - len(compiled.groupindex) != 1):
        raise BadSpec(
            f"regex is {cell.regex!r:.80}, expected one group around the number, such as "
            f"'{cell.metric}=([-0-9.eE+]+)', or a group (?P<{cell.metric}>...)"
        )


def check_source(cell: CommandCell) -> None:
    """Raises BadSpec for two sources of metrics, and for a file that two trials would share."""
    given = [f"--{name}" for name in ("regex", "stdout", *SOURCES) if getattr(cell, name)]
    if len(given) > 1:
        raise BadSpec(f"{' and '.join(given)} each say where the metrics are; give one of them")
    if cell.file_source is None:
        return
    what, path = cell.file_source
    declared = declared_in(cell)
    names = [name for found in PLACE.finditer(path) if (name := name_of(found, declared)) is not None]
    if unknown := [name for name in names if name not in (*declared, *OWN) or name in WHOLE_ARGS]:
        raise BadSpec(f"--{what}: {unknown_place(unknown[0], declared)}")
    if not set(names) & {"folder", "checkpoint_dir"}:
        raise BadSpec(
            f"--{what} is {path!r:.80}, which all trials would share; expected a path in the trial's folder, such as "
            f"'{{folder}}/{EXAMPLE[what]}', where the command writes it: it is $FTS_FOLDER, too"
        )


FOUND_IN = {"csv": "in a column of", "tensorboard": "as a tag of the event files in", "results": "in"}
EXAMPLE = {"csv": "**/metrics.csv", "tensorboard": "logs", "results": "results.json"}


def filled_path(cell: CommandCell, values: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """A pattern of the files that have the metrics of one trial; None: no file has them."""
    if cell.file_source is None:
        return None
    known, declared = {**own, **values}, declared_in(cell)

    def fill(found: re.Match[str]) -> str:
        name = name_of(found, declared)
        return literal(found) if name is None else escape(text_of(known[name]))

    return str(Path(cell.folder) / PLACE.sub(fill, cell.file_source[1]))


Cell = TypeVar("Cell", FunctionCell, CommandCell)


def text_of(value: Any) -> str:
    """A value as a word: every digit of a number."""
    return value if isinstance(value, str) else repr(value)


def filled(cell: CommandCell, values: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The words of one trial: `values` are its parameters and axes, `own` the rest of what a place may name."""
    known = {**own, **values}
    rest = {name: text_of(value) for name, value in values.items() if name not in named(cell)}
    several = {
        "args": [f"--{name}={text}" for name, text in rest.items()],
        "args_hydra": [f"{name}={text}" for name, text in rest.items()],
    }

    declared = declared_in(cell)

    def fill(found: re.Match[str], quoted: Callable[[str], str] = str) -> str:
        name = name_of(found, declared)
        if name is None:
            return literal(found)
        if name in several:
            return " ".join(quoted(word) for word in several[name])
        return quoted(text_of(known.get(name, "")))  # empty: a parameter of another branch

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
    """The names that stand in places of the command: {args} gives what is left."""
    declared = declared_in(cell)
    found = (name_of(place, declared) for word in cell.command for place in PLACE.finditer(word))
    return {name for name in found if name is not None}


def declared_in(cell: CommandCell) -> list[str]:
    """Its parameters and axes."""
    return [*(cell.space or {}), *cell.axes]


def name_of(found: re.Match[str], declared: Collection[str]) -> str | None:
    """What a place names. None: it stands for its letters, {{lr}} for {lr}; so does a name with dots that nobody has
    declared, such as the {item.price} of a template.
    """
    name = found["name"]
    return name if name is None or "." not in name or name in declared else None


def literal(found: re.Match[str]) -> str:
    return found[0] if found["literal"] is None else "{" + found["literal"] + "}"


class BareStudy(FunctionStudy):
    """Answers the runner for every cell of functions and commands that are stored under one name."""

    def cell(self, spec: Mapping[str, Any]) -> Any:
        if isinstance(spec, Mapping) and "command" in spec:
            return CommandCell.from_json(spec)
        return super().cell(spec)

    def program(self, cell: Any) -> Program:
        if isinstance(cell, CommandCell):
            reads_log = cell.regex is not None or cell.stdout
            words = ("-m", "fts.jobs.trial.command")
            return Program(
                words, None, cell.folder, cell.env, reads_log=reads_log, relays=True, sync=cell.sync, data=cell.data
            )
        return super().program(cell)


def question_of(spec: Any) -> str | None:
    """What a stored specification of a function or command asks; None: nobody can read it."""
    try:
        return str(BareStudy("").cell(spec).question)
    except BadSpec:
        return None
