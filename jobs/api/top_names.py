"""Finds what a top-level name of a Python file is, without running the file, and why a trial cannot call it.

Also the arguments of a function, and which of them cannot be a trial.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.function import only_as_main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Definition = ast.FunctionDef | ast.AsyncFunctionDef
LITERAL = ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Set | ast.JoinedStr | ast.ListComp | ast.DictComp
HERE = "FILE.py"  # in an answer: the file
A_COMMAND = "fts enqueue --metric loss --regex 'loss=([-0-9.eE+]+)' -- python FILE.py"
SEVERAL = ast.Pass()  # a name that may be one of several values
CALL = "__call__"
KEEP_CLASS = ("dataclass", "dataclasses.dataclass", "define", "attrs.define", "final", "total_ordering")  # decorators
PARTIALS = ("partial", "functools.partial")
MOST_STEPS = 10  # assignments from one name to another that are followed

OF_NUMBERS = ("int", "float", "range", "round", "abs", "min", "max", "pow", "len", "sum")
OF_MATH = ("math", "np", "numpy")  # their functions compute with numbers
OF_PYTHON = ("int", "float", "str", "bool", "bytes", "list", "tuple", "dict", "set", "Path")  # types that no trial has


@dataclass(frozen=True)
class Arguments:
    """The arguments of a `def`."""

    names: tuple[str, ...]  # in order, without *args and **kwargs
    required: tuple[str, ...]  # those without a default
    fixed: tuple[str, ...]  # those that cannot be the trial: keyword-only, or with a default other than None
    has_list: bool  # *args
    has_others: bool  # **kwargs


def arguments_of(node: Definition) -> Arguments:
    given = node.args
    plain = [one.arg for one in (*given.posonlyargs, *given.args)]
    with_default = plain[len(plain) - len(given.defaults) :]
    keyword = [one.arg for one in given.kwonlyargs]
    required = [*plain[: len(plain) - len(given.defaults)]]
    required += [name for name, default in zip(keyword, given.kw_defaults, strict=True) if default is None]
    defaults = {name: ast.unparse(one) for name, one in zip(with_default, given.defaults, strict=True)}
    fixed = [name for name, default in defaults.items() if default != "None" and "Trial(" not in default]
    variable = given.vararg is not None, given.kwarg is not None
    return Arguments((*plain, *keyword), tuple(required), (*fixed, *keyword), *variable)


def is_value(node: Definition, name: str) -> bool:
    """Shows the code that this argument is a value and not a trial? By its annotation, or as it only computes with it.

    Also if it may be None and none of its attributes is used.
    """
    each = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    note = next((ast.unparse(one.annotation).strip("'\"") for one in each if one.arg == name and one.annotation), "")
    if "Trial" in note or note.partition("[")[0].partition(" ")[0] in OF_PYTHON:
        return "Trial" not in note
    inside = [one for statement in node.body for one in ast.walk(statement)]
    used = [one for one in inside if isinstance(one, ast.Name) and one.id == name]
    attributes = [one for one in inside if isinstance(one, ast.Attribute) and getattr(one.value, "id", "") == name]
    if name not in arguments_of(node).required:
        return not attributes
    numbers = [one for outer in inside for one in _computed(outer)]
    return bool(used) and all(any(one is other for other in numbers) for one in used)


def _computed(node: ast.AST) -> list[ast.AST]:
    """Returns the expressions of which this node computes a number: those that a trial cannot be."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
        return [node.operand]
    if isinstance(node, ast.Compare) and all(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Subscript):
        return [node.value]
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    of_numbers = called in OF_NUMBERS or called.partition(".")[0] in OF_MATH
    return list(node.args) if isinstance(node, ast.Call) and of_numbers else []


def is_bound(tree: ast.Module, name: str) -> bool:
    """Is the name defined at the top level: by an import, a class, a function or an assignment?

    True if it may come from `from module import *`.
    """
    return _last(tree, name) is not None


def value_of_name(tree: ast.Module, name: str) -> ast.expr | None:
    """Returns the last value that the top level assigns to the name; None: there is none."""
    node = _last(tree, name)
    return node if isinstance(node, ast.expr) else None


def defined(tree: ast.Module, name: str) -> Definition | None:
    """Returns the function with that name, directly or through assignments; None: not found in the file."""
    node = _last(tree, name)
    for _ in range(MOST_STEPS):
        if isinstance(node, ast.Name):
            node = _last(tree, node.id)
    return node if isinstance(node, Definition) else None


def decorated(tree: ast.Module, name: str) -> Definition | None:
    """Returns the `def` below the decorators of a name, also `name = decorate(function)`; None: it has no decorator."""
    node = defined(tree, name)
    if node is not None:
        return node if node.decorator_list else None
    value = _last(tree, name)
    for _ in range(MOST_STEPS):
        if isinstance(value, ast.Call) and len(value.args) == 1 and ast.unparse(value.func) not in PARTIALS:
            value = value.args[0]
        elif isinstance(value, ast.Name) and value.id == name:  # objective = decorate(objective)
            value = next((one for one in reversed(tree.body) if isinstance(one, Definition) and one.name == name), None)
        elif isinstance(value, ast.Name):
            value = _last(tree, value.id)
    return value if isinstance(value, Definition) else None


