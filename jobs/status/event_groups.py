"""Groups the verbs of the event journal by their meaning to a reader, and finds pauses and waits in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status.formatting import spell
from fts.jobs.status.sanitize import clean
from fts.state.values import Event, Job, Verb, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CLAIMED = frozenset({Verb.CLAIMED})
FINISHED = frozenset({Verb.FINISHED})
FAILED = frozenset({Verb.FAILED, Verb.PARKED})
RETRIED = frozenset({Verb.RETRIED})
RELEASED = frozenset({Verb.RELEASED, Verb.PAUSED, Verb.CANCELLED, Verb.HELD})  # stopped running, but did not end
TRIAL_ENDED = frozenset({Verb.TRIAL_COMPLETE, Verb.TRIAL_PRUNED, Verb.TRIAL_FAILED})
NEW_BEST = frozenset({Verb.NEW_BEST})
WORKER_LOST = frozenset({Verb.WORKER_LOST})
WORKER_GONE = frozenset({Verb.WORKER_LOST, Verb.WORKER_STOPPED})
TRIAL_RESTARTED = frozenset({"trial_restarted"})  # its process died or was killed; it continues from a checkpoint
WAITS = frozenset({"waits"})  # a trial waits for memory, or for the machine to recover from a fault
SLOT_STUCK = "slot_stuck"  # the thread of a slot does nothing: it neither works nor waits for something known
SLOT_WORKS = "slot_works"  # it works again
SLOT_LEFT = "slot_left"  # its worker was asked to stop, and has ended without it
GUARDED = ("frozen", "cooling")  # states of the guard in which no trial trains
# Events on the Queue screen; screen 7 has all.
NEWSWORTHY = (
    frozenset(Verb) - {Verb.TRIAL_STARTED, Verb.TRIAL_RESUMED, Verb.TRIAL_FACTS, Verb.PRUNED_ROWS}
    | TRIAL_RESTARTED
    | {SLOT_STUCK, SLOT_WORKS, SLOT_LEFT}
)


def is_guard_on(event: Event) -> bool:
    """Returns whether the guard paused the work with this event."""
    return event.verb == Verb.GUARD and event.data.get("new") in GUARDED


def is_guard_off(event: Event) -> bool:
    """Returns whether the guard let the work continue with this event."""
    return event.verb == Verb.GUARD and event.data.get("new") not in GUARDED


def guard_since(events: Iterable[Event], worker: Worker) -> float | None:
    """Returns when the guard's current pause of a worker began; None if the journal does not show it."""
    began: float | None = None
    for event in events:
        if event.data.get("worker_id", worker.id) != worker.id:
            continue
        if is_guard_off(event):
            began = None
        elif is_guard_on(event) and began is None:
            began = event.at
    return began


def stuck_slots(events: Iterable[Event], worker: Worker) -> list[Event]:
    """Returns the events of this worker's slots that are stuck now."""
    latest: dict[int, Event] = {}
    for event in events:
        slot, own = event.data.get("slot"), event.data.get("worker_id") == worker.id
        if event.verb in (SLOT_STUCK, SLOT_WORKS) and own and isinstance(slot, int):
            latest[slot] = event
    return [event for event in latest.values() if event.verb == SLOT_STUCK]


def stuck_sentence(event: Event, now: float) -> str:
    """Says for how long a slot has done nothing, and where it is. Anyone can edit the event's row."""
    quiet_s, place = event.data.get("quiet_s"), str(event.data.get("place", ""))[:300]
    seconds = max(0.0, now - event.at) + (float(quiet_s) if isinstance(quiet_s, int | float) else 0.0)
    where = f": it is {clean(place)}" if place else ""
    return f"slot {event.data['slot']} has done nothing for {spell(seconds)}{where}"


def waiting_since(events: Sequence[Event], job: Job) -> Event | None:
    """Returns the event with which a trial of a running job began to wait; None if none waits."""
    of_trials: dict[int | None, Event] = {}  # latest event by trial id
    for event in (event for event in reversed(events) if event.job_id == job.id):
        if event.verb in CLAIMED:
            break
        if event.trial_id is not None:
            of_trials.setdefault(event.trial_id, event)
            if job.parallel == 1:
                break
    waits = [event for event in of_trials.values() if event.verb in WAITS]
    return waits[0] if waits else None
