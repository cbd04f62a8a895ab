"""Finds what makes two runs of a user's code differ, without running it; names file, line and cure."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

MOST_FILES = 50  # most files of the user that are read
UNSEEDED = {  # name of a function called without a seed -> what to write instead
    "default_rng": "default_rng({seed})",
    "RandomState": "RandomState({seed} % 2**32)",
    "SeedSequence": "SeedSequence({seed})",
    "Random": "Random({seed})",
}
ENTROPY = {  # calls that return other numbers each time, even with seeds
    "os.urandom", "uuid.uuid1", "uuid.uuid4", "secrets.token_bytes", "secrets.token_hex", "secrets.randbelow",
    "secrets.randbits", "secrets.choice", "random.SystemRandom", "os.getpid",
}  # fmt: skip
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now", "datetime.utcnow", "time.monotonic_ns"}
SEEDS = ("seed", "manual_seed", "set_seed", "set_random_seed", "seed_everything", "PRNGKey")
GLOBAL = ("random.", "np.random.", "numpy.random.", "torch.rand", "torch.normal", "torch.nn.", "nn.")
THROUGH = ("enumerate", "list", "tuple", "zip", "reversed", "map")
BLOCKS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
OWN_GENERATOR = {"tensorflow": "tf.random.set_seed", "keras": "keras.utils.set_random_seed"}


@dataclass(frozen=True)
class PossibleCause:
    """A possible reason why runs differ."""

    told: str
    strength: int  # 3: certain, 2: likely, 1: possible
    hashing: bool = False  # the reason is Python's hash randomization


def causes(folder: Path, file: str | None, function: str | None, seed: str) -> list[PossibleCause]:
    """Returns the causes found in the code, the strongest first.

    `function` is called in the file, after fts has seeded the usual generators; None: the file is a script. `seed` is
    the expression from which the code gets a seed.
    """
    seeded = function is not None
    if file is None:
        return []
    path = folder / file
    if path.suffix != ".py":
        return [PossibleCause(told, 2) for told in of_other_language(path, seed)]
    found: list[PossibleCause] = []
    for own in own_files(path, folder):
        tree = tree_of(own)
        used = reached(tree, function) if own == path and function is not None else list(ast.walk(tree))
        found += of_file(own, tree, used, seeded, seed)
    if not seeded:
        found += unseeded_script(path, folder, seed)
    return sorted(dict.fromkeys(found), key=lambda cause: -cause.strength)


def own_files(path: Path, folder: Path) -> list[Path]:
    """Returns the file and what it imports from its own folder, recursively."""
    found: list[Path] = []
    waiting = [path]
    while waiting and len(found) < MOST_FILES:
        current = waiting.pop(0)
        if current in found:
            continue
        found.append(current)
        for name in imported(current):
            for root in (path.parent, folder):
                parts = root.joinpath(*name.split("."))
                waiting += [one for one in (parts.with_suffix(".py"), parts / "__init__.py") if one.is_file()]
    return found


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tree_of(path: Path) -> ast.Module:
    """Parses the file; returns an empty module if it is not Python."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def reached(tree: ast.Module, function: str) -> list[ast.AST]:
    """Returns the nodes that run when the function is called: the top level, and all functions and classes it uses."""
    blocks = {node.name: node for node in tree.body if isinstance(node, BLOCKS)}
    found: list[ast.AST] = [node for one in tree.body if not isinstance(one, BLOCKS) for node in ast.walk(one)]
    waiting, seen = [function, *names_in(found)], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in blocks:
            continue
        seen.add(name)
        inside = list(ast.walk(blocks[name]))
        found += inside
        waiting += names_in(inside)
    return found


def names_in(nodes: Sequence[ast.AST]) -> list[str]:
    return [node.id for node in nodes if isinstance(node, ast.Name)]


