"""Every read of the memory; what comes back is frozen (fts.state.values), never a live row."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from peewee import SQL, fn

from fts.state import migrations
from fts.state.columns import LATEST, MANY
from fts.state.errors import NoSuchRow, UnreadableHistory
from fts.state.front import front_rows
from fts.state.models import (
    ALL,
    AttemptRow,
    CheckpointRow,
    DrawRow,
    EpochRow,
    EventRow,
    FlagRow,
    JobRow,
    SampleRow,
    StudyRow,
    TrialRow,
    WorkerRow,
)
from fts.state.rows import (  # fmt: skip
    NODE,
    as_params,
    finite_or_none,
    read_time,
    to_attempt,
    to_distribution,
    to_draw,
    to_epoch,
    to_event,
    to_job,
    to_margin,
    to_node,
    to_object,
    to_opening,
    to_sample,
    to_study,
    to_trial,
    to_worker,
    unreadable_in,
)
from fts.state.scheduling import RUN_AGAIN_SQL
from fts.state.spent import NO_END, side_by_side_s
from fts.state.values import (
    Attempt,
    Cause,
    Curve,
    Draw,
    Epoch,
    Event,
    Job,
    JobStatus,
    Margin,
    Node,
    Opening,
    RunningChild,
    Sample,
    SeenForecast,
    Snapshot,
    StudyRecord,
    Trial,
    UnreadableRow,
    Verb,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fts.state.db import Database

EVENTS_IN_SNAPSHOT = 200
SEARCHED = {
    "number",
    "status",
    "params",
    "effective",
    "objective",
    "direction",
    "value",
    "epochs",
    "badges",
}  # decide what comes next
LIVE_TRIAL = ("running", "interrupted")


def snapshot(db: Database, user: str | None = None) -> Snapshot:
    """One consistent look at everything the monitor and `fts status` show, in one short read transaction."""
    with db.read():
        everything = with_twins(db, jobs(db))
        shown = _live_and_best_trials(db)
        running = [trial.id for trial in shown if trial.status.value in LIVE_TRIAL]
        crew = workers(db)
        paused = flag(db, "queue_paused")
        gains, odd = _margins(db)
        known, odd_nodes = _nodes(db)
        read: dict[str, Any] = {
            "job": everything, "worker": crew, "trial": shown, "epoch": _epochs_of(db, running),
            "event": events(db, limit=EVENTS_IN_SNAPSHOT),
            "sample": _latest_samples(db, [worker.id for worker in crew if worker.status == "running"]),
        }  # fmt: skip
        return Snapshot(
            taken_at=db.now(),
            schema=schema(db),
            path=str(db.path),
            jobs=everything,
            workers=crew,
            trials=shown,
            epochs=read["epoch"],
            events=read["event"],
            samples=read["sample"],
            queue_paused=paused is not None,
            queue_paused_reason=paused["reason"] if paused else None,
            last_key_at=last_key_at(db, user) if user else None,
            margins=gains,
            seen=seen_forecast(db, user) if user else None,
            worked=worked(db),
            unreadable=(*unreadable_in(read), *odd, *odd_nodes),
            again=runs_again(db),
            studies=studies(db),
            nodes=known,
        )


def snapshot_at(db: Database, when: float, user: str | None = None) -> Snapshot:
    """The same look at a past time (seconds since the epoch), rebuilt from the events; see fts.state.replay."""
    from fts.state.replay import rebuild  # here, not above: it reads through this module

    return rebuild(db, when, user)


def schema(db: Database) -> int:
    """The number in the file, which a newer fts may have written."""
    return int(db.execute_sql("PRAGMA user_version").fetchone()[0])


def newer_schema(found: Snapshot) -> str | None:
    """What to say of a file that a newer fts wrote; None: this one knows all of it."""
    if found.schema <= migrations.SCHEMA:
        return None
    return f"the file has schema {found.schema}, this fts knows up to {migrations.SCHEMA}: shown as far as it is known"


# Jobs


def worked(db: Database) -> dict[int, float]:
    """Seconds of training of each job that waits again or began again: its clock ran on while nobody worked on it."""
    waits = JobRow.status.in_(["queued", "paused"]) & JobRow.started_at.is_null(False)
    again = JobRow.select(JobRow.id).where((JobRow.attempt > 1) | waits)
    spent = TrialRow.select(TrialRow.job_id, fn.SUM(TrialRow.train_seconds).alias("seconds"))
    rows = db.rows(spent.where(TrialRow.job_id.in_(again)).group_by(TrialRow.job_id))
    told = {row["job_id"]: float(finite_or_none(row["seconds"]) or 0.0) for row in rows}
    return told | in_processes(db, [job for job, seconds in told.items() if not seconds]) | side_by_side_s(db, told)


def in_processes(db: Database, jobs: Sequence[int], until: float = math.inf) -> dict[int, float]:
    """Seconds in which processes worked on these jobs, whose trials tell no seconds of training: of a function.

    A process that was lost with its worker does not count: its end was written down long after it.
    """
    if not jobs:
        return {}
    lasted = fn.SUM(AttemptRow.ended_at - AttemptRow.began_at).alias("seconds")
    of_trial = AttemptRow.select(TrialRow.job_id, lasted).join(TrialRow, on=(AttemptRow.trial_id == TrialRow.id))
    ended = TrialRow.job_id.in_(list(jobs)) & AttemptRow.how.not_in(NO_END)
    if math.isfinite(until):
        ended &= AttemptRow.ended_at <= until
    rows = db.rows(of_trial.where(ended).group_by(TrialRow.job_id))
    return {row["job_id"]: float(finite_or_none(row["seconds"]) or 0.0) for row in rows}


def with_twins(db: Database, found: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs, each ended one with the job of the same specification that waits or runs: a retry would be refused."""
    twins = dict(db.execute_sql(TWINS_SQL).fetchall())
    return tuple(replace(job, twin=twins[job.id]) if job.id in twins else job for job in found)


