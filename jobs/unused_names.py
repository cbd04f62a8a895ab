"""Warns about probable mistakes in a cell: axes and parameters that nothing reads, trials that all run the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.api.command import WHOLE_ARGS, CommandCell, named
from fts.jobs.api.conditions import conditions
from fts.jobs.api.expression import Expression
from fts.jobs.api.function import OWN_NAMES, FunctionCell
from fts.jobs.api.names import variable
from fts.jobs.api.nearest import nearest
from fts.jobs.api.top_names import PARTIALS, value_of_name
from fts.jobs.axis_words import RANGE
from fts.jobs.objective_file import BadObjective, inspect
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.objective_file import Function


def unread(cells: Sequence[BareCell]) -> list[str]:
    """Returns a warning for each axis and parameter that the code or command of the cells seems not to read.

    Raises BadObjective if its name is similar to an argument that gets no value: it is mistyped.
    """
    different = {(*cell.axes, "/", *(cell.space or {})): cell for cell in reversed(cells)}
    found = [sentence for cell in reversed(different.values()) for sentence in _of(cell)]
    return list(dict.fromkeys([*found, *_words(cells)]))


def _of(cell: BareCell) -> list[str]:
    if isinstance(cell, FunctionCell):
        return _of_function(cell) + _whole(cell) + _ranges(cell)
    return _of_command(cell) + _whole(cell) + _ranges(cell) if isinstance(cell, CommandCell) else []


def _ranges(cell: BareCell) -> list[str]:
    """Warns about the value of an axis that reads like the range of a parameter: 0.1..1.0, 1e-5:1e-1:log."""
    found = []
    for name, value in cell.axes.items():
        text = re.sub(r":(?!\s*log)", "..", value) if isinstance(value, str) and value.endswith("log") else str(value)
        if RANGE.fullmatch(text):
            how = f"--space {name}={text}" if isinstance(cell, FunctionCell) else f"{{{name}:{text}}} in the command"
            found.append(f"the axis {name} has one value, the text {value}; {how} searches that range")
    return found


def _words(cells: Sequence[BareCell]) -> list[str]:
    """Warns about the texts True, False and None: to a function each of them is a text that is not empty."""
    texts: dict[str, list[str]] = {}
    for cell in cells if isinstance(cells[0], FunctionCell) else ():
        given = {f"axis {name}": [value] for name, value in cell.axes.items()}
        given |= {f"parameter {name}": one.get("choices", []) for name, one in (cell.space or {}).items()}
        for what, values in given.items():
            new = [one for one in values if one in (*TRUTHS, "None") and isinstance(one, str)]
            texts[what] = list(dict.fromkeys([*texts.get(what, []), *new]))
    found = []
    for what, words in texts.items():
        if truths := [word for word in words if word in TRUTHS]:
            has = f"the text {truths[0]}" if len(truths) == 1 else f"the texts {' and '.join(truths)}"
            found.append(f"the {what} has {has}, and Python takes each text for true; write 0 and 1")
        if "None" in words:
            found.append(f"the {what} has the text None, which is not Python's None; compare it with 'None'")
    return found


TRUTHS = ("True", "False", "true", "false")


def _whole(cell: BareCell) -> list[str]:
    """Warns about integer parameters from 0 to 1 and about a single text: most people mean the numbers between."""
    found = []
    for name, each in (cell.space or {}).items():
        if (each["kind"], each.get("low"), each.get("high")) == ("int", 0, 1):
            found.append(f"{name} is a whole number from 0 to 1; write 0.0 and 1.0 for the numbers between them")
        choices = each.get("choices", ())
        if len(choices) == 1 and isinstance(choices[0], str) and re.search(r"\d", choices[0]):
            found.append(f"{name} is always the text {quoted(choices[0])}; write LOW:HIGH for the numbers of a range")
    return found


def _of_function(cell: FunctionCell) -> list[str]:
    """Checks the file's text: a name is read if it is a parameter of the function, or a string in the file, as for
    fts.cell(trial)[...] and trial.suggest_float(...).
    """
    try:
        found = inspect(cell.objective, Path(cell.folder))
        code = cell.path.read_bytes()
        text = code.decode("utf-8-sig", errors="replace")
        tree = ast.parse(code)
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    except (BadObjective, OSError, SyntaxError, ValueError, RecursionError):
        return []

    is_unknown = not found.parameters and found.any_name
    takes_trial = found.trial_argument(cell.axes, cell.space) is not None
    gets_all = found.any_name and not takes_trial  # beside a trial, **names gets nothing

    def missing(names: list[str], whole: str) -> list[str]:
        if gets_all:
            return []
        if re.search(whole, text):  # it may read any of them
            return [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)]
        return [name for name in names if name not in found.parameters and name not in strings]

    decides = _deciding(cell)
    axes = [name for name in missing(list(cell.axes), r"\bcell\(") if name not in decides]
    parameters = [name for name in missing(list(cell.space or {}), r"\.params\b") if name not in decides]
    lacking = found.lacking(cell.axes, cell.space)  # empty, unless it is decorated
    given = {*cell.axes, *(cell.space or {}), *OWN_NAMES, *found.required} - {*lacking}
    left = [name for name in found.parameters if name not in given]  # each keeps its default
    for what, name in (*(("axis", one) for one in axes), *(("parameter", one) for one in parameters)):
        if near := nearest(name, left, cutoff=0.7):
            raise BadObjective(
                f"{cell.path.name} does not read the {what} {name}; did you mean {near}, which {found.name} takes? "
                f"If not, add {name} to the arguments of {found.name}"
            )
    same = []
    gets_seed = bool({"seed", "number"} & {*found.parameters})
    if cell.space is None and not (takes_trial or is_unknown or gets_seed) and cell.trials > 1:
        same = [
            f"{found.name} takes neither a trial nor a seed: its {cell.trials} trials are the same but for "
            f"the seeds of random, numpy and torch; write --trials 1, or --space NAME=LOW:HIGH for what it shall search"
        ]
    return (
        same
        + [f"{found.name} needs {', '.join(lacking)}, which nothing gives, unless its decorator does"] * bool(lacking)
        + _bound(cell, tree)
        + [_unread_axis(cell, name, found) for name in axes]
        + [
            f"{cell.path.name} does not read the parameter {name}: it changes nothing, unless "
            f"an imported module reads trial.params[{name!r}]; add {name} to the arguments of {found.name}"
            for name in parameters
        ]
    )


def _bound(cell: FunctionCell, tree: ast.Module) -> list[str]:
    """Warns about a `functools.partial` that binds an argument which each trial gets from fts."""
    node = value_of_name(tree, cell.function)
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) in PARTIALS):
        return []
    bound = [
        one.arg for one in node.keywords if one.arg in OWN_NAMES and one.arg not in {*cell.axes, *(cell.space or {})}
    ]
    return [
        f"{cell.function} is a partial that gives {name}, but each trial gets its own {name} from fts; if yours is "
        "meant, give that argument another name"
        for name in bound
    ]


def _deciding(cell: BareCell) -> set[str]:
    """Returns the names used in conditions: they affect what is drawn, even if the code does not read them."""
    texts = [*conditions(cell.space or {}).values(), *map(Expression.parse, cell.forbid.values())]
    return {name for found in texts for name in found.names}


def _unread_axis(cell: FunctionCell, name: str, found: Function) -> str:
    return (
        f"{cell.path.name} does not read the axis {name}: its cells all run the same, "
        f"unless an imported module reads it with fts.cell(trial)[{name!r}]; add {name} to the arguments of "
        f"{found.name}"
    )


def _silent(cell: CommandCell, text: str) -> list[str]:
    """Warns about a script without any way to report its metric."""
    reads = cell.regex is not None or cell.stdout or cell.file_source is not None
    if reads or cell.script is None or cell.shell or any(word in text for word in REPORTS):
        return []
    code_folder = (Path(cell.folder) / cell.script).parent
    if any((code_folder / f"{name}.py").exists() or (code_folder / name).is_dir() for name in IMPORTED.findall(text)):
        return []  # it imports a module next to it, which may report
    return [
        f"{cell.script} names neither $FTS_REPORT nor `fts log`; if it prints its {cell.metric}, add --regex "
        f"'{cell.metric}=([-0-9.eE+]+)', or --stdout for JSON lines"
    ]


REPORTS = ("FTS_", "fts", "source ")  # a sourced file may report
IMPORTED = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)


def _of_command(cell: CommandCell) -> list[str]:
    """Checks the command's words and its script: a name is read by a placeholder or an environment variable."""
    places = named(cell)
    if places & {*WHOLE_ARGS, "params"}:
        return []
    text = " ".join(cell.command)
    if cell.script is not None:
        try:
            text += "\n" + (Path(cell.folder) / cell.script).read_text(errors="replace")
        except OSError:
            return []
    if not cell.space and cell.trials > 1 and not places & {"seed", "number"} and "FTS_" not in text:
        return [
            f"the command declares no parameter: its {cell.trials} trials run the same, unless what it starts reads "
            "the environment variable FTS_SEED; write --lr {lr:1e-5..1e-1:log}"
        ]
    decides = _deciding(cell)
    silent = _silent(cell, text)
    if re.search(r"\bFTS_(PARAMS|PARAM_|CELL_)(?![A-Za-z0-9_])", text):  # it may read any of them
        return silent
    return silent + [
        _unread_place(cell, what, name, env_name)
        for what, prefix, names in (("parameter", "FTS_PARAM", cell.space or {}), ("axis", "FTS_CELL", cell.axes))
        for name in names
        if name not in places | decides and (env_name := f"{prefix}_{variable(name)}") not in text
    ]


def _unread_place(cell: CommandCell, what: str, name: str, variable: str) -> str:
    where = f"the command has no {{{name}}}"
    if cell.script is not None:
        where += f", and {cell.script} does not name {variable}"
    changes = "its cells all run the same" if what == "axis" else "it changes nothing"
    others = " or FTS_PARAMS" if what == "parameter" else ""
    return (
        f"{where}: unless what it starts reads the environment variable {variable}{others}, the {what} {name} does not "
        f"reach it and {changes}; write --{name} {{{name}}}"
    )
