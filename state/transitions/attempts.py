"""Records the draws of a trial, before the values are used, and its attempts: the processes that worked on it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from peewee import fn

from fts.state.errors import BadRow, WrongStatus
from fts.state.models import ALL, AttemptRow, DrawRow
from fts.state.transitions.base import Row, change_trial, checked_int, emit, fenced_trial, short, to_json, transaction
from fts.state.trial_usage import last_sign
from fts.state.values import HUGE, Claim, Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.state.db import Database

MAX_DRAWS = 10_000
MAX_DRAW = 16_000  # characters of a distribution: it may be a long list of choices
SET_S = 1.0  # a clock that differs by more since the attempt began was set, not slewed
SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # both count suspended time: the latter on macOS
MOST_OPEN = 4096  # attempts of this process whose beginning is kept, far more than run at once
_began: dict[tuple[str, int, int], float] = {}  # database, trial and `n` -> what `_boot_at` returned when it began


def record_draw(
    db: Database, claim: Claim, trial_id: int, k: int, name: str, value: Any, distribution: Mapping[str, Any]
) -> Any:
    """Records the k-th draw of a trial (from 0) and its parameter in one transaction; returns the value to use.

    The same draw again changes nothing. Another draw for a recorded `k` writes an event `drifted` and returns the
    recorded value: the caller must continue with what is returned.
    """
    row = draw_row(k, name, value, distribution)
    with transaction(db):
        trial = fenced_trial(db, claim, trial_id)
        stored = db.find(DrawRow, trial_id=trial_id, k=k)
        if stored is None:
            return _add_draw(db, trial, k, row)
        if all(stored[part] == row[part] for part in row):
            return json.loads(stored["value"])
        drawn, now = (f"{one['name']} = {one['value']}" for one in (stored, row))
        if drawn == now:
            drawn, now = f"{drawn} from {stored['distribution']:.300}", f"from {row['distribution']:.300}"
        words = f"trial {trial['number']} drew {drawn} as its draw {k}, and would now draw {now}; "
        words += "the recorded value stays"
        data = {"number": trial["number"], "k": k, "recorded": _shortened(stored), "now": _shortened(row)}
        who = f"worker {claim.worker_id}"
        emit(db, Verb.DRIFTED, who, words, job_id=claim.job_id, trial_id=trial_id, data=data)
        return json.loads(stored["value"])


def draw_row(k: int, name: str, value: Any, distribution: Mapping[str, Any]) -> Row:
    """Returns the columns of a draw. Raises BadRow for what no reader of the database accepts."""
    checked_int(k, "k", 0, MAX_DRAWS)
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise BadRow(f"the name of a draw is {str(name)[:80]!r}; expected 1 to 200 characters")
    if value is not None and not isinstance(value, str | int | float | bool):
        raise BadRow(f"{name[:80]} drew a {type(value).__name__}; expected a number, a text, true, false or nothing")
    if isinstance(value, int | float) and not -HUGE < value < HUGE:  # nan, too
        raise BadRow(f"{name[:80]} drew {str(value)[:40]}; expected a number between -1e100 and 1e100")
    row = {"name": short(name), "value": to_json(value, name[:80], 4000)}
    return row | {"distribution": to_json(distribution, f"distribution of {name[:80]}", MAX_DRAW)}


def _shortened(draw: Row) -> Row:
    return {name: str(draw[name])[:1000] for name in ("name", "value", "distribution")}


def _add_draw(db: Database, trial: Row, k: int, row: Row) -> Any:
    known = DrawRow.select(fn.COUNT(DrawRow.k)).where(DrawRow.trial_id == trial["id"]).scalar(db)
    if k != known:
        raise WrongStatus(f"trial {trial['number']} has {known} draws recorded, so draw {known} comes next, not {k}")
    db.insert(DrawRow, row | {"trial_id": trial["id"], "k": k})
    value, params = json.loads(row["value"]), json.loads(trial["params"])
    if row["name"] not in params or params[row["name"]] != value:
        change_trial(db, trial, params=to_json(params | {row["name"]: value}, "params"))
    return value


def record_attempt_ended(db: Database, claim: Claim, trial_id: int, how: str) -> None:
    """Records that the process of a running trial has ended, and `how` in a word or two; the trial goes on."""
    with transaction(db):
        fenced_trial(db, claim, trial_id)
        end_attempt(db, trial_id, how)


def begin_attempt(db: Database, trial_id: int, token: int, host: str | None = None, pid: int | None = None) -> int:
    """Begins an attempt, or adds host and pid to the open one of the same process; returns its number `n`. Call it
    inside a transaction."""
    last = latest_attempt(db, trial_id)
    if last is not None and last["ended_at"] is None:
        if last["token"] == token and (last["pid"] in (None, pid) or pid is None):
            known = {"host": last["host"] or host, "pid": pid or last["pid"]}
            db.change(AttemptRow, known, trial_id=trial_id, n=last["n"])
            return int(last["n"])
        same_worker = last["token"] == token
        end_attempt(db, trial_id, "replaced", db.now() if same_worker else last_sign(db, last))
    n = 1 if last is None else last["n"] + 1
    row = {"trial_id": trial_id, "n": n, "token": token, "host": short(host), "pid": pid, "began_at": db.now()}
    db.insert(AttemptRow, row)
    while len(_began) >= MOST_OPEN:
        del _began[next(iter(_began))]
    _began[str(db.path), trial_id, int(n)] = _boot_at()
    return int(n)


def end_attempt(db: Database, trial_id: int, how: str, at: float | None = None) -> None:
    """Ends the open attempt, if any, at the time `at` (default: now). Call it inside a transaction.

    If the clock was set meanwhile, the beginning is moved with it: else a trial of a second would have taken days.
    """
    changes = {"ended_at": db.now() if at is None else at, "how": short(how, 200)}
    last = latest_attempt(db, trial_id) if at is None else None
    if last is not None and abs(moved := _clock_moved(db, last)) > SET_S:
        changes["began_at"] = last["began_at"] + moved
    still_open = AttemptRow.update(changes)
    still_open.where(AttemptRow.trial_id == trial_id, AttemptRow.ended_at.is_null()).execute(db)


def _clock_moved(db: Database, attempt: Row) -> float:
    """Returns by how many seconds the clock was set since the attempt began; 0.0 if it began in another process."""
    began = _began.get((str(db.path), attempt["trial_id"], attempt["n"]))
    return 0.0 if began is None else _boot_at() - began


def _boot_at() -> float:
    """Returns when the machine was started, by the clock as it is set now."""
    return time.time() - time.clock_gettime(SINCE_BOOT)


def latest_attempt(db: Database, trial_id: int) -> Row | None:
    return db.one(AttemptRow.select(ALL).where(AttemptRow.trial_id == trial_id).order_by(AttemptRow.n.desc()))