# Plain SQL: with parameters in place of the statuses, SQLite may not use the partial index.
TWINS_SQL = (
    "SELECT ended.id, live.id FROM job AS ended JOIN job AS live ON live.spec_md5 = ended.spec_md5 "
    "WHERE ended.status IN ('done', 'failed', 'cancelled') AND live.status IN ('queued', 'running', 'paused')"
)


def runs_again(db: Database) -> dict[int, tuple[int, ...]]:
    """The failed trials that a retry would run again, by number, of each job that has ended with any."""
    ended = JobRow.select(JobRow.id).where(JobRow.status.in_(["done", "failed", "cancelled"]), JobRow.trials_failed > 0)
    failed = TrialRow.select(TrialRow.job_id, TrialRow.number).where(TrialRow.job_id.in_(ended), SQL(RUN_AGAIN_SQL))
    found: dict[int, list[int]] = {}
    for row in db.rows(failed.order_by(TrialRow.job_id, TrialRow.number)):
        found.setdefault(row["job_id"], []).append(row["number"])
    return {job_id: tuple(numbers) for job_id, numbers in found.items()}


def put_back(db: Database, job_id: int) -> tuple[int, ...]:
    """The failed trials of a job that a retry has put back, by number: they run before any new one."""
    failed = TrialRow.select(TrialRow.number).where(TrialRow.job_id == job_id, TrialRow.status == "failed")
    return tuple(row["number"] for row in db.rows(failed.where(TrialRow.ended_at.is_null()).order_by(TrialRow.number)))


def jobs(db: Database, statuses: Iterable[JobStatus | str] | None = None) -> tuple[Job, ...]:
    """All jobs: running ones, then the line by rank, then the ended ones in the order they ended."""
    query = JobRow.select(ALL).order_by(
        SQL("CASE status WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'paused' THEN 1 ELSE 2 END"),
        SQL("CASE WHEN status IN ('running', 'queued', 'paused') THEN rank ELSE ended_at END"),
        JobRow.id,
    )
    if statuses is None:
        return with_fronts(db, [to_job(row) for row in db.rows(query)])
    wanted = {JobStatus(status) for status in statuses}
    stored = wanted | ({JobStatus.DONE} if JobStatus.FAILED in wanted else set())  # what an older fts called done
    found = (to_job(row) for row in db.rows(query.where(JobRow.status.in_([status.value for status in stored]))))
    return with_fronts(db, [job for job in found if job.status in wanted])


