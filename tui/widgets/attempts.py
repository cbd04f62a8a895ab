"""The attempts of a trial, one process each: when, how long, where it ran, why it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.tui.data.trial_time import seen_until
from fts.tui.render.text import Line, line, rule, wrapped

if TYPE_CHECKING:
    from fts.state.values import Attempt, Trial
    from fts.tui.data.view import View

MOST = 6  # attempts listed, the latest

HOW = {  # recorded end of an attempt: text
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
    """Paints `1  01:51:20 for 12 s on spark, its worker was lost`; nothing if no attempt was recorded."""
    known = [each for each in view.details.attempts if each.trial_id == trial.id]
    if not known:
        return []
    listed = known[-MOST:]
    left_out = f", latest {MOST}" if len(known) > MOST else ""
    lines: list[Line] = [(), rule(f"{formatting.count(len(known), 'attempt')}{left_out}", "", width)]
    for each in listed:
        lines += [line((row, _role(each))) for row in wrapped(sentence(view, each), width - 1)]
    return lines


def sentence(view: View, attempt: Attempt) -> str:
    """Describes one attempt."""
    when = formatting.to_the_second(attempt.began_at, view.now)
    end = attempt.ended_at
    until = seen_until(view, view.job) if end is None else end
    took = formatting.spell(max(until - attempt.began_at, 0.0))
    text = f"{attempt.n}  {when} for {took}"
    if attempt.host:
        text += f" on {attempt.host}"
    text += f" (pid {attempt.pid})" if attempt.pid else ""
    if end is None and view.job is not None and view.glance.lost(view.job):
        return f"{text}, then its worker fell silent"
    if end is None:
        return f"{text}, has not ended"
    return f"{text}, {HOW.get(attempt.how or '', attempt.how or 'no cause recorded')}"


def _role(attempt: Attempt) -> str:
    if attempt.ended_at is None:
        return "running"
    return {"failed": "failed", "complete": "", "pruned": "dim"}.get(attempt.how or "", "retrying")
