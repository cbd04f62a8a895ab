"""Records results about a cell after its trials: its margin over the baselines, and the evaluation on the test set."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fts.state.errors import BadRow, WrongStatus
from fts.state.models import ALL, FlagRow, TrialRow
from fts.state.transitions.base import MAX_JSON, emit, finite, get_flag, get_job, this_person, to_json, transaction
from fts.state.values import Change, Margin, Verb, in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.state.db import Database


def record_margin(db: Database, margin: Margin, who: str) -> None:
    """Records a cell's margin over the best baseline, replacing an earlier one. It can always be computed again."""
    content = {name: value for name, value in asdict(margin).items() if name != "at"}
    words = (
        f"trial {margin.trial} against {margin.rival}: AUC {margin.auc:+.3f} [{margin.auc_low:+.3f}, "
        f"{margin.auc_high:+.3f}], log loss {margin.loss:+.4f} [{margin.loss_low:+.4f}, {margin.loss_high:+.4f}]"
    )
    with transaction(db):
        get_job(db, margin.job_id)
        _put(db, f"margin:{margin.job_id}", content, who)
        emit(db, Verb.COMPARED, who, words, job_id=margin.job_id, data=content)


def unseal(db: Database, job_id: int, trial: int, who: str | None = None) -> Change:
    """Opens the test set of a cell for its trial `trial`, once and for ever; it cannot be undone.

    Raises WrongStatus if it is open already, if the job is not a cell, or if the trial is not complete.
    """
    who = who or this_person()
    with transaction(db):
        job = get_job(db, job_id)
        if job["kind"] != "cell":
            raise WrongStatus(f"job {job_id} is a {job['kind']}; only the test set of a cell can be opened")
        if before := get_flag(db, f"unsealed:{job['experiment']}"):
            raise WrongStatus(f"the test set of {job['experiment']} is open already: {before['who']} opened it")
        row = db.one(TrialRow.select(ALL).where(TrialRow.job_id == job_id, TrialRow.number == trial))
        if row is None or row["status"] != "complete":
            raise WrongStatus(f"trial {trial} of job {job_id} is {row['status'] if row else 'not there'}, not complete")
        content = {"job_id": job_id, "trial": trial, "data_md5": row["data_md5"]}
        _put(db, f"unsealed:{job['experiment']}", content, who)
        words = f"{who} opened the test set of {job['experiment']} for trial {trial}"
        event_id = emit(db, Verb.UNSEALED, who, words, job_id=job_id, trial_id=row["id"], data=content)
    return Change(words, event_id, (job_id,))


def record_test(db: Database, experiment: str, scores: Mapping[str, Any], who: str) -> None:
    """Records the scores on the test set. Raises WrongStatus while it is sealed, and for a second evaluation."""
    with transaction(db):
        opened = get_flag(db, f"unsealed:{experiment}")
        if opened is None:
            raise WrongStatus(f"the test set of {experiment} is sealed, so there can be no result on it")
        if get_flag(db, f"tested:{experiment}") is not None:
            raise WrongStatus(f"{experiment} was evaluated on its test set before; a second evaluation is not recorded")
        if not scores:
            raise BadRow("the evaluation has no scores")
        _put(db, f"tested:{experiment}", scores, who)
        words = f"{experiment} on its test set: " + ", ".join(f"{name} {_short(v)}" for name, v in scores.items())
        emit(db, Verb.TESTED, who, words, data={"experiment": experiment, **scores})


def _put(db: Database, name: str, content: Mapping[str, Any], who: str) -> None:
    value = to_json(finite(dict(content)), name, MAX_JSON)
    row = {"name": name, "value": value, "reason": None, "who": who[:120], "at": db.now()}
    FlagRow.insert(row).on_conflict_replace().execute(db)


def _short(value: Any) -> str:
    return in_words(value) if isinstance(value, float) else str(value)