def with_fronts(db: Database, found: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs, those of several goals with the trials of their fronts."""
    return tuple(replace(job, front=_front_of(db, job)) if len(job.goals) > 1 else job for job in found)


def _front_of(db: Database, job: Job) -> tuple[int, ...]:
    """By number."""
    return front_rows(db, job.id, job.goals, job.created_at, job.trials_complete)


def namesakes(db: Database, job: Job) -> tuple[Job, ...]:
    """Every job of its name, and itself, also where its name cannot be read: a cell searched again has several."""
    same = (JobRow.kind == job.kind) & (JobRow.experiment == job.experiment)
    query = JobRow.select(ALL).where(same | (JobRow.id == job.id)).order_by(JobRow.id)
    return tuple(to_job(row) for row in db.rows(query))


def job(db: Database, ref: int | str) -> Job:
    """One job by number, or by its experiment's name (then the newest of that name). Raises NoSuchRow."""
    text = str(ref)
    where = JobRow.id == int(text) if text.isdecimal() else JobRow.experiment == text
    row = db.one(JobRow.select(ALL).where(where).order_by(JobRow.id.desc()))
    if row is None:
        raise NoSuchRow(f"there is no job {text[:80]!r}; `fts queue` lists them")
    return with_fronts(db, [to_job(row)])[0]


# Trials and epochs


def trials(db: Database, job_id: int, first: int = 0) -> tuple[Trial, ...]:
    """The trials of a job by number, from `first` on."""
    query = TrialRow.select(ALL).where(*_from(job_id, first)).order_by(TrialRow.number)
    return tuple(to_trial(row) for row in db.rows(query))


def readable_trials(db: Database, job_id: int, first: int = 0) -> tuple[Trial, ...]:
    """The trials of a job from number `first` on, for a search that goes on. Raises UnreadableHistory."""
    found = trials(db, job_id, first)
    for odd in unreadable_in({"trial": found}):
        if SEARCHED & {part.partition(" is ")[0] for part in odd.why.split(", ")}:
            raise UnreadableHistory(f"{odd}; `fts doctor` says what to do")
    return found


def trials_with_steps(db: Database, job_id: int) -> int:
    """How many trials of a job have reported at least one."""
    return int(TrialRow.select().where(TrialRow.job_id == job_id, TrialRow.epochs > 0).count(db))


def shown_trials(db: Database, job_id: int) -> Iterator[Trial]:
    """The trials of a job by number without what only a sampler needs (`effective`, `recipe`), one row in memory.

    Take them all at once: while some are left a read transaction is open.
    """
    query = TrialRow.select(ALL).where(TrialRow.job_id == job_id).order_by(TrialRow.number)
    for row in db.each_row(query):
        yield to_trial({**row, "effective": "{}", "effective_md5": "", "recipe": None})


def all_trials(db: Database) -> tuple[Trial, ...]:
    """Every trial, by job and number."""
    return tuple(to_trial(row) for row in db.rows(TrialRow.select(ALL).order_by(TrialRow.job_id, TrialRow.number)))


def trial(db: Database, job_id: int, number: int) -> Trial:
    """Trial `number` of a job. Raises NoSuchRow."""
    row = db.one(TrialRow.select(ALL).where(TrialRow.job_id == job_id, TrialRow.number == number))
    if row is None:
        raise NoSuchRow(f"job {job_id} has no trial {number}")
    return to_trial(row)


def trial_by_id(db: Database, trial_id: int) -> Trial:
    row = db.one(TrialRow.select(ALL).where(TrialRow.id == trial_id))
    if row is None:
        raise NoSuchRow(f"there is no trial with id {trial_id}")
    return to_trial(row)


def latest_at(db: Database, job_id: int, verbs: Iterable[str]) -> float:
    """When one of these last happened to the job; 0.0: none has."""
    found = EventRow.select(fn.MAX(EventRow.at)).where(EventRow.job_id == job_id, EventRow.verb.in_(list(verbs)))
    return float(finite_or_none(found.scalar(db)) or 0.0)


def latest_trial(db: Database, job_id: int) -> Trial | None:
    """The trial of a job with the highest number; None: it has none."""
    row = db.one(TrialRow.select(ALL).where(TrialRow.job_id == job_id).order_by(TrialRow.number.desc()))
    return None if row is None else to_trial(row)


def usual_step_s(db: Database, architecture: str, effective_batch: int, device: str, threads: int) -> float | None:
    """Median seconds of an optimizer step of this shape on this kind of device so far; None: it has no history."""
    query = (
        EpochRow.select(EpochRow.samples_per_s)
        .join(TrialRow, on=(TrialRow.id == EpochRow.trial_id))
        .where(
            TrialRow.architecture == architecture,
            TrialRow.device == device,
            TrialRow.threads == threads,
            EpochRow.samples_per_s > 0,
            fn.json_extract(TrialRow.effective, "$.effective_batch") == effective_batch,
        )
        .order_by(EpochRow.trial_id.desc(), EpochRow.epoch.desc())
        .limit(50)
    )
    from statistics import median  # here, not above: with fractions it is 3 ms of `fts status`

    rates = [row["samples_per_s"] for row in db.rows(query)]
    usual = finite_or_none(effective_batch / median(rates)) if rates else None
    return usual or None


def longest_gap_s(db: Database, job_id: int, before: int) -> float:
    """Seconds of the longest silence of the latest trials before this number, from start to report to report; 0: none.

    Pauses and restarts count, so that it is too long rather than too short.
    """
    latest = (
        TrialRow.select(TrialRow.id, TrialRow.started_at)
        .where(TrialRow.job_id == job_id, TrialRow.number < before)
        .order_by(TrialRow.number.desc())
        .limit(5)
    )
    longest = 0.0
    for trial in db.rows(latest):
        told = EpochRow.select(EpochRow.at).where(EpochRow.trial_id == trial["id"]).order_by(EpochRow.at)
        times = [trial["started_at"], *(row["at"] for row in db.rows(told))]
        sound = [at for at in times if isinstance(at, int | float)]
        longest = max([longest, *(later - sooner for sooner, later in itertools.pairwise(sound))])
    return longest


def epochs(db: Database, trial_id: int) -> tuple[Epoch, ...]:
    return _epochs_of(db, [trial_id])


def history(db: Database, job_id: int) -> tuple[tuple[Trial, tuple[Epoch, ...]], ...]:
    """All a sampler or pruner needs: the trials of a job by number, each with its epochs, in one transaction."""
    with db.read():
        found = trials(db, job_id)
        by_trial: dict[int, list[Epoch]] = {trial.id: [] for trial in found}
        of_job = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id)
        query = EpochRow.select(ALL).where(EpochRow.trial_id.in_(of_job)).order_by(EpochRow.trial_id, EpochRow.epoch)
        for row in db.rows(query):
            by_trial[row["trial_id"]].append(to_epoch(row))
    return tuple((trial, tuple(by_trial[trial.id])) for trial in found)


