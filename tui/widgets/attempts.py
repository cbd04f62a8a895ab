"""The processes that worked on a trial: when, how long, why each ended, where it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.tui.data.trial_time import seen_until
from fts.tui.render.text import Line, line, rule, wrapped

if TYPE_CHECKING:
    from fts.state.values import Attempt, Trial
    from fts.tui.data.view import View

MOST = 6  # told one by one, the latest

HOW = {  # what the record says of an end, in words
    "complete": "ended complete",
    "pruned": "ended pruned",
    "failed": "failed",
    "replaced": "another process took over",
    "lost worker": "its worker was lost",
    "drained": "its worker was asked to leave",
    "paused by user": "the job was paused",
    "killed by user": "the job was cancelled",
}


def attempts(view: View, trial: Trial, width: int) -> list[Line]:
    """`1  01:51:20 for 12 s on spark, its worker was lost`; nothing where nothing was written down."""
    known = [each for each in view.details.attempts if each.trial_id == trial.id]
    if not known:
        return []
    told = known[-MOST:]
    left_out = f", latest {MOST}" if len(known) > MOST else ""
    lines: list[Line] = [(), rule(f"{formatting.count(len(known), 'attempt')}{left_out}", "", width)]
    for each in told:
        lines += [line((row, _role(each))) for row in wrapped(sentence(view, each), width - 1)]
    return lines


def sentence(view: View, attempt: Attempt) -> str:
    """One of them, in words."""
    when = formatting.to_the_second(attempt.began_at, view.now)
    end = attempt.ended_at
    until = seen_until(view, view.job) if end is None else end
    took = formatting.spell(max(until - attempt.began_at, 0.0))
    told = f"{attempt.n}  {when} for {took}"
    if attempt.host:
        told += f" on {attempt.host}"
    told += f" (pid {attempt.pid})" if attempt.pid else ""
    if end is None and view.job is not None and view.glance.lost(view.job):
        return f"{told}, then nothing was heard of its worker"
    if end is None:
        return f"{told}, has not ended"
    return f"{told}, {HOW.get(attempt.how or '', attempt.how or 'no cause recorded')}"


def _role(attempt: Attempt) -> str:
    if attempt.ended_at is None:
        return "running"
    return {"failed": "failed", "complete": "", "pruned": "dim"}.get(attempt.how or "", "retrying")
