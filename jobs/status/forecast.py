"""Forecasts when the queue will be done, with an 80 % interval and how often past intervals were right.

Seconds per trial come from the cell itself once it has a few trials, else from cells of the same budget. A budget that
has not run yet is scaled from other budgets, with a wide interval. The record is a back-test: each finished cell is
predicted from what had ended before its start, and counted as right if its real duration was inside the 80 % interval.
Paused time and time without a worker are excluded.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status.declared import steps_of
from fts.jobs.status.formatting import count, honest, spell, trials_ended
from fts.state.scheduling import is_waiting
from fts.state.values import Job, JobStatus, SeenForecast, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Median hours per cell of 50 trials in the earlier scripts; only their ratios are used.
COST = {"tiny": 0.01, "2M": 0.37, "20M": 1.6, "200M": 13.0, "2B": 40.0}
# Standard deviations of log seconds per trial:
SD_UNSEEN = 0.9  # scaled from another budget; the earlier estimates were wrong by factors of 2 to 6
SD_ONE = 0.35  # from one cell of the same budget
SD_LEAST = 0.15
SD_TRIAL = 0.5  # between trials of one cell, by shape and early stopping; 0.34 to 0.60 in five real 2M cells
SD_MACHINE = 0.2  # shared by all trials left: other load on the machine; six real cells slowed down by 1.4 to 1.8
SD_PRUNED = 1.0  # as SD_TRIAL with a pruner, which ends some after one epoch; 0.66 to 1.06 in nine real 2M cells
# Both from replays of 300 real 2M curves:
BEGINNING = 11  # extra cost of the first trials of a pruned search, which nothing can prune, in later trials
PRUNED = 0.18  # epochs of a later trial of a pruned search, as a part of an unpruned trial's
SD_STRETCH = 0.3  # per factor e between epoch limits: early stopping ends most trials before a higher limit
FEW = 3  # ended trials after which a cell is judged by its own
Z80 = 1.2816  # 80 % of a normal distribution is within this many standard deviations


@dataclass(frozen=True)
class TrialPace:
    """Seconds per trial of a budget, and the standard deviation of their logarithm."""

    seconds: float
    sd_log: float


@dataclass(frozen=True)
class Forecast:
    """When the work will be done. Times are seconds since the epoch; None without any history."""

    finish_at: float | None
    low: float | None  # 80 % interval
    high: float | None
    held: int  # number of past intervals that contained the true end
    judged: int  # number of past intervals
    seconds_left: dict[int, float]  # by job id: seconds until that job's end; absent: unknown or will not run

    def later(self, seconds: float) -> Forecast:
        """Returns the forecast moved by so many seconds in which no work was done."""
        if self.finish_at is None or self.low is None or self.high is None or not seconds:
            return self
        low, high = self.low + seconds, self.high + seconds
        return dataclasses.replace(self, finish_at=self.finish_at + seconds, low=low, high=high)

    @property
    def half_width_s(self) -> float | None:
        """Half the width of the interval, for `±9h`."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def finish_rounded(self) -> float | None:
        """The end as it is shown: rounded according to its interval."""
        return None if self.finish_at is None else honest(self.finish_at, self.half_width_s or 0.0)

    @property
    def record(self) -> str:
        """Returns `8 of 9 past forecasts right`: those cells ended within their 80 % interval."""
        if not self.judged:
            return "no past forecast yet"
        return f"{self.held} of {count(self.judged, 'past forecast')} right"


def forecast(snapshot: Snapshot, now: float) -> Forecast:
    """Returns the forecast for all jobs that are running or may run."""
    held, judged = track_record(snapshot.jobs, snapshot.worked)
    return _forecast(snapshot, snapshot.jobs, now, held, judged)