# Causes of a failed trial from which a sampler may learn that its parameters are bad
BAD_REGION = (Cause.DIVERGED, Cause.TIME_LIMIT, Cause.OUT_OF_MEMORY, Cause.CANNOT_FIT)


def _from(job_id: int, first: int) -> list[Any]:
    """The condition for the trials of a job from that number on."""
    return [TrialRow.job_id == job_id, *([TrialRow.number >= first] if first > 0 else [])]


def curves(db: Database, job_id: int, first: int = 0) -> tuple[Curve, ...]:
    """What a sampler or pruner needs of a job, by trial number; a fifth of `history`, for jobs of many trials.

    Of the trials from number `first` on.
    """
    told: dict[int, dict[int, float]] = {}
    value = EpochRow.value
    kept = ("id", "number", "params", "status", "value", "cause", "facts")
    chosen = [getattr(TrialRow, name) for name in kept]
    with db.read():
        rows = db.rows(TrialRow.select(*chosen).where(*_from(job_id, first)).order_by(TrialRow.number))
        of_job = TrialRow.select(TrialRow.id).where(*_from(job_id, first))
        epochs = EpochRow.select(EpochRow.trial_id, EpochRow.epoch, value)
        of_these = epochs.where(EpochRow.trial_id.in_(of_job), value.is_null(False))
        for row in db.each_row(of_these.order_by(EpochRow.trial_id, EpochRow.epoch)):
            if math.isfinite(row["value"]):
                told.setdefault(row["trial_id"], {})[row["epoch"]] = row["value"]
        drawn = _distributions(db, of_job)
    return tuple(
        Curve(
            row["number"],
            as_params(row),
            row["status"],
            row["value"],
            told.get(row["id"], {}),
            diverged=row["status"] == "failed" and row["cause"] in BAD_REGION,
            distributions=drawn.get(row["id"], {}),
            **_of_search(row["facts"]),
        )
        for row in rows
    )


