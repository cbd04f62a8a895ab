"""The md5 of a study's code: its own file, and the files and folders that its `code` names."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

MOST_FILES, MOST_BYTES = 2_000, 100_000_000
NO_CODE = re.compile(r"__pycache__|\..*|fts-agent-\d+-.*")  # hidden, or scratch of an agent


class TooMuchCode(ValueError):
    """The named folders hold more files or bytes than source code has."""


def whole_md5(own: str, folder: Path, code: Sequence[str], contents: dict[Path, bytes] | None = None) -> str:
    """Returns the md5 of the study's own file (with the md5 `own`) and everything that `code` names in the folder.

    Returns `own` if `code` is empty. Puts the Python files into `contents`. Raises TooMuchCode.
    """
    if not code:
        return own
    total = hashlib.md5(own.encode())
    for name, path in sorted(set(files(folder, code))):
        try:
            read = path.read_bytes()
            content = hashlib.md5(read).hexdigest()
            if contents is not None and path.suffix == ".py":
                contents[path] = read
        except OSError:
            content = "gone"
        total.update(f"\n{content} {name}".encode(errors="surrogateescape"))  # a name that is not UTF-8
    return total.hexdigest()


def md5_now(own: str, folder: Path, code: Sequence[str], contents: dict[Path, bytes] | None = None) -> str:
    """As whole_md5, but for a trial: a folder that became too large counts as changed code instead of failing."""
    try:
        return whole_md5(own, folder, code, contents)
    except TooMuchCode:
        return own


def files(folder: Path, code: Sequence[str], without: Container[str] = ()) -> Iterator[tuple[str, Path]]:
    """Yields every named file and every file in a named folder, except hidden files and pipes. Raises TooMuchCode."""
    count = size = 0
    for word in code:
        for path in _within(folder / word):
            if (name := os.path.relpath(path, folder)) in without:
                continue
            with contextlib.suppress(OSError):  # the file is gone, which changes the md5
                found = path.stat()
                if stat.S_ISFIFO(found.st_mode):
                    continue  # reading it would wait for a writer
                size += found.st_size
            count += 1
            if count > MOST_FILES or size > MOST_BYTES:
                raise TooMuchCode(
                    f"{word} holds more than code: over {MOST_FILES:,} files or {MOST_BYTES // 10**6} MB; name only "
                    "the folders of the source"
                )
            yield name, path


def all_files(folder: Path, words: Sequence[str]) -> list[Path]:
    """Returns every named file and every file in a named folder, of any size, except hidden ones."""
    return sorted({path for word in words for path in _within(folder / word)})


def not_inside(word: str, folder: Path) -> str | None:
    """Returns why `word` does not name anything inside the folder, or None if it does."""
    path = (folder / word).resolve()
    if not path.is_relative_to(folder.resolve()):
        return f"names {word}, which lies outside {folder}; name files and folders inside it"
    return None if path.exists() else f"names {word}, which is not in {folder}"


def _within(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for root, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not NO_CODE.fullmatch(name))
        yield from (Path(root) / name for name in sorted(names) if not name.startswith("."))


def beside(folder: Path, words: Sequence[str], outputs: Path) -> list[str]:
    """Returns the words without the outputs folder: a word that contains it is replaced by its other children."""
    found: list[str] = []
    for word in words:
        path = (folder / word).resolve()
        if outputs.resolve() != path and outputs.resolve().is_relative_to(path):
            names = sorted(one.name for one in path.iterdir() if not NO_CODE.fullmatch(one.name))
            found += beside(folder, [os.path.relpath(path / name, folder.resolve()) for name in names], outputs)
        elif outputs.resolve() != path:
            found.append(word)
    return found
