"""Finds the files of a study's code: those that `code` names, else the user's own modules that its file imports."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING

from fts.jobs.api.code import TooMuchCode, all_files, beside, files, not_inside
from fts.jobs.study_file.faults import At, BadStudy
from fts.jobs.supervisor.staged_files import BadFile, checked_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MOST_MODULES = 500
AT = ("study", "code")
SYNC, DATA = ("study", "sync"), ("study", "data")


def named(code: Sequence[str], folder: Path, outputs: Path | None) -> tuple[str, ...]:
    """Checks the files and folders of `code`. Raises BadStudy if one does not exist or contains the outputs."""
    for word in code:
        path = folder / word
        if not path.exists():
            raise BadStudy(AT, f"names {word}, which is not in {folder}")
        if outputs is not None and path.is_dir() and outputs.resolve().is_relative_to(path.resolve()):
            raise BadStudy(AT, f"names {word}, which contains the outputs of fts; name only the folders of the source")
    try:
        for _ in files(folder, code):
            pass
    except TooMuchCode as error:
        raise BadStudy(AT, f"cannot be hashed: {error}") from None
    return tuple(code)


def sent(sync: Sequence[str], data: Sequence[str], folder: Path, outputs: Path | None) -> tuple[str, ...]:
    """Checks the files and folders of `sync`. Raises BadStudy for one that cannot be sent to a node."""
    _check_inside(SYNC, sync, folder)
    sets = {os.path.relpath(path, folder) for path in all_files(folder, data)}
    try:
        for name, _ in files(folder, sync if outputs is None else beside(folder, sync, outputs), without=sets):
            checked_name(name)
    except (TooMuchCode, BadFile) as error:
        more = ", and data sets as `data`" if isinstance(error, TooMuchCode) else ""
        raise BadStudy(SYNC, f"cannot be sent: {error}{more}") from None
    return tuple(sync)


def data_sets(data: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Checks the files and folders of `data`. Raises BadStudy."""
    _check_inside(DATA, data, folder)
    for path in all_files(folder, data):
        try:
            checked_name(os.path.relpath(path, folder))
        except BadFile as error:
            raise BadStudy(DATA, f"cannot be sent: {error}") from None
    return tuple(data)


def _check_inside(at: At, words: Sequence[str], folder: Path) -> None:
    for word in words:
        if (why := not_inside(word, folder)) is not None:
            raise BadStudy(at, why)


def imported(file: str, folder: Path) -> tuple[str, ...]:
    """Returns the user's own modules that the file imports, directly or indirectly, relative to the folder."""
    first = (folder / file).absolute()
    seen = {first}
    waiting = [first]
    while waiting and len(seen) < MOST_MODULES:
        for path in _imports(waiting.pop(), folder):
            if path not in seen:
                seen.add(path)
                waiting.append(path)
    return tuple(sorted(str(path.relative_to(folder)) for path in seen - {first}))


def _imports(path: Path, folder: Path) -> Iterator[Path]:
    """Yields the modules that one file imports from its folder, its package's root, or the study's folder."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    roots = dict.fromkeys([_root(path), path.parent, folder.absolute()])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _of_module(roots, alias.name.split("."), folder)
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            above = path.parent
            for _ in range(node.level - 1):
                above = above.parent
            where = [above] if node.level else list(roots)
            yield from _of_module(where, parts, folder)
            for alias in node.names:
                yield from _of_module(where, [*parts, alias.name], folder)


def _root(path: Path) -> Path:
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _of_module(roots: Sequence[Path] | dict[Path, None], parts: Sequence[str], folder: Path) -> Iterator[Path]:
    """Yields the files that importing a.b.c loads, if they are the user's own."""
    for root in () if parts[:1] == ["fts"] else roots:  # fts itself, in a checkout, does not change results
        found = []
        for end in range(1, len(parts) + 1):
            base = root.joinpath(*parts[:end])
            found += [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
        own = [path for path in found if path.is_relative_to(folder.absolute()) and "site-packages" not in path.parts]
        if own:
            yield from own
            return
