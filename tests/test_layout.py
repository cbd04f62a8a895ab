"""The direction of imports, drawn: an arrow that turns, or a heavy import at the top of a file, fails here."""

import ast
import graphlib
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

from tests.conftest import LONGEST

ROOT = Path(__file__).parent.parent
FOLDERS = ("fts", "state", "jobs", "tui")  # at the top of the repository; installed inside the package fts
SCIENCE = {"fts.data", "fts.features", "fts.model", "fts.training", "fts.scores"}

LEAVES = {
    "fts.frozen",
    "fts.installing",
    "fts.raising",
    "fts.jobs.interrupts",
    "fts.jobs.threads",
}  # any may import them
# package -> what it may import of ours; the longest matching package counts
MAY_IMPORT = {
    "fts.frozen": set(),
    "fts.installing": set(),
    "fts.raising": set(),
    "fts.state": {"fts.state"},
    "fts.state.files": {"fts.state.files"},  # a leaf: how a file is written, without a word of any database
    "fts.data": {"fts.data", "fts.state.files"},
    "fts.features": {"fts.features"},
    "fts.model": {"fts.model"},
    "fts.training": {"fts.training", "fts.state.files"},
    "fts.scores": {"fts.scores"},
    "fts.analysis": {"fts.analysis", "fts.state.files", *SCIENCE},
    "fts.study": {"fts"},  # the one package that knows both sides
    "fts.jobs": {"fts.jobs", "fts.state"},
    "fts.jobs.api": {"fts.jobs.api"},
    "fts.jobs.sensors": {"fts.jobs.sensors", "fts.jobs.cgroups", "fts.jobs.devices", "fts.jobs.status", "fts.jobs.api"},
    "fts.jobs.search": {"fts.jobs.search", "fts.jobs.api", "fts.state"},
    "fts.jobs.watchdog": {"fts.jobs.watchdog", "fts.jobs.sensors", "fts.jobs.status", "fts.jobs.api", "fts.state"},
    "fts.jobs.supervisor": {
        "fts.jobs.supervisor",
        "fts.jobs.watchdog",
        "fts.jobs.sensors",
        "fts.jobs.search",
        "fts.jobs.status",
        "fts.jobs.records",
        "fts.jobs.trial",
        "fts.jobs.api",
        "fts.jobs.settings",
        "fts.jobs.devices",
        "fts.jobs.python",
        "fts.jobs.executors.base",
        "fts.state",
    },
    "fts.jobs.executors": {
        "fts.jobs.executors",
        "fts.jobs.supervisor",
        "fts.jobs.watchdog",
        "fts.jobs.sensors",
        "fts.jobs.status",
        "fts.jobs.trial",
        "fts.jobs.api",
        "fts.jobs.cgroups",
        "fts.jobs.settings",
        "fts.jobs.devices",
        "fts.jobs.python",
        "fts.state",
    },
    "fts.jobs.trial": {
        "fts.jobs.trial",
        "fts.jobs.search",
        "fts.jobs.api",
        "fts.jobs.cgroups",
        "fts.jobs.python",
        "fts.jobs.status",
        "fts.state.files",
        "fts.state.values",
    },
    "fts.jobs.status": {
        "fts.state.values",
        "fts.state.files",
        "fts.state.scheduling",
        "fts.jobs.status",
        "fts.jobs.api",
    },
    "fts.tui": {
        "fts.state.queries",
        "fts.state.replay",
        "fts.state.values",
        "fts.state.errors",
        "fts.state.db",
        "fts.state.liveness",
        "fts.state.files",
        "fts.state.holder",
        "fts.state.user",
        "fts.jobs.actions",
        "fts.jobs.api",
        "fts.jobs.allowed_hosts",
        "fts.jobs.search.importance",
        "fts.jobs.search.prune_line",
        "fts.jobs.status",
        "fts.jobs.python",
        "fts.tui",
    },
}
# what a package must not import at the top of a file, because the command line would pay for it
NOT_AT_TOP = {
    "fts.state": {"torch", "optuna", "textual", "pandas", "numpy"},
    "fts.jobs": {"torch", "optuna", "textual", "pandas", "sklearn", "matplotlib"},
    "fts.tui": {"torch", "optuna", "pandas", "sklearn", "matplotlib"},
    "fts.study": {"optuna", "sklearn"},
    "fts.training": {"sklearn"},  # a second and 77 MB in each trial process
    "fts.jobs.search.drawing": {"torch", "textual", "pandas"},  # draws as a sampler of Optuna, likewise
    "fts.jobs.search.pure_pruner": {"torch", "textual", "pandas"},  # a pruner of Optuna, for plain Optuna
    "fts.jobs.search.pure_sampler": {"torch", "textual", "pandas"},  # a sampler of Optuna, loaded when a trial draws
    "fts.jobs.search.fast_tpe": {"torch", "textual", "pandas"},  # likewise
    "fts.jobs.search.columns": {"torch", "textual", "pandas"},  # likewise
    "fts.jobs.trial.optuna_trial": {"torch", "textual", "pandas"},  # a trial of Optuna, likewise
}
EXCEPTIONS = {
    ("fts.tui.commands", "fts.jobs.cli"),
}


