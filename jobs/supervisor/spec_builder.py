"""Builds what a trial process gets before it starts: its specification and the earlier trials of its search."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fts.jobs.api.function import FunctionCell
from fts.jobs.api.lag import seen_below
from fts.jobs.api.spec import TrialSpec
from fts.jobs.api.spec import trial_folder as folder_of
from fts.jobs.api.study import Cell, trial_log
from fts.jobs.search.sampler import NO_HISTORY
from fts.jobs.supervisor.template import KnownTrials
from fts.state import queries

if TYPE_CHECKING:
    from fts.jobs.executors.base import Placed
    from fts.jobs.search.past_trial import PastTrial
    from fts.jobs.supervisor.admission import Admission
    from fts.jobs.supervisor.template import Template
    from fts.jobs.supervisor.work import Work
    from fts.state.values import Trial


class SpecBuilder:
    """Builds the specification of one trial, which is number `number` of its search; `role`: it is an extra trial."""

    def __init__(self, work: Work, trial: Trial, cell: Cell, number: int, role: str | None, threads: int) -> None:
        self.db, self.places, self.settings, self.claim = work.db, work.places, work.settings, work.claim
        self.slot = work.slot
        self.study, self.history, self.job = work.study, work.history, work.claim.job
        self.trial, self.cell, self.number, self.role, self.threads = trial, cell, number, role, threads
        self.known = seen_below(cell, number)  # it may use trials with lower numbers; they have all ended
        self._rivals_then: list[PastTrial] | None = None

    def spec(self, admitted: Admission) -> TrialSpec:
        """Returns the specification for the trial process."""
        return TrialSpec(
            cell=self.cell,
            number=self.number,
            params=self.trial.params,
            seed=self.trial.seed,
            threads=self.threads,
            device="cuda" if self.study.resources(self.cell).gpu else self.trial.device or self.slot.settings.device,
            data_root=str(self.places.data),
            folder=str(folder_of(self.places.outputs, self.job.experiment, self.job.id, self.trial.number)),
            log_path=str(trial_log(self.places.logs, self.job.experiment, self.job.id, self.trial.number)),
            recipe=admitted.recipe,
            memory_limit=admitted.limit,
            resume=True,  # from the checkpoint, if there is one
            checkpoint_every_s=self.settings.checkpoint_every_s,
        )

    def _draws(self) -> tuple[dict[str, Any], ...]:
        """Returns the parameters that the trial has drawn so far, so that it gets them again."""
        fields = ("k", "name", "value", "distribution")
        return tuple({name: getattr(draw, name) for name in fields} for draw in queries.draws(self.db, self.trial.id))

    def _history(self) -> list[PastTrial]:
        """Returns the earlier trials if the process needs them: it draws parameters itself, or reads `trial.study`."""
        draws = self.cell.space is None and self.cell.sampler not in NO_HISTORY
        return self.history.before(self.known) if draws or reads_the_study(self.cell) else []

    def send_history(self, template: Template) -> None:
        """Sends the earlier trials to the template before it forks."""
        if self.earlier is not None:
            template.know(self.earlier, self.cell.to_json(), self.number)

    def with_record(self, spec: TrialSpec, child: Placed) -> TrialSpec:
        """Adds the trial's recorded draws, and the earlier trials that its process does not know yet.

        With the draws, code that changed between two attempts gets the same parameters.
        """
        spec = replace(spec, draws=self._draws())
        if self.earlier is None:
            return spec
        known = {"history": self.earlier.name, "trials": len(self.earlier.past)}
        return replace(spec, history=tuple(child.known.changed(self.earlier)), known=known)

    @cached_property
    def earlier(self) -> KnownTrials | None:
        """Returns the earlier trials under a unique name; None: its process does not read them."""
        if not self.study.program(self.cell).reads_history:
            return None
        name = f"{self.job.id}.{self.claim.token}"
        if self.role is not None:  # an extra trial may see another history in a process of the same file
            name += f".{self.role}"
        return KnownTrials(name, self._history())

    def rivals(self) -> list[PastTrial]:
        """Returns the trials that the pruner compares this one with; they do not change while it runs."""
        if self.cell.pruner == "none":
            return []
        if self._rivals_then is None:
            self._rivals_then = self.history.before(self.known)
        return self._rivals_then


def reads_the_study(cell: Cell) -> bool:
    """Does the function's file use `trial.study`? Then it may read the best value or earlier trials."""
    if not isinstance(cell, FunctionCell):
        return False
    try:
        return b".study" in cell.path.read_bytes()
    except OSError:
        return False  # the trial process will report it
