"""Finds whether running a Python file may give a name a value that no statement of its top level shows.

By exec, globals(), setattr on a module, `global` in a function, or a module's __getattr__.
"""

from __future__ import annotations

import ast
import re

OF_NAMESPACE = ("globals", "vars", "locals")
READS = ("get", "items", "keys", "values", "copy")  # methods of a namespace that change nothing
MODULES = ("sys.modules", "modules")


def may_be_made(tree: ast.Module, name: str) -> bool:
    """May running the file bind a name that no statement of its top level binds?"""
    return _is_global(tree, name) or _gives_attributes(tree) or _writes_names(tree)


def may_be_replaced(tree: ast.Module, name: str) -> bool:
    """May running the file give another value to a name that a statement binds? Only if a text of the file has it."""
    if _is_global(tree, name):
        return True
    texts = [one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts) and _writes_names(tree)


def _is_global(tree: ast.Module, name: str) -> bool:
    return any(isinstance(node, ast.Global) and name in node.names for node in ast.walk(tree))


def _gives_attributes(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)


def _writes_names(tree: ast.Module) -> bool:
    """Runs the file a text, or holds it a namespace or module in a way that can write to it?"""
    read: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript):
            reads = isinstance(node.ctx, ast.Load) if isinstance(node, ast.Subscript) else node.attr in READS
            read.update([id(node.value)] * reads)  # globals()["lr"], vars().items()
        elif isinstance(node, ast.Compare):  # "lr" in globals()
            read.update(map(id, node.comparators))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = node.func.id
            if called == "exec" or (called in OF_NAMESPACE and not node.args and id(node) not in read):
                return True
        if isinstance(node, ast.Subscript | ast.Call) and "__name__" in ast.unparse(node):
            of = ast.unparse(node.value if isinstance(node, ast.Subscript) else node.func)
            if of in MODULES or of.endswith("import_module") or of == "__import__":  # this module
                return True
    return False
