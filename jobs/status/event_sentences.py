"""Turns events of the journal into whole sentences that can be read aloud: when, who, what, and of which cell.

`fts watch --plain` prints them. Text from a person or another program is quoted, so that its colons and full stops do
not end our sentence.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from fts.jobs.status import declared, formatting, naming
from fts.jobs.status.sentences import sentence_of
from fts.state.values import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.state.values import Event, Job, Snapshot

OWN = re.compile(r"(worker|watchdog|sweep|retention|notify)\b")  # authors of events that are not persons


def event_sentence(event: Event, snapshot: Snapshot | None = None) -> str:
    """Returns a sentence such as `At 08:14:02, trial 12 of 20M/h3 is complete with AUC 0.6841.`"""
    facts = _Facts(event, snapshot)
    undone = f" (undone by event {event.undone_by})" if event.undone_by else ""
    return sentence_of(f"{_clock(event.at)}, {facts.clause()}{undone}")


def _clock(at: float) -> str:
    """Returns `at 08:14:02`, or for another day `on 3 November at 08:14:02`."""
    day = formatting.moment(at)
    clock = f"at {formatting.seconds_clock(at)}"
    return clock if day[:3] == time.localtime()[:3] else f"on {day.tm_mday} {time.strftime('%B', day)} {clock}"


def _quoted(text: object) -> str:
    """Puts the text between quotation marks; its own become single ones."""
    return f'"{str(text).translate(_SINGLE).strip()}"'


_SINGLE = str.maketrans('`"', "''")


class _Facts:
    """One event with the facts that its sentence needs."""

    def __init__(self, event: Event, snapshot: Snapshot | None) -> None:
        jobs = () if snapshot is None else snapshot.jobs
        self.event, self.who, self.data = event, event.who, event.data
        self.job: Job | None = next((job for job in jobs if job.id == event.job_id), None)
        known = None if self.job is None else naming.names_of(jobs)[self.job.id]
        self.name = known or ("" if event.job_id is None else f"job {event.job_id}")
        self.metric = ""
        if snapshot is not None and self.job is not None:
            self.metric = declared.of_job(snapshot, self.job).word(self.job.metric, None)
        words = event.message or str(event.verb).replace("_", " ")
        self.text = naming.name_cells(words, jobs, None if self.job is None else self.job.id)
        # without the prefix `2B/h3: `, because the sentence names the cell itself
        self.rest = self.text.removeprefix(f"{self.name}: ") if self.name else self.text
        number = event.data.get("number")
        self.trial = f"trial {number} of {self.name}" if isinstance(number, int) and self.name else ""

    def clause(self) -> str:
        if self.trial and (facts := self._of_trial()):
            return facts
        clause_of = CLAUSES.get(str(self.event.verb))
        return (clause_of(self) if clause_of is not None else "") or self._any()

    def _of_trial(self) -> str:
        """Returns the clause for an event about one trial; empty for other verbs."""
        value, trial = self._value("value"), self.trial
        match self.event.verb:
            case Verb.TRIAL_STARTED:
                return f"{trial} starts"
            case Verb.TRIAL_COMPLETE:
                return f"{trial} is complete" + (f" with {value}" if value else ", without a value")
            case Verb.TRIAL_PRUNED:
                return f"{trial} was ended early" + (f" with {value}" if value else "")
            case Verb.TRIAL_FAILED:
                return f"{trial} failed; {self._cause(self.data.get('message') or self.data.get('cause'))}"
            case Verb.NEW_BEST if isinstance(self.data.get("front"), list):
                n = len(self.data["front"])
                return f"{trial} joins the front, {formatting.count(n, 'trial')} {'is' if n == 1 else 'are'} on it now"
            case Verb.NEW_BEST:
                before = _number(self.data.get("before"))
                return f"{trial} is the new best with {value}" + (f"; the best before was {before}" if before else "")
        return ""

    def _value(self, key: str) -> str:
        """Returns `AUC 0.6841`; with several goals, the first goal by its name."""
        if not (number := _number(self.data.get(key))):
            return ""
        goals = self.job.goals if self.job is not None else {}
        return f"{next(iter(goals)) if len(goals) > 1 else self.metric or 'value'} {number}"

    def _cause(self, words: object) -> str:
        return f"the cause is {_quoted(words)}" if words else "no cause is recorded"

    def _any(self) -> str:
        """Quotes the text of an event by another program or a watchdog."""
        about = f" of {self.name}" if self.name and self.name not in self.who else ""
        who = self.who if not self.who.startswith("watchdog") else f"the {self.who}"
        return f"{who} reports{about} {_quoted(self.rest)}"

    def by_person(self) -> bool:
        return not OWN.match(self.who)


def _number(value: Any) -> str:
    return formatting.score(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


# ---------------------------------------------------------------- jobs


def _enqueued(facts: _Facts) -> str:
    held = facts.text.partition(", held: ")[2]
    return f"{facts.who} enqueued {facts.name}" + (f"; it is held with the reason {_quoted(held)}" if held else "")


def _paused(facts: _Facts) -> str:
    return _left(facts, "paused")


def _cancelled(facts: _Facts) -> str:
    return _left(facts, "cancelled")


def _left(facts: _Facts, done: str) -> str:
    """Formats a pause or cancellation: by a person at once, or by the worker that was asked to do it."""
    asker = facts.data.get("asked_by")
    if asker:
        return f"{facts.name} is {done} now, as {asker} asked"
    kept = facts.rest.removeprefix(done).lstrip(";, ")
    if facts.by_person():
        return f"{facts.who} {done} {facts.name}" + (f"; {_are_kept(kept)}" if kept else "")
    return f"{facts.name} is {done} now" + (f"; {facts._cause(kept.lstrip(': '))}" if kept else "")


def _are_kept(kept: str) -> str:
    """Returns `4 trials are kept`, `1 trial is kept`."""
    count = kept.removesuffix(" kept")
    return f"{count} {'is' if count.startswith('1 ') else 'are'} kept"


def _asked(facts: _Facts) -> str:
    return f"{facts.who} asked {facts.name} {facts.rest.removeprefix('asked ').replace(': ', '; ')}"


def _resumed(facts: _Facts) -> str:
    if facts.rest.startswith("continues"):
        return f"{facts.who} withdrew the request to pause {facts.name}, which continues"
    return f"{facts.who} put {facts.name} back in the queue"


def _retried(facts: _Facts) -> str:
    """Formats `retried: 2 trials to run; 4 trials kept`.

    Until 0.1.0 it was `retried with 4 trials kept; runs 1 trial again: t3`, whose second half gets a subject.
    """
    if facts.rest.startswith("retried: "):
        return f"{facts.who} retried {facts.name}; {facts.rest.removeprefix('retried: ')}"
    kept, _, then = facts.rest.removeprefix("retried ").replace(": ", ", ").partition("; ")
    return f"{facts.who} retried {facts.name} {kept}" + (f"; this {then}" if then else "")


def _unheld(facts: _Facts) -> str:
    reason = facts.rest.partition("(")[2].removesuffix(")")
    return f"{facts.who} lets {facts.name} start" + (
        f", which was held with the reason {_quoted(reason)}" if reason else ""
    )


def _released(facts: _Facts) -> str:
    return f"{facts.name} is back in the queue; {facts._cause(facts.rest.removeprefix('released: ').replace('_', ' '))}"


def _ended_by(facts: _Facts, what: str) -> str:
    words = facts.rest.rstrip(".").replace(": ", ", ")
    return f"{facts.who} {what} {facts.name}; {words}" if words else f"{facts.who} {what} {facts.name}"


def _finished(facts: _Facts) -> str:
    return f"{facts.name} is done; {facts.rest.replace(': ', ', ')}"


def _moved(facts: _Facts) -> str:
    what, _, place = facts.text.partition(" moved to place ")
    return f"{facts.who} moved {what} to place {place}" if place else ""


def _acknowledged(facts: _Facts) -> str:
    if facts.text.startswith("forecast acknowledged"):
        return f"{facts.who} acknowledged the forecast{facts.text.removeprefix('forecast acknowledged')}"
    return f"{facts.who} acknowledged {facts.text.removesuffix(' acknowledged')}"


# ---------------------------------------------------------------- trials


TRIAL = re.compile(r"trial (\d+)(?::| (?=interrupted|drew))\s*")


def _reported(facts: _Facts) -> str:
    return (f"trial {found[1]} of {facts.name} reports {facts.text[found.end() :]}") if (found := _of(facts)) else ""


def _interrupted(facts: _Facts) -> str:
    if not (found := _of(facts)):
        return ""
    words, _, cause = facts.text[found.end() :].partition(": ")
    return f"trial {found[1]} of {facts.name} was {words}; {facts._cause(cause.replace('_', ' '))}"


def _drifted(facts: _Facts) -> str:
    found = _of(facts)
    return f"trial {found[1]} of {facts.name} {facts.text[found.end() :].replace(': ', ', ')}" if found else ""


def _of(facts: _Facts) -> re.Match[str] | None:
    return TRIAL.match(facts.rest) if facts.name else None


def _mismatch(facts: _Facts) -> str:
    return re.sub(r"(trial \d+)(?! of)", rf"\1 of {facts.name}", facts.rest, count=1).replace(": ", "; ")


def _compared(facts: _Facts) -> str:
    if not (found := re.match(r"(trial \d+) against (.+?): ", facts.rest)):
        return ""
    numbers = re.sub(r"\[([^,\]]+), ([^\]]+)\]", r"(between \1 and \2)", facts.rest[found.end() :])
    return f"{found[1]} of {facts.name} was compared with {found[2]}; the difference is {numbers}"


def _tested(facts: _Facts) -> str:
    name, found, scores = facts.text.partition(" on its test set: ")
    return f"{name} was evaluated on its test set with {scores}" if found else ""


# ---------------------------------------------------------------- the queue, workers, nodes


def _queue_paused(facts: _Facts) -> str:
    reason = facts.text.partition(": ")[2]
    return f"{facts.who} paused the queue" + (f" with the reason {_quoted(reason)}" if reason else "")


def _queue_resumed(facts: _Facts) -> str:
    reason = facts.data.get("reason")
    return f"{facts.who} resumed the queue" + (
        f", which was paused with the reason {_quoted(reason)}" if reason else ""
    )


def _worker_asked(facts: _Facts) -> str:
    text = facts.text.removesuffix(f" by {facts.who}")
    crew, found, order = text.partition(" asked to ")
    if found:
        return f"{facts.who} asked {crew} to {order}"
    crew, found, _ = text.partition(" continues")
    many = crew.startswith("workers")
    ending = "which continue" if many else "which continues"
    return f"{facts.who} withdrew the request to stop {crew}, {ending}" if found else ""


def _guard(facts: _Facts) -> str:
    if not isinstance(facts.data.get("new"), str):
        return ""
    why = facts.text.rpartition("(")[2].rstrip(")") if "(" in facts.text else ""
    before = f", {facts.data['old']} before" if isinstance(facts.data.get("old"), str) else ""
    guard = f"the heat guard of worker {facts.data.get('worker_id', 'unknown')} is {facts.data['new']} now{before}"
    return f"{guard}: {why}" if why else guard


def _node(facts: _Facts) -> str:
    words = facts.text.replace("`", "'")
    state = "is quarantined" if facts.event.verb == Verb.NODE_QUARANTINED else "is lost"
    name, found, why = words.partition(": ")
    if not found:
        return f"{words}, as {facts.who} asked" if facts.by_person() else words
    reason, _, then = why.partition("; nothing is placed")
    name = name.removesuffix(" is quarantined")
    return f"{name} {state}; {facts._cause(reason)}" + (f"; nothing is placed{then}" if then else "")


def _noted(facts: _Facts) -> str:
    return f"{facts.who} noted {_quoted(facts.event.message)}" + (f" about {facts.name}" if facts.name else "")


def _taken_back(facts: _Facts) -> str:
    done = "undid" if facts.event.verb == Verb.UNDONE else "redid"
    found = re.match(r"(?:undo|redo) of '(.*)' by ([^:']+): (.*)", facts.text)
    if not found:
        return ""
    what, author = found[1], found[2]
    then = re.sub(r": (\w+) -> (\w+)", r" goes from \1 to \2", found[3])  # `2B/h3: paused -> queued`
    then = then.replace(": back to", " is back to").replace(": ", ", ")
    return f"{facts.who} {done} the change {_quoted(what)} by {author}; {then}"


def _as_it_is(facts: _Facts) -> str:
    return facts.text.replace(": ", "; ")


CLAUSES: dict[str, Callable[[_Facts], str]] = {
    Verb.ENQUEUED: _enqueued,
    Verb.CHANGED: lambda facts: _ended_by(facts, "changed"),
    Verb.EXTENDED: lambda facts: _ended_by(facts, "extended"),
    Verb.CLAIMED: _as_it_is,
    Verb.PASSED_OVER: _as_it_is,
    Verb.RELEASED: _released,
    Verb.PARKED: lambda facts: f"{facts.name} failed before it began; {facts._cause(facts.rest)}",
    Verb.HELD: lambda facts: f"{facts.name} is held with the reason {_quoted(facts.rest)}",
    Verb.UNHELD: _unheld,
    Verb.FINISHED: _finished,
    Verb.FAILED: lambda facts: f"{facts.name} failed; {facts._cause(facts.rest)}",
    Verb.MOVED: _moved,
    Verb.PAUSED: _paused,
    Verb.PAUSE_ASKED: _asked,
    Verb.RESUMED: _resumed,
    Verb.CANCELLED: _cancelled,
    Verb.CANCEL_ASKED: _asked,
    Verb.RETRIED: _retried,
    Verb.TRIAL_RESUMED: _as_it_is,
    Verb.TRIAL_FACTS: _reported,
    Verb.TRIAL_INTERRUPTED: _interrupted,
    Verb.RESUME_MISMATCH: _mismatch,
    Verb.QUEUE_PAUSED: _queue_paused,
    Verb.QUEUE_RESUMED: _queue_resumed,
    Verb.WORKER_STARTED: _as_it_is,
    Verb.WORKER_STOPPED: _as_it_is,
    Verb.WORKER_LOST: _as_it_is,
    Verb.WORKER_BACK: _as_it_is,
    Verb.WORKER_ASKED: _worker_asked,
    Verb.GUARD: _guard,
    Verb.NOTED: _noted,
    Verb.ACKNOWLEDGED: _acknowledged,
    Verb.UNDONE: _taken_back,
    Verb.REDONE: _taken_back,
    Verb.PRUNED_ROWS: lambda facts: facts.text.replace(" removed", " were removed"),
    Verb.COMPARED: _compared,
    Verb.UNSEALED: _as_it_is,
    Verb.TESTED: _tested,
    Verb.NODE_LOST: _node,
    Verb.NODE_QUARANTINED: _node,
    Verb.NODE_ASKED: _node,
    Verb.NOT_SENT: _as_it_is,
    Verb.DRIFTED: _drifted,
}  # other verbs: `_of_trial`, else `_any`
