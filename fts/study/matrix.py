"""Turns a matrix (budgets x horizons) into jobs: freezes each cell as a spec, tests it once, and enqueues it.

All cells of one call enter the queue in one transaction, or none does. A cell that already has a job is not enqueued
again; more trials extend its job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fts.data import tasks
from fts.jobs.api.halving import HALVING
from fts.jobs.api.spec import BadSpec
from fts.jobs.records.code_version import code_version
from fts.model.architecture import PARTIAL, REVIN
from fts.state.values import Enqueued
from fts.study.cell import CellSpec
from fts.study.choices import BUDGETS, CONTEXT, EPOCHS, HORIZONS, TASK, TIER, TRIALS, WINDOWS, usual_data
from fts.study.naming import experiment_name, with_unique_names
from fts.study.own import own_jobs
from fts.study.recipe import LEVELS
from fts.study.study import PatchTST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database


class NotEnqueued(RuntimeError):
    """A cell failed its dry run, or its data is missing. Nothing was enqueued."""


class NoData(NotEnqueued):
    """The cell's data set is missing: `fts data build` makes one."""


OVER = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class CellLine:
    """What happened to one cell."""

    cell: CellSpec
    found: str | None  # result of the dry run, as a sentence; None: not tested
    job_id: int | None  # None: a new cell of a dry run, or a refused one
    created: bool
    problem: str | None = None
    status: str = "queued"  # of the existing job, before it was extended
    extended_from: int | None = None  # number of trials it had before
    told: str = ""  # what happened to the cell, as a sentence
    note: str = ""  # end of that sentence, if a new cell needs an explanation

    @property
    def is_new(self) -> bool:
        """Whether this question has no job yet, or was to be searched again."""
        return self.created or self.job_id is None

    @property
    def is_over(self) -> bool:
        """Whether this question has a job that has ended and was not extended."""
        return not self.is_new and self.extended_from is None and self.status in OVER


def enqueue_matrix(
    db: Database,
    places: Places,
    budgets: Sequence[str] = BUDGETS,
    horizons: Sequence[int] = HORIZONS,
    trials: int = TRIALS,
    epochs: int = EPOCHS,
    task: str = TASK,
    tier: str = TIER,
    *,
    dataset: str | None = None,
    baselines: bool = False,
    check: bool = True,
    dry_run: bool = False,
    again: bool = False,
    who: str | None = None,
    tell: Callable[[str], None] | None = None,
    **fields: Any,
) -> list[CellLine]:
    """Enqueues budgets x horizons in that order; `fields` are further fields of CellSpec.

    With `baselines`, a baseline job precedes the first cell of each horizon. An existing job of the same question, in
    any status, is not duplicated (unless `again`); a job with fewer trials than wanted is extended.

    Raises BadSpec for a value out of range, NotEnqueued (with every reason) if a cell fails its dry run or the data
    set is missing; then nothing was written. A dry run tests every cell and writes nothing.
    """
    from fts.study.baseline_jobs import with_baselines

    cells = make_cells(places, budgets, horizons, trials, epochs, task, tier, dataset, **fields)
    cells = with_baselines(cells) if baselines else cells
    return enqueue_cells(db, places, cells, check=check, dry_run=dry_run, again=again, who=who, tell=tell)


def enqueue_cells(
    db: Database | None,
    places: Places,
    cells: Sequence[CellSpec],
    *,
    check: bool = True,
    dry_run: bool = False,
    again: bool = False,
    who: str | None = None,
    tell: Callable[[str], None] | None = None,
    new_seeds: int = 1,
    new_folds: str | None = None,
) -> list[CellLine]:
    """Tests the cells and enqueues all of them or none; see enqueue_matrix. A dry run needs no database.

    new_seeds: minimum number of seeds for the winner of a cell that has no job yet. new_folds: folds for such a winner
    if the cell names none and its days allow them.
    """
    cells = with_unique_names(db, cells) if db is not None else cells
    found: Sequence[Enqueued | None] = [None] * len(cells)
    if db is not None:
        found = write(db, cells, who, again=again, dry_run=True)
    cells = [
        _with_winner_options(places, cell, new_seeds, new_folds, tell)
        if cell.kind == "cell" and (there is None or there.created)
        else cell
        for cell, there in zip(cells, found, strict=True)
    ]
    lines = [CellLine(cell, None, None, False) for cell in cells]
    new = [n for n, there in enumerate(found) if _needs_work(there)]
    _check_folds(places, [cells[n] for n in new])
    _check_labels(db, places, [cells[n] for n in new])
    work = new if check else []
    for n, line in zip(work, _dry_run_lines(places, [cells[n] for n in work], tell), strict=True):
        lines[n] = line
    if refused := [line for line in lines if line.problem]:
        reasons = "; ".join(f"{_name(line.cell)}: {line.problem}" for line in refused)
        raise NotEnqueued(f"{reasons}; nothing was enqueued")
    if not dry_run:
        assert db is not None, "only a dry run needs none"
        found = written = write(db, cells, who, again=again)
        from fts.study.baseline_jobs import move_before_cells

        move_before_cells(db, list(zip(cells, written, strict=True)), who)
    return _lines(db, lines, found, dry_run)


