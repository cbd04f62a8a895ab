"""The monitor uses what Textual offers, and nothing that it keeps to itself: another release may have it no more."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import textual

TUI = Path(__file__).parents[2] / "tui"
TEXTUAL = Path(textual.__file__).parent
BASES = ("app.py", "dom.py", "message_pump.py", "screen.py", "widget.py", "containers.py", "command.py", "binding.py")


@cache
def trees(folder: Path) -> list[tuple[Path, ast.Module]]:
    """Without serve.py, which is about textual-serve, another library, which offers too little."""
    return [(path, ast.parse(path.read_text())) for path in sorted(folder.rglob("*.py")) if path.name != "serve.py"]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined(tree: ast.AST) -> set[str]:
    """Private names that a file gives to a function, a class, a variable, or to `self`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and of_self(node):
            found.add(node.attr)
    return {name for name in found if is_private(name) and name != "_"}


def of_self(node: ast.Attribute) -> bool:
    """Also of another value of the same class, which is called `other`, and of super()."""
    return ast.unparse(node.value) in ("self", "cls", "other", "super()")


def classes() -> Iterator[tuple[Path, ast.ClassDef, set[str]]]:
    """Each class of ours, with the private names that it or a class of ours below it defines."""
    found = [(path, node) for path, tree in trees(TUI) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    by_name = {node.name: node for _, node in found}

    def own(node: ast.ClassDef) -> set[str]:
        below = (getattr(getattr(base, "value", base), "id", "") for base in node.bases)  # Modal[None] is a Modal
        return defined(node).union(*(own(by_name[name]) for name in below if name in by_name and name != node.name))

    yield from ((path, node, own(node)) for path, node in found)


def private_attributes(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node


PYTHON = {"os._exit"}  # private by name alone


def test_a_private_attribute_is_used_of_self_alone_and_is_defined_by_its_own_class():
    """A name that another class of ours defines may be Textual's own in this one."""
    known = {id(use) for _, node, own in classes() for use in private_attributes(node) if use.attr in own}
    foreign = [
        f"{path.name}:{use.lineno} {ast.unparse(use)}"
        for path, tree in trees(TUI)
        for use in private_attributes(tree)
        if not (of_self(use) and id(use) in known) and ast.unparse(use) not in PYTHON
    ]
    assert foreign == []


def test_no_private_module_of_textual_is_imported():
    found = []
    for path, tree in trees(TUI):
        for node in ast.walk(tree):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{path.name}: {name}" for name in names if name.startswith("textual") and "._" in name]
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual"):
                found += [f"{path.name}: {alias.name}" for alias in node.names if is_private(alias.name)]
    assert found == []


def test_no_name_of_ours_hides_one_of_textual():
    """A widget that calls something of its own `_size` would break Textual, or be broken by its next release."""
    theirs = set().union(*(defined(ast.parse((TEXTUAL / name).read_text())) for name in BASES))
    hidden = []
    for path, tree in trees(TUI):
        imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        widgets = {
            "App",
            "Screen",
            "ModalScreen",
            "Widget",
            "Lines",
            "Pane",
            "MonitorScreen",
            "Dialog",
            "CommandPalette",
        }
        if imports & widgets:
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and {getattr(base, "id", "") for base in node.bases} & widgets:
                    hidden += [f"{path.name}: {name}" for name in defined(node) & theirs]
    assert hidden == []
