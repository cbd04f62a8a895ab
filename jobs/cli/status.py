"""Implements `fts status`: the verdict, the finish time and what happened, as in the monitor's first lines."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from fts.jobs.api.amounts import read_time
from fts.jobs.cli.app import here
from fts.jobs.cli.errors import SCHEMA, NothingThere
from fts.jobs.cli.log_excerpt import last_lines_of, last_words
from fts.jobs.cli.output import emit, emit_json, terminal_columns, warn_unreadable
from fts.jobs.read_status import kept_by, locked_by
from fts.jobs.status import formatting, naming, nodes
from fts.jobs.status import summary as glances
from fts.jobs.status.conditions import is_disk_low, running_trials
from fts.jobs.status.headline import lines, plain
from fts.jobs.status.sanitize import clean_snapshot
from fts.jobs.status.sentences import aloud, listed, sentences
from fts.jobs.status.surface import Surface
from fts.jobs.status.verdict import EXIT_CODES
from fts.state import liveness, queries, replay
from fts.state.db import open_for_reading
from fts.state.location import BEGIN, no_study, refuse_other_than_file
from fts.state.user import this_person
from fts.state.values import JobStatus

if TYPE_CHECKING:
    from fts.jobs.status.log_excerpt import LastLines
    from fts.state.values import Job


@click.command()
@click.option("--line", "form", flag_value="line", help="print one line, for tmux status-right")
@click.option("--plain", "form", flag_value="plain", help="sentences without glyphs, for screen readers")
@click.option("--json", "form", flag_value="json", help="one JSON object, with schema and taken_at")
@click.option(
    "--since",
    metavar="TIME",
    help="show what happened since 10h (ago), 2d, a date, or `last` (your last key press)  [default: last]",
)
@click.option("--at", metavar="TIME", help="past time to show: 03:12, 10h (ago), 2026-11-20 22:00  [default: now]")
@click.option("--exit-code", is_flag=True, help="exit with 0 WELL, 10 LOOK, 11 ACT, 12 IDLE, 13 BLIND")
def status(form: str | None, since: str | None, at: str | None, exit_code: bool) -> int:
    """Show the state of the queue, the finish time, and what happened while you were away."""
    glance, last = look(since, at)
    if form == "json":
        jobs = [
            brief(job) | {"margin": glance.snapshot.margin(job.id), "lost": glance.lost(job) or None}
            for job in glance.snapshot.jobs
        ]
        fields = glances.as_dict(glance) | {"last_lines": last and last.__dict__, "jobs": jobs}
        fields["unreadable"] = glance.snapshot.unreadable
        emit_json("status", fields, glance.snapshot.taken_at)
    elif form == "line":
        emit(plain(lines(glance, 39, 1)[0]))
    elif form == "plain":
        emit("\n".join([*sentences(glance), *speakable(last_words(last))]))
    else:
        room = max(terminal_columns(), 70)
        width = room if room == formatting.ENDLESS else min(room, 159)
        shown = [plain(line) for line in lines(glance, width, 40)]
        chosen = listed(glance.snapshot.jobs)
        names = naming.names_of(glance.snapshot.jobs)
        widest = max((formatting.width(names[job.id]) for job in chosen), default=13)
        column = max(13, min(widest, room // 3))  # width of names; the rest of the line holds the job's state
        listing = [formatting.cut(job_line(job, glance, column), room) for job in chosen]
        crew = nodes.line(glance.snapshot.nodes, glance.snapshot.taken_at)
        of_nodes = [formatting.cut(crew, room)] if crew else []
        emit("\n".join([*shown, *of_nodes, *last_words(last), "", *listing]))
        warn_unreadable(glance.snapshot.unreadable)
    if queries.newer_schema(glance.snapshot):
        return SCHEMA
    return EXIT_CODES[glance.verdict.word] if exit_code else 0


def speakable(told: list[str]) -> list[str]:
    """Makes the lines around a log excerpt readable for screen readers; keeps the log's own lines unchanged."""
    return [*map(aloud, told[:1]), *told[1:-1], *map(aloud, told[1:][-1:])]


