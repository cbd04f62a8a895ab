"""What each action does: one transition of the memory, or a process of ours that does it.

Every function takes (db, job_ids, who, dry_run, ...) and returns the Change that was made or would be.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fts.jobs.actions.later import Later
from fts.jobs.python import python
from fts.jobs.status import formatting as words
from fts.jobs.status.forecast import as_data, told
from fts.state.errors import StateError, WrongStatus
from fts.state.user import this_person
from fts.state.values import Change, WorkerOrder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fts.state import transitions
    from fts.state.db import Database
else:
    transitions = Later("fts.state.transitions")  # it loads peewee, which those who only list the actions do not need

Ids = tuple[int, ...]
Does = Callable[..., Change]
COMMAND_LIMIT_S = 3600.0  # a matrix whose cells are tried one by one takes minutes


class CommandFailed(StateError):
    """The command that should have done it ended with an error; the sentence is its own."""


def moves(where: str) -> Does:
    """Of the chosen jobs: up, down or top."""
    return lambda db, ids, who, dry_run: transitions.move(db, ids, where, who=who, dry_run=dry_run)


def changes(name: str) -> Does:
    """The transition of that name, of the chosen jobs: pause, resume, cancel, retry."""
    return lambda db, ids, who, dry_run: getattr(transitions, name)(db, ids, who=who, dry_run=dry_run)


def asks(order: WorkerOrder | None) -> Does:
    """Of one worker, or of all; None withdraws what was asked."""
    return lambda db, ids, who, dry_run, worker=None: transitions.ask_worker(
        db, worker, order, who=who, dry_run=dry_run
    )


def move_to(
    db: Database, ids: Ids, who: str | None, dry_run: bool, place: int | str | None = None, before: int | None = None
) -> Change:
    """`place` is a number (1 runs next), "top" or "bottom"; or `before` is a job."""
    if isinstance(place, str):
        return transitions.move(db, ids, place, who=who, dry_run=dry_run)
    return transitions.move(db, ids, place=place, before=before, who=who, dry_run=dry_run)


def pause_queue(db: Database, ids: Ids, who: str | None, dry_run: bool, reason: str = "by hand") -> Change:
    return transitions.pause_queue(db, reason, who=who, dry_run=dry_run)


def resume_queue(db: Database, ids: Ids, who: str | None, dry_run: bool) -> Change:
    return transitions.resume_queue(db, who=who, dry_run=dry_run)


def undo(db: Database, ids: Ids, who: str | None, dry_run: bool, n: int = 1) -> Change:
    return _joined(transitions.undo(db, n, who=who, dry_run=dry_run), dry_run)


def redo(db: Database, ids: Ids, who: str | None, dry_run: bool, n: int = 1) -> Change:
    return _joined(transitions.redo(db, n, who=who, dry_run=dry_run), dry_run)


def acknowledge(db: Database, ids: Ids, who: str | None, dry_run: bool) -> Change:
    """All of it, with what the person is told about the end; or some jobs, which says nothing about the end."""
    from fts.state import queries

    who = who or this_person()
    seen = None if ids else told(queries.snapshot(db))
    forecast = None if seen is None else as_data(seen)
    return transitions.acknowledge(db, who, ids or None, dry_run=dry_run, forecast=forecast)


def unseal(db: Database, ids: Ids, who: str | None, dry_run: bool) -> Change:
    """For the best trial of one cell; a dry run only says so."""
    from fts.state import queries

    if len(ids) != 1:
        raise WrongStatus("a test set can be opened for only one cell at a time: name one job")
    job = queries.job(db, ids[0])
    if job.best_trial is None:
        raise WrongStatus(f"job {job.id} has nothing to evaluate: {words.without_best(job)}")
    if dry_run:
        return Change(
            f"opens the sealed test set of {job.experiment} for trial {job.best_trial}; this cannot be undone",
            None,
            ids,
            True,
        )
    return transitions.unseal(db, job.id, job.best_trial, who=who)


def note(db: Database, ids: Ids, who: str | None, dry_run: bool, text: str = "") -> Change:
    """At most one job; a dry run writes nothing and repeats the text."""
    if dry_run:
        return Change(f"writes into the journal: {text[:80]}", None, ids, True)
    return transitions.note(db, text, ids[0] if ids else None, who=who)


def enqueue(db: Database, ids: Ids, who: str | None, dry_run: bool, words: Sequence[str] = ("--matrix",)) -> Change:
    """Runs `fts enqueue WORDS` as a process of its own: trying a cell needs torch, which no caller should load."""
    answer = json.loads(_command(db, ["enqueue", "--json", *(["--dry-run"] if dry_run else []), *words]))
    lines = answer.get("enqueued") or answer["cells"]
    jobs = tuple(int(line["job"]) for line in lines if line["job"] is not None)
    if dry_run:
        return Change(f"would give: {words_of(lines)}; nothing was put in line", None, (), True)
    return Change(words_of(lines), None, jobs)


def words_of(lines: Sequence[Any]) -> str:
    """2 of 3 cells put in line, 1 extended."""
    new = sum(line["state"] == "new" for line in lines)
    extended = sum(line["extended_from"] is not None for line in lines)
    changed = sum(line["state"] == "changed" for line in lines)
    there = len(lines) - new - extended - changed
    told = [f"{new} of {words.count(len(lines), 'cell')} put in line"]
    told += [f"{extended} extended"] if extended else []
    told += [f"{changed} changed"] if changed else []
    told += [f"{there} {'is' if there == 1 else 'are'} already there"] if there else []
    return ", ".join(told)


def start_worker(db: Database, ids: Ids, who: str | None, dry_run: bool) -> Change:
    """Runs `fts worker --detach`, which returns when the worker lives."""
    if dry_run:
        return Change("starts a worker: fts worker --detach", None, (), True)
    said = _command(db, ["worker", "--detach"]).strip()
    return Change(said.splitlines()[-1] if said else "a worker was started", None)


def _command(db: Database, words: list[str]) -> str:
    """Standard output of `fts WORDS` on this database. Raises CommandFailed with its sentence."""
    done = subprocess.run(
        argv_of(db.path, words),
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise CommandFailed(sentence_of(words[0], done.stderr, done.returncode))
    return done.stdout


def argv_of(path: Path, words: Sequence[str]) -> list[str]:
    """`fts WORDS` on the database at `path`, as a process of the same installation."""
    return python("-m", "fts.jobs.cli", "--db", str(path), *words)


def sentence_of(name: str, stderr: str, code: int) -> str:
    """Why `fts NAME` failed, in its own last words."""
    said = stderr.strip().splitlines()
    return said[-1].removeprefix("fts: ") if said else f"fts {name} ended with {code}"


def _joined(changes: Sequence[Change], dry_run: bool) -> Change:
    ids = tuple(dict.fromkeys(job for change in changes for job in change.job_ids))
    return Change("; ".join(change.message for change in changes), changes[-1].event_id, ids, dry_run)
