"""What the journal says, as whole sentences that can be read aloud: when, who, what, of which cell.

`fts watch --plain` speaks them. A text that a person or another program wrote stands in quotation marks, so that its
own colons and full stops do not end our sentence.
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

OWN = re.compile(r"(worker|watchdog|sweep|retention|notify)\b")  # who is no person


def event_sentence(event: Event, snapshot: Snapshot | None = None) -> str:
    """`At 08:14:02, trial 12 of 20M/h3 is complete with AUC 0.6841.`: when, what, of which cell."""
    told = _Told(event, snapshot)
    undone = f" (undone by event {event.undone_by})" if event.undone_by else ""
    return sentence_of(f"{_clock(event.at)}, {told.clause()}{undone}")


def _clock(at: float) -> str:
    """`at 08:14:02`; of another day than today `on 3 November at 08:14:02`."""
    day = formatting.moment(at)
    clock = f"at {formatting.seconds_clock(at)}"
    return clock if day[:3] == time.localtime()[:3] else f"on {day.tm_mday} {time.strftime('%B', day)} {clock}"


def _quoted(text: object) -> str:
    """The text between quotation marks; its own become single ones."""
    return f'"{str(text).translate(_SINGLE).strip()}"'


_SINGLE = str.maketrans('`"', "''")


class _Told:
    """One event, with what its sentence needs."""

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
        # without `2B/h3: `, which the sentence says itself
        self.rest = self.text.removeprefix(f"{self.name}: ") if self.name else self.text
        number = event.data.get("number")
        self.trial = f"trial {number} of {self.name}" if isinstance(number, int) and self.name else ""

    def clause(self) -> str:
        if self.trial and (told := self._of_trial()):
            return told
        say = SAID.get(str(self.event.verb))
        return (say(self) if say is not None else "") or self._any()

    def _of_trial(self) -> str:
        """Of what is about one trial."""
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
        """`AUC 0.6841`; of several goals the first one's, by its name."""
        if not (number := _number(self.data.get(key))):
            return ""
        goals = self.job.goals if self.job is not None else {}
        return f"{next(iter(goals)) if len(goals) > 1 else self.metric or 'value'} {number}"

    def _cause(self, words: object) -> str:
        return f"the cause is {_quoted(words)}" if words else "no cause is recorded"

    def _any(self) -> str:
        """An event of another program or of a watchdog: its words as they are."""
        about = f" of {self.name}" if self.name and self.name not in self.who else ""
        who = self.who if not self.who.startswith("watchdog") else f"the {self.who}"
        return f"{who} reports{about} {_quoted(self.rest)}"

    def by_person(self) -> bool:
        return not OWN.match(self.who)