def look(since: str | None, at: str | None = None) -> tuple[glances.Glance, LastLines | None]:
    """Returns the summary now or at a past time, and the last log lines of a lost job. Raises NothingThere."""
    refuse_other_than_file(here().db)
    if not os.path.lexists(here().db):
        raise NothingThere(no_study(here().db, f"{BEGIN}, --db names another"))
    when = None if at is None else read_time(at)
    if when is not None and when > time.time():
        raise click.UsageError(f"--at is {at!r}, which is still to come; expected a past time")
    db = open_for_reading(here().db)
    try:
        user = this_person()
        found = queries.snapshot(db, user) if when is None else replay.rebuild(db, when, user)
        snapshot = clean_snapshot(found)
        if when is None:
            snapshot = liveness.with_local_facts(snapshot, here().db.parent)
        began = None if since in (None, "last") else read_time(str(since))
        began = snapshot.last_key_at if began is None else began
        journal, counts = snapshot.events, None
        if (
            began is not None and journal and journal[0].at > began and journal[0].id > 1
        ):  # they do not reach back to it
            journal, counts = queries.absence(db, began, when)
        last = last_lines_of(db, snapshot, None) if when is None else None
    finally:
        db.close()
    age = max(0.0, time.time() - snapshot.taken_at) if when is None else 0.0
    glance = glances.look(
        snapshot,
        snapshot.taken_at + age,
        since=began,
        title=here().outputs.parent.name,
        events=journal,
        counted=None if began is None or counts is None else (began, counts),
        read_age_s=age,
        problem=queries.newer_schema(snapshot),
        mode="" if when is None else f"REPLAY {formatting.when(when, time.time())}",
        kept=kept_by(here(), snapshot) if is_disk_low(snapshot) else None,
        locked_by=locked_by(here(), snapshot) if when is None else None,
        surface=Surface.COMMAND_LINE,
    )
    return glance, last


def job_line(job: Job, glance: glances.Glance, column: int = 13) -> str:
    """Formats state, trials, best value and note of a job; its name gets `column` columns."""
    left = glance.seconds_left(job)
    name = naming.names_of(glance.snapshot.jobs)[job.id]
    value = formatting.best_or_front(job)
    ended = formatting.trials_ended(job)
    bar = formatting.bar(ended / job.trials_wanted if job.trials_wanted else 0.0, 10)
    lost = glance.lost(job)
    live = len(running_trials(glance.snapshot, job))
    at_once = f"{live} trials at once" if live > 1 and not lost else ""
    note = lost or job.hold_reason or job.message or (f"asked to {job.asked}" if job.asked else at_once)
    waits = glance.snapshot.queue_paused and job.status is not JobStatus.RUNNING
    when = "in" if glance.has_worker and not waits else "takes"  # nobody works on it, so it has no end yet
    eta = f"{when} {formatting.left(left):<6} " if left is not None else ""  # an ended job shows its note here
    margin = f"{margin_text(job, glance):<12} " if glance.snapshot.margins else ""
    glyph, state = (formatting.LOST, "lost") if lost else (formatting.glyph_of(job.status), str(job.status))
    return (
        f"{glyph} {formatting.fit(formatting.cut_middle(name, column), column)} {state:<9} {bar} "
        f"{ended:>3}/{job.trials_wanted:<3} {value:<12} {margin}{eta}{formatting.cut(note, 30)}"
    ).rstrip()


def margin_text(job: Job, glance: glances.Glance) -> str:
    """Returns `base +0.012`: AUC above the best baseline, with a ? while its interval contains 0."""
    margin = glance.snapshot.margin(job.id)
    if margin is None:
        return ""
    return f"base {margin.auc:+.3f}" + ("?" if margin.auc_low <= 0 <= margin.auc_high else "")


def brief(job: Job) -> dict[str, object]:
    return {
        "job": job.id,
        "cell": naming.cell_name(job),
        "experiment": job.experiment,
        "status": str(job.status),
        "trials": formatting.trials_ended(job),
        "wanted": job.trials_wanted,
        "best_value": job.best_value,
        **({"front": list(job.front)} if len(job.goals) > 1 else {}),
        "cause": job.cause and str(job.cause),
        "message": job.message,
        "hold_reason": job.hold_reason,
    }