def _with_winner_options(
    places: Places, cell: CellSpec, seeds: int, folds: str | None, tell: Callable[[str], None] | None
) -> CellSpec:
    """Adds seeds and folds for the winner of a new cell. No folds if each trial is already evaluated on folds."""
    from fts.study.fold_checks import problem

    cell = replace(cell, winner_seeds=max(cell.winner_seeds, seeds))
    if folds is None or cell.cv is not None or cell.winner_folds is not None:
        return cell
    walked = replace(cell, winner_folds=folds)
    why = problem(places.data, walked)
    if why is not None and tell is not None:
        tell(f"{_name(cell)}: its winner is evaluated on one split only (--folds none): {why}")
    return walked if why is None else cell


def _check_folds(places: Places, cells: Iterable[CellSpec]) -> None:
    """Checks every fold of every cell, also without a dry run. Raises NotEnqueued."""
    from fts.study.fold_checks import problem

    problems = [f"{_name(cell)}: {why}" for cell in cells if (why := problem(places.data, cell))]
    if problems:
        raise NotEnqueued(f"{'; '.join(dict.fromkeys(problems))}; nothing was enqueued")


def _check_labels(db: Database | None, places: Places, cells: Sequence[CellSpec]) -> None:
    """Checks that different questions have different labels, also without a dry run. Raises NotEnqueued."""
    from fts.study.label_checks import problems

    if found := problems(places.data, cells, () if db is None else own_jobs(db)):
        raise NotEnqueued(f"{'; '.join(found)}; nothing was enqueued")


def _needs_work(found: Enqueued | None) -> bool:
    return found is None or found.created or found.extended_from is not None


def _lines(
    db: Database | None, lines: Sequence[CellLine], found: Sequence[Enqueued | None], dry_run: bool
) -> list[CellLine]:
    """Adds what happened to each cell, or would happen; a job that a dry run would create has no number."""
    from fts.jobs.records.questions import enqueued_sentence
    from fts.study.question import other_epochs

    jobs = {} if db is None else {job.id: job for job in own_jobs(db)}
    done = []
    for line, entry in zip(lines, found, strict=True):
        entry = entry or Enqueued(0, True)
        job = None if entry.created and dry_run else jobs.get(entry.job_id)
        note = other_epochs(jobs.values(), line.cell, entry.job_id) if entry.created else ""
        line = replace(line, note=note, told=enqueued_sentence(_name(line.cell), line.cell, entry, job, dry_run) + note)
        if job is not None:  # None also for a cell that was named twice in a dry run
            line = replace(
                line, job_id=job.id, created=entry.created, status=entry.status, extended_from=entry.extended_from
            )
        done.append(line)
    return done


def make_cells(
    places: Places,
    budgets: Sequence[str],
    horizons: Sequence[int],
    trials: int,
    epochs: int,
    task: str,
    tier: str,
    dataset: str | None = None,
    overrides: Mapping[str, dict[str, Any]] | None = None,
    **fields: Any,
) -> list[CellSpec]:
    """Returns the specs of the matrix, checked field by field. `overrides` replace distributions of the default space.

    A halving rule selects the halving pruner, and the halving pruner without a rule gets today's rule; proposals are
    then random unless a sampler is named. Raises BadSpec, BadSpace, and NotEnqueued without the data.
    """
    fields = with_days(_with_halving(fields), tier, overrides or {})
    _check_task(task)
    _check_norms(tier, fields, overrides or {})
    data = find_data(places.data, tier, dataset)
    commit, dirty = code_version()
    cells = []
    for budget in budgets:
        space = _space(budget, data.n_features, fields, overrides)
        for horizon in horizons:
            spec = CellSpec(
                experiment=experiment_name(budget, horizon, task, fields.get("cv")),
                budget=budget,
                horizon=horizon,
                task=task,
                tier=tier,
                dataset=data.name,
                data_md5=data.md5,
                trials=trials,
                epochs=epochs,
                space=space,
                code_commit=commit,
                code_dirty=dirty,
                **({"diverged": "worst"} | fields),
            )
            cells.append(CellSpec.from_json(spec.to_json()))
    return cells


def _check_task(name: str) -> None:
    try:
        tasks.task(name)
    except tasks.UnknownTask as error:
        raise BadSpec(str(error)) from error