def _forecast(snapshot: Snapshot, jobs: Sequence[Job], now: float, held: int, judged: int) -> Forecast:
    """Forecasts `jobs` with the workers and the history of the whole snapshot."""
    slots = slots_of(snapshot)
    ends: dict[int, float] = {}
    free = [0.0] * slots  # seconds until each slot is free
    spread: dict[str, float] = {}  # standard deviation in s; summed within a budget, where cells share the error
    unknown = False
    paces: dict[tuple[str, int | None, bool], TrialPace | None] = {}  # cached: thousands of jobs share few of these
    for job in jobs:
        if job.status is JobStatus.RUNNING or is_waiting(job):
            own = own_pace(job, now, snapshot.worked)
            pool = pool_of(job)
            asked = (pool, epochs_of(job), is_pruned(job))
            if own is None and asked not in paces:
                paces[asked] = pace_of(pool, snapshot.jobs, now, snapshot.worked, *asked[1:])
            pace = own or paces[asked]
            if pace is None:
                unknown = unknown or job.kind == "cell"  # baselines take seconds: the forecast is possible without them
                continue
            seconds = _seconds_left(job, pace)
            ends[job.id] = placed(free, job.parallel, seconds)
            shared = pool if own is None else f"job {job.id}"
            spread[shared] = spread.get(shared, 0.0) + seconds * pace.sd_log / slots
    total = max(free)
    if unknown or not ends:
        return Forecast(None, None, None, held, judged, ends)
    sd_log = math.sqrt(sum(sd * sd for sd in spread.values())) / total if total else 0.0
    low, high = total * math.exp(-Z80 * sd_log), total * math.exp(Z80 * sd_log)
    return Forecast(now + total, now + low, now + high, held, judged, ends)


def placed(free: list[float], parallel: int, seconds: float) -> float:
    """Places a cell on the slots that are free first; returns its end. Updates `free`: seconds until a slot is free.

    `seconds` is the time of the whole cell: its parallel trials are included.
    """
    taken = sorted(range(len(free)), key=free.__getitem__)[: min(parallel, len(free))]
    end = max(free[slot] for slot in taken) + seconds
    for slot in taken:
        free[slot] = end
    return end


def slots_of(snapshot: Snapshot) -> int:
    """Returns the number of slots of all running workers; of those that have died if no other runs.

    If all have stopped, the next one is expected to have the slots of the latest; before the first worker 1.
    """
    crew = [worker for worker in snapshot.workers if worker.status == "running"]
    crew = crew or sorted(snapshot.workers, key=lambda worker: worker.started_at)[-1:]
    return max(sum(worker.slots for worker in [w for w in crew if not w.gone] or crew), 1)


# ---------------------------------------------------------------- the forecast that the user has seen


@dataclass(frozen=True)
class Slip:
    """How much later the same work will be done than in the forecast that the user has seen."""

    then: SeenForecast
    finish_at: float  # present forecast for the same work
    part: float  # slip as a part of the time that was left then: 0.33 is a third longer
    cause: str  # what has changed; empty if only time without work has passed


JOBS_REMEMBERED = 5000  # most job ids of a forecast that are stored in its event


def seen_forecast(snapshot: Snapshot) -> SeenForecast | None:
    """Returns the forecast that this snapshot shows to the user, to be stored when they acknowledge it."""
    found = _forecast(snapshot, snapshot.jobs, snapshot.taken_at, 0, 0)
    if found.finish_at is None:
        return None
    of = tuple(found.seconds_left)[:JOBS_REMEMBERED]
    budgets = {pool_of(job) for job in snapshot.jobs if job.id in found.seconds_left}
    paces = {budget: pace_of(budget, snapshot.jobs, snapshot.taken_at, snapshot.worked) for budget in sorted(budgets)}
    seconds = {budget: round(pace.seconds, 3) for budget, pace in paces.items() if pace is not None}
    forecast_of = set(of)
    trials = {job.id: job.trials_wanted for job in snapshot.jobs if job.id in forecast_of}
    return SeenForecast(snapshot.taken_at, found.finish_at, of, seconds, slots_of(snapshot), trials)


def slip(snapshot: Snapshot, now: float) -> Slip | None:
    """Returns the slip since `snapshot.seen`; None without such a forecast, or if its work has ended or is unknown."""
    then = snapshot.seen
    if then is None or then.finish_at <= then.taken_at:
        return None
    found = _forecast(snapshot, _same_work(snapshot.jobs, then), now, 0, 0)
    if found.finish_at is None:
        return None
    part = (found.finish_at - then.finish_at) / (then.finish_at - then.taken_at)
    return Slip(then, found.finish_at, part, _cause(snapshot, then, now))


