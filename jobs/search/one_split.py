"""Lets TPE split the trials into good and others once for all parameters of a trial, instead of once for each.

Each parameter is drawn alone, and Optuna's sampler sorts all trials for each of them: at 10,000 trials that is half of
a draw. The split depends on nothing but the study, which stands still while a trial draws.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Split = tuple[list["FrozenTrial"], list["FrozenTrial"]]
KEPT = "splits"  # attribute of a study that stands still: what was split before


def install() -> None:
    """For studies with a dict `splits`; every other study, and an Optuna without that function, stays as it is."""
    from optuna.samplers._tpe import sampler

    split = getattr(sampler, "_split_trials", None)
    if split is None or hasattr(split, KEPT) or list(inspect.signature(split).parameters) != EXPECTED:
        return
    setattr(sampler, "_split_trials", _kept(split))  # noqa: B010  # it is Optuna's own


EXPECTED = ["study", "trials", "n_below"]


def _kept(split: Callable[[Any, list[FrozenTrial], int], Split]) -> Callable[[Any, list[FrozenTrial], int], Split]:
    def once(study: Any, trials: list[FrozenTrial], n_below: int) -> Split:
        kept = getattr(study, KEPT, None)
        if kept is None:
            return split(study, trials, n_below)
        key = (len(trials), n_below)
        if key not in kept:
            kept[key] = split(study, trials, n_below)
        below, above = kept[key]
        return list(below), list(above)

    setattr(once, KEPT, True)
    return once