FACTS_OF_SEARCH = {  # fact -> field of a Curve
    "metrics": "metrics", "constraints": "constraints", "sampler": "kept", "attrs": "attributes",
}  # fmt: skip


def _of_search(facts: str) -> dict[str, dict[str, Any]]:
    """What a trial's facts tell samplers; most trials have no such fact, and are not read."""
    if not any(f'"{name}":' in facts for name in FACTS_OF_SEARCH):
        return {}
    read = to_object(facts)
    return {field: read[name] for name, field in FACTS_OF_SEARCH.items() if isinstance(read.get(name), dict)}


def _distributions(db: Database, trials: Any) -> dict[int, dict[str, Any]]:
    """Trial -> parameter -> the distribution it was drawn from; empty where the cells declare their space."""
    read: dict[str, Any] = {}  # most trials draw from the same ones
    found: dict[int, dict[str, Any]] = {}
    draws = DrawRow.select(DrawRow.trial_id, DrawRow.k, DrawRow.name, DrawRow.distribution)
    for row in db.each_row(draws.where(DrawRow.trial_id.in_(trials)).order_by(DrawRow.trial_id, DrawRow.k)):
        text = row["distribution"]
        if text not in read:
            read[text] = to_distribution(row)
        found.setdefault(row["trial_id"], {})[row["name"]] = read[text]
    return found


def draws(db: Database, trial_id: int) -> tuple[Draw, ...]:
    """What a trial has drawn, in order. Raises UnreadableHistory for a row that cannot be read."""
    query = DrawRow.select(ALL).where(DrawRow.trial_id == trial_id).order_by(DrawRow.k)
    return tuple(to_draw(row) for row in db.rows(query))


def attempts(db: Database, trial_id: int) -> tuple[Attempt, ...]:
    """The processes that worked on a trial, in order."""
    query = AttemptRow.select(ALL).where(AttemptRow.trial_id == trial_id).order_by(AttemptRow.n)
    return tuple(to_attempt(row) for row in db.rows(query))


def worked_on(db: Database, job_id: int) -> dict[int, tuple[Attempt, ...]]:
    """The processes that worked on each trial of a job, in order, by the trial's id."""
    of_job = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id)
    query = AttemptRow.select(ALL).where(AttemptRow.trial_id.in_(of_job)).order_by(AttemptRow.trial_id, AttemptRow.n)
    found: dict[int, list[Attempt]] = {}
    for row in db.rows(query):
        found.setdefault(row["trial_id"], []).append(to_attempt(row))
    return {trial_id: tuple(listed) for trial_id, listed in found.items()}


def interrupted(db: Database, job_id: int, since: int = 0) -> dict[int, tuple[float, float | None]]:
    """Of each trial of a job, from the trial `since` on, that several processes worked on, by its id.

    The seconds of those that have ended, and when the one that has not began.
    """
    second = AttemptRow.select(AttemptRow.n).where(AttemptRow.trial_id == TrialRow.id, AttemptRow.n == 2)
    of_job = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id, TrialRow.id >= since, fn.EXISTS(second))
    found: dict[int, tuple[float, float | None]] = {}
    for row in db.rows(AttemptRow.select(ALL).where(AttemptRow.trial_id.in_(of_job))):
        one, (seconds, began) = to_attempt(row), found.get(row["trial_id"], (0.0, None))
        ended = seconds if one.ended_at is None else seconds + max(0.0, one.ended_at - one.began_at)
        found[one.trial_id] = (ended, one.began_at if one.ended_at is None else began)
    return found


def drawn(db: Database, job_id: int) -> dict[int, tuple[Draw, ...]]:
    """What each trial of a job has drawn, in order, by the trial's id."""
    of_job = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id)
    query = DrawRow.select(ALL).where(DrawRow.trial_id.in_(of_job)).order_by(DrawRow.trial_id, DrawRow.k)
    found: dict[int, list[Draw]] = {}
    for row in db.rows(query):
        found.setdefault(row["trial_id"], []).append(to_draw(row))
    return {trial_id: tuple(listed) for trial_id, listed in found.items()}


def studies(db: Database) -> dict[str, StudyRecord]:
    """The studies that have been declared here, by name."""
    found = (to_study(row) for row in db.rows(StudyRow.select(ALL).order_by(StudyRow.created_at, StudyRow.name)))
    return {study.name: study for study in found}


