"""A recorded trial, as samplers and pruners get it."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.spec import BadSpec
from fts.raising import quoted

if TYPE_CHECKING:
    from fts.jobs.search.space import Space

SELDOM = ("metrics", "constraints", "kept", "attributes")  # fields that are empty in most trials


@dataclass(frozen=True)
class PastTrial:
    """One recorded trial, as input of samplers and pruners."""

    number: int
    params: dict[str, Any]
    status: str  # running | interrupted | complete | pruned | failed
    value: float | None
    epochs: dict[int, float] = field(default_factory=dict)  # epoch -> objective
    diverged: bool = False  # it failed because its loss was NaN, infinite or far too large
    distributions: Space = field(default_factory=dict)  # of the parameters it drew itself; empty: the cell's space
    metrics: dict[str, float] = field(default_factory=dict)  # its result, if the search has several goals
    constraints: dict[str, float] = field(default_factory=dict)  # name -> violation, met if at most 0
    kept: dict[str, Any] = field(default_factory=dict)  # state of its sampler: {"trial": ..., "study": ...}
    attributes: dict[str, Any] = field(default_factory=dict)  # set by trial.set_user_attr; later trials may read them

    def to_json(self) -> dict[str, Any]:
        """Returns JSON for the history of a trial process, with only the last epoch, which is all that samplers use."""
        last = max(self.epochs, default=None)
        fields = {name: value for name, value in vars(self).items() if value or name not in SELDOM}
        return fields | {"epochs": {} if last is None else {last: self.epochs[last]}}

    @classmethod
    def from_json(cls, data: Any) -> PastTrial:
        """Reads a trial from JSON. Raises BadSpec for missing or unknown fields."""
        if not isinstance(data, dict) or not isinstance(data.get("epochs", {}), dict):
            raise BadSpec(f"a trial of the history is {quoted(data)}, expected a JSON object")
        try:
            past = cls(**data)
            epochs = {int(epoch): value for epoch, value in past.epochs.items() if value is not None}
            return replace(past, epochs=epochs)
        except (TypeError, ValueError) as error:
            raise BadSpec(f"a trial of the history has wrong fields: {error}") from None