def _same_work(jobs: Iterable[Job], then: SeenForecast) -> list[Job]:
    """Returns the jobs of that forecast, without trials that were added since."""
    known, same = set(then.jobs), []
    for job in jobs:
        wanted = then.trials.get(job.id, job.trials_wanted)
        if job.id in known and (wanted >= job.trials_wanted or trials_ended(job) < wanted):
            same.append(job if wanted >= job.trials_wanted else dataclasses.replace(job, trials_wanted=wanted))
    return same


def _cause(snapshot: Snapshot, then: SeenForecast, now: float) -> str:
    if (slots := slots_of(snapshot)) < then.slots:
        return f"{slots} of {then.slots} slots left"
    slower = []
    for budget, before in then.paces.items():
        pace = pace_of(budget, snapshot.jobs, now, snapshot.worked)
        if pace is not None and before > 0 and pace.seconds > 1.1 * before:
            slower.append((pace.seconds / before, budget, pace.seconds, before))
    if not slower:
        return ""
    _, budget, after, before = max(slower)
    return f"a {budget} trial takes {spell(after)}, not {spell(before)}"


def as_data(seen: SeenForecast) -> dict[str, object]:
    """Converts the forecast to the data of an acknowledgement event."""
    return dataclasses.asdict(seen) | {"jobs": list(seen.jobs)}


# ---------------------------------------------------------------- pace


def own_pace(job: Job, now: float, worked: Mapping[int, float] | None = None) -> TrialPace | None:
    """Returns the pace of a cell from its own trials once FEW have ended, because other cells search other shapes."""
    ended = trials_ended(job)
    so_far = _so_far(job, now, worked or {}) if ended >= FEW else None
    if so_far is None:
        return None
    left = max(job.trials_wanted - ended, 1)
    later, sd = (_later(ended), SD_PRUNED) if is_pruned(job) else (1.0, SD_TRIAL)
    return TrialPace(later * so_far, math.hypot(sd * math.sqrt(1 / ended + 1 / left), SD_MACHINE))


def pace_of(
    budget: str,
    jobs: Sequence[Job],
    now: float,
    worked: Mapping[int, float] | None = None,
    epochs: int | None = None,
    pruned: bool | None = None,
) -> TrialPace | None:
    """Returns the pace of a budget from the history of `jobs` until `now`; None without any history.

    `worked` has the worked seconds of interrupted jobs, so that a night on hold makes no trial slower. With `epochs`
    (epoch limit) and `pruned` (has a pruner), trials of cells with other settings are scaled; that widens the interval.
    """
    began: dict[str, list[Job]] = {}  # only started jobs have a history; they are few of thousands
    for job in jobs:
        if job.started_at is not None:
            began.setdefault(pool_of(job), []).append(job)
    seen = {name: _paces(own, now, worked or {}, epochs, pruned) for name, own in began.items()}
    own = seen.get(budget, [])
    scaled = [abs(math.log(stretch)) for _, stretch in own]
    if own:
        sd = math.hypot(_sd_log([pace for pace, _ in own]), SD_STRETCH * sum(scaled) / len(own))
        return TrialPace(_geometric_mean([pace for pace, _ in own]), sd)
    scale = COST.get(budget)
    others = [pace / COST[name] for name, paces in seen.items() if name in COST for pace, _ in paces]
    if not others or scale is None:
        return None
    return TrialPace(_geometric_mean(others) * scale, SD_UNSEEN)


def pool_of(job: Job) -> str:
    """Returns the name of the group of jobs with similar trials: the budget, or the study if it has no such axis."""
    return job.budget or job.study


def epochs_of(job: Job) -> int | None:
    """Returns the largest number of epochs of a trial."""
    return steps_of(job)


def is_pruned(job: Job) -> bool:
    """Returns whether the job's pruner ends trials as early as PRUNED says, which was measured on the flagship only.

    A function may check for pruning late or never, so its next trials are assumed to take as long as those that ended.
    """
    return bool(job.budget and job.spec.get("pruner", "none") != "none")


JUDGED = 100  # most finished cells in the back-test


def track_record(jobs: Sequence[Job], worked: Mapping[int, float] | None = None) -> tuple[int, int]:
    """Back-tests the latest finished cells that had a history at their start; returns (held, judged)."""
    done = [job for job in jobs if job.status is JobStatus.DONE and job.started_at and job.ended_at]
    spent = {job.id: worked[job.id] for job in done if job.id in worked} if worked else {}
    global _latest  # cached until another cell is done: with thousands of cells this takes 0.25 s
    of, known, found = _latest
    if known != spent or [*map(id, of)] != [*map(id, done)]:
        found = _judge(done, spent)
        _latest = done, spent, found
    return found


