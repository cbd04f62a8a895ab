"""Implements the commands that change the queue: each runs an action of the registry on the named jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.actions import Action, by_id, conditions
from fts.jobs.cli.app import AS_JSON, ROW, here
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.selection import choose, one_job, refuse_several_tasks
from fts.state import queries
from fts.state.db import Database, open_for_person
from fts.state.user import this_person

if TYPE_CHECKING:
    from fts.state.values import Change, Event, Job, Snapshot

Options = Callable[[Callable[..., Any]], Callable[..., Any]]
LISTED = 3  # a change of more jobs than this lists them and asks first


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of every change: --dry-run, --yes and --json."""
    for option in (
        AS_JSON,
        click.option("-y", "--yes", is_flag=True, help="do not ask for confirmation"),
        click.option("-n", "--dry-run", is_flag=True, help="show what would happen, change nothing"),
    ):
        command = option(command)
    return command


def some_jobs(required: bool = True) -> Options:
    return click.argument("wanted", nargs=-1, metavar="JOB..." if required else "[JOB]...", required=required)


@click.command()
@some_jobs()
@click.option("--before", metavar="JOB", help="move right before this job, instead of WHERE  [default: none]")
@common
def move(wanted: tuple[str, ...], before: str | None, **flags: Any) -> None:
    """Move jobs in the queue: fts move JOB... WHERE, with WHERE up, down, top, bottom or a place (1 runs next).

    JOB is 7, 3-5, mnist/S, size:S, the study's name or state:paused.
    """
    if before is not None:
        return run_action("move_to", wanted, flags, before=before)
    *names, where = wanted
    if not names or not (where in MOVES or where.isdecimal()):
        raise click.UsageError("end with up, down, top, bottom or a place such as 1; or use --before JOB")
    if where.isdecimal():
        return run_action("move_to", names, flags, place=int(where))
    action, args = MOVES[where]
    return run_action(action, names, flags, **args)


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
    run_action("next", wanted, flags)


@click.command()
@some_jobs(required=False)
@click.option("--queue", is_flag=True, help="pause the whole queue: start no new job; running jobs continue")
@click.option("--reason", default="by hand", show_default=True, help="reason of the pause, shown with the queue")
@common
def pause(wanted: tuple[str, ...], queue: bool, reason: str, **flags: Any) -> None:
    """Pause JOBs; a running one writes a checkpoint and frees its memory."""
    _one_of(wanted, queue)
    run_action("pause_queue", (), flags, reason=reason) if queue else run_action("pause", wanted, flags)


@click.command()
@some_jobs(required=False)
@click.option("--queue", is_flag=True, help="resume the whole queue: let jobs start again")
@common
def resume(wanted: tuple[str, ...], queue: bool, **flags: Any) -> None:
    """Put paused JOBs back in the queue, to continue at the same step; let held ones start anyway.

    Without JOB it resumes a paused queue.
    """
    if not wanted and not queue:
        queue = _queue_is_paused()
    _one_of(wanted, queue)
    run_action("resume_queue", (), flags) if queue else run_action("resume", wanted, flags)


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
    run_action("cancel", wanted, flags)


@click.command()
@some_jobs()
@common
def retry(wanted: tuple[str, ...], **flags: Any) -> None:
    """Put ended JOBs back in the queue: their failed trials run again, other trials are kept.

    `fts retry state:failed` retries all failed jobs.
    """
    run_action("retry", wanted, flags)


@click.command()
@click.option(
    "--after",
    type=click.Choice(["trial", "job"]),
    default="trial",
    show_default=True,
    help="what the workers finish first",
)
@click.option("--withdraw", is_flag=True, help="withdraw the request")
@click.option("--worker", type=ROW, metavar="N", help="only the worker of this number (not pid)  [default: all]")
@common
def drain(after: str, withdraw: bool, worker: int | None, **flags: Any) -> None:
    """Ask workers to stop after their current trial (or job); the queue is unchanged."""
    name = "undrain" if withdraw else {"trial": "drain", "job": "drain_job"}[after]
    run_action(name, (), flags, worker=worker)