def checkpoints(db: Database, trial_id: int) -> tuple[dict[str, Any], ...]:
    """The checkpoints of a trial, newest first."""
    query = CheckpointRow.select(ALL).where(CheckpointRow.trial_id == trial_id).order_by(CheckpointRow.id.desc())
    return tuple(db.rows(query))


# Events, samples, workers, flags


def events(
    db: Database,
    since: int | None = None,
    limit: int = EVENTS_IN_SNAPSHOT,
    job_id: int | None = None,
    verbs: Iterable[str] | None = None,
    trial_id: int | None = None,
) -> tuple[Event, ...]:
    """Events, oldest first: those after number `since`, or without it the latest; at most `limit`."""
    query = EventRow.select(ALL)
    if since is not None:
        query = query.where(EventRow.id > since)
    if job_id is not None:
        query = query.where(EventRow.job_id == job_id)
    if trial_id is not None:
        query = query.where(EventRow.trial_id == trial_id)
    if verbs is not None:
        query = query.where(EventRow.verb.in_([str(verb) for verb in verbs]))
    order = EventRow.id if since is not None else EventRow.id.desc()
    rows = db.rows(query.order_by(order).limit(limit))
    return tuple(to_event(row) for row in sorted(rows, key=lambda row: row["id"]))


def samples(db: Database, since: float, every_s: float = 0.0, limit: int = 100_000) -> tuple[Sample, ...]:
    """Hardware samples since a time, oldest first; with `every_s` at most one per that many seconds and worker."""
    query = SampleRow.select(ALL).where(SampleRow.at >= since)
    if every_s > 0:
        bucket = fn.CAST(SQL(f"at / {float(every_s)} AS INTEGER"))
        newest = SampleRow.select(fn.MAX(SampleRow.id)).where(SampleRow.at >= since)
        query = query.where(SampleRow.id.in_(newest.group_by(SampleRow.worker_id, bucket)))
    return tuple(to_sample(row) for row in db.rows(query.order_by(SampleRow.at, SampleRow.id).limit(limit)))


def knows_power(db: Database) -> bool:
    """Whether any hardware sample tells watts; most machines' sensors do not."""
    return db.one(SampleRow.select(SampleRow.id).where(SampleRow.power_w.is_null(False))) is not None


def workers(db: Database, limit: int = 100) -> tuple[Worker, ...]:
    """Live workers first, then the latest others."""
    order = SQL("CASE status WHEN 'running' THEN 0 ELSE 1 END")
    return tuple(
        to_worker(row) for row in db.rows(WorkerRow.select(ALL).order_by(order, WorkerRow.id.desc()).limit(limit))
    )


def running_children(db: Database, host: str) -> tuple[RunningChild, ...]:
    """The trial processes of this host the database believes in: a starting worker reaps those it finds alive."""
    query = (
        TrialRow.select(
            TrialRow.job_id, TrialRow.id.alias("trial_id"), TrialRow.number, JobRow.worker_id, TrialRow.pid,
            TrialRow.pid_started,
        )
        .join(JobRow, on=(JobRow.id == TrialRow.job_id))
        .where(TrialRow.status.in_(LIVE_TRIAL), TrialRow.host == host, TrialRow.pid.is_null(False))
    )  # fmt: skip
    known = (row for row in db.rows(query) if row["pid_started"] is not None and 0 < row["pid"] < 2**31)
    return tuple(RunningChild(**row) for row in known if finite_or_none(row["pid_started"]) is not None)


def flag(db: Database, name: str) -> dict[str, Any] | None:
    """A flag's row (name, value, reason, who, at); None: not set."""
    return db.one(FlagRow.select(ALL).where(FlagRow.name == name))


def margins(db: Database) -> tuple[Margin, ...]:
    """What each cell gains over the best baseline, by job number."""
    return _margins(db)[0]


def _margins(db: Database) -> tuple[tuple[Margin, ...], list[UnreadableRow]]:
    """The gains that can be read, and the rows that cannot."""
    found, odd = [], []
    for row in db.rows(FlagRow.select(ALL).where(FlagRow.name.startswith("margin:"))):
        try:
            found.append(to_margin(row))
        except ValueError as error:
            odd.append(UnreadableRow("flag", f"flag {row['name']}", str(error)))
    return tuple(sorted(found, key=lambda margin: margin.job_id)), odd


