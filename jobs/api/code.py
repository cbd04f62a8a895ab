"""The md5 of the code of a study: its own file, and the files and folders that it names beside it."""

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
    """A folder holds more than code."""


def whole_md5(own: str, folder: Path, code: Sequence[str]) -> str:
    """Of the study's own file (`own`) and everything that `code` names, relative to the folder; `own` without any.

    Raises TooMuchCode.
    """
    if not code:
        return own
    told = hashlib.md5(own.encode())
    for name, path in sorted(set(files(folder, code))):
        try:
            content = hashlib.md5(path.read_bytes()).hexdigest()
        except OSError:
            content = "gone"
        told.update(f"\n{content} {name}".encode())
    return told.hexdigest()


def md5_now(own: str, folder: Path, code: Sequence[str]) -> str:
    """The same in a trial: a folder that has become too large is code that has changed, and no reason to fail."""
    try:
        return whole_md5(own, folder, code)
    except TooMuchCode:
        return own


def files(folder: Path, code: Sequence[str], without: Container[str] = ()) -> Iterator[tuple[str, Path]]:
    """Every file that is named, or lies in a folder that is; no hidden one, no pipe. Raises TooMuchCode."""
    count = size = 0
    for word in code:
        for path in _within(folder / word):
            if (name := os.path.relpath(path, folder)) in without:
                continue
            with contextlib.suppress(OSError):  # it is gone, which another md5 tells
                told = path.stat()
                if stat.S_ISFIFO(told.st_mode):
                    continue  # reading it would wait for a writer
                size += told.st_size
            count += 1
            if count > MOST_FILES or size > MOST_BYTES:
                raise TooMuchCode(
                    f"{word} holds more than code: over {MOST_FILES:,} files or {MOST_BYTES // 10**6} MB; name the "
                    "folders of the source alone"
                )
            yield name, path


def all_files(folder: Path, words: Sequence[str]) -> list[Path]:
    """Every file that is named, or lies in a folder that is, however large; no hidden one."""
    return sorted({path for word in words for path in _within(folder / word)})


def not_inside(word: str, folder: Path) -> str | None:
    """Why a word names nothing in the folder that could be sent from there; None: it does."""
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
    """The same, without the outputs folder, where it lies in one of them."""
    found: list[str] = []
    for word in words:
        path = (folder / word).resolve()
        if outputs.resolve() != path and outputs.resolve().is_relative_to(path):
            names = sorted(one.name for one in path.iterdir() if not NO_CODE.fullmatch(one.name))
            found += beside(folder, [os.path.relpath(path / name, folder.resolve()) for name in names], outputs)
        elif outputs.resolve() != path:
            found.append(word)
    return found