def of_file(path: Path, tree: ast.Module, used: Sequence[ast.AST], seeded: bool, seed: str) -> Iterator[PossibleCause]:
    at_top = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    at_top |= {node.module.split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom) and node.module}
    sets = {name for node in used if isinstance(node, ast.Assign) and is_set(node.value) for name in named_by(node)}
    for node in used:
        where = f"{path.name} line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            last = name.rpartition(".")[2]
            if last in UNSEEDED and is_unseeded(node):
                cure = UNSEEDED[last].format(seed=seed)
                yield PossibleCause(f"{where} makes a generator without a seed; write {cure}", 3)
            elif name in ENTROPY:
                yield PossibleCause(f"{where} calls {name}(), which differs in every process", 3)
            elif name == "hash":
                yield PossibleCause(
                    f"{where} calls hash(), which differs in every process for text; use hashlib", 2, hashing=True
                )
            elif (jobs := workers(node)) is not None:
                yield PossibleCause(
                    f"{where} has n_jobs={jobs}, and processes of joblib seed themselves; give the model a "
                    "random_state, or write n_jobs=1",
                    2,
                )
            elif name in CLOCKS:
                yield PossibleCause(f"{where} reads the clock, {name}()", 1)
        elif isinstance(node, ast.For | ast.comprehension) and is_set(node.iter, sets):
            where = f"{path.name} line {node.iter.lineno}"
            yield PossibleCause(
                f"{where} goes through a set, in another order in every process; use sorted(...)", 2, hashing=True
            )
        elif seeded and isinstance(node, ast.Import | ast.ImportFrom) and node not in tree.body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            if "torch" in {one.split(".")[0] for one in names} - at_top:
                text = f"{where} imports torch inside a function, after fts has seeded what was imported"
                yield PossibleCause(f"{text}; import it at the top of the file, or call torch.manual_seed({seed})", 2)
    for library, call in OWN_GENERATOR.items():
        if library in at_top and not mentions(path, call.rpartition(".")[2]):
            yield PossibleCause(f"{path.name} uses {library}, which has generators of its own; call {call}({seed})", 2)


def unseeded_script(path: Path, folder: Path, seed: str) -> Iterator[PossibleCause]:
    """Yields a cause for a script that uses global random generators without seeding any."""
    for own in own_files(path, folder):
        calls = [node for node in ast.walk(tree_of(own)) if isinstance(node, ast.Call)]
        names = [(dotted(node.func), node.lineno) for node in calls]
        if any(name.rpartition(".")[2] in SEEDS for name, _ in names):
            continue
        drawn = next(((name, line) for name, line in names if name.startswith(GLOBAL)), None)
        if drawn is not None:
            text = f"{own.name} line {drawn[1]} calls {drawn[0]}(), and nothing seeds it"
            yield PossibleCause(f"{text}; seed it with {seed}", 3)


def of_other_language(path: Path, seed: str) -> Iterator[str]:
    try:
        text = path.read_text(errors="replace")[:1_000_000]
    except OSError:
        return
    if not any(word in text for word in ("FTS_SEED", "--seed", "SEED")):
        yield f"{path.name} never reads its seed, which is in {seed}"


def dotted(node: ast.expr) -> str:
    """Returns a dotted name such as `np.random.default_rng`; empty for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def is_unseeded(call: ast.Call) -> bool:
    given = [*call.args, *(one.value for one in call.keywords)]
    return not given or (len(given) == 1 and isinstance(given[0], ast.Constant) and given[0].value is None)


def workers(call: ast.Call) -> str | None:
    """Returns the value of n_jobs if it starts several processes, such as -1; None: it starts none, or is not given."""
    given = next((word.value for word in call.keywords if word.arg == "n_jobs"), None)
    text = "1" if given is None else ast.unparse(given)
    return None if text in ("1", "None") else text


def is_set(node: ast.expr, names: Container[str] = ()) -> bool:
    """Returns whether the expression is a set or one of these names, also inside enumerate(...), list(...) etc."""
    if isinstance(node, ast.Call) and dotted(node.func) in THROUGH:
        return any(is_set(one, names) for one in node.args)
    if isinstance(node, ast.Name):
        return node.id in names
    return isinstance(node, ast.Set | ast.SetComp) or (isinstance(node, ast.Call) and dotted(node.func) == "set")


def named_by(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def mentions(path: Path, word: str) -> bool:
    return word in path.read_text(errors="replace")


def likely(found: Sequence[PossibleCause]) -> PossibleCause | None:
    """Returns the most likely cause; None if no cause was found."""
    return found[0] if found else None
