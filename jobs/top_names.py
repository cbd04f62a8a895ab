"""What a name at the top of a Python file is, read without running the file: why a trial cannot call it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Definition = ast.FunctionDef | ast.AsyncFunctionDef
LITERAL = ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Set | ast.JoinedStr | ast.ListComp | ast.DictComp
MOST_STEPS = 10  # from one name to the next


def is_bound(tree: ast.Module, name: str) -> bool:
    """Is the name given to something at the top of the file: an import, a class, an assignment?"""
    return _last(tree, name) is not None


def defined(tree: ast.Module, name: str) -> Definition | None:
    """The function of that name, or that which the name is another one of; None: none that the file says."""
    node = _last(tree, name)
    for _ in range(MOST_STEPS):
        if isinstance(node, ast.Name):
            node = _last(tree, node.id)
    return node if isinstance(node, Definition) else None


def not_callable(tree: ast.Module, name: str) -> str | None:
    """What it is where no trial can call it, with the cure: `a class; write ...`; None: it can, or nobody knows yet."""
    node = _last(tree, name)
    for _ in range(MOST_STEPS):
        if isinstance(node, ast.Name):  # objective = other
            node = _last(tree, node.id)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("partial", "functools.partial") and node.args:
            node = node.args[0]
        else:
            break
    if isinstance(node, ast.Import):
        return "a module; name a function"
    if isinstance(node, ast.ClassDef):
        return f"a class; write `objective = {node.name}()` below it, with a __call__, and name that"
    if isinstance(node, LITERAL):
        return f"{ast.unparse(node):.60}; name a function"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        made = _last(tree, node.func.id)
        return _not_callable_instance(made) if isinstance(made, ast.ClassDef) else None
    return _not_plain(node) if isinstance(node, Definition) else None


def _not_callable_instance(made: ast.ClassDef) -> str | None:
    call = next((one for one in reversed(made.body) if isinstance(one, Definition) and one.name == "__call__"), None)
    if call is not None:
        return _not_plain(call)
    plain = not made.bases and not made.keywords and not made.decorator_list
    return f"an instance of {made.name}, which has no __call__; name a function" if plain else None


def _not_plain(node: Definition) -> str | None:
    """A decorator may make a plain function of it."""
    if node.decorator_list:
        return None
    if isinstance(node, ast.AsyncFunctionDef):
        return "an async function; an objective is a plain one, which may call asyncio.run"
    yields = any(isinstance(one, ast.Yield | ast.YieldFrom) for one in _own_nodes(node))
    return "a generator; an objective returns its number, and reports with trial.report" if yields else None


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Without those of functions and classes inside."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Definition | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_nodes(child)


def _last(tree: ast.Module, name: str) -> ast.AST | None:
    """What the name is given last at the top of the file: a definition, an import, or a value."""
    found: ast.AST | None = None
    for node in tree.body:
        if isinstance(node, Definition | ast.ClassDef) and node.name == name:
            found = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if any((one.asname or one.name.partition(".")[0]) == name for one in node.names):
                found = node
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            found = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            found = node.value or found
    return found