def modules():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):  # a link is not followed: fts/jobs is ../jobs
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name if folder == "fts" else f"fts.{name}", path


@cache
def read(path):
    """Has it a docstring, if anything? What does it import: at its top, anywhere, and not for types alone (nodes)?"""
    tree = ast.parse(path.read_text())
    explained = not tree.body or ast.get_docstring(tree) is not None
    found = [list(imports(tree.body)), list(imports(ast.walk(tree)))]
    needed = [each for each in ast.walk(NotForTypes().visit(tree)) if isinstance(each, ast.Import | ast.ImportFrom)]
    return explained, *found, needed


def imports(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class NotForTypes(ast.NodeTransformer):
    """Takes away what a file imports for its type checker alone."""

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def files_imported(path, files):
    """The files of ours that this one cannot run without, wherever in it they are imported."""
    for node in read(path)[3]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom) and node.module in files:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in files else node.module for name in names)


def package_of(name, table):
    fitting = [package for package in table if name == package or name.startswith(package + ".")]
    return max(fitting, key=len, default=None)


def inside(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def bare(name):
    """`from fts.state import queries` names `fts.state` and `fts.state.queries`: the shorter one decides nothing."""
    return name in {"fts", "fts.__version__"} or name in {f"fts.{folder}" for folder in FOLDERS}


def test_imports_point_one_way():
    wrong = []
    for name, path in modules():
        package = package_of(name, MAY_IMPORT)
        if package is None:
            continue
        allowed = MAY_IMPORT[package]
        lazily_allowed = {imported for importer, imported in EXCEPTIONS if inside(name, {importer})}
        wrong += [
            f"{name} imports {found}; {package} may import only {sorted(allowed)}"
            for found in read(path)[2]
            if found.split(".")[0] == "fts"
            and not bare(found)
            and not inside(found, allowed | LEAVES)
            and not inside(found, lazily_allowed)
            and not any(longer.startswith(found + ".") for longer in allowed)
        ]
    assert not wrong, "\n".join(wrong)


def test_heavy_packages_are_imported_where_they_are_used():
    packages = ((name, path, package_of(name, NOT_AT_TOP)) for name, path in modules())
    heavy = [
        f"{name} imports {found} at the top"
        for name, path, package in packages
        if package is not None
        for found in read(path)[1]
        if found.split(".")[0] in NOT_AT_TOP[package]
    ]
    assert not heavy, "\n".join(heavy)


def test_no_circle_of_files():
    """Not by imports inside of functions either: who reads one file of a circle has to read all of them."""
    files = dict(modules())
    graph = {name: set(files_imported(path, files)) - {name} for name, path in files.items()}
    graphlib.TopologicalSorter(graph).prepare()  # its CycleError names the files


NAMESAKES = {
    "Architecture": "fts.training names no fts.model: a protocol with the fields that it uses",
    "CannotFit": "fts.training knows no runner; its error becomes that of the interface in fts.study",
    "CellData": "fts.analysis names no fts.study: a protocol with the fields that it uses",
    "DiskFull": "a checkpoint of fts.training, which knows no database, and the database's own",
    "FtsCallback": "one for each library; a user imports the one of theirs",
    "PatchTST": "the model, and the study that is named after it",
    "Study": "fts.Study, what fts.create_study returns as Optuna does, and the base class of installed studies",
    "Table": "fts.load(...).trials, and a table of the public interface",
    "Trial": "what an objective receives, and its row",
    "TrialSpec": "the flagship's is one of the runner's, with more fields",
    "Worker": "the process, and its row",
}


def test_a_class_name_names_one_class():
    found = defaultdict(set)
    for name, path in modules():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add(name)
    assert {name: files for name, files in found.items() if len(files) > 1 and name not in NAMESAKES} == {}


def test_no_folder_of_ours_has_a_standard_name():
    assert not {folder for folder in FOLDERS if folder in sys.stdlib_module_names}


def test_every_file_opens_with_the_sentence_it_exists_for():
    silent = [name for name, path in modules() if not read(path)[0]]
    assert not silent


def test_digits_are_those_that_int_takes():
    """'²'.isdigit() is true, and int('²') raises ValueError."""
    assert not [name for name, path in modules() if ".isdigit()" in path.read_text()]


def test_the_longest_files_of_tests_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / name).exists()] == []


def test_no_random_test_has_a_time_limit():
    """Hypothesis lets an example fail after 200 ms, which any busy machine takes."""
    limited = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "@given" not in (text := path.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            words = [ast.unparse(one) for one in getattr(node, "decorator_list", ())]
            if any(one.startswith("given(") for one in words) and "deadline=None" not in " ".join(words):
                limited.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not limited, "\n".join(limited)
