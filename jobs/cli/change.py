"""The commands that change something: each one is an action of the registry, for jobs named in words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.actions import Action, by_id
from fts.jobs.cli.app import AS_JSON, ROW, here
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.selection import choose, refuse_several_tasks
from fts.state import queries
from fts.state.db import Database, open_for_person
from fts.state.user import this_person

if TYPE_CHECKING:
    from fts.state.values import Change, Job, Snapshot

Options = Callable[[Callable[..., Any]], Callable[..., Any]]
LISTED = 3  # more jobs than this are listed before a schedule changes


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """--dry-run, --yes and --json, which every change has."""
    for option in (
        AS_JSON,
        click.option("-y", "--yes", is_flag=True, help="do not ask"),
        click.option("-n", "--dry-run", is_flag=True, help="say what would happen, change nothing"),
    ):
        command = option(command)
    return command


def some_jobs(required: bool = True) -> Options:
    return click.argument("wanted", nargs=-1, metavar="JOB..." if required else "[JOB]...", required=required)


@click.command()
@some_jobs()
@click.option("--before", metavar="JOB", help="right before this one, instead of WHERE  [default: none]")
@common
def move(wanted: tuple[str, ...], before: str | None, **flags: Any) -> None:
    """Move jobs in line: fts move JOB... WHERE, with WHERE one of up, down, top, bottom or a place (1 runs next).

    JOB is 7, 3-5, mnist/S, size:S, the study's name or state:paused.
    """
    if before is not None:
        return act("move_to", wanted, flags, before=before)
    *names, where = wanted
    if not names or not (where in MOVES or where.isdecimal()):
        raise click.UsageError("end with up, down, top, bottom or a place such as 1; or use --before JOB")
    if where.isdecimal():
        return act("move_to", names, flags, place=int(where))
    action, args = MOVES[where]
    return act(action, names, flags, **args)


MOVES: dict[str, tuple[str, dict[str, Any]]] = {
    "up": ("move_up", {}),
    "down": ("move_down", {}),
    "top": ("next", {}),
    "bottom": ("move_to", {"place": "bottom"}),
}


@click.command()
@some_jobs()
@common
def next_(wanted: tuple[str, ...], **flags: Any) -> None:
    """Run these JOBs next."""
    act("next", wanted, flags)


@click.command()
@some_jobs(required=False)
@click.option("--queue", is_flag=True, help="the whole queue: start no new job; running jobs continue")
@click.option("--reason", default="by hand", show_default=True, help="shown wherever the queue is")
@common
def pause(wanted: tuple[str, ...], queue: bool, reason: str, **flags: Any) -> None:
    """Hold JOBs back; a running one writes a checkpoint and frees its memory."""
    _one_of(wanted, queue)
    act("pause_queue", (), flags, reason=reason) if queue else act("pause", wanted, flags)


@click.command()
@some_jobs(required=False)
@click.option("--queue", is_flag=True, help="the whole queue: let jobs start again")
@common
def resume(wanted: tuple[str, ...], queue: bool, **flags: Any) -> None:
    """Put paused JOBs back in line, to continue at the same step; let held ones start anyway.

    Without JOB it resumes a paused queue.
    """
    if not wanted and not queue:
        queue = _queue_is_paused()
    _one_of(wanted, queue)
    act("resume_queue", (), flags) if queue else act("resume", wanted, flags)


def _one_of(wanted: Sequence[str], queue: bool) -> None:
    if bool(wanted) == queue:
        raise click.UsageError("name jobs (7, 3-5, a cell, state:queued), or give --queue for the whole queue")


def _queue_is_paused() -> bool:
    from fts.jobs.cli.show import reading

    with reading() as db:
        return queries.flag(db, "queue_paused") is not None


@click.command()
@some_jobs()
@common
def cancel(wanted: tuple[str, ...], **flags: Any) -> None:
    """Take JOBs out of the queue; what they found is kept. A running one stops at its next step."""
    act("cancel", wanted, flags)


@click.command()
@some_jobs()
@common
def retry(wanted: tuple[str, ...], **flags: Any) -> None:
    """Put ended JOBs back in line: failed trials run again by number, others are kept (state:failed: all of them)."""
    act("retry", wanted, flags)


@click.command()
@click.option(
    "--after",
    type=click.Choice(["trial", "job"]),
    default="trial",
    show_default=True,
    help="what to finish first",
)
@click.option("--withdraw", is_flag=True, help="withdraw the request to stop")
@click.option("--worker", type=ROW, metavar="N", help="only this worker, by its number (not its pid)  [default: all]")
@common
def drain(after: str, withdraw: bool, worker: int | None, **flags: Any) -> None:
    """Ask workers to stop after their trial (or job); the queue is unchanged."""
    name = "undrain" if withdraw else {"trial": "drain", "job": "drain_job"}[after]
    act(name, (), flags, worker=worker)


@click.command()
@click.option("--worker", type=ROW, metavar="N", help="only this worker, by its number (not its pid)  [default: all]")
@common
def stop(worker: int | None, **flags: Any) -> None:
    """Ask workers to write a checkpoint at the next step and stop; nothing is lost."""
    act("stop", (), flags, worker=worker)


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--job", "cell", metavar="JOB", help="about this job  [default: about the study]")
@common
def note(text: tuple[str, ...], cell: str | None, **flags: Any) -> None:
    """Write a line into the journal."""
    if not " ".join(text).strip():
        raise click.UsageError("the note is empty; expected its text")
    act("note", (cell,) if cell else (), flags, text=" ".join(text))


@click.command()
@some_jobs(required=False)
@common
def ack(wanted: tuple[str, ...], **flags: Any) -> None:
    """Mark what has ended until now (or these JOBs) as seen."""
    act("ack", wanted, flags)


@click.command()
@click.argument("n", default=1)
@common
def undo(n: int, **flags: Any) -> None:
    """Take back the last N changes, also those of an earlier day or another terminal."""
    act("undo", (), flags, n=_at_least_one(n))


@click.command()
@click.argument("n", default=1)
@common
def redo(n: int, **flags: Any) -> None:
    """Take back the last N undos."""
    act("redo", (), flags, n=_at_least_one(n))


def _at_least_one(n: int) -> int:
    if n < 1:
        raise click.UsageError(f"{n} changes cannot be taken back; expected 1 or more")
    return n


def act(name: str, wanted: Sequence[str], flags: dict[str, Any], **args: Any) -> None:
    """Finds the jobs, asks where a person should be asked, does it, and says what happened."""
    action = by_id(name)
    with writing() as db:
        snapshot = queries.snapshot(db)
        jobs = fitting(action, snapshot, wanted)
        if isinstance(args.get("before"), str):
            args["before"] = fitting(action, snapshot, [args["before"]])[0].id
        if not flags["dry_run"]:
            ask(action, snapshot, jobs, flags["yes"])
        change = action.run(db, [job.id for job in jobs], this_person(), flags["dry_run"], **args)
    report(action, change, flags["as_json"])


@contextmanager
def writing() -> Iterator[Database]:
    """The database of this command. Raises NoDatabase: changing a queue that does not exist creates none."""
    db = open_for_person(here().db, create=False)  # checked: nothing is written into a damaged file
    try:
        yield db
    finally:
        db.close()


def fitting(action: Action, snapshot: Snapshot, wanted: Sequence[str]) -> list[Job]:
    """The named jobs the action applies to. One named by itself must apply; of a pattern the others are left out."""
    if not wanted:
        return []
    chosen = choose(snapshot.jobs, wanted)
    if not action.needs_jobs:
        return list(chosen.jobs)
    refused = [(job, reason) for job in chosen.jobs if (reason := action.why_not(job, snapshot)) is not None]
    fit = [job for job in chosen.jobs if action.applies_to(job, snapshot)]
    named = [(job, reason) for job, reason in refused if job.id in chosen.named]
    if named or not fit:
        job, reason = (named or refused)[0]
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise click.ClickException(f"{action.label}: not possible for job {job.id}{more}: {reason}")
    refuse_several_tasks(fit, wanted)
    for job, reason in refused:
        say(f"left out: job {job.id}, {reason}")
    return fit


def ask(action: Action, snapshot: Snapshot, jobs: Sequence[Job], yes: bool) -> None:
    """A question at a terminal, with the price. In a script nobody is asked; what is for ever needs -y there.

    Raises Abort on no, UsageError where the answer is missing.
    """
    price = action.price(snapshot, jobs)
    many = len(jobs) > LISTED and action.level != "L0"
    wanted = many or (price is not None and (action.asks(jobs) or action.id == "undo"))
    if yes or not wanted:
        return
    if not sys.stdin.isatty():
        if action.level == "L3" and action.needs_jobs:
            raise click.UsageError(f"{action.label}: {price}; give -y, because there is no terminal to ask on")
        return
    for job in jobs if many else ():
        say(f"  {job.id}  {job.experiment}  {job.status}")
    if not click.confirm(f"{action.label}: {price or f'{len(jobs)} jobs'}. Do it?", err=True):
        raise click.Abort


def report(action: Action, change: Change, as_json: bool) -> None:
    if as_json:
        return emit_json("change", {"action": action.id, "verb": str(action.verb), **change.__dict__})
    emit(f"Dry run: {change.message}" if change.dry_run else change.message)
    if change.event_id is not None and action.level in ("L1", "L2") and action.id not in ("undo", "redo"):
        say("`fts undo` takes it back")
    return None
