"""The monitor uses what Textual offers, and nothing that it keeps to itself: another release may have it no more."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import textual

TUI = Path(__file__).parents[2] / "tui"
TEXTUAL = Path(textual.__file__).parent
BASES = ("app.py", "dom.py", "message_pump.py", "screen.py", "widget.py", "containers.py", "command.py", "binding.py")


def trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        if path.name != "serve.py":  # it is about textual-serve, another library, which offers too little
            yield path, ast.parse(path.read_text())


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
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def used(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.lineno, node.attr


PYTHON = {"os": {"_exit"}}  # private by name alone


def test_no_private_attribute_is_used_that_is_not_our_own():
    own = set().union(*(defined(tree) for _, tree in trees(TUI)), *PYTHON.values())
    foreign = [
        f"{path.name}:{line} {name}" for path, tree in trees(TUI) for line, name in used(tree) if name not in own
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
