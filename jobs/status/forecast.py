"""Says when the queue will be done, with an honest interval and its own record: how often past intervals held.

Seconds per trial come from the cell itself once it has a few trials, else from those of its budget that ran; a budget
nobody has run yet is scaled from those that did, with a wide interval. The record is a back-test: each finished cell is
predicted as it would have been at its start, from what had ended by then, and counted as held when its real duration
lies inside the 80 % interval. Paused time and time without a worker are excluded.
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

# Hours per cell of 50 trials of the earlier scripts (median of what it really took): only their ratios are used.
COST = {"tiny": 0.01, "2M": 0.37, "20M": 1.6, "200M": 13.0, "2B": 40.0}
SD_UNSEEN = 0.9  # of log seconds per trial, scaled from another budget: the earlier estimates missed by 2-6x
SD_ONE = 0.35  # one cell of the same budget seen
SD_LEAST = 0.15
SD_TRIAL = 0.5  # between trials of one cell, by shape and early stopping; 0.34 to 0.60 in five real 2M cells
SD_MACHINE = 0.2  # of all trials left together: neighbours come and go; six real cells slowed down by 1.4 to 1.8
SD_PRUNED = 1.0  # the same with a pruner, which ends some after one epoch; 0.66 to 1.06 in nine real 2M cells
BEGINNING = 11  # later trials for which a pruned search's first ones cost, since nobody is there to prune them by
PRUNED = 0.18  # of an unpruned trial's epochs: a later trial of a pruned search; both of replays of 300 real 2M curves
SD_STRETCH = 0.3  # for each factor e between limits: early stopping ends most trials before a higher one
FEW = 3  # trials of its own from which a cell is judged by them
Z80 = 1.2816  # 80 % of a normal distribution lies within


@dataclass(frozen=True)
class TrialPace:
    """Seconds per trial of a budget, and how sure that is."""

    seconds: float
    sd_log: float


@dataclass(frozen=True)
class Forecast:
    """When it is done. Times are seconds since the epoch; None: no history to judge by."""

    finish_at: float | None
    low: float | None  # 80 % interval
    high: float | None
    held: int  # past intervals that contained the truth
    judged: int  # past intervals in all
    seconds_left: dict[int, float]  # by job id, until *its* end; absent: unknown or not going to run

    def later(self, seconds: float) -> Forecast:
        """The same work so many seconds later, while nothing of it was done: only the times move."""
        if self.finish_at is None or self.low is None or self.high is None or not seconds:
            return self
        low, high = self.low + seconds, self.high + seconds
        return dataclasses.replace(self, finish_at=self.finish_at + seconds, low=low, high=high)

    @property
    def half_width_s(self) -> float | None:
        """Half of the interval, for `±9h`."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def finish_said(self) -> float | None:
        """The end as it is told, to no more digits than it is worth."""
        return None if self.finish_at is None else honest(self.finish_at, self.half_width_s or 0.0)

    @property
    def record(self) -> str:
        """`8 of 9 past forecasts held`: the cell ended within its 80 % interval."""
        if not self.judged:
            return "no past forecast yet"
        return f"{self.held} of {count(self.judged, 'past forecast')} right"


def forecast(snapshot: Snapshot, now: float) -> Forecast:
    """The forecast for every job that is running or may run."""
    held, judged = track_record(snapshot.jobs, snapshot.worked)
    return _forecast(snapshot, snapshot.jobs, now, held, judged)


def _forecast(snapshot: Snapshot, jobs: Sequence[Job], now: float, held: int, judged: int) -> Forecast:
    """Of `jobs`, with the workers and the history of the whole snapshot."""
    slots = slots_of(snapshot)
    ends: dict[int, float] = {}
    free = [0.0] * slots  # seconds until each slot is free
    spread: dict[str, float] = {}  # seconds of standard deviation, summed where an error is shared: within a budget
    unknown = False
    paces: dict[tuple[str, int | None, bool], TrialPace | None] = {}  # of thousands of jobs in line few differ in these
    for job in jobs:
        if job.status is JobStatus.RUNNING or is_waiting(job):
            own = own_pace(job, now, snapshot.worked)
            pool = pool_of(job)
            asked = (pool, epochs_of(job), is_pruned(job))
            if own is None and asked not in paces:
                paces[asked] = pace_of(pool, snapshot.jobs, now, snapshot.worked, *asked[1:])
            pace = own or paces[asked]
            if pace is None:
                unknown = unknown or job.kind == "cell"  # baselines take seconds and make no forecast impossible
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
    """Puts a cell on the slots that are free first, and says when it ends; `free` has the seconds until each is free.

    A pace is that of the whole cell: its trials run side by side.
    """
    taken = sorted(range(len(free)), key=free.__getitem__)[: min(parallel, len(free))]
    end = max(free[slot] for slot in taken) + seconds
    for slot in taken:
        free[slot] = end
    return end


def slots_of(snapshot: Snapshot) -> int:
    """Jobs that run at once; one where no worker is there to say."""
    return max(sum(worker.slots for worker in snapshot.workers if worker.status == "running"), 1)


