"""Enqueues cells and declares their studies; checks every field of a job's row."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from peewee import SQL

from fts.state.daily_bars import AXES, DECLARATION, PATCHTST, cell_name, direction_of, metric_of
from fts.state.errors import BadRow
from fts.state.models import ALL, JobRow, StudyRow
from fts.state.ticket_rows import send_ticket
from fts.state.transitions.base import (
    MAX_SPEC,
    Row,
    checked_direction,
    checked_int,
    checked_name,
    emit,
    finite,
    short,
    this_person,
    to_json,
    transaction,
)
from fts.state.transitions.extend import SameQuestion, extend_job, extended_spec, next_rank, same_question
from fts.state.values import HUGE, Cause, Direction, Enqueued, Verb

if TYPE_CHECKING:
    from fts.state.db import Database

Step = tuple[Enqueued, Row | None, Row | None]  # the result for a row, its event, its undo step
MD5 = re.compile(r"[0-9a-f]{32}")
FEW = 10  # rows; for more, the hashes of all jobs are read at once
MAX_NAME = 200  # characters of the name of a cell, a metric or an axis


def enqueue(
    db: Database,
    specs: Iterable[Mapping[str, Any]],
    who: str | None = None,
    *,
    rule: SameQuestion | None = None,
    again: bool = False,
    dry_run: bool = False,
    by_a_person: bool = True,
) -> list[Enqueued]:
    """Enqueues all rows or none; a specification that already waits, runs or is paused is not enqueued twice.

    A row is a mapping of experiment, kind, study, labels (axis -> value), trials_wanted, spec (dict or JSON), metric,
    direction, and optionally cell (its shown name), question_md5, spec_md5, hold_reason. A row without `study` belongs
    to the study of daily bars: budget, horizon, task and tier are its labels, and the rest follows from them.
    Raises BadRow, naming the field. One undo reverts the whole call; without `by_a_person` it cannot be undone.

    With a `rule`, else a job of the same question in any status is found, and extended if it has fewer trials than the
    row wants. `again` makes a new job instead.
    """
    who = who or this_person()
    rows = [checked_row(spec) for spec in specs]
    with transaction(db, dry_run):
        if any(row["study"] == PATCHTST for row in rows):
            declare(db, PATCHTST, DECLARATION, replace=False)
        results, undo_steps = [], []
        events: list[dict[str, Any]] = []
        known = KnownQuestions(db) if len(rows) > FEW else None
        for row in rows:
            result, event, undo_step = _enqueue_one(db, row, None if again else rule, known)
            results.append(result)
            events += [event] if event else []
            undo_steps += [undo_step] if undo_step else []
        for n, event in enumerate(events):
            last = n == len(events) - 1
            inverse = {"jobs": undo_steps} if last and undo_steps and by_a_person else None
            emit(db, event.pop("verb"), who, event.pop("words"), **event, inverse=inverse)
    return results


class KnownQuestions:
    """The hashes of all jobs, so that not every new row of a large matrix needs two queries."""

    def __init__(self, db: Database) -> None:
        every = JobRow.select(JobRow.study, JobRow.kind, JobRow.question_md5, JobRow.spec_md5)
        self.questions, self.specs = set[tuple[str, str, str | None]](), set[str]()
        for job in db.each_row(every):
            self.add(job)

    def add(self, row: Row) -> None:
        self.questions.add((row["study"], row["kind"], row["question_md5"]))
        self.specs.add(row["spec_md5"])

    def may_ask(self, row: Row) -> bool:
        """May a job ask the question of this row?"""
        md5 = row["question_md5"]
        if md5 is None:
            return True
        return (row["study"], row["kind"], md5) in self.questions or self.some_unhashed(row)

    def some_unhashed(self, row: Row) -> bool:
        """Has a job of its study no hash of its question?"""
        return (row["study"], row["kind"], None) in self.questions


def _enqueue_one(db: Database, row: Row, rule: SameQuestion | None, known: KnownQuestions | None) -> Step:
    same = None
    if known is None or row["spec_md5"] in known.specs:
        live = JobRow.select(ALL).where(
            JobRow.spec_md5 == row["spec_md5"], SQL("status IN ('queued', 'running', 'paused')")
        )
        same = db.one(live)
    if same is None and rule is not None and (known is None or known.may_ask(row)):
        same = same_question(db, row, rule, by_hash=known is not None and not known.some_unhashed(row))
    if same is None:
        if known is not None:
            known.add(row)
        return _create(db, row)
    if rule is not None and (spec := extended_spec(same, row)) is not None:
        if known is not None:
            known.specs.add(rule.md5(spec))
        return extend_job(db, same, spec, row["hold_reason"], rule)
    found = Enqueued(same["id"], created=False, status=same["status"], held=same["hold_reason"])
    return found, None, None


def _create(db: Database, row: Row) -> Step:
    row = row | {"status": "queued", "rank": next_rank(db), "created_at": db.now()}
    job_id = db.insert(JobRow, row | _ZEROS)
    if row["hold_reason"] is None:
        send_ticket(db)
    words = f"{row['experiment']} is job {job_id}"
    words += f", held: {row['hold_reason']}" if row["hold_reason"] else ""
    data = {"old": None, "new": {name: row[name] for name in ("status", "rank", "hold_reason")}}
    event = {"verb": Verb.ENQUEUED, "words": words, "job_id": job_id, "data": data}
    expect, cancelled = {"status": "queued", "attempt": 0}, {"status": "cancelled", "cause": Cause.KILLED.value}
    return (
        Enqueued(job_id, created=True, held=row["hold_reason"]),
        event,
        {"id": job_id, "expect": expect, "set": cancelled},
    )


_ZEROS = dict.fromkeys(("trials_complete", "trials_pruned", "trials_failed", "attempt", "idle_attempts", "token"), 0)


def checked_row(given: Mapping[str, Any]) -> Row:
    unknown = set(given) - _FIELDS
    missing = _REQUIRED - set(given)
    if unknown or missing:
        raise BadRow(f"a job row has unknown fields {sorted(unknown)}, has no {sorted(missing)}")
    spec = _as_object(given["spec"])
    text = to_json(spec, "spec", MAX_SPEC)
    row = {
        "experiment": checked_name(given["experiment"], "experiment"),
        "kind": checked_name(given["kind"], "kind"),
        "trials_wanted": checked_int(given["trials_wanted"], "trials_wanted", 0, 1_000_000),
        "hold_reason": short(given.get("hold_reason")),
        "spec": text,
        "spec_md5": given.get("spec_md5") or hashlib.md5(text.encode()).hexdigest(),
        "question_md5": _checked_md5(given.get("question_md5")),
    }
    return row | _named(row, given, spec)


_REQUIRED = {"experiment", "kind", "trials_wanted", "spec"}
_FIELDS = _REQUIRED | {"spec_md5", "hold_reason", "study", "cell", "labels", "metric", "direction", "question_md5"}
_FIELDS |= set(AXES)


def _named(row: Row, given: Mapping[str, Any], spec: dict[str, Any]) -> Row:
    """Returns the checked study, cell, labels, metric and direction of a row."""
    study = checked_name(given.get("study", PATCHTST), "study")
    labels = _checked_labels(given, required=study == PATCHTST)
    if study == PATCHTST:
        metric = given.get("metric") or metric_of(spec)
        direction = given.get("direction") or direction_of(metric)
        cell = given.get("cell") or cell_name(row["kind"], labels, spec, row["experiment"])
    else:
        metric = given.get("metric") or str(spec.get("metric") or "value")
        direction = given.get("direction") or spec.get("direction") or Direction.MINIMIZE
        cell = given.get("cell") or "/".join(str(value) for value in labels.values()) or study
    return {
        "study": study,
        "cell": checked_text(cell, "cell"),
        "labels": _json_in_order(labels),
        "metric": checked_text(metric, "metric"),
        "direction": checked_direction(direction),
    }


def _checked_labels(given: Mapping[str, Any], required: bool) -> dict[str, Any]:
    """Returns the job's checked value for each axis, in the given order, which is the order in names."""
    labels = given.get("labels")
    if labels is not None and not isinstance(labels, Mapping):
        raise BadRow(f"labels is a {type(labels).__name__}, expected axes and their values")
    own = {name: given[name] for name in AXES if name in given}
    found = {**own, **(labels or {})}
    if missing := set(AXES) - set(found) if required else None:
        raise BadRow(f"a job row has no {sorted(missing)}")
    for name, value in found.items():
        if required and name == "horizon":
            checked_int(value, "horizon", 1, 10_000)
        elif required and name in AXES:
            checked_name(value, name)
        else:
            checked_text(name, "the name of an axis")
            _checked_label(name, value)
    return found


