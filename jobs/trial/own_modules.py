"""Makes imports run the modules of the study that its md5 covers: no older bytecode, in functions also no later edit.

Python takes bytecode for that of its file if time (in seconds) and size are equal, as after two quick edits.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import marshal
import os
import sys
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SOURCES: dict[str, bytes] = {}  # real path of a module -> its content
NAMES: set[str] = set()  # of their files: a real path takes 15 us, and torch has 2,000 modules
HEAD = importlib.util.MAGIC_NUMBER + (0b11).to_bytes(4, "little")  # of bytecode that names the hash of its source
SETTLED_NS = 2 * 10**9  # Python compiles a file some time after it has read the file's time
plain_code = SourceFileLoader.get_code


def run_these(sources: Mapping[Path, bytes]) -> None:
    """Lets each later import of these files run this content."""
    SOURCES.update((os.path.realpath(path), source) for path, source in sources.items())
    NAMES.update(path.name for path in sources)
    if SOURCES:
        SourceFileLoader.get_code = code_of  # type: ignore[assignment,method-assign]  # any finder may make the loader


def code_of(loader: SourceFileLoader, name: str) -> CodeType | None:
    """Returns the code of a module, for its loader."""
    is_named = loader.path.rpartition(os.sep)[2] in NAMES
    source = SOURCES.get(os.path.realpath(loader.path)) if is_named else None
    if source is None:
        return plain_code(loader, name)
    cache = importlib.util.cache_from_source(loader.path)
    head = HEAD + importlib.util.source_hash(source)
    try:
        bytecode = loader.get_data(cache)
        code = marshal.loads(bytecode[len(head) :]) if bytecode.startswith(head) else None
    except (OSError, EOFError, ValueError, TypeError):  # none yet, or damaged
        code = None
    if isinstance(code, CodeType) and code.co_filename == loader.path:
        return code
    made: CodeType = loader.source_to_code(source, loader.path)
    if not sys.dont_write_bytecode:
        loader.set_data(cache, head + marshal.dumps(made))
    return made


def remove_old_bytecode(paths: Iterable[Path]) -> None:
    """Removes bytecode that was written before or just after the last edit of its file; a command would run it."""
    for path in paths:
        for cache in (path.parent / "__pycache__").glob(f"{glob.escape(path.stem)}.*.pyc"):
            with contextlib.suppress(OSError):  # another trial has removed it, or it is not ours
                if cache.stat().st_mtime_ns < path.stat().st_mtime_ns + SETTLED_NS:
                    cache.unlink()
