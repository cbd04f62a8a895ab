"""The direction of imports, drawn: an arrow that turns, or a heavy import at the top of a file, fails here."""

import ast
import sys
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).parent.parent
OURS = ("fts", "state", "jobs", "tui")

# package -> what it may import of ours; the longest matching package counts
MAY_IMPORT = {
    "state": {"state"},
    "state.files": set(),  # a leaf: how a file is written, without a word of any database
    "fts.data": {"fts.data", "state.files"},
    "fts.features": {"fts.features"},
    "fts.model": {"fts.model"},
    "fts.training": {"fts.training", "state.files"},
    "fts.scores": {"fts.scores"},
    "fts.search": {"state.files", "fts.data", "fts.features", "fts.model", "fts.training", "fts.scores", "fts.search"},
    "fts.analysis": {
        "state.files",
        "fts.data",
        "fts.features",
        "fts.model",
        "fts.training",
        "fts.scores",
        "fts.search",
        "fts.analysis",
    },
    "jobs.glance": {"state.values", "jobs.glance"},
    "jobs": {"fts", "state", "jobs"},
    "tui": {
        "state.queries",
        "state.values",
        "state.errors",
        "state.db",
        "state.crew",
        "state.files",
        "state.holder",
        "jobs.commands",
        "jobs.glance",
        "jobs.python",
        "tui",
    },
}
# what a package must not import at the top of a file, because the command line would pay for it
NOT_AT_TOP = {
    "state": {"torch", "optuna", "textual", "pandas", "numpy"},
    "jobs": {"torch", "optuna", "textual", "pandas", "sklearn", "matplotlib"},
    "tui": {"torch", "optuna", "pandas", "sklearn", "matplotlib"},
    "fts.search": {"optuna"},
}
EXCEPTIONS = {
    ("jobs.cli", "tui"),  # `fts tui` and `fts snapshot` open the monitor, lazily
}


def modules():
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def imports(path, top_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(name, table):
    fitting = [package for package in table if name == package or name.startswith(package + ".")]
    return max(fitting, key=len, default=None)


def inside(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def bare(name):
    """`from state import queries` names both `state` and `state.queries`: the shorter one decides nothing by itself."""
    return name in OURS


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_imports_point_one_way(name, path):
    package = package_of(name, MAY_IMPORT)
    if package is None:
        return
    allowed = MAY_IMPORT[package]
    lazily_allowed = {imported for importer, imported in EXCEPTIONS if inside(name, {importer})}
    wrong = [
        found
        for found in imports(path)
        if found.split(".")[0] in OURS
        and not bare(found)
        and not inside(found, allowed)
        and not inside(found, lazily_allowed)
        and not any(longer.startswith(found + ".") for longer in allowed)
    ]
    assert not wrong, f"{name} imports {wrong}; {package} may import only {sorted(allowed)}"


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_heavy_packages_are_imported_where_they_are_used(name, path):
    package = package_of(name, NOT_AT_TOP)
    if package is None:
        return
    heavy = [found for found in imports(path, top_only=True) if found.split(".")[0] in NOT_AT_TOP[package]]
    assert not heavy, f"{name} imports {heavy} at the top"


def test_no_module_of_ours_has_a_standard_name():
    taken = {package for package in OURS if package in sys.stdlib_module_names}
    stems = {path.stem for _, path in modules()} & {"queue", "logging", "types", "signal", "statistics", "platform"}
    assert not taken | stems


def test_every_file_opens_with_the_sentence_it_exists_for():
    silent = [
        name
        for name, path in modules()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_the_longest_files_of_tests_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / name).exists()] == []