def not_callable(tree: ast.Module, name: str) -> str | None:
    """Says what the name is if no trial can call it, and the cure: `a class; write ...`; None: callable or unknown."""
    node = _last(tree, name)
    for _ in range(MOST_STEPS):
        if isinstance(node, ast.Name):  # objective = other
            node = _last(tree, node.id)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in PARTIALS and node.args:
            node = node.args[0]
        else:
            break
    if isinstance(node, ast.Import):
        return "a module; name a function"
    if isinstance(node, ast.ClassDef):
        plain = not node.keywords and not _makes_another(node)
        return f"a class; write `objective = {node.name}()` below it, with a __call__, and name that" if plain else None
    if isinstance(node, LITERAL):
        return f"{ast.unparse(node):.60}; name a function"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        made = _last(tree, node.func.id)
        named = any(getattr(one, "attr", getattr(one, "value", None)) == CALL for one in ast.walk(tree))
        return _not_callable_instance(made) if isinstance(made, ast.ClassDef) and not named else None
    return _not_plain(node) if isinstance(node, Definition) else None


def _not_callable_instance(made: ast.ClassDef) -> str | None:
    if _makes_another(made):
        return None
    if call := _bound(made.body, CALL):
        return _not_plain(call[0]) if isinstance(call[0], Definition) and len(call) == 1 else None
    plain = not made.bases and not made.keywords
    return f"an instance of {made.name}, which has no __call__; name a function" if plain else None


def _makes_another(made: ast.ClassDef) -> bool:
    """May the name of the class, or a call of it, be something else, by a decorator or __new__?"""
    decorated = any(ast.unparse(one).partition("(")[0] not in KEEP_CLASS for one in made.decorator_list)
    return decorated or bool(_bound(made.body, "__new__"))


def _not_plain(node: Definition) -> str | None:
    if any(ast.unparse(one).startswith("hydra.main") for one in node.decorator_list):
        return f"a program of Hydra; let it print its result, and enqueue it as a command: {A_COMMAND} x={{x:0.0..1.0}}"
    if node.decorator_list:  # a decorator may turn it into a plain function
        return None
    if isinstance(node, ast.AsyncFunctionDef):
        return "an async function; an objective is a plain one, which may call asyncio.run"
    yields = any(isinstance(one, ast.Yield | ast.YieldFrom) for one in _own_nodes(node))
    return "a generator; an objective returns its number, and reports with trial.report" if yields else None


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yields all nodes below, without those inside nested functions and classes."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Definition | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_nodes(child)


def _last(tree: ast.Module, name: str) -> ast.AST | None:
    """Returns the last top-level definition, import or assigned value of the name; None: there is none.

    SEVERAL: it depends on an `if`, a `try` or a loop which of them it is, or it is a part of a value.
    """
    found = _bound(tree.body, name)
    return found[0] if len(found) == 1 else SEVERAL if found else None


def _bound(body: Sequence[ast.stmt], name: str) -> list[ast.AST]:
    """Returns all that the name may be after these statements; empty: they do not bind it."""
    found: list[ast.AST] = []
    for node in body:
        new = _bound_by(node, name)
        if _may_bind(node, name):
            found.append(SEVERAL)
        for inner in _blocks(node):
            found += _bound(inner, name)
        found = new or found
    return found


def _may_bind(node: ast.stmt, name: str) -> bool:
    """May the statement bind the name besides what it defines: import *, for, with, match, := in a condition?"""
    if isinstance(node, ast.ImportFrom):
        return node.names[0].name == "*"
    targets: list[ast.AST] = []
    if isinstance(node, ast.For):
        targets = [node.target]
    elif isinstance(node, ast.With):
        targets = [one.optional_vars for one in node.items if one.optional_vars is not None]
    elif isinstance(node, ast.Match):
        targets = [case.pattern for case in node.cases]
    elif isinstance(node, ast.If | ast.While | ast.Expr):
        whole = node.value if isinstance(node, ast.Expr) else node.test
        targets = [one.target for one in ast.walk(whole) if isinstance(one, ast.NamedExpr)]
    every = [one for target in targets for one in ast.walk(target)]
    return any(
        name in (getattr(one, "id", None), getattr(one, "name", None), getattr(one, "rest", None)) for one in every
    )


def _bound_by(node: ast.stmt, name: str) -> list[ast.AST]:
    """Returns what this statement itself, without the blocks in it, binds the name to; empty: nothing."""
    if isinstance(node, Definition | ast.ClassDef):
        return [node] if node.name == name else []
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [node] if any((one.asname or one.name.partition(".")[0]) == name for one in node.names) else []
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value is not None and _is(node.target, name) else []
    if not isinstance(node, ast.Assign):
        return []
    if any(_is(target, name) for target in node.targets):
        return [node.value]
    parts = [one for target in node.targets if isinstance(target, ast.Tuple | ast.List) for one in ast.walk(target)]
    return [SEVERAL] if any(isinstance(one, ast.Name) and one.id == name for one in parts) else []


def _is(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yields the blocks of a compound statement that importing the file may run."""
    if isinstance(node, Definition | ast.ClassDef):
        return
    if not (isinstance(node, ast.If) and _is_never_imported(node.test)):
        yield getattr(node, "body", [])
    for inner in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield inner.body
    yield getattr(node, "orelse", [])
    yield getattr(node, "finalbody", [])


def _is_never_imported(test: ast.expr) -> bool:
    return only_as_main(test) or ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