def nodes(db: Database) -> tuple[Node, ...]:
    """Every node of other machines that a worker has told of, by name."""
    return _nodes(db)[0]


def node(db: Database, node_id: str) -> Node | None:
    row = flag(db, NODE + node_id)
    try:
        return None if row is None else to_node(row)
    except ValueError:
        return None


def _nodes(db: Database) -> tuple[tuple[Node, ...], list[UnreadableRow]]:
    found, odd = [], []
    for row in db.rows(FlagRow.select(ALL).where(FlagRow.name.startswith(NODE)).order_by(FlagRow.name)):
        try:
            found.append(to_node(row))
        except ValueError as error:
            odd.append(UnreadableRow("flag", f"flag {row['name']}", str(error)))
    return tuple(found), odd


def openings(db: Database) -> tuple[Opening, ...]:
    """Every cell whose test set has been opened, the earliest first."""
    rows = list(db.rows(FlagRow.select(ALL).where(FlagRow.name.startswith("unsealed:")).order_by(FlagRow.at)))
    return tuple(to_opening(row, flag(db, _tested(row))) for row in rows)


def opening(db: Database, experiment: str) -> Opening | None:
    """Who opened the test set of a cell, and when; None: it is sealed."""
    row = flag(db, f"unsealed:{experiment}")
    return None if row is None else to_opening(row, flag(db, _tested(row)))


def _tested(row: dict[str, Any]) -> str:
    return f"tested:{row['name'].removeprefix('unsealed:')}"


def last_key_at(db: Database, user: str) -> float | None:
    """When this user last pressed a key in a monitor, or acknowledged."""
    row = flag(db, f"last_key:{user}")
    return None if row is None else read_time(row["at"])


def seen_forecast(db: Database, user: str, before: float | None = None) -> SeenForecast | None:
    """What this user was told when they last acknowledged the whole (by `before`); None: never, or no end was known."""
    told = EventRow.select(EventRow.data).where(EventRow.verb == Verb.ACKNOWLEDGED, EventRow.who == user)
    if before is not None:
        told = told.where(EventRow.at <= before)
    for row in db.rows(told.order_by(EventRow.id.desc()).limit(20)):  # those between were of single jobs
        if (forecast := to_object(row["data"]).get("forecast")) is not None:
            return _to_forecast(forecast)
    return None


def _to_forecast(data: Any) -> SeenForecast | None:
    """None for one that cannot be read: it was not written by us, and a look must not fail for it."""
    try:
        jobs = tuple(int(job) for job in data["jobs"])
        paces = {str(name): float(pace) for name, pace in data["paces"].items() if 0 <= float(pace) <= LATEST}
        taken_at, finish_at, slots = float(data["taken_at"]), float(data["finish_at"]), int(data["slots"])
        if not (0 <= taken_at <= LATEST and 0 <= finish_at <= LATEST and 0 < slots <= MANY):
            return None
        return SeenForecast(taken_at, finish_at, jobs, paces, slots)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def data_version(db: Database) -> int:
    """A number that changes when another connection has written: cheap to ask once a second.

    A reader whose files are not those at the path opens them anew first. Raises NoDatabase, NotFresh.
    """
    return db.look()


def _live_and_best_trials(db: Database) -> tuple[Trial, ...]:
    best = TrialRow.select(TrialRow.id).join(
        JobRow, on=((JobRow.id == TrialRow.job_id) & (JobRow.best_trial == TrialRow.number))
    )
    query = TrialRow.select(ALL).where(SQL("t1.status IN ('running', 'interrupted')") | TrialRow.id.in_(best))
    return tuple(to_trial(row) for row in db.rows(query.order_by(TrialRow.job_id, TrialRow.number)))


def _epochs_of(db: Database, trial_ids: list[int]) -> tuple[Epoch, ...]:
    query = EpochRow.select(ALL).where(EpochRow.trial_id.in_(trial_ids)).order_by(EpochRow.trial_id, EpochRow.epoch)
    return tuple(to_epoch(row) for row in db.rows(query))


def _latest_samples(db: Database, worker_ids: list[int]) -> tuple[Sample, ...]:
    found = []
    for worker_id in worker_ids:
        row = db.one(SampleRow.select(ALL).where(SampleRow.worker_id == worker_id).order_by(SampleRow.at.desc()))
        if row is not None:
            found.append(to_sample(row))
    return tuple(found)
