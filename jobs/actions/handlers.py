"""Performs each action: one transition of the database, or an `fts` command in its own process.

Every function takes (db, job_ids, who, dry_run, ...) and returns the Change that was made, or in a dry run would be.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fts.jobs.actions import conditions
from fts.jobs.actions.later import Later
from fts.jobs.python import python
from fts.jobs.status import formatting as words
from fts.jobs.status.forecast import as_data, seen_forecast
from fts.state.errors import CannotUndo, StateError, WrongStatus
from fts.state.user import this_person
from fts.state.values import Change, WorkerOrder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fts.state import transitions
    from fts.state.db import Database
else:
    transitions = Later("fts.state.transitions")  # it loads peewee, which is not needed to list the actions

Ids = tuple[int, ...]
Does = Callable[..., Change]
COMMAND_LIMIT_S = 3600.0  # a matrix takes minutes, because its cells are tried one by one


class CommandFailed(StateError):
    """The command of an action failed; the message is the command's error sentence."""


def moves(where: str) -> Does:
    """Returns a handler that moves the jobs up, down or to the top."""
    return lambda db, ids, who, dry_run: transitions.move(db, ids, where, who=who, dry_run=dry_run)


def changes(name: str) -> Does:
    """Returns a handler that runs the transition of that name on the jobs: pause, resume, cancel, retry."""
    return lambda db, ids, who, dry_run: getattr(transitions, name)(db, ids, who=who, dry_run=dry_run)


def asks(order: WorkerOrder | None) -> Does:
    """Returns a handler that gives one worker, or all, an order; None withdraws the last one."""
    return lambda db, ids, who, dry_run, worker=None: transitions.ask_worker(
        db, worker, order, who=who, dry_run=dry_run
    )


def move_to(
    db: Database, ids: Ids, who: str | None, dry_run: bool, place: int | str | None = None, before: int | None = None
) -> Change:
    """Moves jobs to `place`, a number (1 runs next), "top" or "bottom"; or right before the job `before`."""
    if isinstance(place, str):
        return transitions.move(db, ids, place, who=who, dry_run=dry_run)
    return transitions.move(db, ids, place=place, before=before, who=who, dry_run=dry_run)


def pause_queue(db: Database, ids: Ids, who: str | None, dry_run: bool, reason: str = "by hand") -> Change:
    return transitions.pause_queue(db, reason, who=who, dry_run=dry_run)


def resume_queue(db: Database, ids: Ids, who: str | None, dry_run: bool) -> Change:
    return transitions.resume_queue(db, who=who, dry_run=dry_run)


def undo(db: Database, ids: Ids, who: str | None, dry_run: bool, n: int = 1, only: int | None = None) -> Change:
    return _revert(db, who, dry_run, n, only, redo=False)


def redo(db: Database, ids: Ids, who: str | None, dry_run: bool, n: int = 1, only: int | None = None) -> Change:
    return _revert(db, who, dry_run, n, only, redo=True)


OWN = 0  # `only`: whatever is the latest change, if it needs no question


def _revert(db: Database, who: str | None, dry_run: bool, n: int, only: int | None, redo: bool) -> Change:
    """Undoes or redoes `n` changes.

    `only`: the event that a person has confirmed, or OWN if nobody was asked. Raises CannotUndo if another change is
    the latest by now, or one that needs a question: what a screen shows is a second old.
    """
    from fts.state import queries

    does = transitions.redo if redo else transitions.undo
    if only is None:
        return _joined(does(db, n, who=who, dry_run=dry_run), dry_run)
    with db.write():  # nothing comes in between
        event = next(iter(queries.events_to_revert(db, redo)), None)
        if event is not None and only not in (OWN, event.id):
            raise CannotUndo("another change is the latest by now; nothing was done")
        job = None if event is None or event.job_id is None else queries.job(db, event.job_id)
        if event is not None and only == OWN and (words := conditions.asks_first(event, job, who, db.now())):
            raise CannotUndo(f"the latest change is another one, {words}; press again to be asked about it")
        return _joined(does(db, n, who=who), dry_run=False)


def acknowledge(db: Database, ids: Ids, who: str | None, dry_run: bool) -> Change:
    """Acknowledges some jobs; without `ids` everything, including the forecast that the user sees."""
    from fts.state import queries

    who = who or this_person()
    seen = None if ids else seen_forecast(queries.snapshot(db))
    forecast = None if seen is None else as_data(seen)
    return transitions.acknowledge(db, who, ids or None, dry_run=dry_run, forecast=forecast)


def unseal(db: Database, ids: Ids, who: str | None, dry_run: bool) -> Change:
    """Opens the test set for the best trial of one cell; a dry run only describes it."""
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
    """Writes a note about the study or one job; a dry run only repeats the text."""
    if dry_run:
        return Change(f"writes into the journal: {text[:80]}", None, ids, True)
    return transitions.note(db, text, ids[0] if ids else None, who=who)


def enqueue(db: Database, ids: Ids, who: str | None, dry_run: bool, words: Sequence[str] = ("--matrix",)) -> Change:
    """Runs `fts enqueue WORDS` in its own process, because trying a cell needs torch, which no caller should load."""
    answer = json.loads(_command(db, ["enqueue", "--json", *(["--dry-run"] if dry_run else []), *words]))
    lines = answer.get("enqueued") or answer["cells"]
    jobs = tuple(int(line["job"]) for line in lines if line["job"] is not None)
    if dry_run:
        return Change(f"would give: {words_of(lines)}; nothing was enqueued", None, (), True)
    return Change(words_of(lines), None, jobs)


def words_of(lines: Sequence[Any]) -> str:
    """Returns `2 of 3 cells enqueued, 1 extended`."""
    new = sum(line["state"] == "new" for line in lines)
    extended = sum(line["extended_from"] is not None for line in lines)
    changed = sum(line["state"] == "changed" for line in lines)
    there = len(lines) - new - extended - changed
    parts = [f"{new} of {words.count(len(lines), 'cell')} enqueued"]
    parts += [f"{extended} extended"] if extended else []
    parts += [f"{changed} changed"] if changed else []
    parts += [f"{there} {'is' if there == 1 else 'are'} already there"] if there else []
    return ", ".join(parts)


def start_worker(db: Database, ids: Ids, who: str | None, dry_run: bool) -> Change:
    """Runs `fts worker --detach`, which returns when the worker has registered."""
    if dry_run:
        return Change("starts a worker: fts worker --detach", None, (), True)
    sentence = _command(db, ["worker", "--detach"]).strip()
    return Change(sentence.splitlines()[-1] if sentence else "a worker was started", None)


def _command(db: Database, words: list[str]) -> str:
    """Runs `fts WORDS` on this database and returns its stdout. Raises CommandFailed with its error sentence."""
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
    """Returns the command line of `fts WORDS` on the database at `path`, with this installation."""
    return python("-m", "fts.jobs.cli", "--db", str(path), *words)


def sentence_of(name: str, stderr: str, code: int) -> str:
    """Returns the last line of stderr, without its prefix: why `fts NAME` failed."""
    said = stderr.strip().splitlines()
    return said[-1].removeprefix("fts: ") if said else f"fts {name} ended with {code}"


def _joined(changes: Sequence[Change], dry_run: bool) -> Change:
    ids = tuple(dict.fromkeys(job for change in changes for job in change.job_ids))
    return Change("; ".join(change.message for change in changes), changes[-1].event_id, ids, dry_run)