def _checked_label(axis: str, value: Any) -> None:
    if isinstance(value, str):
        checked_text(value, axis)
    elif not isinstance(value, bool | int | float) or not abs(value) < HUGE:
        raise BadRow(f"{axis} is {str(value)[:80]!r}; expected a text or a finite number")


def checked_text(value: Any, what: str) -> str:
    """Checks a name that is shown to people and never used for a file."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        raise BadRow(f"{what} is {str(value)[:80]!r}; expected 1 to {MAX_NAME} printable characters")
    return value


def _checked_md5(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not MD5.fullmatch(value)):
        raise BadRow(f"question_md5 is {str(value)[:80]!r}; expected 32 hexadecimal digits")
    return value


def _json_in_order(labels: Mapping[str, Any]) -> str:
    to_json(labels, "labels")  # refuses what cannot be stored
    return json.dumps(labels, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def declare_study(db: Database, name: str, declaration: Mapping[str, Any]) -> None:
    """Records a study's declaration (axes, metrics, facts, step), replacing an earlier one. Writes no event.

    It is stored in the database, so that a reader needs none of the study's code. Raises BadRow if two of its axes,
    metrics or facts have one name or one heading: nobody could tell their columns apart.
    """
    _refuse_namesakes(name, declaration)
    text = to_json(finite(dict(declaration)), "declaration", MAX_SPEC)
    with transaction(db):
        declare(db, checked_name(name, "study"), text, replace=True)


def _refuse_namesakes(study: str, declaration: Mapping[str, Any]) -> None:
    for group in ("axes", "metrics", "facts"):
        listed = declaration.get(group)
        every = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list | tuple) else []
        names, headings = set[Any](), dict[str, Any]()
        for name, heading, is_seen in map(_named_in_tables, every):
            if name in names:
                raise BadRow(f"the study {study} declares {name!r} twice among its {group}: remove or rename one")
            names.add(name)
            if is_seen and (other := headings.setdefault(heading, name)) != name:
                raise BadRow(
                    f"the study {study} declares two {group}, {other!r} and {name!r}, with the heading {heading!r}: "
                    "give one of them another label"
                )


def _named_in_tables(one: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Returns name and heading of an axis, metric or fact, and whether people see the heading."""
    name, shown = str(one.get("name")), one.get("shown")
    heading = str(one.get("label") or name) + (f" ({one['unit']})" if one.get("unit") else "")
    return (
        name,
        heading,
        not isinstance(shown, list | tuple) or bool({"table", "screen", "report"} & set(map(str, shown))),
    )


def declare(db: Database, name: str, text: str, replace: bool) -> None:
    """Writes a declaration inside a transaction; `replace` overwrites an existing one."""
    row = {"name": name, "declaration": text, "created_at": db.now()}
    query = StudyRow.insert(row)
    if replace:
        query = query.on_conflict(conflict_target=[StudyRow.name], update={StudyRow.declaration: text})
    else:
        query = query.on_conflict_ignore()
    query.execute(db)


def _as_object(spec: Any) -> dict[str, Any]:
    if isinstance(spec, str):
        if len(spec) > MAX_SPEC:
            raise BadRow(f"spec is {len(spec)} characters of JSON, at most {MAX_SPEC} are stored")
        try:
            spec = json.loads(spec)
        except (ValueError, RecursionError) as error:
            raise BadRow(f"spec is not JSON: {error}") from error
    if not isinstance(spec, Mapping):
        raise BadRow(f"spec is a {type(spec).__name__}, expected an object")
    return dict(spec)
