"""A finished study with two backups, ways to damage its file, and what each command says of it."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from fts.state import transitions
from fts.state.backup import backup
from tests.cli import study
from tests.odd_rows import run

WORDS = (
    "damaged",
    "leads to no file",
    "is missing",
    "has no table",
    "has no column",
    "of another program",
    "is empty",
    "could not read",
)
READING = (("doctor",), ("status",), ("queue",), ("trials", "1"), ("results",), ("events",), ("why", "1"))
WRITING = (("note", "seen"), ("ack",), ("pause", "--queue"), ("backup",))
STARTING = (("worker", "--until-empty", "--slots", "1"),)


def build(folder: Path) -> Path:
    """Two cells done, nothing in line; the newest of its backups is whole, and one in between is not."""
    db = study.make_study(folder, budgets=("2M",))
    for _ in range(2):
        study.finished_cell(db)
    for _ in range(150):  # rows that fill more than one page of each table
        db.execute_sql(
            "INSERT INTO event (at, who, verb, message, data) VALUES (1764000000.0, 'x', 'noted', ?, '{}')",
            ("y" * 300,),
        )
    for worker in (1, 2):
        transitions.stop_worker(db, worker)
    backup(db)
    path = db.path
    db.close()
    with contextlib.closing(sqlite3.connect(path)) as plainly:
        plainly.execute("PRAGMA journal_mode = delete")
    (path.parent / "backups" / "fts-20250101-000000.db").write_bytes(b"torn" * 2000)  # older, and not whole
    return path


def copy(built: Path, folder: Path) -> Path:
    """The study in a folder of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built.parent, folder / "outputs")
    return folder / "outputs" / built.name


def pages(path: Path) -> tuple[int, int]:
    """(size of a page, number of pages)."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[16:18], "big")
    return size, len(raw) // size


def zeros(page: bytes, seed: int) -> bytes:
    return bytes(len(page))


def noise(page: bytes, seed: int) -> bytes:
    return random.Random(seed).randbytes(len(page))


def shifted(page: bytes, seed: int) -> bytes:
    return page[7:] + page[:7]


def half(page: bytes, seed: int) -> bytes:
    return page[: len(page) // 2] + bytes(len(page) - len(page) // 2)


def flipped(page: bytes, seed: int) -> bytes:
    """Three bits."""
    changed, chance = bytearray(page), random.Random(seed)
    for _ in range(3):
        changed[chance.randrange(len(page))] ^= 1 << chance.randrange(8)
    return bytes(changed)


HARM: dict[str, Callable[[bytes, int], bytes]] = {
    "zeros": zeros, "noise": noise, "shifted": shifted, "half": half, "flipped": flipped,
}  # fmt: skip


def overwrite(path: Path, page: int, harm: str, seed: int = 0) -> None:
    size, _ = pages(path)
    with path.open("r+b") as file:
        file.seek(page * size)
        old = file.read(size)
        file.seek(page * size)
        file.write(HARM[harm](old, seed))


def backup_of(path: Path) -> str:
    """The name of the newest good one."""
    return max(copy.name for copy in (path.parent / "backups").glob("fts-202*.db"))


def fault(path: Path, words: tuple[str, ...], names_backup: bool = True) -> str | None:
    """What is wrong with what a command says of a file that may be damaged; None: it says it, or it answers."""
    code, said = run(path, words)
    if "a fault in fts itself" in said or "Traceback" in said:
        return said[-300:]
    if code == 0 and not any(word in said for word in WORDS):
        return None
    if not any(word in said for word in WORDS):
        return f"exit {code} without a word of damage: {said[-300:]}"
    if names_backup and backup_of(path) not in said:
        return f"the newest good backup is not named: {said[-300:]}"
    return None