@click.command()
@click.option("--worker", type=ROW, metavar="N", help="only the worker of this number (not pid)  [default: all]")
@common
def stop(worker: int | None, **flags: Any) -> None:
    """Ask workers to write a checkpoint at the next step and stop; nothing is lost."""
    run_action("stop", (), flags, worker=worker)


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--job", "cell", metavar="JOB", help="job that the note is about  [default: the whole study]")
@common
def note(text: tuple[str, ...], cell: str | None, **flags: Any) -> None:
    """Write a line into the journal."""
    if not " ".join(text).strip():
        raise click.UsageError("the note is empty; expected its text")
    run_action("note", (cell,) if cell else (), flags, text=" ".join(text))


@click.command()
@some_jobs(required=False)
@common
def ack(wanted: tuple[str, ...], **flags: Any) -> None:
    """Mark all jobs that have ended (or these JOBs) as seen."""
    run_action("ack", wanted, flags)


@click.command()
@click.argument("n", default=1)
@common
def undo(n: int, **flags: Any) -> None:
    """Undo the last N changes, also those of an earlier day or another terminal."""
    run_action("undo", (), flags, n=_at_least_one(n))


@click.command()
@click.argument("n", default=1)
@common
def redo(n: int, **flags: Any) -> None:
    """Redo the last N undone changes."""
    run_action("redo", (), flags, n=_at_least_one(n))


def _at_least_one(n: int) -> int:
    if n < 1:
        raise click.UsageError(f"{n} changes cannot be undone; expected 1 or more")
    return n


def run_action(name: str, wanted: Sequence[str], flags: dict[str, Any], **args: Any) -> None:
    """Runs an action on the named jobs: finds them, asks for confirmation if needed, and prints the outcome."""
    action = by_id(name)
    with writing() as db:
        snapshot = queries.snapshot(db)
        jobs = applicable(action, snapshot, wanted)
        if isinstance(args.get("before"), str):
            args["before"] = applicable(action, snapshot, [args["before"]])[0].id
        price = action.price(snapshot, jobs)
        events: Sequence[Event] = ()
        if name in conditions.REVERTS:
            events = queries.events_to_revert(db, name == "redo", args["n"])
            price = conditions.price_of_reverting(snapshot, events)
        if not flags["dry_run"] and confirm(action, price, jobs, flags["yes"]) and events:
            args["only"] = events[0].id  # what the question named, though others change the queue while it stands
        change = action.run(db, [job.id for job in jobs], this_person(), flags["dry_run"], **args)
    report(action, change, flags["as_json"])


@contextmanager
def writing() -> Iterator[Database]:
    """Opens the database of this command for writing. Raises NoDatabase if there is none; creates none."""
    db = open_for_person(here().db, create=False)  # verifies the file first, so a damaged one is never written
    try:
        yield db
    finally:
        db.close()


def applicable(action: Action, snapshot: Snapshot, wanted: Sequence[str]) -> list[Job]:
    """Returns the jobs the action applies to. It must apply to a job named by itself; a pattern skips the others."""
    if not wanted:
        return []
    chosen = choose(snapshot.jobs, wanted)
    if action.id == "note":
        return [one_job(snapshot.jobs, word) for word in wanted]
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


def confirm(action: Action, price: str | None, jobs: Sequence[Job], yes: bool) -> bool:
    """Asks for confirmation at a terminal. A script is not asked, but needs -y for what cannot be undone.

    `price`: what the action costs. Returns whether it asked. Raises Abort when the answer is no, UsageError when -y is
    missing.
    """
    many = len(jobs) > LISTED and action.level != "L0"
    wanted = many or (price is not None and (action.asks(jobs) or action.id in conditions.REVERTS))
    if yes or not wanted:
        return False
    if not sys.stdin.isatty():
        if action.level == "L3" and action.needs_jobs:
            raise click.UsageError(f"{action.label}: {price}; give -y, because there is no terminal to ask on")
        return False
    for job in jobs if many else ():
        say(f"  {job.id}  {job.experiment}  {job.status}")
    if not click.confirm(f"{action.label}: {price or f'{len(jobs)} jobs'}. Do it?", err=True):
        raise click.Abort
    return True


def report(action: Action, change: Change, as_json: bool) -> None:
    if as_json:
        return emit_json("change", {"action": action.id, "verb": str(action.verb), **change.__dict__})
    emit(f"Dry run: {change.message}" if change.dry_run else change.message)
    if change.event_id is not None and action.level in ("L1", "L2") and action.id not in ("undo", "redo"):
        say("`fts undo` undoes it")
    return None