_latest: tuple[list[Job], dict[int, float], tuple[int, int]] = [], {}, (0, 0)


def _judge(done: Sequence[Job], worked: Mapping[int, float]) -> tuple[int, int]:
    held = judged = 0
    for job in sorted(done, key=lambda job: job.ended_at or 0.0)[-JUDGED:]:
        assert job.started_at is not None and job.ended_at is not None
        before = [other for other in done if (other.ended_at or math.inf) <= job.started_at]
        pace = pace_of(pool_of(job), before, job.started_at, worked, epochs_of(job), is_pruned(job))
        took = _took(job, job.ended_at, worked or {})
        if pace is None or not trials_ended(job) or took <= 0:
            continue
        expected = pace.seconds * trials_ended(job)
        judged += 1
        held += abs(math.log(took / expected)) <= Z80 * pace.sd_log
    return held, judged


def _seconds_left(job: Job, pace: TrialPace) -> float:
    remaining = max(job.trials_wanted - trials_ended(job), 0)
    seconds = remaining * pace.seconds
    if job.status is JobStatus.RUNNING and remaining:
        running = min(job.parallel, remaining)  # each is half done on average
        seconds = max(seconds - running * pace.seconds / 2, pace.seconds * 0.1)
    return seconds


def _took(job: Job, until: float, worked: Mapping[int, float]) -> float:
    """Returns the worked seconds of a job: recorded ones if it was interrupted, else the time since its start."""
    assert job.started_at is not None
    return worked[job.id] if job.id in worked else until - job.started_at


def _paces(
    jobs: Sequence[Job], now: float, worked: Mapping[int, float], epochs: int | None, pruned: bool | None
) -> list[tuple[float, float]]:
    """Returns (scaled seconds per trial, scale factor) of each job with a history."""
    paces = []
    for job in jobs:
        so_far = _so_far(job, now, worked)
        if so_far is None:
            continue
        known = epochs_of(job)
        stretch = epochs / known if epochs and known else 1.0
        if pruned is not None and pruned != is_pruned(job):
            share = PRUNED * (1 + BEGINNING / max(job.trials_wanted, 1))
            stretch *= share if pruned else 1 / share
        paces.append((stretch * _to_its_end(job) * so_far, stretch))
    return paces


def _so_far(job: Job, now: float, worked: Mapping[int, float]) -> float | None:
    """Returns the mean seconds per trial of a cell so far; None without an ended trial."""
    ended = trials_ended(job)
    if not ended or job.started_at is None or job.kind != "cell":
        return None
    took = _took(job, job.ended_at if job.ended_at is not None else now, worked)
    running = min(job.parallel, max(job.trials_wanted - ended, 1)) if job.status is JobStatus.RUNNING else 0
    return took / (ended + 0.5 * running) if took > 0 else None


def _to_its_end(job: Job) -> float:
    """Returns mean trial time of the whole cell / mean so far; below 1 for pruned searches, which start slowly."""
    ended = trials_ended(job)
    if not is_pruned(job) or ended >= job.trials_wanted:
        return 1.0
    return (ended + _later(ended) * (job.trials_wanted - ended)) / job.trials_wanted


def _later(ended: int) -> float:
    """Returns the cost of the next trial of a pruned search, as a part of the mean so far: .2 after 3, .5 after 10,
    .8 after 40 trials.

    Model: n trials have cost c (n + BEGINNING), so the next one costs c.
    """
    return ended / (ended + BEGINNING)


def worth_of_pruned(trials: int, had: int = 0) -> float:
    """Returns the work of a pruned search from trial `had` to `trials`, in units of unpruned trials."""
    beginning = 0 if had else BEGINNING
    return min(PRUNED * (trials - had + beginning), float(trials - had))


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _sd_log(values: Sequence[float]) -> float:
    if len(values) < 2:
        return SD_ONE
    logs = [math.log(value) for value in values]
    mean = sum(logs) / len(logs)
    sd = math.sqrt(sum((log - mean) ** 2 for log in logs) / (len(logs) - 1))
    return max(sd * math.sqrt(1 + 1 / len(logs)), SD_LEAST)