def _check_norms(tier: str, fields: Mapping[str, Any], overrides: Mapping[str, dict[str, Any]]) -> None:
    """Refuses a partial norm for a tier without prices, because it would normalise nothing."""
    norms = overrides.get("norm", {}).get("choices") or [fields.get("norm", REVIN)]
    for norm in norms:
        if str(norm).startswith(PARTIAL) and not LEVELS.get(tier, (0,)):
            raise BadSpec(f"norm {norm} moves features in units of price or volume, and tier {tier} has none; use none")


def with_days(fields: dict[str, Any], tier: str, overrides: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Adds window, days and norm of the cell; the tier's defaults where they are not given.

    With several windows in the search the context is the longest. `longest` is kept only if it is not the context.
    """
    usual = WINDOWS.get(tier, {"context": CONTEXT})
    drawn = [context for context in overrides.get("context", {}).get("choices", []) if isinstance(context, int)]
    context = max(drawn) if drawn else fields.get("context", usual["context"])
    longest = fields.get("longest", max(context, usual.get("longest", 0)))
    if longest < context:
        raise BadSpec(f"longest is {longest} days, expected at least the {context} days of a window")
    days = {} if longest == context else {"longest": longest}
    norm = {"norm": usual["norm"]} if "norm" in usual else {}
    return norm | {name: value for name, value in fields.items() if name != "longest"} | {"context": context} | days


def _with_halving(fields: dict[str, Any]) -> dict[str, Any]:
    """Adds the defaults of halving: random proposals, because TPE would learn from trials that were cut short."""
    rule = fields.get("halving")
    if rule is None and fields.get("pruner") != "halving":
        return fields
    return {"pruner": "halving", "sampler": "random"} | fields | {"halving": rule or HALVING}


def write(db: Database, cells: Iterable[CellSpec], who: str | None = None, **how: bool) -> list[Enqueued]:
    """Enqueues cells of the flagship; `how` are the options of enqueue_specs."""
    from fts.study.enqueue import enqueue_specs  # here, not above: peewee and huey, which --help does not need

    return enqueue_specs(db, PatchTST(), cells, who, **how)


@dataclass(frozen=True)
class Data:
    """The processed data set of a matrix."""

    name: str  # SPX.dataset.a25
    md5: str
    n_features: int


def find_data(root: Path, tier: str, dataset: str | None = None) -> Data:
    """Returns the current data set of that name; without a name the S&P 500's of the tier, or the only one.

    Raises NoData, BadSpec for an unknown tier.
    """
    from fts.features.tiers import TIERS  # here, not above: TA-Lib and pandas, needed only to enqueue
    from fts.study.dataset import listing

    if tier not in TIERS:
        raise BadSpec(f"there is no tier {tier!r}; there are {', '.join(TIERS)}")
    entries = listing(root)
    found = {entry.dataset: entry for entry in entries if entry.tier == tier}
    others = sorted({entry.tier for entry in entries if entry.tier not in (None, tier)})
    build = f"`fts data build --tier {tier}`" if tier != TIER else "`fts data build`"
    if dataset is not None and dataset not in found:
        known = ", ".join(found) or "none"
        raise NoData(f"there is no data set {dataset!r} of tier {tier} in {root} (there is: {known}); run {build}")
    if not found:
        other = f", or take --tier {' or '.join(others)}, which exists" if others else ""
        raise NoData(f"there is no data set of tier {tier} in {root}; run {build}{other}")
    name = dataset or usual_data(list(found), tier)
    if name is None:
        raise NotEnqueued(f"there are several data sets of tier {tier}: {', '.join(found)}; name one with --data")
    return Data(name, found[name].md5, len(TIERS[tier]))


WINDOW_FIELDS = ("context", "patch", "stride", "channel_independent", "norm")  # of a spec; they decide a model's size


def _space(
    budget: str, n_features: int, fields: Mapping[str, Any], overrides: Mapping[str, dict[str, Any]] | None
) -> dict[str, dict[str, Any]]:
    from fts.model.budgets import BUDGETS as KNOWN
    from fts.study.space import space_for  # here, not above: it imports optuna

    if budget not in KNOWN:
        raise BadSpec(f"there is no budget {budget!r}; there are {', '.join(KNOWN)}")
    window = {name: fields[name] for name in WINDOW_FIELDS if name in fields}
    return space_for(budget, n_features, dict(overrides or {}), **window)


def _dry_run_lines(places: Places, cells: Sequence[CellSpec], tell: Callable[[str], None] | None) -> list[CellLine]:
    from fts.study.dry_run import check_cells

    lines = []
    for checked in check_cells(places, cells):
        lines.append(CellLine(checked.cell, checked.found, None, False, checked.problem))
        if tell and not checked.problem:  # problems are in the error that refuses all cells
            tell(f"{_name(checked.cell)}: {checked.found}")
    return lines


def _name(cell: CellSpec) -> str:
    return f"{cell.budget}/h{cell.horizon}" if cell.kind == "cell" else f"{cell.kind} h{cell.horizon}"
