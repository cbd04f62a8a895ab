"""The flagship's matrix (budgets x horizons) in the enqueue form: the state of its cells, and their cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fts.jobs.api.form import CHOICE, EXTENDS, NEW, CellNow, Field
from fts.jobs.api.spec import BadSpec
from fts.jobs.form import cost, fields
from fts.jobs.form.offers import Offer, SeenCells
from fts.jobs.records.questions import enqueued_sentence
from fts.jobs.settings import worker_settings
from fts.jobs.status import formatting
from fts.jobs.supervisor.admission import usual_limit
from fts.state.files import room
from fts.state.scheduling import preference
from fts.state.transitions.extend import amount_of
from fts.state.values import Amount, Enqueued
from fts.study import choices
from fts.study.cli.enqueue import NO_FOLDS, enqueue, specs_of
from fts.study.estimate import Allowed, RecordedTrials, plan_cell
from fts.study.outlook import trials_after
from fts.study.own import own_jobs
from fts.study.preview import CellCost, Preview, cost_of, sentences
from fts.study.question import other_epochs, question_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.values import Job
    from fts.study.cell import CellSpec

LEAVE = ("whole", "budgets_", "horizons")  # options that the ticks replace
FIRST = {"baselines": "--baselines"}  # a matrix has baselines before its cells; named cells have none by default
TAKEN = ("cells", *LEAVE, "task", "baselines", "warm_start", "again", "no_check", "dry_run", "as_json")
CHECKPOINTS = 24  # bytes per parameter in two checkpoints: weights and both moments of the optimizer


@dataclass
class _Chosen(SeenCells):
    trials: int = 0
    pruner: str = "none"
    after: float = 0.0  # what follows the search of a new cell, in units of its trials


class MatrixOffer(Offer):
    """Every budget at every horizon; no cell is tested before the user asks for a dry run."""

    command = enqueue

    def fields(self) -> list[Field]:
        return [_with_choices(field) for field in fields.of_command(self.command, LEAVE, FIRST)]

    def problems(self, typed: Mapping[str, str]) -> dict[str, str]:
        return fields.problems_of(self.command, typed, LEAVE)

    def _words(self, typed: Mapping[str, str]) -> list[str]:
        return fields.words_of(self.command, {**FIRST, **typed}, LEAVE)

    def see(self, typed: Mapping[str, str]) -> SeenCells:
        with self.command.make_context("enqueue", ["2M/h1", *self._words(typed)], obj=self.places) as context:
            given = dict(context.params)
            task, again = given["task"], bool(given["again"])
            seeds, folds = given["winner_seeds"] or choices.SEEDS, given["winner_folds"] or choices.FOLDS
            if given["winner_folds"] == NO_FOLDS:
                given["winner_folds"] = None
            for name in TAKEN:
                given.pop(name)
            wanted = [(budget, horizon, task) for budget in choices.SIZES for horizon in choices.HORIZONS]
            cells = specs_of(wanted, **given)
        with cost.reading(self.places) as db:
            jobs = () if db is None else own_jobs(db)
        now = [cell_now(cell, jobs, again) for cell in cells]
        after = trials_after(seeds, None if folds == NO_FOLDS or cells[0].cv else folds)
        return _Chosen(cells, now, [], cells[0].trials, cells[0].pruner, after)

    def words(self, typed: Mapping[str, str], seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        return [*ticked, *self._words(typed)]

    def sentences(self, seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        assert isinstance(seen, _Chosen), "it is our own"
        wanted = set(ticked)
        cells = [cell for cell, now in zip(seen.cells, seen.now, strict=True) if now.name in wanted]
        settings = worker_settings(planning=True)
        most = usual_limit(self.places.outputs, 1, settings.device)
        if most is None:
            raise BadSpec(f"this machine does not report the memory of {settings.device}; set FTS_MEMORY_LIMIT")
        allowed = Allowed(most // settings.slots, most)
        with cost.reading(self.places) as db:
            known = RecordedTrials(db, settings.device, settings.threads)
            plans = [plan_cell(self.places, known, cell, allowed, settings.device) for cell in cells]
        costs: dict[tuple[str, int], CellCost] = {(plan.budget, plan.horizon): cost_of(plan) for plan in plans}
        source = known.rate().source
        plan = Preview(costs, settings.slots, allowed.share, settings.device, source, "recorded" in source)
        largest = max(shape.n_params for each in plans for shape in each.shapes)
        disk = f"disk: {formatting.size(room(self.places.outputs)[0])} free; the checkpoints of its largest trial take "
        return [
            *sentences(plan, list(costs), seen.trials, seen.pruner, seen.after),
            disk + f"about {formatting.size(CHECKPOINTS * largest)}, as long as it runs",
        ]


def _with_choices(field: Field) -> Field:
    """Turns a field into a choice if the command lists its values in its help."""
    known = {"task": choices.TASKS, "tier": choices.TIERS}
    if field.name not in known:
        return field
    return Field(field.name, field.label, CHOICE, field.help, field.default, field.usual, known[field.name])


def cell_now(cell: CellSpec, jobs: Sequence[Job], again: bool) -> CellNow:
    """Returns what `fts enqueue` would do with the cell."""
    name = f"{cell.budget}/h{cell.horizon}"
    labels: dict[str, str | int | float] = {"budget": cell.budget, "horizon": cell.horizon}
    near = [job for job in jobs if (job.kind, job.budget, job.horizon) == (cell.kind, cell.budget, cell.horizon)]
    same = [] if again else [job for job in near if question_of(job.spec) == cell.question]
    job = min(same, key=lambda job: preference(str(job.status), job.trials_wanted, job.id, cell.trials), default=None)
    if job is None:
        sentence = enqueued_sentence(name, cell, Enqueued(0, created=True), None, True) + other_epochs(near, cell, 0)
        return CellNow(name, labels, NEW, NEW, sentence, cell.trials)
    ended = formatting.trials_ended(job)
    had = amount_of(job.spec, job.trials_wanted)
    has = Amount(max(had.search, cell.trials), follows=max(had.follows, cell.winner_seeds))
    if has != had:
        found = Enqueued(job.id, False, str(job.status), extended_from=job.trials_wanted, had=had, has=has)
        more = has.search - had.search
        note = f"{ended} of {has.search} there"
        return CellNow(name, labels, EXTENDS, note, enqueued_sentence(name, cell, found, job, True), more, job.id)
    found = Enqueued(job.id, False, str(job.status), held=job.hold_reason)
    trials = f"{job.trials_wanted} trials" if ended >= job.trials_wanted else f"{ended} of {job.trials_wanted} trials"
    return CellNow(
        name,
        labels,
        str(job.status),
        f"{job.status}, {trials}",
        enqueued_sentence(name, cell, found, job, True),
        0,
        job.id,
    )