# ---------------------------------------------------------------- what was said before


@dataclass(frozen=True)
class Slip:
    """How much later the same work will be done than a person was told."""

    then: SeenForecast
    finish_at: float  # of the work that `then` was about, as it looks now
    part: float  # of what was left then: 0.33 is a third longer
    cause: str  # what has changed, in words; empty: nothing but time without work


JOBS_REMEMBERED = 5000  # of a forecast; they stand in the event that keeps it


def told(snapshot: Snapshot) -> SeenForecast | None:
    """What someone who looks at this snapshot is told about the end, to be kept when they acknowledge it."""
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
    """The slip since `snapshot.seen`; None without such a forecast, or when its work has ended or cannot be judged."""
    then = snapshot.seen
    if then is None or then.finish_at <= then.taken_at:
        return None
    found = _forecast(snapshot, _same_work(snapshot.jobs, then), now, 0, 0)
    if found.finish_at is None:
        return None
    part = (found.finish_at - then.finish_at) / (then.finish_at - then.taken_at)
    return Slip(then, found.finish_at, part, _cause(snapshot, then, now))


def _same_work(jobs: Iterable[Job], then: SeenForecast) -> list[Job]:
    """The jobs of that forecast, without trials that were asked for since."""
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
    """The forecast as the event of an acknowledgement keeps it."""
    return dataclasses.asdict(seen) | {"jobs": list(seen.jobs)}


# ---------------------------------------------------------------- pace


def own_pace(job: Job, now: float, worked: Mapping[int, float] | None = None) -> TrialPace | None:
    """Seconds per trial of a cell from its own trials, once a few have ended: other cells search other shapes."""
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
    """Seconds per trial of a budget from what `jobs` show by `now`; None without any history.

    `worked` holds the seconds of training of jobs that were interrupted: a night on hold makes no trial slower. With
    `epochs`, the most a trial may run, the trials of cells with another limit are scaled to it, and with `pruned`,
    whether there is a pruner, those of searches with or without one; the interval widens.
    """
    began: dict[str, list[Job]] = {}  # of thousands in line few have begun, and only those tell anything
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
    """The jobs whose trials take about as long: those of one budget, or of a study that has no such axis."""
    return job.budget or job.study


def epochs_of(job: Job) -> int | None:
    """The most epochs a trial of the job may run."""
    return steps_of(job)


def is_pruned(job: Job) -> bool:
    """Whether a pruner ends its trials as early as it did where PRUNED was measured.

    A function may ask for no pruning at all, or late: its trials are taken to last as long as those that have ended.
    """
    return bool(job.budget and job.spec.get("pruner", "none") != "none")


JUDGED = 100  # finished cells; every look judges them again


def track_record(jobs: Sequence[Job], worked: Mapping[int, float] | None = None) -> tuple[int, int]:
    """(held, judged) of the back-test over the latest finished cells, those that had any history at their start."""
    done = [job for job in jobs if job.status is JobStatus.DONE and job.started_at and job.ended_at]
    spent = {job.id: worked[job.id] for job in done if job.id in worked} if worked else {}
    global _latest  # until another cell is done: of thousands it takes a quarter of a second
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
        running = min(job.parallel, remaining)  # each is, on average, half done
        seconds = max(seconds - running * pace.seconds / 2, pace.seconds * 0.1)
    return seconds


def _took(job: Job, until: float, worked: Mapping[int, float]) -> float:
    """Seconds of work: those of its training where it was interrupted, else all from its start."""
    assert job.started_at is not None
    return worked[job.id] if job.id in worked else until - job.started_at


def _paces(
    jobs: Sequence[Job], now: float, worked: Mapping[int, float], epochs: int | None, pruned: bool | None
) -> list[tuple[float, float]]:
    """(seconds per trial, how far they were stretched) of each job that ran long enough to tell."""
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
    """Seconds per trial of what has run of a cell; None while there is nothing to tell them by."""
    ended = trials_ended(job)
    if not ended or job.started_at is None or job.kind != "cell":
        return None
    took = _took(job, job.ended_at if job.ended_at is not None else now, worked)
    running = min(job.parallel, max(job.trials_wanted - ended, 1)) if job.status is JobStatus.RUNNING else 0
    return took / (ended + 0.5 * running) if took > 0 else None


def _to_its_end(job: Job) -> float:
    """Seconds per trial of the whole cell, as a part of those so far: the first trials of a pruned search cost more."""
    ended = trials_ended(job)
    if not is_pruned(job) or ended >= job.trials_wanted:
        return 1.0
    return (ended + _later(ended) * (job.trials_wanted - ended)) / job.trials_wanted


def _later(ended: int) -> float:
    """Seconds of a further trial of a pruned search, of those per trial so far: .2 after 3, .5 after 10, .8 after 40.

    A search that has cost c (n + BEGINNING) after n trials costs c for the next one.
    """
    return ended / (ended + BEGINNING)


def worth_of_pruned(trials: int, had: int = 0) -> float:
    """The work of a pruned search's next trials up to `trials`, after `had` of them, in unpruned trials."""
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