def _number(value: Any) -> str:
    return formatting.score(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


# ---------------------------------------------------------------- jobs


def _enqueued(told: _Told) -> str:
    held = told.text.partition(", held: ")[2]
    return f"{told.who} put {told.name} in line" + (f"; it is held with the reason {_quoted(held)}" if held else "")


def _paused(told: _Told) -> str:
    return _left(told, "paused")


def _cancelled(told: _Told) -> str:
    return _left(told, "cancelled")


def _left(told: _Told, done: str) -> str:
    """By a person at once, or by the worker that was asked to."""
    asker = told.data.get("asked_by")
    if asker:
        return f"{told.name} is {done} now, as {asker} asked"
    kept = told.rest.removeprefix(done).lstrip(";, ")
    if told.by_person():
        return f"{told.who} {done} {told.name}" + (f"; {_are_kept(kept)}" if kept else "")
    return f"{told.name} is {done} now" + (f"; {told._cause(kept.lstrip(': '))}" if kept else "")


def _are_kept(kept: str) -> str:
    """`4 trials are kept`, `1 trial is kept`."""
    count = kept.removesuffix(" kept")
    return f"{count} {'is' if count.startswith('1 ') else 'are'} kept"


def _asked(told: _Told) -> str:
    return f"{told.who} asked {told.name} {told.rest.removeprefix('asked ').replace(': ', '; ')}"


def _resumed(told: _Told) -> str:
    if told.rest.startswith("continues"):
        return f"{told.who} withdrew the request to pause {told.name}, which continues"
    return f"{told.who} put {told.name} back in line"


def _retried(told: _Told) -> str:
    """`retried with 4 trials kept; runs 1 trial again: t3`: the second half gets a subject."""
    kept, _, then = told.rest.removeprefix("retried ").replace(": ", ", ").partition("; ")
    return f"{told.who} retried {told.name} {kept}" + (f"; this {then}" if then else "")


def _unheld(told: _Told) -> str:
    reason = told.rest.partition("(")[2].removesuffix(")")
    return f"{told.who} lets {told.name} start" + (
        f", which was held with the reason {_quoted(reason)}" if reason else ""
    )


def _released(told: _Told) -> str:
    return f"{told.name} is back in line; {told._cause(told.rest.removeprefix('released: ').replace('_', ' '))}"


def _ended_by(told: _Told, what: str) -> str:
    words = told.rest.rstrip(".").replace(": ", ", ")
    return f"{told.who} {what} {told.name}; {words}" if words else f"{told.who} {what} {told.name}"


def _finished(told: _Told) -> str:
    return f"{told.name} is done; {told.rest.replace(': ', ', ')}"


def _moved(told: _Told) -> str:
    what, _, place = told.text.partition(" moved to place ")
    return f"{told.who} moved {what} to place {place}" if place else ""


def _acknowledged(told: _Told) -> str:
    if told.text.startswith("forecast acknowledged"):
        return f"{told.who} acknowledged the forecast{told.text.removeprefix('forecast acknowledged')}"
    return f"{told.who} acknowledged {told.text.removesuffix(' acknowledged')}"


# ---------------------------------------------------------------- trials


TRIAL = re.compile(r"trial (\d+)(?::| (?=interrupted|drew))\s*")


def _facts(told: _Told) -> str:
    return (f"trial {found[1]} of {told.name} reports {told.text[found.end() :]}") if (found := _of(told)) else ""


def _interrupted(told: _Told) -> str:
    if not (found := _of(told)):
        return ""
    words, _, cause = told.text[found.end() :].partition(": ")
    return f"trial {found[1]} of {told.name} was {words}; {told._cause(cause.replace('_', ' '))}"


def _drifted(told: _Told) -> str:
    found = _of(told)
    return f"trial {found[1]} of {told.name} {told.text[found.end() :].replace(': ', ', ')}" if found else ""


def _of(told: _Told) -> re.Match[str] | None:
    return TRIAL.match(told.rest) if told.name else None


def _mismatch(told: _Told) -> str:
    return re.sub(r"(trial \d+)(?! of)", rf"\1 of {told.name}", told.rest, count=1).replace(": ", "; ")


def _compared(told: _Told) -> str:
    if not (found := re.match(r"(trial \d+) against (.+?): ", told.rest)):
        return ""
    numbers = re.sub(r"\[([^,\]]+), ([^\]]+)\]", r"(between \1 and \2)", told.rest[found.end() :])
    return f"{found[1]} of {told.name} was compared with {found[2]}; the difference is {numbers}"


def _tested(told: _Told) -> str:
    name, found, scores = told.text.partition(" on its test set: ")
    return f"{name} was evaluated on its test set with {scores}" if found else ""


# ---------------------------------------------------------------- the queue, workers, nodes


def _queue_paused(told: _Told) -> str:
    reason = told.text.partition(": ")[2]
    return f"{told.who} paused the queue" + (f" with the reason {_quoted(reason)}" if reason else "")


def _queue_resumed(told: _Told) -> str:
    reason = told.data.get("reason")
    return f"{told.who} resumed the queue" + (f", which was paused with the reason {_quoted(reason)}" if reason else "")


def _worker_asked(told: _Told) -> str:
    text = told.text.removesuffix(f" by {told.who}")
    crew, found, order = text.partition(" asked to ")
    if found:
        return f"{told.who} asked {crew} to {order}"
    crew, found, _ = text.partition(" continues")
    many = crew.startswith("workers")
    ending = "which continue" if many else "which continues"
    return f"{told.who} withdrew the request to stop {crew}, {ending}" if found else ""


def _guard(told: _Told) -> str:
    if not isinstance(told.data.get("new"), str):
        return ""
    why = told.text.rpartition("(")[2].rstrip(")") if "(" in told.text else ""
    before = f", {told.data['old']} before" if isinstance(told.data.get("old"), str) else ""
    guard = f"the heat guard of worker {told.data.get('worker_id', 'unknown')} is {told.data['new']} now{before}"
    return f"{guard}: {why}" if why else guard


def _node(told: _Told) -> str:
    words = told.text.replace("`", "'")
    state = "is quarantined" if told.event.verb == Verb.NODE_QUARANTINED else "is lost"
    name, found, why = words.partition(": ")
    if not found:
        return f"{words}, as {told.who} asked" if told.by_person() else words
    reason, _, then = why.partition("; nothing is placed")
    name = name.removesuffix(" is quarantined")
    return f"{name} {state}; {told._cause(reason)}" + (f"; nothing is placed{then}" if then else "")


def _noted(told: _Told) -> str:
    return f"{told.who} noted {_quoted(told.event.message)}" + (f" about {told.name}" if told.name else "")


def _taken_back(told: _Told) -> str:
    done = "took back" if told.event.verb == Verb.UNDONE else "did again"
    found = re.match(r"(?:undo|redo) of '(.*)' by ([^:']+): (.*)", told.text)
    if not found:
        return ""
    what, author = found[1], found[2]
    then = re.sub(r": (\w+) -> (\w+)", r" goes from \1 to \2", found[3])  # `2B/h3: paused -> queued`
    then = then.replace(": back to", " is back to").replace(": ", ", ")
    return f"{told.who} {done} the change {_quoted(what)} by {author}; {then}"


def _as_it_is(told: _Told) -> str:
    return told.text.replace(": ", "; ")


SAID: dict[str, Callable[[_Told], str]] = {
    Verb.ENQUEUED: _enqueued,
    Verb.CHANGED: lambda told: _ended_by(told, "changed"),
    Verb.EXTENDED: lambda told: _ended_by(told, "extended"),
    Verb.CLAIMED: _as_it_is,
    Verb.RELEASED: _released,
    Verb.PARKED: lambda told: f"{told.name} failed before it began; {told._cause(told.rest)}",
    Verb.HELD: lambda told: f"{told.name} is held with the reason {_quoted(told.rest)}",
    Verb.UNHELD: _unheld,
    Verb.FINISHED: _finished,
    Verb.FAILED: lambda told: f"{told.name} failed; {told._cause(told.rest)}",
    Verb.MOVED: _moved,
    Verb.PAUSED: _paused,
    Verb.PAUSE_ASKED: _asked,
    Verb.RESUMED: _resumed,
    Verb.CANCELLED: _cancelled,
    Verb.CANCEL_ASKED: _asked,
    Verb.RETRIED: _retried,
    Verb.TRIAL_RESUMED: _as_it_is,
    Verb.TRIAL_FACTS: _facts,
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
    Verb.PRUNED_ROWS: lambda told: told.text.replace(" removed", " were removed"),
    Verb.COMPARED: _compared,
    Verb.UNSEALED: _as_it_is,
    Verb.TESTED: _tested,
    Verb.NODE_LOST: _node,
    Verb.NODE_QUARANTINED: _node,
    Verb.NODE_ASKED: _node,
    Verb.NOT_SENT: _as_it_is,
    Verb.DRIFTED: _drifted,
}  # the others are told by `_of_trial`, or as they are
