"""The one sentence for a fault of a study file, and what it says of a word that nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.api.nearest import hint
from fts.jobs.api.spec import BadSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

ELSEWHERE = {  # words of other tools, or of Optuna's -> ours
    "direction": "goal",
    "mode": "goal",
    "parameters": "space",
    "params": "space",
    "search_space": "space",
    "axes": "matrix",
    "n_trials": "trials",
    "function": "objective",
    "min": "low",
    "max": "high",
    "values": "choices",
    "type": "kind",
    "distribution": "kind",
}
At = tuple[str, ...]  # ("space", "lr", "low"); of the second [[cell]]: ("cell", "2", "budget")


class BadStudy(BadSpec):
    """A study file says something that cannot be done; `at` is where."""

    def __init__(self, at: At, sentence: str) -> None:
        between = "" if not at or sentence.startswith(":") else " "
        super().__init__(f"{dotted(at)}{between}{sentence}")
        self.at = at


def dotted(at: At) -> str:
    """`space.lr.low`, and `[[cell]] 2 budget.trials` of a table that there may be several of."""
    if not at:
        return ""
    return f"[[cell]] {at[1]} {'.'.join(at[2:])}".strip() if at[0] == "cell" and len(at) > 1 else ".".join(at)


def unknown(at: At, names: Iterable[Any], known: Iterable[str], what: str) -> None:
    """Raises BadStudy for the first of the names that is not known, with the nearest one that is."""
    there = list(known)
    for name in names:
        if name not in there:
            elsewhere = ELSEWHERE.get(name)
            near = f"did you mean {elsewhere}? " if elsewhere in there else hint(str(name), there)
            raise BadStudy((*at, str(name)), f"is no {what}; {near}known are {', '.join(there)}")
